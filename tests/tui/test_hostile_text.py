"""Nothing that stands in a profile, a bank or a file's name is obeyed by the terminal, whatever screen shows it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.drivers.headless_driver import HeadlessDriver
from textual.widgets import Input

from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from profiles.store.store import ProfileStore
from tests.banks import bank, bank_bytes, files_of, zipped
from tests.hostile import HOSTILE, assert_obeyed_nothing, feed
from tests.tui.driving import procedures, ready, texts, until
from tokmem_desk.errors import TokmemError
from tui.banks.dialogs import BankDialog
from tui.chat.prompt import Prompt
from tui.kit.failure import FailureDialog
from tui.procedures.import_pairs import ImportDialog
from tui.procedures.screen import ProceduresScreen
from tui.shell.app import TokmemApp

SHOWN = "␛]52;c;eA=="
"""The beginning of hostile text as it is drawn."""

pytestmark = pytest.mark.asyncio
MakeApp = Callable[..., TokmemApp]
Seed = Callable[[Callable[[ProfileStore], None]], None]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the app writes to its terminal."""
    written: list[str] = []
    monkeypatch.setattr(HeadlessDriver, "is_headless", property(lambda self: False))
    monkeypatch.setattr(HeadlessDriver, "write", lambda self, data: written.append(data))
    return written


def look(sent: list[str], where: str) -> str:
    """Check what was drawn since the last look, and return it."""
    drawn = "".join(sent)
    sent.clear()
    assert_obeyed_nothing(drawn, where)
    return drawn


@pytest.fixture
def fed(taught: None, seed: Seed, paths: AppPaths) -> list[str]:
    """A profile with something in every table, and hostile text in all of it."""

    def fill(store: ProfileStore) -> None:
        schema = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
        store.procedures.set_group("todo_line", "things")
        store.procedures.set_schema("mood_log", json.dumps(schema))
        store.commands.set("mood_log", ["note", "--", "{text}"])
        chat = store.chats.create("a title")
        first = store.messages.add(chat, "user", "a question")
        segment = {"route": "mood_log", "response": "r", "arguments": {"text": "t"}, "problem": "p"}
        segment["run"] = {"vector": ["/bin/note", "t"], "exit_status": 1, "stdout": "o", "stderr": "e"}
        answer = "an answer **bold** [link](http://a.b)"
        details = {"segments": [segment]}
        store.messages.add(chat, "assistant", answer, route="mood_log", probability=0.9, details=details)
        store.corrections.add("a question", "none", "todo_line", first)
        store.chats.keep_unsent("half a message")
        store.procedures.remove("todo_line")
        store.undo.take_back()

    seed(fill)
    [database] = (paths.data / "profiles").glob("*/profile.sqlite")
    return feed(database) + feed(paths.registry_file)


async def test_every_text_of_every_table_is_shown_and_not_obeyed(
    make_app: MakeApp, fed: list[str], sent: list[str]
) -> None:
    wanted = ("procedures.description", "pairs.input", "conversations.title", "messages.content", "messages.details",
              "corrections.text", "undo_log.text", "versions.text", "commands.template", "profiles.name",
              "memories.scorecard", "memories.created", "procedures.group_name", "procedures.source")  # fmt: skip
    assert set(wanted) <= set(fed)
    async with make_app().run_test(size=(120, 40), notifications=True) as pilot:
        app = await ready(pilot)
        shown: dict[str, str] = {}

        async def press(*keys: str) -> None:
            await pilot.press(*keys)
            for _ in range(3):
                await pilot.pause()
            name = " ".join(keys)
            shown[name] = shown.get(name, "") + look(sent, f"{type(app.screen).__name__} after {name}")

        await until(pilot, lambda: SHOWN in "".join(sent), "the conversation of last time")
        look(sent, "the start")
        await press("ctrl+r")
        await press("escape")
        for mode in ("f2", "f3", "f4", "f5", "f8", "f9"):
            await press(mode)
            await press("f1")
            await press("escape")
        await press("f12")
        await press("escape")
        await press("f3")
        await until(pilot, lambda: procedures(app).query("#procedures"))
        for key in ("e", "o", "g", "w", "v", "c", "x", "d", "ctrl+z"):
            await press(key)
            while len(app.screen_stack) > 1:
                await press("escape")
        await press("enter", "down", "e")
        await press("escape")
        for mode in ("f3", "f5"):
            assert SHOWN in shown[mode], f"{mode} shows what it was given"


async def test_every_field_of_a_bank_that_is_only_looked_at(
    make_app: MakeApp, taught: None, sent: list[str], tmp_path: Path
) -> None:
    files = files_of(bank_bytes(bank(with_pairs=True)))
    manifest = json.loads(files["manifest.json"])
    title = {**manifest, "title": HOSTILE, "licence": HOSTILE, "created": f"{manifest['created']}{HOSTILE}"}
    for one in title["procedures"]:
        one["description"] = f"{one.get('description', '')}{HOSTILE}"
    name = "evil\x1b]52;c;eA==\x07\u202egnp\x9b.tokmem"
    file = tmp_path / name
    file.write_bytes(zipped({**files, "manifest.json": json.dumps(title).encode()}))
    async with make_app().run_test(size=(120, 40), notifications=True) as pilot:
        app = await ready(pilot)
        await pilot.press("f3")
        await until(pilot, lambda: isinstance(app.screen, ProceduresScreen))
        await pilot.press("i")
        await until(pilot, lambda: isinstance(app.screen, ImportDialog))
        app.screen.query_one("#path", Input).value = str(file)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, (BankDialog, FailureDialog)) or texts(app, "#fault"))
        await until(pilot, lambda: SHOWN in "".join(sent), texts(app))
        look(sent, "the bank")


async def test_questions_answers_errors_and_pasted_text(make_app: MakeApp, taught: None, sent: list[str]) -> None:
    async with make_app().run_test(size=(100, 30), notifications=True) as pilot:
        app = await ready(pilot)
        prompt = app.screen.query_one(Prompt)
        prompt.take(f"a\tb {HOSTILE}")
        await pilot.pause()
        look(sent, "the prompt")
        await pilot.press("enter")
        await pilot.pause(0.5)
        look(sent, "the transcript")
        app.notify(HOSTILE, title=HOSTILE, markup=False)
        await until(pilot, lambda: SHOWN in "".join(sent), "a toast")
        look(sent, "a toast")
        app.show_error(TokmemError(HOSTILE, next_step=HOSTILE))
        await until(pilot, lambda: SHOWN in "".join(sent), "an error")
        look(sent, "an error")


async def test_the_last_words_of_the_app(
    make_app: MakeApp, paths: AppPaths, taught: None, capsys: pytest.CaptureFixture[str]
) -> None:
    with ProfileRegistry(paths) as registry:
        assert registry.list()
    app = make_app()
    app.error_console.print(f"it ends: {HOSTILE}")
    said = capsys.readouterr().err
    assert "it ends: ␛]52" in said
    assert_obeyed_nothing(said, "the last words")


async def test_the_look_itself_finds_what_would_be_obeyed() -> None:
    assert_obeyed_nothing("\x1b[1;2H\x1b[38;2;1;2;3mfine\x1b[0m\n", "here")
    for raw in ("\x1b]52;c;eA==\x07", "\x07", "\x9b31m", "\u202e"):
        with pytest.raises(AssertionError, match="here"):
            assert_obeyed_nothing(f"\x1b[1mfine\x1b[0m{raw}", "here")
