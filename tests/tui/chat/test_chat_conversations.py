"""Whole conversations: copy, save, rename, search, the editor, the meter, and chats of thousands of messages."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
from textual.widgets import Input, TextArea

from profiles.store.store import ProfileStore
from tests.tui.driving import ask, chat, last_view, line, ready, texts, turn_texts, until
from tui.chat.history import ConversationList, HistoryPanel
from tui.chat.prompt import Prompt
from tui.chat.system_prompt import SystemPromptDialog
from tui.chat.transcript import DRAWN_TURNS, FIRST_TURNS, Transcript
from tui.chat.turn_view import TurnView
from tui.kit.ask_line import LineDialog
from tui.kit.confirm import ConfirmDialog
from tui.kit.failure import FailureDialog
from tui.shell.app import TokmemApp

pytestmark = pytest.mark.asyncio
MakeApp = Callable[..., TokmemApp]
Seed = Callable[[Callable[[ProfileStore], None]], None]


async def test_the_chat_is_copied_as_markdown(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await ready(pilot)
        await ask(pilot, "@mood_log it was a lovely day")
        await pilot.press("up", "C")
        assert "# it was a lovely day" in app.clipboard
        assert "**You** to @mood_log" in app.clipboard
        assert "```\nmood: good; because: my sister came\n```" in app.clipboard


async def test_the_chat_is_saved_in_both_forms(make_app: MakeApp, taught: None, tmp_path: Path) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await ready(pilot)
        await pilot.press("ctrl+s")
        assert not isinstance(app.screen, LineDialog), "there is nothing to save yet"
        await ask(pilot, "I need to buy milk")
        for name in ("milk.md", "milk.json"):
            await pilot.press("ctrl+s")
            await until(pilot, lambda: isinstance(app.screen, LineDialog))
            assert app.screen.query_one(Input).value.endswith("i-need-to-buy-milk.md")
            app.screen.query_one(Input).value = str(tmp_path / name)
            await pilot.press("enter")
            await until(pilot, lambda name=name: (tmp_path / name).exists())
        assert "( ) buy milk due:mon" in (tmp_path / "milk.md").read_text()
        document = json.loads((tmp_path / "milk.json").read_text())
        assert [message["role"] for message in document["messages"]] == ["user", "assistant"]
        assert document["messages"][1]["route"] == "todo_line"


async def test_a_wrong_file_name_is_told_and_a_file_is_not_lost(
    make_app: MakeApp, taught: None, tmp_path: Path
) -> None:
    kept = tmp_path / "kept.md"
    kept.write_text("mine")
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await ready(pilot)
        await ask(pilot, "I need to buy milk")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, LineDialog))
        for typed, words in (("x.docx", "neither in .md"), ("/no/such/x.md", "no folder"), ("", "Nothing is typed")):
            app.screen.query_one(Input).value = typed
            await pilot.press("enter")
            await until(pilot, lambda words=words: words in texts(app, "#fault"))
        app.screen.query_one(Input).value = str(kept)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, ConfirmDialog))
        assert kept.read_text() == "mine"


async def test_a_system_prompt_is_for_this_chat_or_for_the_profile(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        assert "System prompt" not in line(app)

        async def write(chat_prompt: str, profile_prompt: str) -> None:
            await pilot.press("f10")
            await until(pilot, lambda: isinstance(app.screen, SystemPromptDialog))
            app.screen.query_one("#chat-prompt", TextArea).text = chat_prompt
            app.screen.query_one("#profile-prompt", TextArea).text = profile_prompt
            await pilot.press("ctrl+s")
            await until(pilot, lambda: not isinstance(app.screen, SystemPromptDialog))

        await write("", "Be brief.")
        assert app.store.chats.system_prompt == "Be brief." and "System prompt (F10)" in line(app)
        assert (await ask(pilot, "good evening")).answer.text.endswith(
            "(0 messages before), as one who was told: Be brief."
        )
        await write("Rhyme.", "Be brief.")
        assert (await ask(pilot, "good night")).answer.text.endswith("(2 messages before), as one who was told: Rhyme.")
        assert (await ask(pilot, "I need to buy milk")).answer.text == "( ) buy milk due:mon", "no procedure sees it"
        await pilot.press("ctrl+n")
        assert (await ask(pilot, "good day")).answer.text.endswith("told: Be brief.")
        older = app.store.chats.list()[1]
        assert older.system_prompt == "Rhyme."
        await chat(app).history_controller.open(older.id)
        assert chat(app).session.system_prompt == "Rhyme."
        await pilot.press("f10")
        await until(pilot, lambda: isinstance(app.screen, SystemPromptDialog))
        app.screen.query_one("#chat-prompt", TextArea).text = "Broken \0 text"
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "holds a NUL byte" in texts(app, "#fault"))


async def test_history_keys_rename_and_save(make_app: MakeApp, taught: None, tmp_path: Path) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await ready(pilot)
        await ask(pilot, "about apples")
        chat(app).query_one(ConversationList).focus()
        await pilot.press("home", "e")
        await until(pilot, lambda: isinstance(app.screen, LineDialog))
        app.screen.query_one(Input).value = "Fruit"
        await pilot.press("enter")
        await until(pilot, lambda: app.store.chats.list()[0].title == "Fruit")
        chat(app).query_one(ConversationList).focus()
        await pilot.press("home", "x")
        await until(pilot, lambda: isinstance(app.screen, LineDialog))
        app.screen.query_one(Input).value = str(tmp_path / "fruit.json")
        await pilot.press("enter")
        await until(pilot, lambda: (tmp_path / "fruit.json").exists())


async def test_history_covers_a_narrow_chat_and_goes_away(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        await ask(pilot, "about apples")
        assert not chat(app).query_one(HistoryPanel).display
        await pilot.press("ctrl+r", "enter", "home", "enter")
        await until(pilot, lambda: not chat(app).query_one(HistoryPanel).display)
        await pilot.press("ctrl+r", "escape")
        await until(pilot, lambda: isinstance(app.focused, Prompt))


async def test_a_deleted_conversation_leaves_the_open_one(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await ready(pilot)
        await ask(pilot, "about apples")
        first = app.store.chats.list()[0].id
        await pilot.press("ctrl+n")
        await ask(pilot, "about pears")
        app.store.chats.delete(first)
        listing = chat(app).query_one(ConversationList)
        listing.focus()
        await pilot.press("end", "enter")
        await until(pilot, lambda: isinstance(app.screen, FailureDialog) and "not there" in texts(app))
        await pilot.press("enter")
        assert chat(app).session.turns[0].question == "about pears"


async def test_forced_route_survives_a_restart(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        await ready(pilot)
        await ask(pilot, "@mood_log I need to buy milk")
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await ready(pilot)
        assert "@mood_log I need to buy milk" in turn_texts(app)
        last_view(app).focus()
        await pilot.press("e")
        assert chat(app).query_one(Prompt).text == "@mood_log I need to buy milk"


async def test_meter_and_cut(make_app: MakeApp, taught: None) -> None:
    async with make_app("--context-messages", "2").run_test(size=(120, 40)) as pilot:
        app = await ready(pilot)
        assert "context" not in line(app)
        await ask(pilot, "one")
        await until(pilot, lambda: "context ▰▱▱▱▱▱▱▱ 2%" in line(app))
        await ask(pilot, "two")
        await ask(pilot, "three")
        await until(pilot, lambda: "oldest cut" in line(app))
        views = list(chat(app).query(TurnView))
        assert ["no longer sees" in view.text for view in views] == [False, True, False]
        await pilot.press("ctrl+n")
        await until(pilot, lambda: "context" not in line(app))


async def test_the_editor_gets_the_text_and_gives_it_back(
    make_app: MakeApp, taught: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = tmp_path / "editor.sh"
    script.write_text('#!/bin/sh\nprintf " and more\\n" >> "$1"\n')
    script.chmod(0o755)
    monkeypatch.setenv("EDITOR", str(script))
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setattr(TokmemApp, "suspend", lambda self: nullcontext())
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await ready(pilot)
        prompt = chat(app).query_one(Prompt)
        prompt.take("milk")
        await pilot.press("ctrl+g")
        await until(pilot, lambda: prompt.text == "milk and more")
        assert not list(app.paths.state.glob("*.md")), "no trace is left"
        monkeypatch.setenv("EDITOR", str(tmp_path / "missing"))
        await pilot.press("ctrl+g")
        await until(pilot, lambda: "could not be started" in texts(app))
        await pilot.press("enter")
        assert prompt.text == "milk and more"
        await pilot.press("ctrl+o", "a", "ctrl+g")
        await pilot.pause()
        assert prompt.text == "milk and morea", "what is typed stays; a temporary chat writes no file"


async def test_a_terminal_that_cannot_suspend(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await ready(pilot)
        chat(app).query_one(Prompt).take("milk")
        await pilot.press("ctrl+g")
        await pilot.pause()
        assert chat(app).query_one(Prompt).text == "milk"


async def test_an_answer_lost_with_its_terminal_can_be_had_again(make_app: MakeApp, taught: None, seed: Seed) -> None:
    def lose(store: ProfileStore) -> None:
        conversation = store.chats.create("lost")
        store.messages.add(conversation, "user", "I need to buy milk")
        store.messages.add(conversation, "assistant", "( ) bu", route="todo_line", status="failed")
        store.messages.add(conversation, "user", "I need to buy eggs")

    seed(lose)
    async with make_app().run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        await until(pilot, lambda: len(app.screen.query(TurnView)) == 2)
        assert ["broken off · r asks again" in view.text for view in app.screen.query(TurnView)] == [True, True]
        for view in app.screen.query(TurnView):
            view.focus()
            await pilot.press("r")
            await until(pilot, lambda: not chat(app).busy, "answered")
        assert "broken off" not in turn_texts(app)
        assert [turn.answer.status for turn in chat(app).session.turns] == ["complete", "complete"]
        conversation = app.store.chats.list()[0].id
        assert [record.role for record in app.store.messages.list(conversation)] == ["user", "assistant"] * 2


@pytest.fixture
def long_chat(seed: Seed) -> int:
    """A conversation of many turns; how many."""
    turns = DRAWN_TURNS + FIRST_TURNS

    def talk(store: ProfileStore) -> None:
        conversation = store.chats.create("long")
        for number in range(turns):
            store.messages.add(conversation, "user", f"question {number}")
            store.messages.add(conversation, "assistant", f"answer {number}", route="none")

    seed(talk)
    return turns


async def test_a_long_chat_is_drawn_in_stretches(make_app: MakeApp, long_chat: int) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        transcript = chat(app).query_one(Transcript)

        def drawn() -> list[str]:
            return [view.turn.question for view in transcript.query(TurnView)]

        assert drawn()[-1] == f"question {long_chat - 1}"
        assert len(drawn()) == FIRST_TURNS
        assert transcript.at_end
        last_view(app).focus()
        await until(pilot, lambda: isinstance(app.focused, TurnView))
        seen: list[str] = []
        for _ in range(long_chat - 1):
            assert isinstance(app.focused, TurnView)
            seen.append(app.focused.turn.question)
            await pilot.press("up")
        assert seen == [f"question {number}" for number in range(long_chat - 1, 0, -1)], "every message in its order"
        assert drawn()[0] == "question 0"
        assert len(drawn()) <= DRAWN_TURNS
        await pilot.press("up")
        assert isinstance(app.focused, TurnView) and app.focused.turn.question == "question 0"
        for _ in range(long_chat):
            await pilot.press("down")
        assert isinstance(app.focused, Prompt)
        assert drawn()[-1] == f"question {long_chat - 1}"
        assert len(drawn()) <= DRAWN_TURNS


async def test_scrolling_draws_more_and_the_end_comes_back(make_app: MakeApp, long_chat: int) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        transcript = chat(app).query_one(Transcript)
        first = transcript.query(TurnView).first().turn.question
        transcript.scroll_home(animate=False)
        await until(pilot, lambda: transcript.query(TurnView).first().turn.question != first)
        await until(pilot, lambda: transcript.scroll_offset.y > 0, "what was at the top stays in sight")
        await pilot.press("ctrl+end")
        await until(pilot, lambda: transcript.at_end)
        assert transcript.query(TurnView).last().turn.question == f"question {long_chat - 1}"
        turn = await ask(pilot, "one more")
        assert transcript.at_end
        assert last_view(app).turn is turn
