"""Procedures: what the person has taught, or will teach, by example pairs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import ClassVar, cast

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import DataTable, Input, Static, TextArea

from profiles.store.pairs import PairList
from tui.engine_client.link import EngineState
from tui.kit.base import AppScreen
from tui.kit.error_dialogs import shows_errors
from tui.kit.key_footer import WHERE_ROOM
from tui.kit.search_field import SearchField
from tui.procedures.advice import OverlapAdvisor, PairLinter
from tui.procedures.cell_editor import CellEditor
from tui.procedures.editing import ProcedureEditing
from tui.procedures.habits import HabitLine, HabitOffers
from tui.procedures.messages import PairTextWanted, PairWanted, PairWritten
from tui.procedures.pair_editing import PairEditing
from tui.procedures.pair_grid import PairGrid
from tui.procedures.pair_panel import Advice, PairPanel
from tui.procedures.pair_sources import PairSources
from tui.procedures.procedure_table import ProcedureTable
from tui.procedures.services import ProcedureServices
from tui.procedures.verdicts import VerdictLearning, VerdictLine
from tui.shared.overview import ProcedureLine, procedure_lines

EMPTY_TEXT = "A procedure is a skill you show by example: what you type, and what you want back."

GROUPS_FROM_WIDTH = 140
"""Cells of width from which the groups have a column."""


class ProceduresScreen(AppScreen):
    """Draws the procedures and their pairs, and hands each key to the part that does the work."""

    MODE = "procedures"
    CSS_PATH = "screen.tcss"
    AUTO_FOCUS = "ProcedureTable"
    LISTS = (ProcedureTable, PairGrid)
    HELP_TEXT = (
        "At the left your procedures, at the right the pairs of the one under the cursor; Enter goes there, e changes "
        "what the cursor is on, p lets the model suggest pairs. About 10 to 30 pairs make a good procedure. Pairs "
        "marked t are held out: they measure and are never learned from. ! marks what seems odd. "
        "m shows the scorecard of its memory again. Paste a table that you copied in a spreadsheet, and it is taken as "
        "pairs. w shows when a procedure answers, "
        "and moves that; n lets another procedure go on with its answers; N makes it a plan of several steps; "
        "o gives answers a form, lets them see the conversation, and hands them to a local command; "
        "b makes one of a skill, a prompt or a template; H looks in your chats for what you ask again and again; V "
        "learns from what you said of answers."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("i", "import", "Import"),
        Binding("x", "export", "Export"),
        Binding("t", "train", "Train"),
        Binding("p", "drafts", "Suggest"),
        # The id is what people's [keys] name it.
        Binding("w", "threshold", "When it answers", id="procedures.standing", group=WHERE_ROOM),
        Binding("v", "versions", "Versions"),
        Binding("m", "scorecard", "Scorecard", group=WHERE_ROOM),
        Binding("c", "from_chat", "From a chat", group=WHERE_ROOM),
        Binding("b", "from_text", "From a text", show=False),
        Binding("H", "habits", "Habits in your chats", show=False),
        Binding("V", "learn_verdicts", "Learn from verdicts", show=False),
        Binding("s", "samples", "Samples", group=WHERE_ROOM),
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("ctrl+z,u", "undo", "Undo", key_display="u", group=WHERE_ROOM),
        Binding("escape", "leave_filter", "Leave filter", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.editing = ProcedureEditing(self)
        self.pair_editing = PairEditing(self)
        self.pair_sources = PairSources(self)
        self.habit_offers = HabitOffers(self)
        self.verdict_learning = VerdictLearning(self)
        self.pair_linter = PairLinter(self)
        self.overlap_advisor = OverlapAdvisor(self)
        self._lines: list[ProcedureLine] = []
        self._pairs: tuple[object, PairList] = (None, PairList())
        """Of the procedure under the cursor, and the profile, procedure and revision that they are of."""
        self._own_revision: int | None = None
        """Of the store after this screen's own last change, while the app tells all screens of it."""

    @property
    def tokmem(self) -> ProcedureServices:
        """The app, as far as this room uses it."""
        return cast(ProcedureServices, self.app)

    def body(self) -> ComposeResult:
        with Vertical(id="empty"):
            yield Static(Content(EMPTY_TEXT), classes="lead")
            yield Static(_empty_keys(), classes="keys")
        with Horizontal(id="both"):
            with Vertical(id="left"):
                yield SearchField(placeholder="Filter by name, group or description", id="filter")
                yield ProcedureTable(id="procedures")
                yield HabitLine(id="habit-line")
                yield VerdictLine(id="verdict-line")
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
        """Draw again: scores may be new."""
        self._draw()
        self.in_background(self._offer_habits, group="habits", exclusive=True)

    async def _offer_habits(self) -> None:
        found = await self.habit_offers.look()
        if self.is_mounted:
            self.query_one(HabitLine).show(found)

    def on_screen_suspend(self) -> None:
        """Store what is being written."""
        self.keep_unsaved()

    @shows_errors
    def keep_unsaved(self) -> None:
        """Store the cell that is being edited, if its text can be stored."""
        if self.is_mounted:
            self.pair_editing.keep_unsaved(self.panel)

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
        self.query_one(VerdictLine).show(sum(self.verdict_learning.waiting.values()))
        self.query_one(ProcedureTable).show(shown, narrow=self.app.size.width < 100, grouped=grouped)
        self.draw_panel()

    @shows_errors
    def draw_panel(self) -> None:
        """Draw the pairs of the procedure under the cursor."""
        line = self.selected
        self.panel.visible = line is not None
        if line is None:
            return
        pairs = self._read_pairs(line)
        findings, notes = self.pair_linter.check(line, pairs)
        self.overlap_advisor.plan()
        self.panel.show(self.tokmem.profile, line, pairs, Advice(findings, notes, self.overlap_advisor.overlap))

    def _read_pairs(self, line: ProcedureLine) -> PairList:
        """Its pairs, read once for each revision of the profile."""
        key = (self.tokmem.profile, line.record.id, self.tokmem.store.revision)
        if self._pairs[0] != key:
            self._pairs = (key, self.tokmem.store.pairs.table(line.record.name))
        return self._pairs[1]

    @property
    def lines(self) -> Sequence[ProcedureLine]:
        """All procedures of the profile, as they were last read."""
        return self._lines

    @property
    def names(self) -> set[str]:
        """The names of all procedures."""
        return {line.record.name for line in self._lines}

    @property
    def selected(self) -> ProcedureLine | None:
        """The procedure under the cursor."""
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
        """Tell the app that the profile was changed here, and draw it.

        Args:
            name: the procedure to go to.
        """
        self._own_revision = self.tokmem.store.revision
        self.tokmem.announce_store()
        self._draw()
        if name is not None:
            self.query_one(ProcedureTable).select(name)
            self.draw_panel()
        if self.focused is None:
            self.query_one(ProcedureTable).focus()

    # Pairs: what the panel asks for

    @shows_errors
    def on_pair_text_wanted(self, event: PairTextWanted) -> None:
        """Store what was written in a cell."""
        self.pair_editing.replace_text(self.panel, event)

    @shows_errors
    def on_pair_written(self, event: PairWritten) -> None:
        """Store a new pair."""
        self.pair_editing.add(self.panel, event)

    @shows_errors
    def on_pair_wanted(self, event: PairWanted) -> None:
        """Delete a pair, hold it out or not any more, or edit it in a window."""
        self.pair_editing.act(self.panel, event)

    # Procedures: each key calls one part

    def action_add_procedure(self) -> None:
        """Name a new procedure, then write its first pairs."""
        self.in_background(self._add_procedure, asks=True)

    async def _add_procedure(self) -> None:
        if await self.editing.add():
            drawn = asyncio.Event()
            self.call_after_refresh(drawn.set)
            await drawn.wait()
            self.panel.write_pair()

    def action_edit_procedure(self) -> None:
        """Change name and description."""
        self.in_background(self.editing.edit, asks=True)

    def action_edit_tool(self) -> None:
        """Change the form of its answers, what it sees, and its command."""
        self.in_background(self.editing.edit_tool, asks=True)

    def action_delete_procedure(self) -> None:
        """Delete after asking."""
        self.in_background(self.editing.delete, asks=True)

    @shows_errors
    def action_toggle_procedure(self) -> None:
        """Let the procedure take messages, or not."""
        self.editing.toggle()

    @shows_errors
    def action_toggle_group(self) -> None:
        """Let all procedures of the group take messages, or none of them."""
        self.editing.toggle_group()

    def action_group(self) -> None:
        """Put the procedure into a group."""
        self.in_background(self.editing.set_group, asks=True)

    def action_then(self) -> None:
        """Choose which procedure goes on with the answers of this one."""
        self.in_background(self.editing.set_then, asks=True)

    def on_procedure_table_dropped(self, event: ProcedureTable.Dropped) -> None:
        """One procedure was dragged onto another: ask whether it goes on with the answers of that one."""
        self.query_one(ProcedureTable).select(event.onto)
        self.in_background(partial(self.editing.set_then, event.name), asks=True)

    def action_plan_steps(self) -> None:
        """Make it a plan: steps over other procedures."""
        self.in_background(self.editing.set_plan_steps, asks=True)

    def action_versions(self) -> None:
        """Look at earlier versions of the procedure, and go back to one."""
        self.in_background(self.editing.show_versions, asks=True)

    def action_scorecard(self) -> None:
        """See again how good the memory is, as it was measured after its training."""
        self.in_background(self.editing.show_scorecard, asks=True)

    def action_threshold(self) -> None:
        """See when the procedure answers and what it overlaps, and move its threshold."""
        self.in_background(partial(self.editing.set_threshold, self.overlap_advisor.overlap), asks=True)

    @shows_errors
    def action_train(self) -> None:
        """Train the procedure under the cursor."""
        self.editing.train()

    @shows_errors
    def action_undo(self) -> None:
        """Take the last change back."""
        self.editing.undo()

    @shows_errors
    def action_samples(self) -> None:
        """Add the sample procedures that are not there."""
        self.pair_sources.add_samples()

    def action_import(self) -> None:
        """Read pairs, or memories, from a file."""
        self.in_background(self.pair_sources.import_file, asks=True)

    def action_export(self) -> None:
        """Write memories into a file for somebody else."""
        self.in_background(self.pair_sources.export, asks=True)

    def action_from_chat(self, into: str = "") -> None:
        """Make pairs of a conversation."""
        self.in_background(partial(self.pair_sources.take_from_chat, into), asks=True)

    def action_from_text(self) -> None:
        """Make a procedure of a skill, a prompt or a template."""
        self.in_background(self.pair_sources.take_text, asks=True)

    def action_habits(self) -> None:
        """Make a procedure of what the person asks again and again."""
        self.in_background(self._show_habits, asks=True)

    async def _show_habits(self) -> None:
        await self.habit_offers.show()
        await self._offer_habits()

    @shows_errors
    def action_learn_verdicts(self) -> None:
        """Improve the memories whose answers the person has marked or corrected."""
        self.verdict_learning.learn()

    def action_drafts(self) -> None:
        """Let the model suggest pairs."""
        self.in_background(self.pair_sources.take_drafts, asks=True)

    def on_paste(self, event: events.Paste) -> None:
        """Offer a table that was copied in a spreadsheet for import."""
        if isinstance(self.focused, Input | TextArea):
            return
        event.stop()
        if self.pair_sources.is_importable(event.text):
            self.in_background(partial(self._offer_rows, event.text), asks=True)

    @on(CellEditor.TablePasted)
    def _take_table_of_cell(self, event: CellEditor.TablePasted) -> None:
        """Offer the rows of a table that was pasted into a cell; they become text of the cell if not wanted."""
        self.in_background(partial(self._offer_rows, event.text), asks=True)

    async def _offer_rows(self, text: str) -> None:
        editor = self.panel.editor
        if await self.pair_sources.paste(text):
            if editor.editing and not editor.text:
                editor.action_give_up()
        elif editor.editing:
            editor.insert(text)

    # Moving about

    @on(PairGrid.Wanted)
    def _leave_grid(self, event: PairGrid.Wanted) -> None:
        """Go from the pairs to the procedures, which are left of them."""
        if event.action == "leave":
            self.query_one(ProcedureTable).focus()

    def action_to_pairs(self) -> None:
        """Go to the pairs."""
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
        """Go to the rows that the filter lets through."""
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
