"""The text area that lies over a cell of the pair grid while it is edited."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region
from textual.message import Message
from textual.widgets import TextArea

from profiles.pair_files.pasted import is_table

LEAST_WIDTH = 12
LEAST_LINES = 2


class CellEditor(TextArea):
    """Enter saves, Tab saves and goes on to the next cell, Escape leaves the cell as it was."""

    # Named for the footer and the help; done in _on_key, so that fast typing keeps its order.
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,ctrl+s", "done('stay')", "Save", key_display="⏎"),
        Binding("tab", "done('next')", "Save, next cell"),
        Binding("shift+tab", "done('previous')", "Save, cell before", show=False),
        Binding("ctrl+j,shift+enter", "newline", "New line", key_display="^j"),
        Binding("escape", "give_up", "Leave as it was"),
    ]
    DEFAULT_CSS = """
    CellEditor {
        layer: edit; position: absolute; display: none; border: none; padding: 0; background: $panel;
        scrollbar-size-vertical: 1; scrollbar-size-horizontal: 0;
    }
    CellEditor:focus { border: none; }
    """

    @dataclass
    class Done(Message):
        """The text is as it should be."""

        text: str
        then: Literal["stay", "next", "previous", "away"]
        """``away``: the focus went elsewhere by itself."""

    @dataclass
    class TablePasted(Message):
        """Rows and columns were pasted, which are no text of one cell. Nothing was inserted."""

        text: str

    @dataclass
    class GivenUp(Message):
        """The cell should stay as it was."""

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id, highlight_cursor_line=False, show_line_numbers=False, soft_wrap=True)
        self._place = Region()
        self._room = 0

    @property
    def editing(self) -> bool:
        """True while it lies over a cell."""
        return bool(self.display)

    def begin(self, text: str, place: Region, room: int) -> None:
        """Lie over a cell with its text.

        Args:
            text: what stands there now.
            place: the cell within the parent.
            room: lines the parent has.
        """
        self.load_text(text)
        self.move_cursor(self.document.end)
        self.display = True
        self.put(place, room)
        self.focus()

    def put(self, place: Region, room: int) -> None:
        """Lie elsewhere, because the cell does."""
        self._place, self._room = place, room
        self._fit()

    def end(self) -> None:
        """Uncover the cell."""
        self.display = False

    def _fit(self) -> None:
        width = max(LEAST_WIDTH, self._place.width)
        self.styles.width = width
        lines = max(self.wrapped_document.height + 1, self._place.height, LEAST_LINES)
        height = max(LEAST_LINES, min(lines, self._room))
        self.styles.height = height
        self.styles.offset = (self._place.x, max(0, min(self._place.y, self._room - height)))

    def on_text_area_changed(self) -> None:
        """Grow with the text."""
        if self.editing:
            self.call_after_refresh(self._fit)

    def action_done(self, then: Literal["stay", "next", "previous", "away"]) -> None:
        """Hand the text over."""
        if self.editing:
            self.post_message(self.Done(self.text, then))

    def action_newline(self) -> None:
        """Begin a new line."""
        self.insert("\n")

    def action_give_up(self) -> None:
        """Leave the cell as it was."""
        self.post_message(self.GivenUp())

    def on_blur(self) -> None:
        """Whatever takes the focus, what was typed is kept."""
        self.action_done("away")

    def check_consume_key(self, key: str, character: str | None = None) -> bool:
        """These keys belong to the bindings above."""
        return key not in ("enter", "tab") and super().check_consume_key(key, character)

    async def _on_paste(self, event: events.Paste) -> None:
        if is_table(event.text):
            event.stop()
            event.prevent_default()
            self.post_message(self.TablePasted(event.text))

    async def _on_key(self, event: events.Key) -> None:
        match event.key:
            case "enter" | "ctrl+s":
                self.action_done("stay")
            case "tab":
                self.action_done("next")
            case "shift+tab":
                self.action_done("previous")
            case "ctrl+j" | "shift+enter":
                self.action_newline()
            case "escape":
                self.action_give_up()
            case _:
                await super()._on_key(event)
                return
        event.stop()
        event.prevent_default()
