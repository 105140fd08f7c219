"""A message between two routes: both are offered with a key each, and the choice is kept as a correction."""

from __future__ import annotations

from collections.abc import Callable

from tests.tui.driving import ask, chat, last_view, ready, until
from tui.chat.prompt import Prompt
from tui.shared.doubt import between_words
from tui.shell.app import TokmemApp

MakeApp = Callable[..., TokmemApp]

SAID = "I need to buy milk !near"


async def test_the_route_that_was_taken_is_confirmed(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test() as pilot:
        app = await ready(pilot)
        await ask(pilot, SAID)
        assert "1 todo_line  2 mood_log" in last_view(app).text
        await pilot.press("up", "1")
        await until(pilot, lambda: bool(app.store.corrections.list()))
        [kept] = app.store.corrections.list()
        assert (kept.text, kept.wrong_route, kept.right_route) == (SAID, "mood_log", "todo_line")
        await until(pilot, lambda: "you chose it over mood_log" in last_view(app).text)
        assert "1 todo_line" not in last_view(app).text and not chat(app).busy
        await pilot.press("u")
        await until(pilot, lambda: not app.store.corrections.list())
        assert chat(app).session.turns[-1].answer.route == "todo_line" and not chat(app).busy


async def test_the_other_route_answers_instead(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test() as pilot:
        app = await ready(pilot)
        await ask(pilot, SAID)
        assert isinstance(app.focused, Prompt)
        await pilot.press("alt+2")
        await until(pilot, lambda: chat(app).session.turns[-1].answer.route == "mood_log")
        [kept] = app.store.corrections.list()
        assert (kept.wrong_route, kept.right_route) == ("todo_line", "mood_log")
        await until(pilot, lambda: "corrected from todo_line" in last_view(app).text)


async def test_a_clear_route_offers_nothing(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test() as pilot:
        app = await ready(pilot)
        await ask(pilot, "I need to buy milk")
        assert chat(app).session.turns[-1].answer.between is None
        await pilot.press("alt+1", "up", "1")
        await pilot.pause()
        assert not app.store.corrections.list() and chat(app).session.turns[-1].answer.route == "todo_line"


async def test_a_temporary_chat_keeps_no_choice(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test() as pilot:
        app = await ready(pilot)
        await pilot.press("ctrl+o")
        await until(pilot, lambda: chat(app).session.temporary)
        await ask(pilot, SAID)
        await pilot.press("alt+1")
        await until(pilot, lambda: chat(app).session.turns[-1].answer.between is None)
        assert not app.store.corrections.list()


def test_words_for_two_near_routes() -> None:
    assert between_words(None) == ""
    assert between_words(["none", "shop"]) == "This may be meant for shop as well as for plain chat."
