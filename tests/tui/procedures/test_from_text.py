"""A procedure out of a text: its examples, or drafts that are taken one by one."""

from __future__ import annotations

from pathlib import Path

from textual.widgets import Input, TextArea

from tests.tui.driving import texts, until
from tests.tui.procedures.test_procedure_dialogs import at_once, closed, open_dialog
from tests.tui.procedures.test_procedures import MakeApp, open_procedures, pairs
from tui.procedures.drafts import DraftsDialog
from tui.procedures.from_text import FromTextDialog

__all__ = ["at_once"]
EXAMPLES = "---\nname: Trades\ndescription: Finds the trade.\n---\n# Examples\nInput: a tap\nOutput: plumber\n"


async def test_examples_of_a_file_become_pairs(make_app: MakeApp, taught: None, tmp_path: Path) -> None:
    (tmp_path / "SKILL.md").write_text(EXAMPLES)
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await open_procedures(pilot)
        await open_dialog(pilot, app, "b", FromTextDialog)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "is empty" in texts(app, "#fault"))
        app.screen.query_one("#file", Input).value = str(tmp_path / "none.md")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "There is no file" in texts(app, "#fault"))
        app.screen.query_one("#file", Input).value = str(tmp_path / "SKILL.md")
        app.screen.query_one("#name", Input).value = "mood_log"
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "There is a procedure 'mood_log' already." in texts(app, "#fault"))
        app.screen.query_one("#name", Input).value = ""
        await pilot.press("ctrl+s")
        await closed(pilot, app)
        assert pairs(app, "trades") == [("a tap", "plumber")]
        assert app.store.procedures.get("trades").description == "Finds the trade."
        await pilot.press("ctrl+z")
        await until(pilot, lambda: "trades" not in [one.name for one in app.store.procedures.list()])


async def test_drafts_of_a_pasted_text_are_taken(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await open_procedures(pilot)
        await open_dialog(pilot, app, "b", FromTextDialog)
        app.screen.query_one("#name", Input).value = "todo"
        app.screen.query_one("#text", TextArea).load_text("Turn a note into a to-do line.")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, DraftsDialog))
        dialog = app.screen
        assert isinstance(dialog, DraftsDialog)
        await until(pilot, lambda: len(dialog.drafts) == 5 and "m asks for more" in texts(app, "#busy"))
        assert "todo" not in [one.name for one in app.store.procedures.list()], "nothing is stored unasked"
        await pilot.press("a", "d", "a")
        await until(pilot, lambda: [draft.state for draft in dialog.drafts][:3] == ["taken", "dropped", "taken"])
        await pilot.press("escape")
        await closed(pilot, app)
        assert pairs(app, "todo") == [("drafted 1", "answer 1"), ("drafted 3", "answer 3")]
        assert app.store.procedures.get("todo").description == "Turn a note into a to-do line."
