"""Verdicts on the Procedures screen: counted in a line, queued by one key, decided about like any training."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from textual.pilot import Pilot

from profiles.store.feedback import CHAT_SOURCE
from profiles.store.store import ProfileStore
from tests.tui.driving import texts, until
from tests.tui.procedures.test_procedures import MakeApp, at_once, open_procedures
from tokmem_desk.procedures import ExamplePair
from tui.kit.confirm import ConfirmDialog
from tui.procedures.verdicts import VerdictLine
from tui.shell.app import TokmemApp
from tui.training.screen import TrainScreen

__all__ = ["at_once"]
Seed = Callable[[Callable[[ProfileStore], None]], None]


def say(store: ProfileStore, name: str, count: int) -> None:
    chat = store.chats.create("said")
    for place in range(count):
        store.messages.add(chat, "user", f"buy oats {place}")
        answer = store.messages.add(chat, "assistant", "( ) right", route=name, details={"original": "( ) wrong"})
        if place % 2:
            pair = ExamplePair(f"buy oats {place}", "( ) right")
            store.pairs.add(name, [pair], source=CHAT_SOURCE, message_id=answer)
        else:
            store.feedback.rate(answer, "bad")


@pytest.fixture
def said(taught: None, seed: Seed) -> None:
    """Eight answers that a person corrected or marked, and one of another procedure."""

    def both(store: ProfileStore) -> None:
        say(store, "todo_line", 8)
        say(store, "mood_log", 1)

    seed(both)


def line(app: TokmemApp) -> VerdictLine:
    return app.screen.query_one(VerdictLine)


async def test_nothing_is_shown_while_nothing_was_said(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await open_procedures(pilot)
        assert not line(app).display
        await pilot.press("V")
        await until(pilot, lambda: "No verdicts wait" in notes(app))


def notes(app: TokmemApp) -> str:
    return " ".join(note.message for note in app._notifications)


async def queue(pilot: Pilot[None]) -> TokmemApp:
    """Press the key, and wait for what comes out."""
    app = await open_procedures(pilot)
    await until(pilot, lambda: app.link.state.phase == "ready")
    await until(pilot, lambda: line(app).display)
    assert "9 verdicts wait" in texts(app, "#verdict-line")
    await pilot.press("V")
    await until(pilot, lambda: isinstance(app.screen, TrainScreen))
    await until(pilot, lambda: bool(app.trainings.in_state("undecided")), "a result")
    return app


async def test_one_key_queues_and_one_takes_back(make_app: MakeApp, said: None) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await queue(pilot)
        assert [(job.name, job.how) for job in app.trainings.jobs] == [("todo_line", "from verdicts")]
        assert "There are verdicts on 1 of the messages of 'mood_log'" in notes(app)
        await until(pilot, lambda: "Better than what you have now: of 2 verdicts set aside" in texts(app, "#outcome"))
        assert "What you said of answers" in texts(app, "#card")
        await pilot.press("a")
        await until(pilot, lambda: not app.trainings.jobs)
        assert app.store.memories.list("todo_line")[0].status == "active"
        await pilot.press("f3")
        await until(pilot, lambda: "1 verdict waits" in texts(app, "#verdict-line"))
        await pilot.press("u")
        await until(pilot, lambda: "Taken back: improved todo_line from verdicts." in notes(app))
        assert [one.status for one in app.store.memories.list("todo_line")] == ["archived", "active"]
        assert "1 verdict waits" in texts(app, "#verdict-line")


async def test_a_worse_one_answers_only_where_that_is_confirmed(make_app: MakeApp, taught: None, seed: Seed) -> None:
    def worse(store: ProfileStore) -> None:
        say(store, "todo_line", 8)
        chat = store.chats.create("more")
        store.messages.add(chat, "user", "!worse")
        store.feedback.rate(store.messages.add(chat, "assistant", "( ) wrong", route="todo_line"), "bad")

    seed(worse)
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await queue(pilot)
        before = app.store.memories.active("todo_line", app.fingerprint or "")
        await until(pilot, lambda: "Worse than what you have now" in texts(app, "#outcome"))
        for keys, goes_on in ((("a", "escape"), True), (("a", "enter"), True), (("a", "tab", "enter"), False)):
            await pilot.press(keys[0])
            await until(pilot, lambda: isinstance(app.screen, ConfirmDialog), "asks")
            assert "Worse than what you have now" in texts(app)
            await pilot.press(*keys[1:])
            await until(pilot, lambda: isinstance(app.screen, TrainScreen), "closed")
            await until(pilot, lambda waits=goes_on: bool(app.trainings.jobs) == waits)  # type: ignore[misc]
            active = app.store.memories.active("todo_line", app.fingerprint or "")
            assert (active == before) == goes_on
