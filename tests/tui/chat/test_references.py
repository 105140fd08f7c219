"""What was filled in for words like "it" is shown, kept, gone on with, and taken back with one key."""

from __future__ import annotations

from collections.abc import Callable

from tests.tui.driving import ask, chat, last_view, ready, until
from tokmem_desk.generation.answer_segment import AnswerSegment
from tokmem_desk.references.filled import FilledIn
from tui.shared.doubt import doubt_words
from tui.shell.app import TokmemApp

MakeApp = Callable[..., TokmemApp]

FIRST, SECOND = "I need to buy milk", "I need to buy it !refers"


async def test_it_is_shown_and_one_key_takes_it_as_typed(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test() as pilot:
        app = await ready(pilot)
        await ask(pilot, FIRST)
        turn = await ask(pilot, SECOND)
        assert "it → milk  from your message before  u takes it as typed" in last_view(app).text
        assert turn.message == "I need to buy milk !refers"
        [segment] = turn.answer.segments
        assert segment.typed == SECOND and segment.part == turn.message
        await pilot.press("up", "u")
        await until(pilot, lambda: not chat(app).busy and not chat(app).session.turns[-1].answer.filled)
        assert "→ milk" not in last_view(app).text and not chat(app).session.turns[-1].answer.taught
        assert turn.message == SECOND


async def test_it_is_there_when_the_chat_is_opened_again(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test() as pilot:
        app = await ready(pilot)
        await ask(pilot, FIRST)
        turn = await ask(pilot, SECOND)
        session = chat(app).session
        assert session.conversation_id is not None
        session.open(session.conversation_id)
        kept = session.turns[-1]
        assert kept is not turn and kept.message == turn.message
        assert [(one.words, one.value) for one in kept.answer.filled] == [("it", "milk")]


def test_what_was_filled_in_is_looked_at_before_a_command_runs() -> None:
    filled = [FilledIn("it", "milk", "message", 0, 4, 8)]
    segment = AnswerSegment("shop", 1.0, "buy milk", "milk", answer_probability=0.99, filled=filled)
    assert doubt_words(segment) == "Filled in: it → milk."
    segment.answer_probability = 0.4
    assert doubt_words(segment) == "Filled in: it → milk. The answer is right with a probability of 40%."
    assert doubt_words(AnswerSegment("shop", 1.0, answer_probability=0.99)) == ""


async def test_a_pair_made_of_it_stands_for_itself(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test() as pilot:
        app = await ready(pilot)
        await ask(pilot, FIRST)
        turn = await ask(pilot, SECOND)
        known = len(app.store.pairs.list("todo_line"))
        await pilot.press("up", "plus")
        await until(pilot, lambda: len(app.store.pairs.list("todo_line")) == known + 1)
        assert app.store.pairs.list("todo_line")[-1].input == turn.message
