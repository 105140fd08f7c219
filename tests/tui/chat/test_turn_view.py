"""How a turn is drawn: Markdown as lines, selection, and nothing that a model writes can break it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.style import Style
from textual.app import App, ComposeResult
from textual.geometry import Offset
from textual.selection import Selection

from tokmem_desk.procedures import NONE_ROUTE
from tui.chat.route_chip import PROBABILITY_WORDS, chip_content
from tui.chat.turn_view import TurnView
from tui.chat.turns import Answer, Turn
from tui.engine_client.protocol import Timing
from tui.kit.markdown_lines import markdown_lines

PIECES = ["# ", "## ", "- ", "1. ", "> ", "`", "**", "_", "~~", "    ", "[x](y)", "![i](u)", "<b>", "&amp;", "[/INST]"]
PIECES += ["word ", "日本 ", "\\", "\t", "```py\n", "```\n", "\n", "\n\n", "| a | b |\n", "|---|---|\n", "---\n"]


def shown(source: str, width: int = 40) -> list[str]:
    console = Console(width=width)
    lines = markdown_lines(source, width, console, console.options, Style(), lambda _: Style())
    return ["".join(segment.text for segment in line).rstrip() for line in lines]


def test_markdown_has_its_forms() -> None:
    assert shown("# Title\n\nSome *words*.\n\n- one\n- two") == [
        *("Title".center(40).rstrip(), "", "Some words.", "", " • one", " • two")
    ]
    assert shown("see [here](https://a.example)") == ["see here (https://a.example)"]
    assert " print(1)" in shown("```py\nprint(1)\n```")
    assert shown("<b>bold</b>") == ["<b>bold</b>"], "tags are shown, not eaten"
    assert shown("") == []


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=30), st.integers(1, 30))
def test_no_markdown_breaks_it(pieces: list[str], width: int) -> None:
    shown("".join(pieces), width)


class Host(App[None]):
    def __init__(self, turn: Turn) -> None:
        super().__init__()
        self.turn = turn

    def get_css_variables(self) -> dict[str, str]:
        return {**super().get_css_variables(), "muted": "gray"}

    def compose(self) -> ComposeResult:
        yield TurnView(self.turn)


@pytest.mark.parametrize("route", [NONE_ROUTE, "ledger"])
async def test_what_is_selected_is_the_text_that_is_shown(route: str) -> None:
    turn = Turn("日本 ask [/INST]", answer=Answer("first line\n\nsecond line", route, 0.9))
    async with Host(turn).run_test(size=(60, 20)) as pilot:
        view = pilot.app.query_one(TurnView)
        await pilot.pause()
        assert view.text.splitlines()[0] == " › 日本 ask [/INST]"
        whole = Selection(None, None)
        assert view.get_selection(whole) == (view.text, "\n")
        row = view.text.splitlines().index(" second line")
        part = Selection(Offset(1, row), Offset(7, row))
        assert view.get_selection(part) == ("second", "\n")
        pilot.app.screen.selections = {view: part}
        await pilot.pause()
        marked = [segment.text for segment in view.render_line(row) if segment.style and segment.style.bgcolor]
        assert "second" in marked
        assert view.render_line(99).cell_length == view.content_size.width


def test_the_chip_says_whose_procedure_it_is() -> None:
    own, guest = Answer(route="list", probability=0.9), Answer(route="list", probability=0.9, guest=True)
    assert "imported" not in chip_content(own, "", opened=False).plain
    assert "list route 90%  imported, not accepted yet" in chip_content(guest, "", opened=False).plain


def test_the_figure_of_the_chip_is_named_as_that_of_the_route() -> None:
    answer = Answer(route="list", probability=0.97, candidates=[{"route": "list", "probability": 0.97}])
    assert chip_content(answer, "0.4 s", opened=False).plain == "◆ list route 97%  0.4 s"
    assert PROBABILITY_WORDS in chip_content(answer, "", opened=True).plain


@pytest.mark.parametrize(("written", "speed"), [(0.0, None), (0.004, None), (0.2, 495.0), (2.0, 49.5)])
def test_no_speed_is_told_of_an_answer_that_came_at_once(written: float, speed: float | None) -> None:
    timing = Timing(prefill=0.5, route=0.5, first_token=0.5, total=0.5 + written, tokens=100)
    found = Answer(timing=timing).tokens_per_second
    assert found == (None if speed is None else pytest.approx(speed))
