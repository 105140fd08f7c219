"""Procedures: what the person has taught, or will teach, by example pairs."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import DataTable, Input, Static

from profiles.store.pairs import PairRecord
from tokmem_desk.errors import BadInputError
from tokmem_desk.procedures import ExamplePair
from tui.engine_client.link import EngineState
from tui.kit.edit_pair import PairDialog
from tui.kit.error_dialogs import shows_errors
from tui.procedures.advice import ProcedureAdvice
from tui.procedures.messages import PairTextWanted, PairWanted, PairWritten
from tui.procedures.pair_grid import PairGrid
from tui.procedures.pair_panel import PairPanel
from tui.procedures.pair_rows import CellPart
from tui.procedures.procedure_table import ProcedureTable
from tui.shared.overview import ProcedureLine, procedure_lines

EMPTY_TEXT = "A procedure is a skill you show by example: what you type, and what you want back."

GROUPS_FROM_WIDTH = 140
"""Cells of width from which the groups have a column."""


class ProceduresScreen(ProcedureAdvice):
    """See the module."""

    MODE = "procedures"
    CSS_PATH = "screen.tcss"
    AUTO_FOCUS = "ProcedureTable"
    LISTS = (ProcedureTable, PairGrid)
    HELP_TEXT = (
        "At the left your procedures, at the right the pairs of the one under the cursor; Enter goes there, e changes "
        "what the cursor is on, p lets the model suggest pairs. About 10 to 30 pairs make a good procedure. Pairs "
        "marked t are held out: they measure and are never learned from. ! marks what seems odd. "
        "Paste a table that you copied in a spreadsheet, and it is taken as pairs. w shows when a procedure answers, "
        "and moves that; o gives answers a form, lets them see the conversation, and hands them to a local command."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("i", "import", "Import"),
        Binding("x", "export", "Export"),
        Binding("t", "train", "Train"),
        Binding("p", "drafts", "Suggest"),
        Binding("w", "standing", "When it answers", show=False),
        Binding("v", "versions", "Versions"),
        Binding("c", "from_chat", "From a chat", show=False),
        Binding("s", "samples", "Samples", show=False),
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("ctrl+z,u", "undo", "Undo", show=False),
        Binding("escape", "leave_filter", "Leave filter", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[ProcedureLine] = []
        self._own_revision: int | None = None
        """Of the store after a change of this screen's that everyone is being told of."""

    def body(self) -> ComposeResult:
        with Vertical(id="empty"):
            yield Static(Content(EMPTY_TEXT), classes="lead")
            yield Static(_empty_keys(), classes="keys")
        with Horizontal(id="both"):
            with Vertical(id="left"):
                yield Input(placeholder="Filter by name, group or description", id="filter")
                yield ProcedureTable(id="procedures")
            yield PairPanel(id="panel")

    async def begin(self) -> None:
        """Draw what is there."""
        self._draw()

    @property
    def panel(self) -> PairPanel:
        """The pairs of the procedure under the cursor."""
        return self.query_one(PairPanel)

    # News from the app

    def on_engine_changed(self, state: EngineState) -> None:
        if state.phase == "ready":
            self._draw()

    def on_store_changed(self) -> None:
        own, self._own_revision = self._own_revision, None
        if own != self.tokmem.store.revision:  # else it is drawn already
            self._draw()

    def on_screen_resume(self) -> None:
        """Scores may be new."""
        self._draw()

    def on_screen_suspend(self) -> None:
        """What is being written is stored before something else comes into sight."""
        self.keep_unsaved()

    @shows_errors
    def keep_unsaved(self) -> None:
        """Store the cell that is being edited, if its text can be stored."""
        found = self.panel.open_text if self.is_mounted else None
        if found is not None:
            pair_id, part, text = found
            with contextlib.suppress(BadInputError):
                self._store_text(pair_id, part, text)

    def on_resize(self) -> None:
        """Fewer columns where there is less room."""
        self._draw()

    @shows_errors
    def _draw(self) -> None:
        if not self.is_mounted:
            return
        self._lines = procedure_lines(self.tokmem.store, self.tokmem.fingerprint)
        wanted = self.query_one("#filter", Input).value.strip().lower()
        shown = [line for line in self._lines if wanted in _searched(line)]
        self.query_one("#empty").display = not self._lines
        self.query_one("#both").display = bool(self._lines)
        grouped = self.app.size.width >= GROUPS_FROM_WIDTH and any(line.record.group for line in self._lines)
        self.query_one("#left").set_class(grouped, "-grouped")
        self.query_one(ProcedureTable).show(shown, narrow=self.app.size.width < 100, grouped=grouped)
        self.draw_panel()

    @shows_errors
    def draw_panel(self) -> None:
        """Draw the pairs of the procedure under the cursor."""
        line = self.selected
        self.panel.visible = line is not None
        if line is None:
            return
        pairs = self.pairs_of(line)
        self.panel.show(self.tokmem.profile, line, pairs, self.advice(line, pairs))

    @property
    def lines(self) -> Sequence[ProcedureLine]:
        return self._lines

    @property
    def selected(self) -> ProcedureLine | None:
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
            self.draw_panel()

    def changed(self, name: str | None = None) -> None:
        """Something was changed here: tell everyone, this screen included."""
        self._own_revision = self.tokmem.store.revision
        self.tokmem.announce_store()
        self._draw()
        if name is not None:
            self.query_one(ProcedureTable).select(name)
            self.draw_panel()
        if self.focused is None:
            self.query_one(ProcedureTable).focus()

    # Pairs

    def write_pairs(self) -> None:
        self.panel.write_pair()

    def _store_text(self, pair_id: int, part: CellPart, text: str) -> None:
        """Raises BadInputError where it is no text of a pair."""
        texts = {part: text}
        self.tokmem.store.pairs.update(pair_id, input=texts.get("input"), response=texts.get("response"))

    @shows_errors
    def on_pair_text_wanted(self, event: PairTextWanted) -> None:
        """Store what was written in a cell, or say in place why not."""
        try:
            self._store_text(event.pair_id, event.part, event.text)
        except BadInputError as caught:
            self.panel.refused(caught.message, event.then)
            return
        self.changed()
        self.panel.saved(event.then)

    @shows_errors
    def on_pair_written(self, event: PairWritten) -> None:
        """Store a new pair, or say in place why not."""
        line = self.selected
        if line is None:
            return
        pair = ExamplePair(event.input, event.response)
        try:
            self.tokmem.store.pairs.add(line.record.name, [pair], source="by hand")
        except BadInputError as caught:
            self.panel.refused(caught.message)
            return
        self.panel.written(event.another)
        self.changed()

    @shows_errors
    def on_pair_wanted(self, event: PairWanted) -> None:
        """Delete at once, since undo is one key; hold out or not; or edit in a window."""
        line = self.selected
        if line is None:
            return
        store, pair = self.tokmem.store, self.panel.pairs.find(event.pair_id or 0)
        if event.action == "large":
            self._edit_large(line.record.name, pair)
        elif pair is not None and event.action == "delete":
            store.pairs.delete(pair.id)
            self.changed()
            self.notify("Deleted the pair. ^z brings it back.")
        elif pair is not None:
            store.pairs.update(pair.id, part="train" if pair.part == "held_out" else "held_out")
            self.changed()

    @work(exit_on_error=False)
    async def _edit_large(self, name: str, pair: PairRecord | None) -> None:
        """Edit a pair in a window, or write new ones one after the other."""
        while True:
            title = f"A new pair of {name}" if pair is None else f"A pair of {name}"
            dialog = PairDialog(
                title,
                [name],
                input="" if pair is None else pair.input,
                response="" if pair is None else pair.response,
                offer_another=pair is None,
            )
            draft = await self.app.push_screen_wait(dialog)
            if draft is None:
                return
            if pair is not None:
                self.tokmem.store.pairs.update(pair.id, input=draft.input, response=draft.response)
            else:
                self.tokmem.store.pairs.add(name, [ExamplePair(draft.input, draft.response)], source="by hand")
            self.changed(name)
            if not draft.another:
                return

    # Moving about

    @on(PairGrid.Wanted)
    def _leave_grid(self, event: PairGrid.Wanted) -> None:
        """Left of the pairs are the procedures."""
        if event.action == "leave":
            self.query_one(ProcedureTable).focus()

    def action_to_pairs(self) -> None:
        """To the pairs."""
        self.panel.grid.focus()

    def action_filter(self) -> None:
        """Show the filter of what has the focus: the pairs, or the procedures."""
        if self.panel.has_focus_within:
            self.panel.open_filter()
            return
        place = self.query_one("#filter", Input)
        place.display = True
        place.focus()

    def action_leave_filter(self) -> None:
        """Clear and hide the filter: that of the pairs first, where it has the focus."""
        if self.panel.has_focus_within and self.panel.close_filter():
            self.panel.grid.focus()
            return
        place = self.query_one("#filter", Input)
        place.value = ""
        place.display = False
        self.query_one(ProcedureTable).focus()

    @on(Input.Changed, "#filter")
    def _filter(self, event: Input.Changed) -> None:
        """Filter while typing."""
        self._draw()

    @on(Input.Submitted, "#filter")
    def _to_rows(self, event: Input.Submitted) -> None:
        """To the rows that are left."""
        self.query_one(ProcedureTable).focus()


def _searched(line: ProcedureLine) -> str:
    record = line.record
    return f"{record.name} {record.group} {record.description}".lower()


def _empty_keys() -> Content:
    lines = (
        ("s", "take three samples and look at them"),
        ("a", "write one yourself"),
        ("i", "import pairs from a file"),
        ("c", "make one from a chat"),
    )
    return Content("\n").join(Content.assemble(Content.styled(key, "bold $accent"), f"  {what}") for key, what in lines)
