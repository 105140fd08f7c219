"""The list of procedures: one row each, with what matters before training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.events import Click, Leave, MouseDown, MouseEvent, MouseUp
from textual.message import Message

from tui.kit.key_footer import WHERE_ROOM
from tui.kit.keys import keyed
from tui.kit.named_table import NamedTable
from tui.shared.overview import ProcedureLine


@keyed("procedures")
class ProcedureTable(NamedTable):
    """A row per procedure, its name as the row's key."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "screen.add_procedure", "Add"),
        Binding("enter,right,l", "screen.to_pairs", "Pairs", key_display="⏎", show=False),
        Binding("e", "screen.edit_procedure", "Edit"),
        Binding("o", "screen.edit_tool", "Form and command", group=WHERE_ROOM),
        Binding("d,delete", "screen.delete_procedure", "Delete", key_display="d"),
        Binding("space", "screen.toggle_procedure", "On", key_display="spc"),
        Binding("g", "screen.group", "Group", group=WHERE_ROOM),
        Binding("n", "screen.then", "Next step", group=WHERE_ROOM),
        Binding("N", "screen.plan_steps", "Steps of a plan", show=False),
        Binding("G", "screen.toggle_group", "Whole group on or off", group=WHERE_ROOM),
        Binding("k", "cursor_up", show=False),
        Binding("j", "cursor_down", show=False),
    ]

    DEFAULT_CSS = """
    ProcedureTable { height: 1fr; background: transparent; scrollbar-size-vertical: 1; scrollbar-size-horizontal: 0; }
    """

    class Dropped(Message):
        """A row was dragged onto another one.

        Attributes:
            name: of the procedure that was dragged.
            onto: of the one that it was dropped on.
        """

        def __init__(self, name: str, onto: str) -> None:
            super().__init__()
            self.name, self.onto = name, onto

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id, cursor_type="row", cell_padding=1)
        self._drawn: object = None
        self._dragged: str | None = None
        self._dropped = False

    def on_mouse_down(self, event: MouseDown) -> None:
        """Remember which row a drag would begin with."""
        self._dragged, self._dropped = self._name_at(event), False

    def on_mouse_up(self, event: MouseUp) -> None:
        """Say where a row was dropped."""
        dragged, self._dragged = self._dragged, None
        onto = self._name_at(event)
        if dragged is not None and onto is not None and dragged != onto and dragged in self.rows:
            self._dropped = True
            self.post_message(self.Dropped(dragged, onto))

    def on_leave(self, event: Leave) -> None:
        """A drag that leaves the table has ended."""
        self._dragged = None

    def on_click(self, event: Click) -> None:
        """The end of a drag is no click on the row."""
        if self._dropped:
            self._dropped = False
            event.prevent_default()
            event.stop()

    def _name_at(self, event: MouseEvent) -> str | None:
        """The name of the row under the pointer; None beside the rows."""
        row = event.style.meta.get("row", -1)
        if event.style.meta.get("out_of_bounds", False) or not self.is_valid_row_index(row):
            return None
        return self.ordered_rows[row].key.value

    def show(self, lines: Sequence[ProcedureLine], *, narrow: bool, grouped: bool) -> None:
        """Draw the rows, those of a group together; the cursor stays on its procedure where that is still there.

        Args:
            lines: what to show.
            narrow: leave out the score.
            grouped: show the group.
        """
        lines = sorted(lines, key=lambda line: (not line.record.group, line.record.group, line.record.name))
        rows = {line.record.name: _cells(line, narrow, grouped) for line in lines}
        drawn = (narrow, grouped, [(name, [(cell.plain, cell.style) for cell in row]) for name, row in rows.items()])
        if drawn == self._drawn:
            return
        self._drawn = drawn
        selected = self.selected_name
        row = self.cursor_row
        self.clear(columns=True)
        self.add_column(Text("Procedure"), key="name", width=16 if narrow else 20)
        self.add_column(Text("Pairs", justify="right"), key="pairs", width=5)
        if not narrow:
            self.add_column(Text("Score", justify="right"), key="score", width=5)
        self.add_column(Text("Memory"), key="memory", width=15)
        if not narrow:
            self.add_column(Text("On"), key="on", width=3)
            if grouped:
                self.add_column(Text("Group"), key="group", width=12)
        for name, cells in rows.items():
            self.add_row(*cells, key=name)
        self.keep_cursor(selected, row)


def _cells(line: ProcedureLine, narrow: bool, grouped: bool) -> list[Text]:
    record = line.record
    style = "" if record.enabled else "dim"
    name = Text(record.name, style="bold" if record.enabled else "dim", no_wrap=True, overflow="ellipsis")
    pairs = Text(str(record.pair_count), style=style, justify="right")
    score = Text("-" if line.score is None else f"{line.score:.2f}".lstrip("0") or "0", style=style, justify="right")
    sign = "●" if line.memory is not None and not line.changed else "◐" if line.memory is not None else "○"
    words = line.words if record.enabled or not narrow else "off"
    memory = Text(f"{sign} {words}", style=style, no_wrap=True, overflow="ellipsis")
    on = Text("on" if record.enabled else "off", style=style)
    if narrow:
        return [name, pairs, memory]
    group = Text(record.group, style=style, no_wrap=True, overflow="ellipsis")
    return [name, pairs, score, memory, on, group] if grouped else [name, pairs, score, memory, on]
