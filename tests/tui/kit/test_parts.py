"""Small parts that need no app."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from textual.app import App, ComposeResult

from profiles.store.store import ProfileStore
from tokmem_desk.errors import BadInputError
from tokmem_desk.procedures import ExamplePair, Procedure
from tui.chat.route_chip import percent
from tui.chat.turns import split_route
from tui.kit.status_header import short_model
from tui.kit.themes import muted_of
from tui.kit.words import duration
from tui.procedures.pair_rows import DRAFT, NO_ROWS, pair_rows
from tui.training.loss_plot import LossPlot


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hello", ("auto", "hello")),
        ("@todo buy milk", ("todo", "buy milk")),
        ("@none @todo is a name", ("none", "@todo is a name")),
        ("@todo\nbuy\nmilk", ("todo", "buy\nmilk")),
        ("mail a@b.c", ("auto", "mail a@b.c")),
        (" @ann said hello", ("auto", " @ann said hello")),
    ],
)
def test_route_prefix(text: str, expected: tuple[str, str]) -> None:
    assert split_route(text, ["todo"]) == expected


@pytest.mark.parametrize(("text", "words"), [("@tood milk", "Did you mean 'todo'"), ("@todo ", "no message behind")])
def test_bad_route_prefix(text: str, words: str) -> None:
    with pytest.raises(BadInputError, match=words):
        split_route(text, ["todo"])


@pytest.mark.parametrize(
    ("value", "words"), [(1.0, "100%"), (0.999, ">99%"), (0.994, "99%"), (0.004, "<1%"), (0.0, "0%"), (0.5, "50%")]
)
def test_percent(value: float, words: str) -> None:
    assert percent(value) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (59.4, "59 s"), (60, "1 min 00 s"), (200, "3 min 20 s"), (3900, "1 h 05 min")]
)
def test_duration(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_short_model() -> None:
    assert [short_model(name) for name in ("a/b", "/x/y/", "C:\\m\\n", "default")] == ["b", "y", "n", "default"]


def test_muted_of_a_terminal_theme() -> None:
    assert muted_of({"foreground": "ansi_default", "background": "ansi_default"}) == "ansi_bright_black"
    assert muted_of({"foreground": "#ffffff", "background": "#000000"}) == "#9E9E9E"


def test_rows_of_the_grid_are_those_the_filter_lets_pass(tmp_path: Path) -> None:
    with ProfileStore(tmp_path / "profile") as store:
        texts = [("tea", "1"), ("tram", "2"), ("more tea", "3")]
        store.procedures.add(Procedure("p", tuple(ExamplePair(*one) for one in texts), (ExamplePair("held", "4"),)))
        pairs = store.pairs.table("p")
    ids = [pair.id for pair in pairs]
    everything = pair_rows(pairs, None, lambda pair: "t" if pair.part == "held_out" else "", None)
    assert [(row.input, row.sign, row.dim) for row in everything] == [
        ("tea", "", False), ("tram", "", False), ("more tea", "", False), ("held", "t", True)
    ]  # fmt: skip
    assert [everything.place(key) for key in (*ids, DRAFT, 99)] == [0, 1, 2, 3, None, None]
    teas = pair_rows(pairs, pairs.matching("tea"), lambda _: "", {"input": "new", "response": ""})
    assert [row.input for row in teas] == ["tea", "more tea", "new"] == [row.input for row in teas[:]]
    assert [teas.place(key) for key in (*ids, DRAFT)] == [0, None, 1, None, 2]
    assert teas[-1].key == DRAFT and len(NO_ROWS) == 0
    with pytest.raises(IndexError):
        teas[3]


@pytest.mark.parametrize("log_scale", [False, True])
@pytest.mark.parametrize(
    "losses", [[(1, 3.0)], [(1, 0.0)], [(1, math.nan)], [(1, math.inf), (2, 1.0)], [(1, 2.0), (2, 1.0)]]
)
async def test_any_losses_are_drawn_in_any_theme_and_size(losses: list[tuple[int, float]], log_scale: bool) -> None:
    class Host(App[None]):
        def compose(self) -> ComposeResult:
            yield LossPlot()

    async with Host().run_test(size=(80, 12)) as pilot:
        plot = pilot.app.query_one(LossPlot)
        for size in ((80, 12), (20, 3), (1, 1)):
            await pilot.resize_terminal(*size)
            plot.show(losses, losses[:1], 1, log_scale=log_scale)
            await pilot.pause()
        await pilot.resize_terminal(80, 12)
        for theme in pilot.app.available_themes:
            pilot.app.theme = theme
            plot.show(losses, [], 40, log_scale=log_scale)
            await pilot.pause()
            pilot.app.export_screenshot()
