"""A table whose rows have names: what the cursor is on, and how it stays there when the rows are drawn anew."""

from __future__ import annotations

from rich.text import Text
from textual.coordinate import Coordinate
from textual.widgets import DataTable


class NamedTable(DataTable[Text]):
    """A table whose row keys are names."""

    @property
    def selected_name(self) -> str | None:
        """The name of the row under the cursor."""
        if not self.row_count or not self.is_valid_row_index(self.cursor_row):
            return None
        return self.coordinate_to_cell_key(Coordinate(self.cursor_row, 0)).row_key.value

    def select(self, name: str) -> None:
        """Put the cursor on a row that is in the list."""
        if name in self.rows:
            self.move_cursor(row=self.get_row_index(name))

    def keep_cursor(self, selected: str | None, row: int) -> None:
        """After new rows were drawn: back to the name it was on, or as near as can be to its row."""
        if selected is not None and selected in self.rows:
            self.select(selected)
        elif self.row_count:
            self.move_cursor(row=min(row, self.row_count - 1))
