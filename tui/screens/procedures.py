"""Procedures: what the person has taught, or will teach, by example pairs."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import DataTable, Input, Static

from profiles.lint import lint_pairs
from profiles.pairs_file import PairsFile
from tokmem_desk.errors import TokmemError
from tokmem_desk.procedures import ExamplePair, Procedure
from tui.engine_link import EngineState
from tui.guard import shows_errors
from tui.messages import PairDeleteWanted, PairEditWanted
from tui.overview import ProcedureLine, procedure_lines
from tui.samples import sample_files
from tui.screens.base import AppScreen
from tui.screens.confirm import ConfirmDialog
from tui.screens.edit_pair import PairDialog
from tui.screens.edit_procedure import ProcedureDialog
from tui.screens.edit_tool import ToolDialog
from tui.screens.import_pairs import ImportChoice, ImportDialog
from tui.widgets.pair_panel import PairPanel, PairTable
from tui.widgets.procedure_table import ProcedureTable

EMPTY_TEXT = "A procedure is a skill you show by example: what you type, and what you want back."


class ProceduresScreen(AppScreen):
    """See the module."""

    MODE = "procedures"
    CSS_PATH = "procedures.tcss"
    AUTO_FOCUS = "ProcedureTable"
    LISTS = (ProcedureTable, PairTable)
    HELP_TITLE = "Procedures"
    HELP_TEXT = (
        "At the left your procedures, at the right the pairs of the one under the cursor. About 10 to 30 pairs make a "
        "good procedure. Pairs marked t are held out: they measure and are never learned from. ! marks what seems odd. "
        "o gives answers a form, lets them see the conversation, and hands them to a local command."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("i", "import", "Import"),
        Binding("x", "export", "Export"),
        Binding("s", "samples", "Sample"),
        Binding("t", "train", "Train"),
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("ctrl+z", "undo", "Undo", show=False),
        Binding("escape", "leave_filter", "Leave filter", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[ProcedureLine] = []

    def body(self) -> ComposeResult:
        with Vertical(id="empty"):
            yield Static(Content(EMPTY_TEXT), classes="lead")
            yield Static(_empty_keys(), classes="keys")
        with Horizontal(id="both"):
            with Vertical(id="left"):
                yield Input(placeholder="Filter by name or description", id="filter")
                yield ProcedureTable(id="procedures")
            yield PairPanel(id="panel")

    async def begin(self) -> None:
        """Draw what is there."""
        self._draw()

    # News from the app

    def on_engine_changed(self, state: EngineState) -> None:
        if state.phase == "ready":
            self._draw()

    def on_store_changed(self) -> None:
        self._draw()

    def on_screen_resume(self) -> None:
        """Scores may be new."""
        self._draw()

    def on_resize(self) -> None:
        """Fewer columns where there is less room."""
        self._draw()

    @shows_errors
    def _draw(self) -> None:
        if not self.is_mounted:
            return
        self._lines = procedure_lines(self.tokmem.store, self.tokmem.fingerprint)
        wanted = self.query_one("#filter", Input).value.strip().lower()
        shown = [line for line in self._lines if wanted in f"{line.record.name} {line.record.description}".lower()]
        self.query_one("#empty").display = not self._lines
        self.query_one("#both").display = bool(self._lines)
        self.query_one(ProcedureTable).show(shown, narrow=self.app.size.width < 100)
        self._draw_panel()

    @shows_errors
    def _draw_panel(self) -> None:
        line = self._selected
        panel = self.query_one(PairPanel)
        panel.visible = line is not None
        if line is None:
            return
        train = self.tokmem.store.pairs(line.record.name)
        held_out = self.tokmem.store.pairs(line.record.name, "held_out")
        findings = lint_pairs([record.pair for record in train], output_schema=line.record.output_schema)
        panel.show(line, [*train, *held_out], findings)

    @property
    def _selected(self) -> ProcedureLine | None:
        name = self.query_one(ProcedureTable).selected_name
        return next((line for line in self._lines if line.record.name == name), None)

    def show_procedure(self, name: str) -> None:
        """Go to one procedure."""
        self.query_one("#filter", Input).value = ""
        self._draw()
        table = self.query_one(ProcedureTable)
        table.select(name)
        table.focus()

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        """Show the pairs of the procedure under the cursor."""
        if isinstance(event.data_table, ProcedureTable):
            self._draw_panel()

    def _changed(self, name: str | None = None) -> None:
        """Something was changed here: tell everyone, this screen included."""
        self.tokmem.announce_store()
        self._draw()
        if name is not None:
            self.query_one(ProcedureTable).select(name)

    # Procedures

    @work(exit_on_error=False)
    async def action_add_procedure(self) -> None:
        """Name a new procedure, then write its first pairs."""
        taken = {line.record.name for line in self._lines}
        made = await self.app.push_screen_wait(ProcedureDialog("A new procedure", taken))
        if made is None:
            return
        self.tokmem.store.add_procedure(Procedure(made[0], (), description=made[1]), source="by hand")
        self._changed(made[0])
        await self._write_pairs(made[0])

    @work(exit_on_error=False)
    async def action_edit_tool(self) -> None:
        """Change the form of its answers, what it sees, and its command."""
        line = self._selected
        if line is None:
            return
        name, store = line.record.name, self.tokmem.store
        before = store.command(name)
        draft = await self.app.push_screen_wait(ToolDialog(line.record, before))
        if draft is None:
            return
        store.set_schema(name, draft.schema)
        store.set_reads_conversation(name, draft.reads_conversation)
        if draft.template is None:
            store.remove_command(name)
        elif before is None or before.template != draft.template:
            store.set_command(name, draft.template)
        elif before.allowed is not None and not draft.always_allowed:
            store.allow_command(name, None)
        self._changed(name)

    @work(exit_on_error=False)
    async def action_edit_procedure(self) -> None:
        """Change name and description."""
        line = self._selected
        if line is None:
            return
        record = line.record
        taken = {other.record.name for other in self._lines} - {record.name}
        dialog = ProcedureDialog("Name and description", taken, name=record.name, description=record.description)
        made = await self.app.push_screen_wait(dialog)
        if made is None:
            return
        self.tokmem.store.rename_procedure(record.name, made[0])
        self.tokmem.store.set_description(made[0], made[1])
        self._changed(made[0])

    @work(exit_on_error=False)
    async def action_delete_procedure(self) -> None:
        """Delete after asking."""
        line = self._selected
        if line is None:
            return
        name = line.record.name
        what = (
            f"Its {line.record.pair_count + line.record.held_out_count} pairs and its memories go. ^z brings them back."
        )
        if await self.app.push_screen_wait(ConfirmDialog(f"Delete {name}?", what, "Delete", danger=True)):
            self.tokmem.store.remove_procedure(name)
            self._changed()
            self.notify(f"Deleted {name}. ^z brings it back.", markup=False)

    @shows_errors
    def action_toggle_procedure(self) -> None:
        """Let the procedure take messages, or not."""
        line = self._selected
        if line is not None:
            self.tokmem.store.set_enabled(line.record.name, not line.record.enabled)
            self._changed()

    @shows_errors
    def action_samples(self) -> None:
        """Add the sample procedures that are not there."""
        known = {line.record.name for line in self._lines}
        added = [one for one in sample_files() if one.procedure_name and one.procedure_name not in known]
        for sample in added:
            self.tokmem.store.add_procedure(_procedure(sample, str(sample.procedure_name)), source="sample")
        self._changed()
        self.query_one(ProcedureTable).focus()
        if added:
            self.notify(f"Added {len(added)} sample procedures. t trains one, F4 all of them.")
        else:
            self.notify("The samples are here already.")

    @work(exit_on_error=False)
    async def action_import(self) -> None:
        """Read pairs from a file, after a look at what is in it."""
        known = {line.record.name for line in self._lines}
        choice = await self.app.push_screen_wait(ImportDialog(known))
        if choice is None:
            return
        if isinstance(choice, Path):
            await self._import_bank(choice)
            return
        self._import(choice)
        self._changed(choice.name)
        count = len(choice.file.pairs) + len(choice.file.held_out)
        self.notify(f"Imported {count} pairs into {choice.name}.", markup=False)

    async def _import_bank(self, path: Path) -> None:
        """Take memories in, after a look at what is in the file."""
        # Late: these load numpy and the ciphers, which the first frame can do without.
        from tui.bank_desk import import_bank
        from tui.screens.bank_dialogs import BankDialog

        app, backbone = self.tokmem, self.tokmem.link.state.backbone
        taken = {line.record.name for line in self._lines}
        wish = await self.app.push_screen_wait(BankDialog(path, taken, backbone["identity"] if backbone else None))
        if wish is None:
            return
        self.notify(f"Checking {path.name} on this computer.", markup=False)
        names = await import_bank(app, wish)
        self._changed(names[0] if names else None)
        if wish.retrain:
            app.train(names)
        else:
            self.notify(f"Imported {len(names)} procedures; their probes passed. ^z takes that back.", markup=False)

    @work(exit_on_error=False)
    async def action_export(self) -> None:
        """Write memories into a file for somebody else."""
        from tui.bank_desk import export_bank
        from tui.screens.bank_dialogs import ExportDialog

        trained = [line.record.name for line in self._lines if line.memory is not None]
        if not trained:
            self.notify("Nothing is trained yet: there is no memory to export.")
            return
        line = self._selected
        wish = await self.app.push_screen_wait(ExportDialog(line.record.name if line else "", trained))
        if wish is None:
            return
        manifest = await export_bank(self.tokmem, wish)
        self.notify(f"Exported {len(manifest.names)} procedures to {wish.path}.", markup=False)

    def _import(self, choice: ImportChoice) -> None:
        store, source = self.tokmem.store, choice.path.name
        if any(line.record.name == choice.name for line in self._lines):
            store.add_pairs(choice.name, choice.file.pairs, source=source)
            store.add_pairs(choice.name, choice.file.held_out, "held_out", source=source)
        else:
            store.add_procedure(_procedure(choice.file, choice.name), source=source)

    @shows_errors
    def action_train(self) -> None:
        """Train the procedure under the cursor."""
        line = self._selected
        if line is not None:
            self.tokmem.train([line.record.name])

    @shows_errors
    def action_undo(self) -> None:
        """Take the last change back."""
        try:
            text = self.tokmem.store.undo()
        except TokmemError as caught:
            self.notify(caught.message, markup=False)
            return
        self._changed()
        self.notify(f"Taken back: {text}.", markup=False)

    # Pairs

    @shows_errors
    def on_pair_edit_wanted(self, event: PairEditWanted) -> None:
        """Edit one pair or write new ones."""
        line = self._selected
        if line is not None:
            self._edit_pair(line.record.name, event.pair_id)

    @work(exit_on_error=False)
    async def _edit_pair(self, name: str, pair_id: int | None) -> None:
        if pair_id is None:
            await self._write_pairs(name)
            return
        pair = next(one for one in self.query_one(PairTable).pairs if one.id == pair_id)
        dialog = PairDialog(f"A pair of {name}", [name], input=pair.input, response=pair.response)
        draft = await self.app.push_screen_wait(dialog)
        if draft is not None:
            self.tokmem.store.update_pair(pair_id, input=draft.input, response=draft.response)
            self._changed()

    async def _write_pairs(self, name: str) -> None:
        """Write pairs one after the other until the person has enough."""
        while True:
            draft = await self.app.push_screen_wait(PairDialog(f"A new pair of {name}", [name], offer_another=True))
            if draft is None:
                return
            self.tokmem.store.add_pairs(name, [ExamplePair(draft.input, draft.response)], source="by hand")
            self._changed(name)
            if not draft.another:
                return

    @shows_errors
    def on_pair_delete_wanted(self, event: PairDeleteWanted) -> None:
        """Delete at once; undo is one key."""
        self.tokmem.store.delete_pair(event.pair_id)
        self._changed()
        self.notify("Deleted the pair. ^z brings it back.")

    # Moving about

    def action_to_pairs(self) -> None:
        """To the pairs."""
        self.query_one(PairTable).focus()

    def action_to_procedures(self) -> None:
        """To the procedures."""
        self.query_one(ProcedureTable).focus()

    def action_filter(self) -> None:
        """Show the filter."""
        place = self.query_one("#filter", Input)
        place.display = True
        place.focus()

    def action_leave_filter(self) -> None:
        """Clear and hide the filter."""
        place = self.query_one("#filter", Input)
        place.value = ""
        place.display = False
        self.query_one(ProcedureTable).focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while typing."""
        self._draw()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """To the rows that are left."""
        self.query_one(ProcedureTable).focus()


def _procedure(file: PairsFile, name: str) -> Procedure:
    return Procedure(
        name,
        tuple(file.pairs),
        tuple(file.held_out),
        file.description or "",
        file.pattern,
        file.output_schema,
        file.reads_conversation,
    )


def _empty_keys() -> Content:
    lines = (
        ("s", "take three samples and look at them"),
        ("a", "write one yourself"),
        ("i", "import pairs or memories from a file"),
    )
    return Content("\n").join(Content.assemble(Content.styled(key, "bold $accent"), f"  {what}") for key, what in lines)
