"""The bottom line with the keys of the place that has the focus: as many as fit, the app's own always among them."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal
from textual.css.query import NoMatches
from textual.events import Resize
from textual.geometry import Size
from textual.widgets import Footer
from textual.widgets._footer import FooterKey

WHERE_ROOM = Binding.Group("where there is room")
"""The group of keys that are shown behind all others, as far as there is room."""

TWO_LINES_FROM = 30
"""Lines of the terminal from which the keys may take two."""


@dataclass(frozen=True, slots=True)
class _Key:
    """One key of the footer."""

    shown: str
    binding: Binding
    enabled: bool
    tooltip: str
    everywhere: bool
    """Whether it is a key of the app itself."""

    @property
    def cells(self) -> int:
        """Its width, with the space behind it."""
        return cell_len(self.shown) + 1 + cell_len(self.binding.description) + 1

    def drawn(self) -> FooterKey:
        """As a widget, compact from the start: a class that is set later would have it styled again."""
        binding = self.binding
        return FooterKey(
            binding.key,
            self.shown,
            binding.description,
            binding.action,
            disabled=not self.enabled,
            tooltip=self.tooltip,
            classes="-compact",
        )


class KeyFooter(Footer):
    """Textual's footer, compact, and drawn again only when other keys are to be shown.

    Textual's own mounts every key again each time the focus moves, styles each of them three times, and lets keys that
    do not fit push the last ones out of sight. Here help and menu stay, in a tall terminal the keys may take two lines,
    and F1 always shows them all.
    """

    DEFAULT_CSS = """
    KeyFooter {
        layout: vertical; height: auto; max-height: 2;
        Horizontal { height: 1; width: 1fr; }
        .everywhere { width: auto; dock: right; background: $footer-background; }
        .everywhere FooterKey { margin: 0 0 0 1; }
    }
    """

    def __init__(self) -> None:
        super().__init__(show_command_palette=False, compact=True)
        self._shown: object = None

    def on_resize(self, event: Resize) -> None:
        """Other keys may fit."""
        self.call_after_refresh(self.recompose)

    def compose(self) -> ComposeResult:
        """Draw the keys that are bound where the focus is."""
        self._shown = self._to_show()
        keys, size = self._shown
        everywhere = [key for key in keys if key.everywhere]
        here = sorted((key for key in keys if not key.everywhere), key=lambda key: key.binding.group is WHERE_ROOM)
        lines = lines_of([key.cells for key in here], sum(key.cells for key in everywhere), size)
        for place, line in enumerate(lines):
            with Horizontal():
                for index in line:
                    yield here[index].drawn()
                if place == len(lines) - 1:
                    with Horizontal(classes="everywhere"):
                        for key in everywhere:
                            yield key.drawn()

    async def recompose(self) -> None:
        """Draw other keys, if they are others. A screen may have gone, or be going, since this was asked for."""
        with contextlib.suppress(NoMatches):  # its actions ask for parts of it that have gone before the footer
            if self.is_attached and self._to_show() != self._shown:
                await super().recompose()

    def _to_show(self) -> tuple[list[_Key], Size]:
        """The keys, one for each action, and the size that they are to fit into."""
        if not self._bindings_ready:
            return [], self.app.size
        keys: dict[str, _Key] = {}
        for node, binding, enabled, tooltip in self.screen.active_bindings.values():
            if binding.show and binding.action not in keys:
                display = self.app.get_key_display(binding)
                keys[binding.action] = _Key(display, binding, enabled, tooltip, node is self.app)
        return list(keys.values()), self.app.size


def lines_of(widths: Sequence[int], everywhere: int, size: Size) -> list[list[int]]:
    """Which keys stand in which line: in their order, until there is no room.

    Args:
        widths: cells of each key.
        everywhere: cells at the right end of the last line that are taken.
        size: of the terminal.
    """
    lines: list[list[int]] = [[]]
    if sum(widths) + everywhere > size.width and size.height >= TWO_LINES_FROM:
        lines.append([])
    place = 0
    for number, line in enumerate(lines):
        room = size.width - (everywhere if number == len(lines) - 1 else 0)
        while place < len(widths) and widths[place] <= room:
            room -= widths[place]
            line.append(place)
            place += 1
    return lines
