"""Example pairs as a grid of two texts a row; rows are as high as their text, and only what is in sight is drawn.

Up to ``MEASURED_ROWS`` every row shows its text in lines. Beyond, a row is one line until the cursor is on it, so that
a table of any length opens and scrolls at once. It edits nothing; it reports which cell is wanted and where it is.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar, Literal

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui.kit.keys import keyed
from tui.kit.wrapped import one_line, wrapped
from tui.procedures.pair_rows import NO_ROWS, CellPart, GridRows

MEASURED_ROWS = 2_000
"""Up to this many rows, each is as high as its text."""

MOST_LINES = 8
"""Lines of a text that are shown; all of it is there when it is edited."""

STACKED_BELOW = 50
"""Cells of width below which input and response stand below one another."""

_KEPT_LAYOUTS = 3_000
_SIGNS = 2
"""Cells before the texts."""

_ARROW = "→ "


@dataclass(slots=True)
class _Layout:
    input: list[str]
    response: list[str]
    stacked: bool

    @property
    def height(self) -> int:
        heights = (len(self.input), len(self.response))
        return sum(heights) if self.stacked else max(heights)


@keyed("pairs")
class PairGrid(ScrollView, can_focus=True):
    """See the module."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("e,enter", "edit", "Edit", key_display="e"),
        Binding("a", "add", "Add pair"),
        Binding("d,delete", "delete", "Delete", key_display="d"),
        Binding("L", "large", "Edit large", show=False),
        Binding("space", "hold_out", "Hold out", key_display="spc", show=False),
        Binding("up,k", "row(-1)", show=False),
        Binding("down,j", "row(1)", show=False),
        Binding("left,h", "column(-1)", show=False),
        Binding("right,l", "column(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("home", "end(False)", show=False),
        Binding("end", "end(True)", show=False),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "pair-grid--header",
        "pair-grid--odd",
        "pair-grid--row",
        "pair-grid--cell",
        "pair-grid--dim",
        "pair-grid--sign",
    }
    DEFAULT_CSS = """
    PairGrid {
        height: 1fr; background: transparent; scrollbar-size-vertical: 1; scrollbar-size-horizontal: 0;
        .pair-grid--header { text-style: bold; color: $primary; }
        .pair-grid--odd { background: $foreground 4%; }
        .pair-grid--row { background: $foreground 9%; }
        .pair-grid--cell { background: $primary 30%; }
        .pair-grid--dim { color: $muted; }
        .pair-grid--sign { text-style: bold; color: $text-warning; }
    }
    PairGrid:focus .pair-grid--cell { background: $primary 55%; text-style: bold; }
    """

    row: reactive[int] = reactive(0, repaint=False)
    """The row under the cursor."""
    column: reactive[int] = reactive(0, repaint=False)
    """0 input, 1 response."""

    @dataclass
    class Wanted(Message):
        """The person wants something done with the pair under the cursor."""

        action: Literal["edit", "add", "delete", "large", "hold_out", "leave"]
        key: int | None
        """Of the row under the cursor; None in an empty grid."""

    @dataclass
    class RowHighlighted(Message):
        """The cursor is on another row."""

        key: int | None

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self.rows = NO_ROWS
        self._layouts: dict[int, _Layout] = {}
        self._starts: list[int] = [0]
        self._drawn_width = 0

    # What is shown

    def show(self, rows: GridRows) -> None:
        """Draw rows; the cursor stays on its pair where that is still there, or in its place."""
        key = self.key
        self.rows = rows
        place = None if key is None else rows.place(key)
        self.set_reactive(PairGrid.row, max(0, min(self.row if place is None else place, len(rows) - 1)))
        self._measure()
        self.post_message(self.RowHighlighted(self.key))

    @property
    def key(self) -> int | None:
        """The key of the row under the cursor."""
        return self.rows[self.row].key if self.row < len(self.rows) else None

    @property
    def part(self) -> CellPart:
        """The text under the cursor."""
        return "response" if self.column else "input"

    def go_to(self, key: int, part: CellPart | None = None) -> None:
        """Put the cursor on a pair that is shown."""
        place = self.rows.place(key)
        if place is not None:
            self.row = place
        if part is not None:
            self.column = int(part == "response")

    def cell_region(self) -> Region:
        """Where the text under the cursor stands within the widget, below the header."""
        layout = self._layout(self.row)
        top = 1 + self._start(self.row) - self.scroll_offset.y
        if self._stacked:
            shift = len(layout.input) if self.column else 0
            left = _SIGNS + len(_ARROW) * self.column
            lines = layout.response if self.column else layout.input
            return Region(left, top + shift, self._text_width - len(_ARROW) * self.column, len(lines))
        return Region(_SIGNS + self.column * (self._text_width + 1), top, self._text_width, layout.height)

    # Measuring

    @property
    def _width(self) -> int:
        return max(20, self.size.width - 1)

    @property
    def _stacked(self) -> bool:
        return self._width < STACKED_BELOW

    @property
    def _text_width(self) -> int:
        """Of one text; side by side there is a space between the two."""
        return self._width - _SIGNS if self._stacked else (self._width - _SIGNS - 1) // 2

    @property
    def _measured(self) -> bool:
        return len(self.rows) <= MEASURED_ROWS

    def _measure(self) -> None:
        """Heights of all rows, where each has its own."""
        self._layouts.clear()
        self._drawn_width = self._width
        if self._measured:
            self._starts = list(accumulate((self._layout(place).height for place in range(len(self.rows))), initial=0))
            total = self._starts[-1]
        else:
            total = len(self.rows) - 1 + self._layout(self.row).height
        self.virtual_size = Size(self._width, total + 1)
        self.refresh()
        self.call_after_refresh(self._reveal)

    def _layout(self, place: int) -> _Layout:
        """The lines of a row."""
        found = self._layouts.get(place)
        if found is None:
            if len(self._layouts) > _KEPT_LAYOUTS:
                self._layouts.clear()
            row, width, stacked = self.rows[place], self._text_width, self._stacked
            behind = width - len(_ARROW) if stacked else width
            if self._measured or place == self.row:
                texts = (wrapped(row.input, width, MOST_LINES), wrapped(row.response, behind, MOST_LINES))
                found = _Layout(*texts, stacked)
            elif stacked:
                half = width // 2
                both = f"{one_line(row.input, half)} {_ARROW}{one_line(row.response, width - half - 4)}"
                found = _Layout([both], [], stacked)
            else:
                found = _Layout([one_line(row.input, width)], [one_line(row.response, width)], stacked)
            self._layouts[place] = found
        return found

    def _start(self, place: int) -> int:
        """The line on which a row begins, the header not counted."""
        if self._measured:
            return self._starts[place]
        return place + (self._layout(self.row).height - 1 if place > self.row else 0)

    def _place(self, line: int) -> int:
        """The row of a line."""
        if self._measured:
            return bisect_right(self._starts, line) - 1
        height = self._layout(self.row).height
        return line if line <= self.row else max(self.row, line - height + 1)

    def on_resize(self, event: events.Resize) -> None:
        """Another width breaks the texts elsewhere; another height may push the row under the cursor out of sight."""
        if self._drawn_width != self._width:
            self._measure()
        else:
            self.call_after_refresh(self._reveal)

    # Drawing

    def render_line(self, y: int) -> Strip:
        """One line of the widget: the header, or a line of a row."""
        base = self.rich_style
        if y == 0:
            return self._header(base)
        line = self.scroll_offset.y + y - 1
        place = self._place(line) if self.rows else 0
        if not 0 <= place < len(self.rows):
            return Strip.blank(self._width, base)
        return self._row_line(place, line - self._start(place), base)

    def _header(self, base: Style) -> Strip:
        style = base + self.get_component_rich_style("pair-grid--header", partial=True)
        if self._stacked:
            text = "You type → you get"
        else:
            text = f"{'You type':<{self._text_width + 1}}You get"
        return Strip([Segment(f"{'':<{_SIGNS}}{text}", style)]).adjust_cell_length(self._width, base)

    def _row_line(self, place: int, line: int, base: Style) -> Strip:
        row, layout = self.rows[place], self._layout(place)
        here = place == self.row
        # Backgrounds let the screen shine through, which only a whole style has worked out; colours are added to it.
        style = (
            self.get_component_rich_style("pair-grid--row" if here else "pair-grid--odd") if here or place % 2 else base
        )
        cell_style = self.get_component_rich_style("pair-grid--cell") if here else style
        dim = self.get_component_rich_style("pair-grid--dim", partial=True) if row.dim else Style()
        text_style, cell_style = style + dim, cell_style + dim
        sign_style = style + self.get_component_rich_style("pair-grid--sign", partial=True)
        # The cursor shows without colour too.
        mark = "▸" if here and line == 0 and self.has_focus else " "
        parts = [Segment((row.sign if line == 0 else "") or " ", sign_style), Segment(mark, sign_style)]
        width = self._text_width
        if not self._stacked:
            for column, lines in enumerate((layout.input, layout.response)):
                text = lines[line] if line < len(lines) else ""
                parts.append(_padded(text, width, cell_style if column == self.column else text_style))
                parts.append(Segment(" ", style))
        elif line < len(layout.input):
            parts.append(_padded(layout.input[line], width, text_style if self.column else cell_style))
        else:
            arrow = _ARROW if line == len(layout.input) else " " * len(_ARROW)
            parts.append(Segment(arrow, sign_style))
            text = layout.response[line - len(layout.input)]
            parts.append(_padded(text, width - len(_ARROW), cell_style if self.column else text_style))
        return Strip(parts).adjust_cell_length(self._width, base)

    # Moving

    def watch_row(self) -> None:
        """Draw the cursor elsewhere and follow it."""
        if not self._measured:
            self._layouts.clear()
            if self.rows:
                self.virtual_size = Size(self._width, len(self.rows) + self._layout(self.row).height)
        self.refresh()
        self._reveal()
        self.post_message(self.RowHighlighted(self.key))

    def watch_column(self) -> None:
        """Draw the cursor elsewhere."""
        self.refresh()

    def on_focus(self) -> None:
        """The cursor looks different."""
        self.refresh()

    def on_blur(self) -> None:
        """The cursor looks different."""
        self.refresh()

    def _reveal(self) -> None:
        """Scroll so that the row under the cursor is in sight, its beginning first."""
        if not self.rows or self.size.height < 2:
            return
        top, height, sight = self._start(self.row), self._layout(self.row).height, self.size.height - 1
        now = self.scroll_offset.y
        if top < now or height > sight:
            self.scroll_to(y=top, animate=False)
        elif top + height > now + sight:
            self.scroll_to(y=top + height - sight, animate=False)

    def action_row(self, step: int) -> None:
        """Up or down."""
        self.row = max(0, min(self.row + step, len(self.rows) - 1))

    def action_page(self, direction: int) -> None:
        """Up or down by what is in sight."""
        line = self._start(self.row) + direction * max(1, self.size.height - 2) if self.rows else 0
        last = len(self.rows) - 1
        total = self._start(last) if self.rows else 0
        target = self._place(max(0, min(line, total)))
        self.row = max(0, min(target if target != self.row else target + direction, last))

    def action_end(self, last: bool) -> None:
        """To the first row or the last, which is scrolled to even where the cursor is on it."""
        self.row = max(0, len(self.rows) - 1) if last else 0
        self._reveal()

    def action_column(self, step: int) -> None:
        """To the other text; left of the input is the list of procedures."""
        if step < 0 and self.column == 0:
            self._want("leave")
        else:
            self.column = max(0, min(self.column + step, 1))

    def on_click(self, event: events.Click) -> None:
        """A click puts the cursor there; on the cell under the cursor it edits."""
        line = self.scroll_offset.y + event.y - 1
        if event.y == 0 or not self.rows or not 0 <= (place := self._place(line)) < len(self.rows):
            return
        within = line - self._start(place)
        if self._stacked:
            column = int(within >= len(self._layout(place).input))
        else:
            column = int(event.x >= _SIGNS + self._text_width)
        same = (place, column) == (self.row, self.column)
        self.row, self.column = place, column
        if same:
            self._want("edit")

    # Wishes

    def _want(self, action: Literal["edit", "add", "delete", "large", "hold_out", "leave"]) -> None:
        self.post_message(self.Wanted(action, self.key))

    def action_edit(self) -> None:
        """Edit the text under the cursor; in an empty grid write the first pair."""
        self._want("edit" if self.rows else "add")

    def action_add(self) -> None:
        """Write a new pair."""
        self._want("add")

    def action_delete(self) -> None:
        """Delete the pair under the cursor."""
        self._want("delete")

    def action_large(self) -> None:
        """Edit the pair in a window of its own."""
        self._want("large")

    def action_hold_out(self) -> None:
        """Learn from the pair, or measure with it."""
        self._want("hold_out")


def _padded(text: str, width: int, style: Style) -> Segment:
    return Segment(Strip([Segment(text)]).adjust_cell_length(width).text, style)
