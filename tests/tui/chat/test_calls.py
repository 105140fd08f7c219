"""Calls in the chat: laid out, run after consent, kept; the form and the command of a procedure."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.widgets import Checkbox, Static, TextArea

from profiles.store.store import ProfileStore
from tests.tui.conftest import remember
from tests.tui.driving import ask, chat, last_view, procedures, ready, texts, turn_texts, until
from tokmem_desk.procedures import ExamplePair, Procedure
from tui.chat.run_call import RunDialog
from tui.procedures.edit_tool import ToolDialog
from tui.shared.command_run import PreparedCommand, prepare, run_of
from tui.shell.app import TokmemApp

pytestmark = pytest.mark.asyncio
MakeApp = Callable[..., TokmemApp]

SCHEMA = {
    "type": "object",
    "properties": {"text": {"type": "string"}, "day": {"type": "string"}},
    "required": ["text", "day"],
}
NOTE = Procedure(
    "note",
    tuple(
        ExamplePair(f"please note {what} for {day}", json.dumps({"text": f"[{what}]; x", "day": day}))
        for what, day in (("milk", "Monday"), ("rent", "Sunday"), ("bike", "Friday"))
    ),
    output_schema=json.dumps(SCHEMA),
)
ASKED = "please note milk for Monday"


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """What the command writes: the arguments of each run on a line."""
    return tmp_path / "notes"


@pytest.fixture
def with_note(seed: Callable[[Callable[[ProfileStore], None]], None], notes: Path) -> None:
    """A trained procedure whose answers are calls, with a command."""
    code = f"import json, sys; open({str(notes)!r}, 'a').write(json.dumps(sys.argv[1:]) + '\\n'); print('noted')"

    def teach(store: ProfileStore) -> None:
        store.procedures.add(NOTE)
        remember(store, "note")
        store.commands.set("note", [sys.executable, "-c", code, "--day={day}", "--", "{text}"])

    seed(teach)


def runs(notes: Path) -> list[list[str]]:
    return [json.loads(line) for line in notes.read_text().splitlines()] if notes.exists() else []


async def test_a_call_is_laid_out_and_nothing_runs_by_itself(make_app: MakeApp, with_note: None, notes: Path) -> None:
    async with make_app().run_test(size=(100, 30)) as pilot:
        app = await ready(pilot)
        await ask(pilot, ASKED)
        await until(pilot, lambda: "▸ note" in turn_texts(app))
        shown = turn_texts(app)
        assert "text  [milk]; x" in shown and "day   Monday" in shown and "{" not in shown
        await pilot.pause(0.1)
        assert runs(notes) == []


async def test_the_exact_vector_is_shown_and_declining_runs_nothing(
    make_app: MakeApp, with_note: None, notes: Path
) -> None:
    async with make_app().run_test(size=(100, 40)) as pilot:
        app = await ready(pilot)
        await ask(pilot, ASKED)
        last_view(app).focus()
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, RunDialog))
        shown = str(app.screen.query_one("#vector", Static).render())
        assert "--day=Monday" in shown and "'[milk]; x'" in shown and sys.executable in shown
        await pilot.press("enter")  # the harmless answer has the focus
        await until(pilot, lambda: not isinstance(app.screen, RunDialog))
        assert runs(notes) == []


async def test_no_value_hides_what_runs(make_app: MakeApp, with_note: None) -> None:
    async with make_app().run_test(size=(80, 30)) as pilot:
        app = await ready(pilot)
        odd = "a\n2  --force \u202e\x1b]52;c;eA==\x07" + " " * 80 + "3  --all"
        app.push_screen(RunDialog(PreparedCommand("note", ("/bin/note", odd, *"x" * 40), "digest", False)))
        await until(pilot, lambda: isinstance(app.screen, RunDialog))
        box = app.screen.query_one("#vector-box")
        await until(pilot, lambda: app.screen.query_one("#vector", Static).size.height > 40)
        lines = str(app.screen.query_one("#vector", Static).render()).splitlines()
        assert [line[:2].strip() for line in lines if line[:2].strip()] == [str(place) for place in range(42)]
        assert "'a␊2  --force ‹U+202E›␛]52;c;eA==␇" in "".join(line[4:] for line in lines)
        assert "stand for characters that cannot be seen" in texts(app)
        box.focus()
        await pilot.press("end")
        await until(pilot, lambda: box.scroll_offset.y == box.max_scroll_y > 0, "its keys reach the last argument")


async def test_a_command_that_is_refused_now_says_so_and_runs_nothing(
    make_app: MakeApp, with_note: None, seed: Callable[[Callable[[ProfileStore], None]], None]
) -> None:
    def older(store: ProfileStore) -> None:
        with store._database.writing() as connection:
            template = json.dumps(["env", "bash", "-c", "{text}"])
            connection.execute("UPDATE commands SET template = ?, allowed = 'digest'", (template,))

    seed(older)
    async with make_app().run_test(size=(110, 50)) as pilot:
        app = await ready(pilot)
        await ask(pilot, ASKED)
        last_view(app).focus()
        await pilot.press("x")
        reason = "'{text}' would let a value become part of a shell's script"
        await until(pilot, lambda: any(reason in one.message for one in app._notifications))
        assert not isinstance(app.screen, RunDialog)
        await pilot.press("f3")
        await until(pilot, lambda: procedures(app).query("#procedures"))
        await pilot.press("o")
        await until(pilot, lambda: isinstance(app.screen, ToolDialog))
        await until(pilot, lambda: reason in str(app.screen.query_one("#fault", Static).render()))


async def test_a_run_is_kept_in_the_conversation(make_app: MakeApp, with_note: None, notes: Path) -> None:
    async with make_app().run_test(size=(100, 40)) as pilot:
        app = await ready(pilot)
        turn = await ask(pilot, ASKED)
        last_view(app).focus()
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, RunDialog))
        await pilot.click("#once")
        await until(pilot, lambda: "exit status 0" in " ".join(turn_texts(app).split()))
        assert "│ noted" in turn_texts(app)
        assert runs(notes) == [["--day=Monday", "--", "[milk]; x"]]
        [stored] = [one for one in app.store.messages.list(chat(app).session.conversation_id or 0) if one.details]
        kept = run_of(stored.details["segments"][0]["run"]) if stored.details else None
        assert kept is not None and kept.ok and kept.stdout == "noted\n"
        assert kept == run_of(turn.answer.segments[0].run or {})
        command = app.store.commands.get("note")
        assert command is not None and command.allowed is None, "once is not always"
    async with make_app().run_test(size=(100, 40)) as pilot:
        app = await ready(pilot)
        await until(pilot, lambda: "exit status 0" in " ".join(turn_texts(app).split()), "it is shown again")
        assert len(runs(notes)) == 1, "and not run again"


async def test_always_runs_the_next_one_unasked_until_taken_back(
    make_app: MakeApp, with_note: None, notes: Path
) -> None:
    async with make_app().run_test(size=(110, 50)) as pilot:
        app = await ready(pilot)
        await ask(pilot, ASKED)
        last_view(app).focus()
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, RunDialog))
        await pilot.click("#always")
        await until(pilot, lambda: len(runs(notes)) == 1)
        await ask(pilot, "please note rent for Sunday")
        await until(pilot, lambda: len(runs(notes)) == 2)
        assert runs(notes)[1] == ["--day=Sunday", "--", "[rent]; x"]
        await pilot.press("f3")
        await until(pilot, lambda: procedures(app).query("#procedures"))
        await pilot.press("o")
        await until(pilot, lambda: isinstance(app.screen, ToolDialog))
        app.screen.query_one("#allowed", Checkbox).value = False
        await pilot.press("ctrl+s")
        await until(pilot, lambda: not isinstance(app.screen, ToolDialog))
        command = app.store.commands.get("note")
        assert command is not None and command.allowed is None
        await pilot.press("f2")
        await ask(pilot, "please note bike for Friday")
        await pilot.pause(0.2)
        assert len(runs(notes)) == 2


async def test_a_text_answer_is_handed_over_whole_after_consent(
    make_app: MakeApp, taught: None, seed: Callable[[Callable[[ProfileStore], None]], None], notes: Path
) -> None:
    code = f"import json, sys; open({str(notes)!r}, 'a').write(json.dumps(sys.argv[1:]) + '\\n'); print('noted')"
    seed(lambda store: store.commands.set("todo_line", [sys.executable, "-c", code, "--", "{answer}"]) and None)
    async with make_app().run_test(size=(110, 50)) as pilot:
        app = await ready(pilot)
        await ask(pilot, "I need to buy milk")
        last_view(app).focus()
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, RunDialog))
        assert "'( ) buy milk due:mon'" in str(app.screen.query_one("#vector", Static).render()) and not runs(notes)
        await pilot.click("#once")
        await until(pilot, lambda: "noted" in turn_texts(app))
        assert runs(notes) == [["--", "( ) buy milk due:mon"]]
        conversation = chat(app).session.conversation_id
        assert conversation is not None
        await chat(app).history_controller.open(conversation)
        assert "( ) buy milk due:mon" in turn_texts(app) and "noted" in turn_texts(app), "kept with the chat"
        await ask(pilot, "I need to buy milk, quickly")
        await chat(app).history_controller.open(conversation)
        last_view(app).focus()
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, RunDialog))
        await pilot.click("#always")
        await until(pilot, lambda: len(runs(notes)) == 2)
        await ask(pilot, "I need to buy milk again")
        await until(pilot, lambda: len(runs(notes)) == 3)
        command = app.store.commands.get("todo_line")
        assert command is not None and prepare(command, None, {"answer": "x"}).allowed
        schema = json.dumps({"type": "object", "properties": {"answer": {"type": "string"}}})
        assert not prepare(command, schema, {"answer": "x"}).allowed, "another form of answers asks anew"
        await ask(pilot, "@mood_log it was a lovely day")
        last_view(app).focus()
        await pilot.press("x")
        await until(pilot, lambda: any("It has no command" in one.message for one in app._notifications))


async def test_a_command_never_runs_on_a_doubtful_value_unasked(
    make_app: MakeApp, with_note: None, notes: Path
) -> None:
    async with make_app().run_test(size=(110, 50)) as pilot:
        app = await ready(pilot)
        await ask(pilot, ASKED)
        last_view(app).focus()
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, RunDialog))
        await pilot.click("#always")
        await until(pilot, lambda: len(runs(notes)) == 1)
        turn = await ask(pilot, f"{ASKED} !doubt")
        await until(pilot, lambda: any("note was not run" in one.message for one in app._notifications))
        assert "day   Monday?" in turn_texts(app) and len(runs(notes)) == 1
        last_view(app).focus()
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, RunDialog))
        assert 'Doubtful: day "Monday" (41%)' in " ".join(texts(app, "RunDialog Static").split())
        assert not app.screen.query("#always")
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, RunDialog))
        assert len(runs(notes)) == 1
        # Another value is put in: the person has looked, and what is always allowed runs with that one.
        await pilot.press("tab", "1")
        await until(pilot, lambda: turn.answer.segments[0].arguments == {"text": "[milk]; x", "day": "later"})
        await pilot.press("x")
        await until(pilot, lambda: len(runs(notes)) == 2)
        assert runs(notes)[1] == ["--day=later", "--", "[milk]; x"]


async def test_the_form_and_the_command_are_written_in_a_dialog(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(110, 50)) as pilot:
        app = await ready(pilot)
        await pilot.press("f3")
        await until(pilot, lambda: procedures(app).query("#procedures"))
        await pilot.press("o")
        await until(pilot, lambda: isinstance(app.screen, ToolDialog))
        dialog = app.screen
        dialog.query_one("#template", TextArea).text = "note\n--\n{text}"
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "there is no schema" in str(dialog.query_one("#fault", Static).render()))
        dialog.query_one("#schema", TextArea).text = '{"type": "object",\n "properties": {"text": {"type": "strin"}}}'
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "at properties.text.type" in str(dialog.query_one("#fault", Static).render()))
        dialog.query_one("#schema", TextArea).text = json.dumps(SCHEMA)
        dialog.query(Checkbox).first().value = True
        await pilot.press("ctrl+s")
        await until(pilot, lambda: not isinstance(app.screen, ToolDialog))
        [name] = app.store.commands.by_name()
        record = app.store.procedures.get(name)
        assert record.reads_conversation and json.loads(record.output_schema or "") == SCHEMA
        assert app.store.commands.by_name()[name].template == ("note", "--", "{text}")
        assert "Answers with text, day · reads the conversation" in texts(app, "#about")


@pytest.mark.parametrize("odd", ["first\nsecond", "parted\u2028here", "", " "])
async def test_a_command_that_lines_cannot_show_stays_as_it_is(make_app: MakeApp, with_note: None, odd: str) -> None:
    async with make_app().run_test(size=(110, 50)) as pilot:
        app = await ready(pilot)
        app.store.commands.set("note", ("note", "-c", odd, "{text}"))
        before = app.store.commands.allow("note", "digest")
        await pilot.press("f3")
        await until(pilot, lambda: procedures(app).query("#procedures"))
        await pilot.press("o")
        await until(pilot, lambda: isinstance(app.screen, ToolDialog))
        assert app.screen.query_one("#template", TextArea).read_only
        assert "tokmem-desk proc command note" in texts(app)
        app.screen.query(Checkbox).first().value = True
        await pilot.press("ctrl+s")
        await until(pilot, lambda: not isinstance(app.screen, ToolDialog))
        assert app.store.procedures.get("note").reads_conversation
        assert app.store.commands.get("note") == before, "the command and the consent"


async def test_a_consent_from_an_older_database_asks_anew_and_says_why(
    make_app: MakeApp, with_note: None, notes: Path, tmp_path: Path
) -> None:
    async with make_app().run_test(size=(110, 50)) as pilot:
        app = await ready(pilot)
        await ask(pilot, ASKED)
        last_view(app).focus()
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, RunDialog))
        await pilot.click("#always")
        await until(pilot, lambda: len(runs(notes)) == 1)
        file = app.store.database_file
        yesterday = app.store.backup()
        app.store.commands.allow("note", None)
    for rest in ("-wal", "-shm"):
        file.with_name(file.name + rest).unlink(missing_ok=True)
    shutil.copy(yesterday, file)
    async with make_app().run_test(size=(110, 50)) as pilot:
        app = await ready(pilot)
        await ask(pilot, "please note rent for Sunday")
        await until(pilot, lambda: any("older copy" in one.message for one in app._notifications))
        assert len(runs(notes)) == 1, "nothing ran unasked"
        last_view(app).focus()
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, RunDialog))
        assert "older copy" in " ".join(texts(app, "RunDialog Static").split())
        await pilot.click("#once")
        await until(pilot, lambda: len(runs(notes)) == 2)
        command = app.store.commands.get("note")
        assert command is not None and command.allowed is None and command.withheld is None, "told once"
