"""The table of settings and places. Draws only what it is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.content import Content

from profiles.settings.setting_keys import KEYS, SettingKey, SettingValue
from profiles.settings.settings import SettingRow
from tui.kit.keys import keyed
from tui.kit.named_table import NamedTable
from tui.kit.words import size


@dataclass(frozen=True, slots=True)
class Place:
    """A file or folder of the app; ``bytes`` None while it is being measured."""

    name: str
    path: str
    bytes: int | None
    purpose: str


@keyed("settings")
class SettingTable(NamedTable):
    """A row per setting, then a row per place; the row's key is the name, or ``place NAME``."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,e", "screen.edit", "Change", key_display="⏎"),
        Binding("space", "screen.next_value", "Next value", key_display="spc"),
        Binding("k", "cursor_up", show=False),
        Binding("j", "cursor_down", show=False),
    ]

    DEFAULT_CSS = """
    SettingTable { height: 1fr; background: transparent; scrollbar-size-horizontal: 0; }
    """

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id, cursor_type="row", cell_padding=1)
        self._shown: tuple[Sequence[tuple[SettingRow, str]], Sequence[Place]] = ((), ())
        self._drawn_width = 0

    def on_resize(self) -> None:
        """Draw again: a wider table shows longer values, and a narrow one may have been wide a moment ago."""
        if self.size.width != self._drawn_width:
            self.show(*self._shown)

    def show(self, rows: Sequence[tuple[SettingRow, str]], places: Sequence[Place]) -> None:
        """Draw the rows as wide as the table is; the cursor stays on its row.

        Args:
            rows: settings with the words for their source.
            places: files and folders.
        """
        self._shown, self._drawn_width = (rows, places), self.size.width
        width = self.size.width or self.app.size.width
        selected, at = self.selected_name, self.cursor_row
        self.clear(columns=True)
        source_width = 15
        value_width = max(16, width - 22 - source_width - 8)
        self.add_column(Text("Setting"), key="name", width=20)
        self.add_column(Text("Value"), key="value", width=value_width)
        self.add_column(Text("From"), key="source", width=source_width)
        for row, source in rows:
            changed = row.source != "default"
            # A sign and the source's words: never by weight or colour alone.
            name = Text(f"{'●' if changed else ' '} {row.title}", style="bold" if changed else "", no_wrap=True)
            value = Text(value_words(row, row.value), no_wrap=True, overflow="ellipsis")
            self.add_row(name, value, Text(source, no_wrap=True, overflow="ellipsis"), key=row.key)
        for place in places:
            measured = "…" if place.bytes is None else size(place.bytes)
            path = Text(_short_path(place.path, value_width), no_wrap=True)
            self.add_row(Text(f"▪ {place.name}"), path, Text(measured), key=f"place {place.name}")
        self.keep_cursor(selected, at)


def value_words(row: SettingRow, value: SettingValue) -> str:
    """A value of a setting in the form in which the table shows it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    words = f"{value:g}" if isinstance(value, float) else KEYS[row.key].choice_words.get(str(value), str(value))
    return f"{words} {row.unit}" if row.unit and row.unit != "probability" else words


def about(key: SettingKey, row: SettingRow, source: str, scope: str) -> Content:
    """What a setting is for, its default, its limits and where its value comes from."""
    choices = [key.choice_words.get(choice, choice) for choice in key.choices]
    limits = " or ".join(("on", "off") if isinstance(key.default, bool) else choices) or key.limits
    facts = [
        ("value", value_words(row, row.value)),
        ("default", value_words(row, row.default)),
        ("may be", limits),
        ("from", source if row.source == "default" else f"{source}: {row.source}"),
        ("written for", scope),
        ("in files", key.name),
    ]
    lines = [Content.styled(key.title, "bold $primary"), Content(key.doc), Content("")]
    lines += [Content.assemble(Content.styled(f"{name:<13}", "$muted"), value) for name, value in facts if value]
    return Content("\n").join(lines)


def about_place(place: Place) -> Content:
    """The path, size and purpose of a place."""
    return Content("\n").join(
        [
            Content.styled(place.name, "bold $primary"),
            Content(place.purpose),
            Content(""),
            Content(place.path),
            Content("being measured …" if place.bytes is None else size(place.bytes)),
            Content(""),
            Content.styled("Enter copies the path. TOKMEM_HOME or --home moves everything.", "$muted"),
        ]
    )


def _short_path(path: str, width: int) -> str:
    return path if len(path) <= width else f"…{path[-(width - 1) :]}"
