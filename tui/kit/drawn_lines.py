"""The one filter on every segment that the app draws: no character of a text reaches the terminal as a command.

Textual and rich send text as it is. ``VisibleLines`` is a line filter of the app, so that each line of each widget goes
through it, borders and titles included; ``VisiblePrints`` does the same for what rich prints once the app has ended.
"""

from __future__ import annotations

from collections.abc import Iterator

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderableType, RenderHook
from rich.control import Control
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter

from tui.kit.visible_text import in_cells, is_plain, visible


class VisibleLines(LineFilter):
    """Draws symbols for characters that a terminal would obey, in lines that stay as wide as they were laid out."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """A line without such characters."""
        if all(is_plain(text) and _is_plain_link(style) for text, style, _ in segments):
            return segments
        made = list(segments)
        for place, (_, style, control) in enumerate(segments):
            text = made[place].text
            if not is_plain(text):
                made[place] = Segment(in_cells(text), style, control)
                # Layout gave these characters no cell; they take theirs from the blank ones behind them.
                _give_back(made, place, made[place].cell_length - cell_len(text))
            if not _is_plain_link(style):
                assert style is not None
                made[place] = Segment(made[place].text, style.update_link(None), control)
        return [segment for segment in made if segment.text]


class VisiblePrints(RenderHook):
    """The same for what is printed around the app: its last words, and the traceback of a fault."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Wrap each."""
        return [one if isinstance(one, Control) else _Looked(one) for one in renderables]


class _Looked:
    def __init__(self, renderable: RenderableType) -> None:
        self._renderable = renderable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for text, style, control in console.render(self._renderable, options):
            if control:
                yield Segment(text, style, control)
            else:
                assert style is None or isinstance(style, Style)
                link = style if style is None or _is_plain_link(style) else style.update_link(None)
                yield Segment(visible(text), link)


def _is_plain_link(style: Style | None) -> bool:
    return style is None or style.link is None or is_plain(style.link)


def _give_back(segments: list[Segment], place: int, excess: int) -> None:
    """Take ``excess`` cells out of a line: blanks first, those nearest behind ``place``, else the end of its text."""
    for later in range(place + 1, len(segments)):
        if excess <= 0:
            return
        text, style, control = segments[later]
        taken = min(excess, len(text) - len(text.lstrip(" ")))
        segments[later] = Segment(text[taken:], style, control)
        excess -= taken
    if excess > 0:
        text, style, control = segments[place]
        blank = len(text) - len(text.rstrip(" "))
        text, excess = text[: len(text) - min(blank, excess)], excess - min(blank, excess)
        segments[place] = Segment(set_cell_size(text, cell_len(text) - excess) if excess else text, style, control)
