"""Messages typed while an answer runs: they say that they wait, can be edited and withdrawn, and are kept in order."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from textual.pilot import Pilot

from tests.tui.driving import chat, last_view, line, ready, turn_texts, until
from tui.chat.prompt import Prompt
from tui.chat.turn_view import TurnView
from tui.shell.app import TokmemApp

MakeApp = Callable[..., TokmemApp]


async def three_in_line(pilot: Pilot[None]) -> TokmemApp:
    """An answer that does not end by itself, and three messages behind it, two of them the same."""
    app = await ready(pilot)
    prompt = chat(app).query_one(Prompt)
    prompt.take("!slow one")
    await pilot.press("enter")
    await until(pilot, lambda: "word1" in chat(app).session.turns[-1].answer.text)
    for text in ("hello", "hello", "I need to buy milk"):
        prompt.take(text)
        await pilot.press("enter")
    await until(pilot, lambda: "3 waiting" in line(app))
    return app


def questions(app: TokmemApp) -> list[str]:
    """What was asked, in order."""
    return [turn.question for turn in chat(app).session.turns]


async def test_they_say_that_they_wait(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await three_in_line(pilot)
        said = turn_texts(app)
        assert "waits for its turn, next in line" in said and "number 3 in line" in said
        assert said.count("e edits it, d withdraws it") == 3 and "e edits one, d withdraws it" in line(app)
        assert len(app.workers) and sum(worker.group == "chat" for worker in app.workers) == 1
        await pilot.press("escape")
        await until(pilot, lambda: not chat(app).busy)
        assert "waits" not in turn_texts(app)


async def test_withdrawn_ones_are_not_answered_and_the_line_moves_up(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await three_in_line(pilot)
        views = list(app.screen.query(TurnView))
        views[2].focus()
        await until(pilot, lambda: app.focused is views[2])
        await pilot.press("d")
        await until(pilot, lambda: "2 waiting" in line(app))
        assert questions(app) == ["!slow one", "hello", "I need to buy milk"]
        assert "number 2 in line" in last_view(app).text
        assert isinstance(app.focused, Prompt)
        await pilot.press("escape")
        await until(pilot, lambda: not chat(app).busy)
        stored = app.store.messages.list(app.store.chats.list()[0].id)
        assert [one.content for one in stored if one.role == "user"] == questions(app)
        assert "d" not in {key for key, binding in app.screen.active_bindings.items() if binding.enabled}


async def test_an_edited_one_comes_back_into_the_prompt(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await three_in_line(pilot)
        last_view(app).focus()
        await until(pilot, lambda: isinstance(app.focused, TurnView))
        await pilot.press("e")
        prompt = chat(app).query_one(Prompt)
        await until(pilot, lambda: prompt.text == "I need to buy milk")
        assert questions(app) == ["!slow one", "hello", "hello"]
        prompt.take("I need to buy bread")
        await pilot.press("enter")
        await until(pilot, lambda: "3 waiting" in line(app))
        await pilot.press("escape")
        await until(pilot, lambda: not chat(app).busy)
        assert questions(app)[-1] == "I need to buy bread"


@pytest.mark.parametrize("temporary", [False, True])
async def test_the_order_is_kept_on_disk(make_app: MakeApp, taught: None, temporary: bool) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await ready(pilot)
        if temporary:
            await pilot.press("ctrl+o")
        app = await three_in_line(pilot)
        await pilot.press("escape")
        await until(pilot, lambda: not chat(app).busy)
        said = [(turn.question, turn.answer.text) for turn in chat(app).session.turns]
        assert all(answer for _, answer in said)
        if temporary:
            assert not app.store.chats.list()
            return
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await ready(pilot)
        assert [(turn.question, turn.answer.text) for turn in chat(app).session.turns] == said
