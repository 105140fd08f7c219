"""Conversations on the command line: going on with one, listing, exporting, deleting."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from tests.cli.conftest import CommandLine, checked


@pytest.fixture
def talked(scripted) -> CommandLine:
    """A home with two conversations."""
    assert scripted("chat", "--plain", stdin="about apples\n").code == 0
    assert scripted("chat", "--plain", stdin="about pears\nand more pears\n").code == 0
    return scripted


def test_a_conversation_goes_on(talked):
    ended = talked("ask", "-c", "what was it about")
    assert ended.out.strip() == "You said: what was it about (4 messages before)"
    ended = talked("chat", "--plain", "--continue", stdin="and now\n")
    assert "(6 messages before)" in ended.out
    listed = talked("chats", "list", "--json").json("chats-list")["conversations"]
    assert [(one["title"], one["message_count"]) for one in listed] == [("about pears", 8), ("about apples", 2)]


def test_there_must_be_something_to_go_on_with(scripted):
    ended = scripted("ask", "-c", "hello")
    assert ended.code == 1 and "There is no conversation yet" in ended.err
    ended = scripted("chat", "--plain", "-c", "--temporary")
    assert ended.code == 2 and "nothing to go on with" in ended.err


def test_a_question_without_continue_is_kept_nowhere(scripted):
    assert scripted("ask", "hello").code == 0
    ended = scripted("chats", "list")
    assert ended.out == "" and "no conversation yet" in ended.err


def test_search_and_export(talked, tmp_path):
    ended = talked("chats", "list", "--search", "apples")
    assert "about apples" in ended.out and "pears" not in ended.out
    assert "Nothing found" in talked("chats", "list", "--search", "plums").err
    markdown = talked("chats", "export", "last").out
    assert markdown.startswith("# about pears\n") and "You said: and more pears (2 messages before)" in markdown
    document = talked("chats", "export", "last", "--json").json("chats-export")
    assert [message["content"] for message in document["messages"] if message["role"] == "user"] == [
        "about pears",
        "and more pears",
    ]
    file = tmp_path / "pears.json"
    assert talked("chats", "export", "last", str(file)).code == 0
    assert json.loads(file.read_text()) == document
    assert checked(file.read_text(), "chats-export")


def test_export_loses_no_file_and_names_what_is_wrong(talked, tmp_path):
    file = tmp_path / "kept.md"
    file.write_text("mine")
    # The fixture's --yes stands before every command; here nobody has agreed.
    plain = CommandLine(talked.home)
    ended = plain("chats", "export", "last", str(file))
    assert ended.code == 1 and "is there already" in ended.err and file.read_text() == "mine"
    assert plain("chats", "export", "last", str(tmp_path / "x.docx")).code == 2
    assert plain("chats", "export", "99").code == 1
    assert plain("chats", "export", "first").code == 2
    assert plain("chats", "delete", "last").code == 1
    assert talked("chats", "export", "last", str(file)).code == 0
    assert "pears" in file.read_text()


def test_delete(talked):
    assert talked("chats", "delete", "last", "--json").json("change")["names"] == ["about pears"]
    assert [one["title"] for one in talked("chats", "list", "--json").json("chats-list")["conversations"]] == [
        "about apples"
    ]


def test_an_exported_answer_tells_how_it_came(talked):
    document = talked("chats", "export", "last", "--json").json("chats-export")
    answer = document["messages"][1]
    assert (answer["route"], answer["rating"], answer["span"], answer["original"]) == ("none", None, 0, None)


def test_a_deleted_chat_and_a_temporary_one_are_in_no_file(talked):
    assert talked("chat", "--plain", "--temporary", stdin="secretly of quetzals\n").code == 0
    assert talked("chats", "delete", "last", "--yes").code == 0
    read = {file: file.read_bytes().lower() for file in talked.home.rglob("*") if file.is_file()}
    assert any(b"apples" in data for data in read.values()), "the other chat is where this test looks"
    for word in (b"pears", b"quetzals", b"secretly"):
        assert [file for file, data in read.items() if word in data] == []


def test_conversations_of_an_export_are_taken_over_once(scripted, tmp_path):
    file = tmp_path / "conversations.json"
    talk = [{"sender": "human", "text": "about figs"}, {"sender": "assistant", "text": "Sweet."}]
    picture = {"sender": "human", "text": "", "content": [{"type": "image"}]}
    rows = [{"name": "Figs", "chat_messages": [*talk, picture]}, {"name": "Empty", "chat_messages": []}]
    file.write_text(json.dumps(rows))
    taken = scripted("chats", "import", str(file), "--json")
    assert taken.json("change")["names"] == ["Figs"]
    assert "1 conversation has no message with an answer" in taken.err and "1 message is no text" in taken.err
    again = scripted("chats", "import", str(file), "--json")
    assert again.json("change")["names"] == [] and "1 conversation was here already" in again.err
    ended = scripted("ask", "-c", "and now")
    assert ended.out.strip() == "You said: and now (2 messages before)"
    for content, said in (("[]", "no conversation that is known"), ("{", "is not JSON")):
        file.write_text(content)
        ended = scripted("chats", "import", str(file))
        assert ended.code == 1 and said in ended.err


def test_a_file_goes_with_the_next_line(scripted: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "a note.txt"
    file.write_text("the rain in Spain", "utf-8")
    lines = f"/attach {file}\nwhat does it say\nand now\n/attach {tmp_path / 'none.txt'}\n"
    ended = scripted("chat", "--plain", stdin=lines)
    assert ended.code != 0 and "none.txt" in ended.err, "a file that is not there is told"
    with ProfileRegistry(AppPaths.resolve(scripted.home)) as registry, registry.open() as store:
        first, second = reversed(store.messages.latest_questions(2))
    assert first.startswith("what does it say") and "the rain in Spain" in first
    assert second == "and now"
