"""Procedures: what the person has taught, or will teach, by example pairs."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import ClassVar, cast

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.timer import Timer
from textual.widgets import DataTable, Input, Static

from profiles.lint import Finding, lint_pairs
from profiles.records import PairRecord
from tokmem_desk.errors import BadInputError, TokmemError
from tokmem_desk.procedures import ExamplePair
from tui.engine.protocol import Overlap
from tui.engine_link import EngineState
from tui.guard import shows_errors
from tui.messages import PairTextWanted, PairWanted, PairWritten
from tui.overview import ProcedureLine, procedure_lines
from tui.screens.edit_pair import PairDialog
from tui.screens.procedure_actions import ProcedureActions
from tui.widgets.pair_grid import CellPart, PairGrid
from tui.widgets.pair_panel import PairPanel
from tui.widgets.procedure_table import ProcedureTable

EMPTY_TEXT = "A procedure is a skill you show by example: what you type, and what you want back."

GROUPS_FROM_WIDTH = 140
"""Cells of width from which the groups have a column."""

OVERLAP_AFTER_SECONDS = 1.5
"""How long nothing may have changed before the engine looks for overlaps, so that it never hampers writing."""


class ProceduresScreen(ProcedureActions):
    """See the module."""

    MODE = "procedures"
    CSS_PATH = "procedures.tcss"
    AUTO_FOCUS = "ProcedureTable"
    LISTS = (ProcedureTable, PairGrid)
    HELP_TITLE = "Procedures"
    HELP_TEXT = (
        "At the left your procedures, at the right the pairs of the one under the cursor. About 10 to 30 pairs make a "
        "good procedure. Pairs marked t are held out: they measure and are never learned from. ! marks what seems odd. "
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
        self._findings: tuple[tuple[str, int, int], list[Finding]] | None = None
        self._overlaps: dict[int, tuple[object, Overlap | None]] = {}
        self._overlap_timer: Timer | None = None

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
        self._draw()

    def on_screen_resume(self) -> None:
        """Scores may be new."""
        self._draw()

    def on_screen_suspend(self) -> None:
        """What is being written is stored before something else comes into sight."""
        self.keep_open_text()

    @shows_errors
    def keep_open_text(self) -> None:
        """Store the cell that is being edited, if its text can be stored."""
        found = self.panel.open_text
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
        self._draw_panel()

    @shows_errors
    def _draw_panel(self) -> None:
        line = self.selected
        self.panel.visible = line is not None
        if line is None:
            return
        train = self.tokmem.store.pairs(line.record.name)
        held_out = self.tokmem.store.pairs(line.record.name, "held_out")
        self.panel.show(self.tokmem.profile, line, [*train, *held_out], self._lint(line, train), self.overlap)
        self._plan_overlap()

    def _lint(self, line: ProcedureLine, train: Sequence[PairRecord]) -> list[Finding]:
        """Advice, looked for once for each version: for 20,000 pairs it takes a moment."""
        if not train:
            return []
        key = (self.tokmem.profile, line.record.id, line.record.version)
        if self._findings is None or self._findings[0] != key:
            found = lint_pairs([record.pair for record in train], output_schema=line.record.output_schema)
            self._findings = (key, found)
        return self._findings[1]

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
            self._draw_panel()

    def changed(self, name: str | None = None) -> None:
        """Something was changed here: tell everyone, this screen included."""
        self.tokmem.announce_store()
        self._draw()
        if name is not None:
            self.query_one(ProcedureTable).select(name)
            self._draw_panel()
        if self.focused is None:
            self.query_one(ProcedureTable).focus()

    # Overlap with other procedures

    @property
    def overlap(self) -> Overlap | None:
        line = self.selected
        found = None if line is None else self._overlaps.get(line.record.id)
        return found[1] if line is not None and found is not None and found[0] == self._overlap_key(line) else None

    def _overlap_key(self, line: ProcedureLine) -> object:
        """Changes whenever another look is worth it."""
        answering = frozenset(one.memory.id for one in self._lines if one.memory is not None and one.record.enabled)
        return self.tokmem.profile, line.record.version, answering - {line.memory.id if line.memory is not None else ""}

    def _plan_overlap(self) -> None:
        """Look once nothing has changed for a while, where there is something to overlap with."""
        if self._overlap_timer is not None:
            self._overlap_timer.stop()
            self._overlap_timer = None
        line = self.selected
        if line is None or not line.record.pair_count or self.tokmem.link.state.phase != "ready":
            return
        others = any(one.memory is not None and one.record.enabled and one is not line for one in self._lines)
        known = self._overlaps.get(line.record.id)
        job = self.tokmem.runner.job
        if others and not (job is not None and job.running) and (known is None or known[0] != self._overlap_key(line)):
            self._overlap_timer = self.set_timer(OVERLAP_AFTER_SECONDS, self._look_for_overlap)

    @work(exclusive=True, group="overlap", exit_on_error=False)
    async def _look_for_overlap(self) -> None:
        line = self.selected
        if line is None:
            return
        app, key, found = self.tokmem, self._overlap_key(line), None
        try:
            async for event in app.link.events(app.link.submit("overlap", profile=app.profile, name=line.record.name)):
                if event["event"] == "done":
                    found = cast(Overlap, event["result"])
        except TokmemError as caught:
            # Nobody asked for this look; whoever does (w) is told what is wrong.
            app.log(f"no overlap: {caught}")
        self._overlaps[line.record.id] = (key, found)
        if found is not None and self.is_mounted:
            self._draw_panel()

    # Pairs

    def write_pairs(self) -> None:
        self.panel.write_pair()

    def _store_text(self, pair_id: int, part: CellPart, text: str) -> None:
        """Raises BadInputError where it is no text of a pair."""
        texts = {part: text}
        self.tokmem.store.update_pair(pair_id, input=texts.get("input"), response=texts.get("response"))

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
            self.tokmem.store.add_pairs(line.record.name, [pair], source="by hand")
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
        store, pair = self.tokmem.store, next((one for one in self.panel.pairs if one.id == event.pair_id), None)
        if event.action == "large":
            self._edit_large(line.record.name, pair)
        elif pair is not None and event.action == "delete":
            store.delete_pair(pair.id)
            self.changed()
            self.notify("Deleted the pair. ^z brings it back.")
        elif pair is not None:
            store.update_pair(pair.id, part="train" if pair.part == "held_out" else "held_out")
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
                self.tokmem.store.update_pair(pair.id, input=draft.input, response=draft.response)
            else:
                self.tokmem.store.add_pairs(name, [ExamplePair(draft.input, draft.response)], source="by hand")
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
