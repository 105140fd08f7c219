"""Doubtful values in the chat: marked without colour, walked through with Tab, settled with a key, asked about."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from profiles.store.store import ProfileStore
from tests.tui.conftest import remember
from tests.tui.driving import ask, chat, last_view, ready, turn_texts, until
from tokmem_desk.generation.answer_segment import AnswerSegment, AnswerValue
from tokmem_desk.procedures import ExamplePair, Procedure
from tui.chat.turns import Answer, settle, unsettle
from tui.shared.doubt import doubt_words
from tui.shell.app import TokmemApp

MakeApp = Callable[..., TokmemApp]

LINE = Procedure(
    "line",
    tuple(ExamplePair(f"put {what} on the list", f"buy {what} today") for what in ("milk", "bread", "green soap")),
)
SAID = "put milk on the list !doubt"


def answer() -> Answer:
    """Two segments; the first is a call with two doubtful values."""
    values = [AnswerValue(6, 9, '"x"', 0.3, "a", ('"long"', '"z"')), AnswerValue(16, 17, "5", 0.4, "b", ("6",))]
    call = AnswerSegment(
        "one", 0.9, "p", '{"a": "x", "b": 5}', {"a": "x", "b": 5}, answer_probability=0.2, values=values
    )
    plain = AnswerSegment(
        "two", 0.9, "q", "fine words", answer_probability=0.9, values=[AnswerValue(0, 4, "fine", 0.95)]
    )
    return Answer(text=f"{call.response}\n{plain.response}", route="one", segments=[call, plain])


def test_a_chosen_value_moves_what_stands_behind_it() -> None:
    given = answer()
    assert given.sure == pytest.approx(0.18) and len(given.doubts) == 2
    settle(given, given.doubts[0], '"long"')
    assert given.text == '{"a": "long", "b": 5}\nfine words'
    assert given.segments[0].arguments == {"a": "long", "b": 5}
    assert [given.segments[0].response[v.start : v.end] for v in given.segments[0].values] == ['"long"', "5"]
    assert len(given.doubts) == 1 and given.taught
    settle(given, given.doubts[0], given.doubts[0].value.text)
    assert given.doubts == [] and (given.sure or 0) > 0.8
    unsettle(given)
    assert given.text == answer().text and len(given.doubts) == 2 and not given.taught


def test_what_a_further_step_went_on_with_is_past_mending() -> None:
    given = answer()
    given.segments[1].follows = "one"
    assert given.doubts == [] and given.sure == pytest.approx(0.9), "the step has it in its own"


def test_doubt_is_said_with_the_least_probable_value_first() -> None:
    segment = answer().segments[0]
    assert doubt_words(segment) == 'The answer is right with a probability of 20%. Doubtful: a "x" (30%), b 5 (40%).'
    assert doubt_words(answer().segments[1]) == ""
    assert doubt_words(AnswerSegment("one", 0.9, answer_probability=0.5)).endswith("of 50%.")
    many = [AnswerValue(0, 1, "w" * 80, 0.1 * place) for place in range(5)]
    words = doubt_words(AnswerSegment("one", 0.9, answer_probability=0.1, values=many))
    assert "2 more" in words and len(words) < 260


@pytest.fixture
def with_line(seed: Callable[[Callable[[ProfileStore], None]], None]) -> None:
    """A trained procedure whose answers are lines of text."""

    def teach(store: ProfileStore) -> None:
        store.procedures.add(LINE)
        remember(store, "line")

    seed(teach)


@pytest.mark.asyncio
async def test_doubtful_values_are_marked_and_the_chip_says_how_sure(make_app: MakeApp, with_line: None) -> None:
    async with make_app().run_test(size=(100, 30)) as pilot:
        app = await ready(pilot)
        await ask(pilot, SAID)
        await until(pilot, lambda: "buy milk today?" in turn_texts(app))
        assert "answer 41%, 1 to check" in turn_texts(app)
        await ask(pilot, "put milk on the list")
        await until(pilot, lambda: turn_texts(app).count("buy milk today") == 2)
        assert turn_texts(app).count("to check") == 1, "where nothing is known, nothing is said"


@pytest.mark.asyncio
async def test_tab_walks_through_doubts_and_a_digit_puts_another_value_in(make_app: MakeApp, with_line: None) -> None:
    async with make_app().run_test(size=(100, 30)) as pilot:
        app = await ready(pilot)
        turn = await ask(pilot, SAID)
        view = last_view(app)
        view.focus()
        await pilot.press("tab")
        await until(pilot, lambda: "today 41%  1 later  2 never" in turn_texts(app))
        assert app.focused is view
        await pilot.press("2")
        await until(pilot, lambda: "buy milk never" in turn_texts(app))
        assert turn.answer.text == "buy milk never" and turn.answer.doubts == []
        assert "edited" in turn_texts(app) and "1 later" not in turn_texts(app)
        [stored] = [one for one in app.store.messages.list(chat(app).session.conversation_id or 0) if one.details]
        assert stored.content == "buy milk never"
        await pilot.press("u")
        await until(pilot, lambda: "buy milk today?" in turn_texts(app))
        assert turn.answer.text == "buy milk today"


@pytest.mark.asyncio
async def test_enter_keeps_a_value_and_tab_goes_on_where_nothing_is_left(make_app: MakeApp, with_line: None) -> None:
    async with make_app().run_test(size=(100, 30)) as pilot:
        app = await ready(pilot)
        turn = await ask(pilot, SAID)
        view = last_view(app)
        view.focus()
        await pilot.press("tab", "enter")
        await until(pilot, lambda: turn.answer.doubts == [])
        assert turn.answer.text == "buy milk today" and "?" not in turn_texts(app)
        assert app.focused is view
        await pilot.press("tab")
        await until(pilot, lambda: app.focused is not view)


@pytest.mark.asyncio
async def test_doubts_are_there_again_when_the_conversation_is(make_app: MakeApp, with_line: None) -> None:
    async with make_app().run_test(size=(100, 30)) as pilot:
        await ready(pilot)
        await ask(pilot, SAID)
    async with make_app().run_test(size=(100, 30)) as pilot:
        app = await ready(pilot)
        await until(pilot, lambda: "buy milk today?" in turn_texts(app) and "answer 41%" in turn_texts(app))
