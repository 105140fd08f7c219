"""Lists and buttons that show their state without colour. Textual's own draw the same sign for on and off."""

from __future__ import annotations

from rich.segment import Segment
from textual.content import Content
from textual.strip import Strip
from textual.widgets import Checkbox, RadioButton, SelectionList
from textual.widgets.option_list import OptionDoesNotExist

_OFF = " "


class TickList(SelectionList[str]):
    """A list of things to tick; the sign stands only where something is ticked."""

    def render_line(self, y: int) -> Strip:
        """One line; Textual puts the sign into the second segment."""
        strip = super().render_line(y)
        try:
            selection = self.get_option_at_index(self.scroll_offset.y + y)
        except OptionDoesNotExist:
            return strip
        if selection.value in self.selected:
            return strip
        left, sign, *rest = list(strip)
        return Strip([left, Segment(_OFF, sign.style), *rest], strip.cell_length)


class Tick(Checkbox):
    """One thing to tick; the sign stands only when it is ticked."""

    def render(self) -> Content:
        """The box and its words."""
        self.BUTTON_INNER = Checkbox.BUTTON_INNER if self.value else _OFF
        return super().render()


class Choice(RadioButton):
    """One of several; the dot stands only in the chosen one."""

    def render(self) -> Content:
        """The button and its words."""
        self.BUTTON_INNER = RadioButton.BUTTON_INNER if self.value else _OFF
        return super().render()
