"""What conversations are called: by rule, by the model in idle time, and in a narrow list."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from textual.widgets import Input

from tests.tui.driving import ask, chat, ready, texts, until
from tui.chat import history_controller
from tui.chat.history import ConversationList
from tui.chat.titles import TITLE_CHARACTERS, proposed_title, rule_title, short_titles
from tui.kit.ask_line import LineDialog
from tui.shell.app import TokmemApp

MakeApp = Callable[..., TokmemApp]


@pytest.mark.parametrize(
    ("question", "title"),
    [
        ("hello", "hello"),
        ("# \n\nWhat is this?", "What is this?"),
        ("## A *bold* `heading`", "A bold heading"),
        ("> you wrote: hi\n> and more\nPlease answer that mail", "Please answer that mail"),
        ("> only quoted", "only quoted"),
        ("```python\nprint(1)\n```\nWhy does this fail?", "Why does this fail?"),
        ("- first\n- second", "first"),
        ("1) first", "first"),
        ("see [the page](https://example.org/x) now", "see the page now"),
        ("snake_case_name stays", "snake_case_name stays"),
        ("42", "42"),
        ("???", "???"),
        ("\n\n  …  \n", "…"),
        ("“Guten Morgen”", "Guten Morgen"),
        ("今天天气怎么样", "今天天气怎么样"),
    ],
)
def test_by_rule(question: str, title: str) -> None:
    assert rule_title(question) == title


@pytest.mark.parametrize("text", ["word " * 40, "x" * 200, "字" * 200, "Könnten Sie mir bitte sagen, " * 5])
def test_a_long_line_is_cut_at_a_word(text: str) -> None:
    title = rule_title(text)
    assert len(title) <= TITLE_CHARACTERS and title.endswith("…")
    if " " in text.strip():
        assert title[:-1].split()[-1] in text.replace(",", "").split()


def test_no_two_titles_of_a_narrow_list_are_alike() -> None:
    moment = "2026-11-28T18:40:00+00:00"
    titles = [
        ("Könnten Sie mir bitte sagen, wie spät es ist?", moment),
        ("Könnten Sie mir bitte sagen, wo der Bahnhof ist?", moment),
        ("hello", moment),
        ("hello", "2026-11-27T09:05:00+00:00"),
        ("Something else", moment),
    ]
    shown = short_titles(titles, 23)
    assert len(set(shown)) == len(shown) and all(len(one) <= 23 for one in shown)
    assert shown[0].startswith("… wie spät") and shown[1].startswith("… wo der")
    assert shown[2:] == ["hello 11-28 18:40", "hello 11-27 09:05", "Something else"]


@pytest.mark.parametrize(
    ("proposal", "title"),
    [
        ("Capital of Norway", "Capital of Norway"),
        ('Title: "The Capital of Norway."\nmore', "The Capital of Norway"),
        ("**Norway's capital**", "Norway's capital"),
        ("", ""),
        ("\n \n", ""),
        ("123", ""),
        ("A poem about the sea", ""),
        ("Norway Norway Norway Norway", ""),
        ("The capital of Norway is Oslo and it is a big city at the sea", ""),
        ("Norway " + "x" * 80, ""),
    ],
)
def test_what_is_taken_of_a_proposal(proposal: str, title: str) -> None:
    assert proposed_title(proposal, "What is the capital of Norway?", "It is Oslo.") == title


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_controller, "TITLE_AFTER_SECONDS", 0.01)


async def test_the_model_names_a_chat_once_it_is_idle(make_app: MakeApp, taught: None) -> None:
    async with make_app("--title", "Greetings, hello").run_test(size=(120, 40)) as pilot:
        app = await ready(pilot)
        await ask(pilot, "hello there my friend")
        await until(pilot, lambda: app.store.chats.list()[0].title == "Greetings, hello")
        await ask(pilot, "and again")
        assert app.store.chats.list()[0].title == "Greetings, hello"


async def test_a_title_never_delays_an_answer_and_leaves_what_a_person_wrote(make_app: MakeApp, taught: None) -> None:
    async with make_app("--title", "Greetings, hello", "--title-waits").run_test(size=(120, 40)) as pilot:
        app = await ready(pilot)
        await ask(pilot, "hello there my friend")
        await until(pilot, lambda: app.link.busy, "the title is asked for")
        turn = await ask(pilot, "hello again")
        assert turn.answer.status == "complete"
        assert app.store.chats.list()[0].title == "hello there my friend"
        app.store.chats.rename(app.store.chats.list()[0].id, "mine")
        await pilot.pause(0.2)
        assert not chat(app).session.titles.wanted
        assert app.store.chats.list()[0].title == "mine"


async def test_the_model_proposes_a_title_in_the_rename_dialog(make_app: MakeApp, taught: None) -> None:
    async with make_app("--title", "Greetings, hello").run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        await ask(pilot, "hello there my friend")
        conversation = app.store.chats.list()[0].id
        app.store.chats.rename(conversation, "mine")
        chat(app).on_conversation_list_rename_wanted(ConversationList.RenameWanted(conversation))
        await until(pilot, lambda: isinstance(app.screen, LineDialog))
        assert app.screen.query_one(Input).value == "mine"
        await pilot.click("#propose")
        await until(pilot, lambda: app.screen.query_one(Input).value == "Greetings, hello")
        assert app.store.chats.get(conversation).title == "mine", "nothing is renamed before the person agrees"
        await pilot.press("ctrl+s")
        await until(pilot, lambda: app.store.chats.get(conversation).title == "Greetings, hello")


async def test_a_model_without_a_title_leaves_what_stands_there(make_app: MakeApp, taught: None) -> None:
    async with make_app("--title", "Something else entirely").run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        await ask(pilot, "hello there my friend")
        conversation = app.store.chats.list()[0].id
        chat(app).on_conversation_list_rename_wanted(ConversationList.RenameWanted(conversation))
        await until(pilot, lambda: isinstance(app.screen, LineDialog))
        await pilot.click("#propose")
        await until(pilot, lambda: "nothing to propose" in texts(app, "#fault"))
        assert app.screen.query_one(Input).value == "hello there my friend"
