"""Banks in the app: export, a look before the import, conflicts, passphrases, refusals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Button, Checkbox, Input, RadioSet

from tests.banks import bank, files_of, write
from tests.cli.test_bank import other_model
from tests.tui.driving import SIZES, procedures, ready, texts, until
from tests.tui.procedures.test_procedures import open_procedures, rows
from tests.undo_log import newest_undo
from tui.banks.dialogs import BankDialog, ExportDialog
from tui.kit.busy import BusyDialog
from tui.kit.failure import FailureDialog
from tui.procedures.import_pairs import ImportDialog
from tui.procedures.screen import ProceduresScreen
from tui.shell.app import TokmemApp

pytestmark = pytest.mark.asyncio
MakeApp = Callable[..., TokmemApp]


async def look_into(pilot: Pilot[None], app: TokmemApp, file: Path) -> None:
    """Open the import dialog and give it a bank."""
    await pilot.press("i")
    await until(pilot, lambda: isinstance(app.screen, ImportDialog))
    app.screen.query_one("#path", Input).value = str(file)
    await pilot.press("enter")
    await until(pilot, lambda: isinstance(app.screen, BankDialog))


@pytest.mark.parametrize("size", SIZES)
async def test_export_then_import_again(make_app: MakeApp, taught: None, tmp_path: Path, size: tuple[int, int]) -> None:
    file = tmp_path / "mine.tokmem"
    async with make_app().run_test(size=size) as pilot:
        app = await open_procedures(pilot)
        app.store.plans.set_steps("mood_log", "todo_line: buy oats")
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, ExportDialog))
        app.screen.query_one("#names", Input).value = "nobody"
        app.screen.query_one("#path", Input).value = str(file)
        app.screen.query_one("#names", Input).focus()
        await pilot.press("ctrl+s")
        assert "'nobody' is not trained" in texts(app, "#fault")
        app.screen.query_one("#names", Input).value = ""
        app.screen.query_one("#passphrase", Input).value = "Pferd"
        await pilot.press("ctrl+s")
        assert "two different ones" in texts(app, "#fault")
        app.screen.query_one("#again", Input).value = "Pferd"
        app.screen.query_one("#pairs", Checkbox).value = True
        await pilot.press("ctrl+s")
        await until(pilot, lambda: file.exists() and isinstance(app.screen, ProceduresScreen), "exported")
        assert file.read_bytes().startswith(b"TOKMEM-PROTECTED")
        await look_into(pilot, app, file)
        assert "under a passphrase" in texts(app, "#passphrase-label")
        app.screen.query_one("#passphrase", Input).value = "Esel"
        await pilot.press("enter")
        await until(pilot, lambda: "does not open" in texts(app, "#fault"))
        app.screen.query_one("#passphrase", Input).value = "Pferd"
        app.screen.query_one("#passphrase", Input).focus()
        await pilot.press("enter")
        await until(pilot, lambda: "It fits the model here" in texts(app, "#verdict"))
        assert "mood_log, todo_line already" in texts(app, "#conflict-label")
        assert "todo_line: buy oats" in texts(app, "#found") and app.screen.query_one("#import", Button).has_focus
        await pilot.press("enter")
        await until(pilot, lambda: len(rows(app)) == 4 if isinstance(app.screen, ProceduresScreen) else False)
        assert [row[0] for row in rows(app)] == ["mood_log", "mood_log-2", "todo_line", "todo_line-2"]
        assert app.store.plans.steps()["mood_log-2"] == "todo_line = todo_line-2: buy oats"
        assert [one.name for one in app.store.procedures.list() if not one.enabled] == ["mood_log-2"]
        assert any("mood_log-2 is a plan, and off" in note.message for note in app._notifications)
        assert app.store.procedures.with_pairs("mood_log-2").pairs == app.store.procedures.with_pairs("mood_log").pairs
        await pilot.press("ctrl+z")
        await until(pilot, lambda: len(rows(app)) == 2)


async def test_one_is_exported_without_pairs_and_no_file_is_written_over(
    make_app: MakeApp, taught: None, tmp_path: Path
) -> None:
    file = tmp_path / "one"
    file.with_suffix(".tokmem").write_bytes(b"precious")
    async with make_app().run_test() as pilot:
        app = await open_procedures(pilot)
        app.store.plans.set_steps("mood_log", "todo_line: buy oats")
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, ExportDialog))
        assert app.screen.query_one("#names", Input).value == "mood_log"
        app.screen.query_one("#path", Input).value = str(file)
        app.screen.query_one("#names", Input).focus()
        await pilot.press("ctrl+s")
        assert "is there already" in texts(app, "#fault")
        file.with_suffix(".tokmem").unlink()
        await pilot.press("ctrl+s")
        await until(pilot, lambda: file.with_suffix(".tokmem").exists())
        await until(pilot, lambda: any("word for word: mood_log" in note.message for note in app._notifications))
        files = files_of(file.with_suffix(".tokmem").read_bytes())
        assert "pairs.jsonl" not in files and b"my sister" not in b"".join(files.values())


async def test_replacing_is_a_choice(make_app: MakeApp, taught: None, tmp_path: Path) -> None:
    made = bank(2)
    file = write(tmp_path / "a.tokmem", replace(made, procedures=[replace(made.procedures[0], name="todo_line")],
                                                probes=[replace(made.probes[0], route="none")]))  # fmt: skip
    async with make_app().run_test() as pilot:
        app = await open_procedures(pilot)
        await look_into(pilot, app, file)
        await until(pilot, lambda: "todo_line already" in texts(app, "#conflict-label"))
        app.screen.query_one("#conflict", RadioSet).focus()
        await pilot.press("down", "enter")
        app.screen.query_one("#import", Button).focus()
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, ProceduresScreen) and not app.store.pairs.list("todo_line"))
        assert app.store.procedures.get("todo_line").description == "Does thing 0"


async def test_a_bank_for_another_model(make_app: MakeApp, tmp_path: Path) -> None:
    bare, pairs = tmp_path / "bare.tokmem", tmp_path / "pairs.tokmem"
    write(bare, other_model(bank()))
    write(pairs, other_model(bank(with_pairs=True)))
    async with make_app().run_test() as pilot:
        app = await open_procedures(pilot)
        await look_into(pilot, app, bare)
        await until(pilot, lambda: "cannot be trained here" in texts(app, "#verdict"))
        assert not app.screen.query_one("#import", Button).display
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, ProceduresScreen))
        await look_into(pilot, app, pairs)
        await until(pilot, lambda: "can be trained here" in texts(app, "#verdict"))
        await pilot.press("enter")
        await until(pilot, lambda: len(app.trainings.in_state("undecided")) == 3, "trained")
        assert sorted(job.name for job in app.trainings.jobs) == ["proc0", "proc1", "proc2"]


async def test_what_goes_wrong_changes_nothing(make_app: MakeApp, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.tokmem"
    damaged.write_bytes(write(tmp_path / "a.tokmem").read_bytes()[:-40])
    made = bank(1)
    broken = write(tmp_path / "broken.tokmem", replace(
        made, procedures=[replace(made.procedures[0], name="broken")], probes=[replace(made.probes[0], route="none")]
    ))  # fmt: skip
    async with make_app().run_test() as pilot:
        app = await open_procedures(pilot)
        await look_into(pilot, app, damaged)
        await until(pilot, lambda: "damaged" in texts(app, "#fault"))
        assert not app.screen.query_one("#import", Button).display
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, ProceduresScreen))
        await look_into(pilot, app, broken)
        await until(pilot, lambda: app.screen.query_one("#import", Button).display)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, FailureDialog))
        assert "1 of 1 test messages" in texts(app)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, ProceduresScreen))
        assert app.store.procedures.list() == [] and not app.store.banks.quarantine_folder.exists()
        assert procedures(app).query_one("#empty").display


async def test_an_import_shows_how_far_it_is_and_can_be_stopped(make_app: MakeApp, tmp_path: Path) -> None:
    file = write(tmp_path / "a.tokmem", bank(60))
    async with make_app("--step-delay", "0.2").run_test(size=(80, 24)) as pilot:
        app = await open_procedures(pilot)
        await look_into(pilot, app, file)
        await until(pilot, lambda: app.screen.query_one("#import", Button).display)
        await pilot.press("enter")
        await until(
            pilot, lambda: isinstance(app.screen, BusyDialog) and "Answering its test messages" in texts(app, "#words")
        )
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, ProceduresScreen))
        assert app.store.procedures.list() == [] and not app.store.banks.quarantine_folder.exists()
        assert not list(app.store.memories.folder.glob("*")) and newest_undo(app.store) is None
        assert not app.link.busy


async def test_nothing_to_export(make_app: MakeApp) -> None:
    async with make_app().run_test() as pilot:
        await ready(pilot)
        app = await open_procedures(pilot)
        await pilot.press("x")
        await pilot.pause()
        assert isinstance(app.screen, ProceduresScreen)
