"""Text files that go with a message: paths as they are typed, dropped and pasted; what cannot be attached; the app."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from textual import events
from textual.widgets import Input

from tests.tui.driving import ask, chat, line, ready, texts, until
from tokmem_desk.errors import BadInputError, NotFoundError, StorageError, UsageError
from tui.chat.attachment_line import AttachmentLine
from tui.chat.prompt import Prompt
from tui.chat.text_files import TextFile, pasted_paths, paths_in, read_text_file, with_files
from tui.kit.ask_line import LineDialog
from tui.shell.app import TokmemApp

MakeApp = Callable[..., TokmemApp]


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A file whose name has what shells and addresses must escape."""
    file = tmp_path / "my höme's notes (1) 100%.txt"
    file.write_text("Buy milk.\n")
    return file


@pytest.mark.parametrize(
    "written",
    [
        lambda path: str(path),
        lambda path: f"  {path}\n",
        lambda path: f'"{path}"',
        lambda path: "'" + str(path).replace("'", "'\\''") + "'",
        lambda path: "".join(f"\\{letter}" if letter in " '()%" else letter for letter in str(path)),
        lambda path: path.as_uri(),
        lambda path: path.as_uri().replace("file://", "file://localhost"),
        lambda path: f"'{path.as_uri()}'" if "'" not in path.as_uri() else path.as_uri(),
    ],
)
def test_every_way_of_writing_a_path_is_read(odd: Path, written: Callable[[Path], str]) -> None:
    assert paths_in(written(odd)) == pasted_paths(written(odd)) == [odd]


def test_several_files_and_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    files = [tmp_path / "a b.txt", tmp_path / "c.txt"]
    for file in files:
        file.write_text("x")
    assert pasted_paths(f"'{files[0]}' {files[1]}") == files
    assert pasted_paths(f"{files[0].as_uri()}\n{files[1].as_uri()}\n") == files
    assert pasted_paths("~/c.txt") == [files[1]]


def test_a_paste_that_is_something_else_stays_a_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "notes").write_text("x")
    monkeypatch.chdir(tmp_path)
    others = ("notes", "", "/no/such/file", str(tmp_path), f"{tmp_path / 'notes'} is my file", "it's", "~nobody/x")
    for text in (*others, "/" + "x" * 5000, "file://elsewhere/x", "word " * 30_000):
        assert pasted_paths(text) == [], text
    assert paths_in("notes") == [Path("notes")], "typed into the dialog it is a path"


def test_what_cannot_be_attached_is_said(tmp_path: Path) -> None:
    def made(name: str, data: bytes) -> Path:
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    os.mkfifo(tmp_path / "pipe")
    for path, error, words in (
        (tmp_path / "none", NotFoundError, "There is no file"),
        (tmp_path, BadInputError, "is a folder"),
        (tmp_path / "pipe", BadInputError, "is no ordinary file"),
        (made("empty", b" \n"), BadInputError, "is empty"),
        (made("picture", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"), BadInputError, "is not a text file"),
        (made("latin", "caf\xe9 closed".encode("latin-1")), BadInputError, "is not UTF-8 text"),
        (made("long", b"x" * 100_001), BadInputError, "is 100,001 characters long; a message may have 100,000"),
        (made("longer", b"x" * 3_000_000), BadInputError, "is 2.9 MiB; a message may have 100,000 characters"),
    ):
        with pytest.raises(error, match=words):
            read_text_file(path)
    with pytest.raises(UsageError, match="on another computer"):
        paths_in("file://elsewhere/x")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read_is_said(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("x")
    file.chmod(stat.S_IWUSR)
    with pytest.raises(StorageError, match="there is no permission"):
        read_text_file(file)


def test_text_of_other_systems_is_read(tmp_path: Path) -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        file = tmp_path / encoding
        file.write_bytes("first\r\nzwölf\r\n".encode(encoding))
        assert read_text_file(file).text == "first\nzwölf"


def test_the_texts_stand_behind_what_was_typed() -> None:
    files = [TextFile(Path("a"), "one\ntwo"), TextFile(Path("b"), "three")]
    assert with_files(" Sum this up: ", files) == "Sum this up:\n\none\ntwo\n\nthree"
    assert with_files("", files[:1]) == "one\ntwo" and with_files("hello", []) == "hello"


@pytest.mark.asyncio
async def test_a_dropped_file_goes_with_the_next_message(make_app: MakeApp, taught: None, odd: Path) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        prompt = chat(app).query_one(Prompt)
        app.post_message(events.Paste(f"{odd.as_uri()}\n"))
        await until(pilot, lambda: "2 tokens" in texts(app, "AttachmentLine"))
        assert odd.name in texts(app, "AttachmentLine") and prompt.text == ""
        turn = await ask(pilot, "I need to")
        assert turn.question == "I need to\n\nBuy milk." and turn.answer.text == "( ) buy milk due:mon"
        assert app.store.messages.list(chat(app).session.conversation_id)[0].content == turn.question
        assert not app.screen.query_one(AttachmentLine).display
        app.post_message(events.Paste("just words"))
        await until(pilot, lambda: prompt.text == "just words")
        assert not app.screen.query_one(AttachmentLine).display


@pytest.mark.asyncio
async def test_files_are_named_in_a_dialog_and_taken_away_again(
    make_app: MakeApp, taught: None, odd: Path, tmp_path: Path
) -> None:
    (tmp_path / "long.txt").write_text("word " * 3000)
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await ready(pilot)
        await pilot.press("f6")
        await until(pilot, lambda: isinstance(app.screen, LineDialog))
        app.screen.query_one(Input).value = str(tmp_path / "none.txt")
        await pilot.press("enter")
        await until(pilot, lambda: "There is no file" in texts(app, "#fault"))
        app.screen.query_one(Input).value = f"'{tmp_path / 'long.txt'}' {odd.as_uri()}"
        await pilot.press("enter")
        await until(pilot, lambda: "Too long: this model reads 2,048 tokens" in texts(app, "AttachmentLine"))
        await pilot.press("escape")
        assert not app.screen.query_one(AttachmentLine).display
        await pilot.press("enter")
        assert not chat(app).session.turns, "nothing is left to send"
        prompt = chat(app).query_one(Prompt)
        odd.write_bytes(b"\0\1")
        app.post_message(events.Paste(str(odd)))
        await until(pilot, lambda: "is not a text file" in line(app))
        assert prompt.text == str(odd), "the paste is kept as text"


@pytest.mark.asyncio
async def test_a_file_alone_is_sent_and_an_unsent_one_is_kept(make_app: MakeApp, taught: None, odd: Path) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await ready(pilot)
        prompt = chat(app).query_one(Prompt)
        odd.write_text("I need to buy milk")
        app.post_message(events.Paste(str(odd)))
        await until(pilot, lambda: app.screen.query_one(AttachmentLine).display)
        await pilot.press("enter")
        await until(pilot, lambda: chat(app).session.turns and not chat(app).busy)
        assert chat(app).session.turns[0].answer.text == "( ) buy milk due:mon"
        app.post_message(events.Paste(str(odd)))
        await until(pilot, lambda: app.screen.query_one(AttachmentLine).display)
        prompt.take("Now")
        chat(app).keep_unsaved()
        assert app.store.chats.take_unsent() == "Now\n\nI need to buy milk"
