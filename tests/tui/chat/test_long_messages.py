"""Long messages in the chat: their length is said before they are sent, and they are folded afterwards."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.tui.driving import chat, last_view, line, ready, until
from tui.chat.prompt import Prompt
from tui.chat.turn_lines import FOLD_LINES, SHOWN_LINES
from tui.chat.turn_view import TurnView
from tui.shell.app import TokmemApp

pytestmark = pytest.mark.asyncio
MakeApp = Callable[..., TokmemApp]


async def test_the_length_of_a_long_text_is_said_before_it_is_sent(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(140, 40)) as pilot:
        app = await ready(pilot)
        prompt = chat(app).query_one(Prompt)
        prompt.take("word " * 200)
        await until(pilot, lambda: "Enter sends" in line(app))
        assert "words" not in line(app), "a short one needs no such words"
        prompt.take("word " * 1_200)
        await until(pilot, lambda: "1,200 words, 1,200 of 2,048 tokens · Enter sends" in line(app))
        prompt.take("word " * 3_000)
        await until(pilot, lambda: "too long: 3,000 tokens, and this model reads 2,048" in line(app))
        prompt.take("@nobody " + "word " * 1_000)
        await pilot.press("enter")
        await until(pilot, lambda: "There is no procedure" in line(app))
        prompt.take("")
        await until(pilot, lambda: line(app).startswith("Enter sends"))


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_a_long_message_is_folded_and_opened_with_enter(
    make_app: MakeApp, taught: None, size: tuple[int, int]
) -> None:
    async with make_app().run_test(size=size) as pilot:
        app = await ready(pilot)
        text = "\n".join(f"line {number}" for number in range(200))
        chat(app).query_one(Prompt).take(text)
        await pilot.press("enter")
        await until(pilot, lambda: not chat(app).busy and "You said" in last_view(app).text)
        view = last_view(app)
        note = f"… {200 - SHOWN_LINES} more lines, 400 words in all · ⏎ opens"
        shown = view.text.splitlines()
        assert note in shown[SHOWN_LINES] and f"line {SHOWN_LINES - 1}" in shown[SHOWN_LINES - 1]
        assert chat(app).session.turns[-1].question == text
        view.focus()
        await until(pilot, lambda: isinstance(app.focused, TurnView))
        await pilot.press("enter")
        await until(pilot, lambda: "more lines" not in view.text and "line 199" in view.text)
        await pilot.press("enter")
        await until(pilot, lambda: note in view.text)


async def test_a_message_of_a_dozen_lines_is_shown_whole(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(80, 40)) as pilot:
        app = await ready(pilot)
        chat(app).query_one(Prompt).take("\n".join(f"line {number}" for number in range(FOLD_LINES)))
        await pilot.press("enter")
        await until(pilot, lambda: not chat(app).busy and "You said" in last_view(app).text)
        assert "more lines" not in last_view(app).text and f"line {FOLD_LINES - 1}" in last_view(app).text
