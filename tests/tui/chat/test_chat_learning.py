"""Teaching by way of answers: verdicts, pairs, thumbs, taking back, and training what waits."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from textual.pilot import Pilot
from textual.widgets import Select, TextArea

from tests.tui.driving import ask, chat, last_view, ready, train, turn_texts, until
from tui.chat.choose_fault import FaultDialog
from tui.chat.choose_route import RouteDialog
from tui.chat.learn_bar import LearnBar
from tui.chat.turns import Turn
from tui.kit.edit_pair import PairDialog
from tui.shell.app import TokmemApp
from tui.training.screen import TrainScreen

pytestmark = pytest.mark.asyncio
MakeApp = Callable[..., TokmemApp]


def chip(app: TokmemApp) -> str:
    """The route line of the newest turn."""
    return last_view(app).text


def bar(app: TokmemApp) -> str:
    """What waits to be learned; empty when it is hidden."""
    shown = chat(app).query_one(LearnBar)
    return str(shown.render()) if shown.display else ""


async def answer(pilot: Pilot[None], app: TokmemApp, key: str, dialog: type) -> None:
    """Press a key on the newest message and wait for its dialog."""
    await pilot.press(key)
    await until(pilot, lambda: isinstance(app.screen, dialog), f"{dialog.__name__} after {key}")


async def reopened(pilot: Pilot[None]) -> Turn:
    """The newest turn, read from the store anew."""
    app = await ready(pilot)
    session = chat(app).session
    assert session.conversation_id is not None
    session.open(session.conversation_id)
    return session.turns[-1]


async def test_verdict_survives_a_restart_and_can_be_taken_back_then(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await ready(pilot)
        await ask(pilot, "I need to buy milk")
        await pilot.press("up")
        await answer(pilot, app, "w", RouteDialog)
        await pilot.press("enter")
        await until(pilot, lambda: chat(app).session.turns[-1].answer.route != "todo_line" and not chat(app).busy)
        assert app.store.corrections.list()[0].wrong_route == "todo_line"
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await ready(pilot)
        assert "corrected from todo_line" in chip(app)
        last_view(app).focus()
        await pilot.press("u")
        await until(pilot, lambda: not app.store.corrections.list())
        await until(pilot, lambda: chat(app).session.turns[-1].answer.route == "todo_line" and not chat(app).busy)
        assert "corrected" not in chip(app)


async def test_a_verdict_says_how_many_other_messages_it_reaches(
    make_app: MakeApp, taught: None, notices: list[str]
) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await ready(pilot)
        for text in ("I need to buy milk", "I need to buy bread", "Why is the sky blue?", "I need to feed the cat"):
            await ask(pilot, text)
        await pilot.press("up")
        await answer(pilot, app, "w", RouteDialog)
        await pilot.press("enter")
        await until(pilot, lambda: any("go elsewhere now" in one for one in notices), "what it reaches")
        assert "Of your last 3 other messages, 2 would go elsewhere now." in notices


async def test_edited_answer_becomes_a_pair_and_comes_back(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await ready(pilot)
        await ask(pilot, "I need to buy milk")
        assert not bar(app)
        await pilot.press("up")
        await answer(pilot, app, "p", PairDialog)
        assert app.screen.query_one(Select).value == "todo_line"
        app.screen.query_one("#response", TextArea).load_text("( ) buy oat milk due:mon")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "a pair of todo_line" in chip(app))
        assert "edited" in chip(app)
        assert "( ) buy oat milk due:mon" in turn_texts(app)
        await until(pilot, lambda: "1 correction waits: F7 retrains todo_line" in bar(app))
        turn = await reopened(pilot)
        assert (turn.answer.text, turn.answer.original) == ("( ) buy oat milk due:mon", "( ) buy milk due:mon")
        assert turn.answer.pair_procedure == "todo_line"
        await pilot.press("u")
        await until(pilot, lambda: len(app.store.pairs.list("todo_line")) == 8)
        await until(pilot, lambda: "( ) buy milk due:mon" in turn_texts(app))
        await until(pilot, lambda: not bar(app))


async def test_what_was_rejected_on_the_way_to_a_good_answer_is_a_verdict(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await ready(pilot)
        turn = await ask(pilot, "I need to buy milk")
        first = turn.answer
        await pilot.press("up", "r")
        await until(pilot, lambda: turn.answer is not first and turn.answer.status == "complete")
        await answer(pilot, app, "p", PairDialog)
        app.screen.query_one("#response", TextArea).load_text("( ) buy oat milk due:mon")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "a pair of todo_line" in chip(app))
        assert turn.answer.rejected == [["todo_line", "( ) buy milk due:mon"]]
        said = app.store.verdicts.of("todo_line")
        assert [one.rejected for one in said] == ["( ) buy milk due:mon", turn.answer.original]
        assert {(one.input, one.accepted) for one in said} == {("I need to buy milk", "( ) buy oat milk due:mon")}
        assert (await reopened(pilot)).answer.rejected == turn.answer.rejected
        await pilot.press("u")
        await until(pilot, lambda: not app.store.verdicts.of("todo_line"))


async def test_thumb_up_keeps_a_pair_once(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await ready(pilot)
        await ask(pilot, "I need to buy milk")
        await pilot.press("up", "+")
        await until(pilot, lambda: "+ good  a pair of todo_line" in chip(app))
        assert len(app.store.pairs.list("todo_line")) == 9
        await pilot.press("+")
        await pilot.pause()
        assert len(app.store.pairs.list("todo_line")) == 9, "the same pair is not added twice"
        await pilot.press("u")
        await until(pilot, lambda: len(app.store.pairs.list("todo_line")) == 8)
        assert "good" not in chip(app)


async def test_thumb_on_plain_chat_is_shown_and_kept(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await ready(pilot)
        await ask(pilot, "hello there")
        await pilot.press("up", "+")
        await until(pilot, lambda: "+ good" in chip(app))
        assert (await reopened(pilot)).answer.rating == "good"
        await pilot.press("u")
        await until(pilot, lambda: "good" not in chip(app))


async def test_bad_answer_is_left_out_from_then_on(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await ready(pilot)
        await ask(pilot, "hello there")
        await pilot.press("up")
        await answer(pilot, app, "-", FaultDialog)
        await pilot.press("4")
        await until(pilot, lambda: "- bad, left out" in chip(app))
        turn = await ask(pilot, "and again")
        assert turn.answer.text == "You said: and again (0 messages before)"
        await pilot.press("up", "up", "u")
        await until(pilot, lambda: chat(app).session.turns[0].answer.rating is None)
        turn = await ask(pilot, "once more")
        assert turn.answer.text == "You said: once more (4 messages before)"


@pytest.mark.parametrize(("key", "dialog"), [("1", RouteDialog), ("2", PairDialog)])
async def test_thumb_down_leads_on(make_app: MakeApp, taught: None, key: str, dialog: type) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await ready(pilot)
        await ask(pilot, "I need to buy milk")
        await pilot.press("up")
        await answer(pilot, app, "-", FaultDialog)
        await answer(pilot, app, key, dialog)
        await pilot.press("escape")
        await until(pilot, lambda: "- bad" in chip(app))


async def test_thumb_down_asks_again(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await ready(pilot)
        await ask(pilot, "hello there")
        await pilot.press("up")
        await answer(pilot, app, "-", FaultDialog)
        await pilot.press("j", "j", "enter")
        await until(pilot, lambda: chat(app).session.turns[-1].answer.text.startswith("Once more."))
        await until(pilot, lambda: not chat(app).busy)
        assert chat(app).session.turns[-1].answer.rating is None, "the new answer has no thumb yet"


async def test_what_waits_is_trained_by_one_key(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await ready(pilot)
        await pilot.press("f7")
        assert not app.trainings.jobs, "nothing waits"
        await ask(pilot, "I need to buy milk")
        await pilot.press("up", "+")
        await until(pilot, lambda: "1 correction waits" in bar(app))
        await pilot.press("f7")
        await until(pilot, lambda: isinstance(app.screen, TrainScreen))
        await until(pilot, lambda: train(app).pane == "result")
        await pilot.press("a")
        await until(pilot, lambda: not app.store.feedback.waiting(app.fingerprint))
        await pilot.press("f2")
        await until(pilot, lambda: not bar(app))


async def test_click_on_the_bar_trains(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await ready(pilot)
        await ask(pilot, "I need to buy milk")
        await pilot.press("up", "+")
        await until(pilot, lambda: bar(app))
        await pilot.click(LearnBar)
        await until(pilot, lambda: isinstance(app.screen, TrainScreen))


async def test_temporary_chat_teaches_nothing(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await ready(pilot)
        await pilot.press("ctrl+o")
        await until(pilot, lambda: chat(app).session.temporary)
        await ask(pilot, "I need to buy milk")
        await pilot.press("up", "+")
        await until(pilot, lambda: "+ good" in chip(app))
        await answer(pilot, app, "w", RouteDialog)
        await pilot.press("enter")
        await until(pilot, lambda: "corrected from todo_line" in chip(app) and not chat(app).busy)
        assert not app.store.corrections.list()
        assert not app.store.chats.list()
        assert len(app.store.pairs.list("todo_line")) == 8


async def test_details_tell_how_the_answer_was_made(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await ready(pilot)
        await ask(pilot, "I need to buy milk")
        assert "0.4 s · 30 tok/s" in chip(app)
        await pilot.press("up", "enter")
        await until(pilot, lambda: "first word after 0.20 s" in chip(app))
        assert "7 tokens · memory 8" in chip(app)
        await pilot.press("space")
        await until(pilot, lambda: "first word" not in chip(app))
        turn = await reopened(pilot)
        assert (turn.answer.span, turn.answer.forced) == (8, False)


async def test_no_procedure_to_save_to(make_app: MakeApp) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await ready(pilot)
        await ask(pilot, "hello there")
        await pilot.press("up", "p")
        await pilot.pause()
        assert not isinstance(app.screen, PairDialog)
