"""The Settings screen: shows every setting with its default and its source, and changes, previews and resets it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import ClassVar, cast

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import DataTable, Input, OptionList, Static
from textual.widgets.option_list import Option

from profiles.settings.setting_keys import KEYS, SettingValue
from profiles.settings.settings import Scope, SettingRow
from tokmem_desk.errors import TokmemError
from tui.kit.base import AppScreen
from tui.kit.error_dialogs import shows_errors
from tui.kit.search_field import SearchField
from tui.kit.themes import theme_words
from tui.shell.services import ShellServices
from tui.shell.setting_view import Place, SettingTable, about, about_place, value_words

SCOPE_WORDS: dict[Scope, str] = {"user": "all profiles", "profile": "this profile alone"}


class SettingsScreen(AppScreen):
    """See the module."""

    MODE = "settings"
    CSS_PATH = "settings.tcss"
    AUTO_FOCUS = "SettingTable"
    LISTS = (SettingTable,)
    HELP_TEXT = (
        "Each line is a setting, its value and where that comes from; ● marks what is not the default. Enter changes "
        "it, Space takes the next choice, r puts it back. o chooses whether a change is for all profiles or for this "
        "one. Below stand the places on the disk. A flag or a variable wins over both files."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "search", "Search", key_display="/"),
        Binding("r", "reset", "Reset"),
        Binding("o", "scope", "All or this"),
        Binding("ctrl+s", "save", "Save the value", show=False),
        Binding("escape", "leave", "Leave", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._scope: Scope = "user"
        self._rows: list[SettingRow] = []
        self._places: list[Place] = []
        self._editing: str | None = None
        """The setting whose value is being typed or chosen."""

    @property
    def tokmem(self) -> ShellServices:
        """The app, as far as this room uses it."""
        return cast(ShellServices, self.app)

    def body(self) -> ComposeResult:
        with Horizontal(id="both"):
            with Vertical(id="left"):
                yield SearchField(placeholder="/ search settings and places", id="search")
                yield SettingTable(id="settings")
                yield Static(Content("Nothing is called that. Esc clears the search."), id="none")
            with VerticalScroll(id="right", can_focus=False):
                yield Static(id="about")
                yield Input(id="value", select_on_focus=True)
                yield OptionList(id="choices", markup=False)
                yield Static(id="fault", markup=False)
                yield Static(id="hint", markup=False)

    async def begin(self) -> None:
        """Draw the settings and places; the places are measured later."""
        self._places = self._places_of(measured=False)
        self._draw()

    @work(group="measure", exclusive=True, exit_on_error=False)
    async def on_screen_resume(self) -> None:
        """Draw what may have changed, and measure the places in a thread: folders may be large."""
        self._draw()
        self._places = await asyncio.to_thread(self._places_of, measured=True)
        self._draw()

    def _places_of(self, *, measured: bool) -> list[Place]:
        paths = self.tokmem.paths
        folder = self.tokmem.store.folder
        named = (
            ("settings file", paths.config_file, "What is set for all profiles."),
            ("this profile", folder, "Procedures, memories and chats of the open profile."),
            ("all profiles", paths.profiles, "Everything private of everybody."),
            ("models", paths.models, "Prepared models; they can be fetched again."),
            ("logs", paths.logs, "What the engine wrote, without your texts."),
            ("checkpoints", paths.checkpoints, "What an interrupted training goes on from."),
        )
        return [Place(name, str(path), _bytes_of(path) if measured else None, purpose) for name, path, purpose in named]

    # Drawing

    @shows_errors
    def _draw(self) -> None:
        if not self.is_mounted:
            return
        self._rows = self.tokmem.settings.show()
        search_text = self.query_one("#search", Input).value.strip().lower()
        rows = [
            row
            for row in self._rows
            if search_text in f"{row.title} {row.key} {row.doc} {value_words(row, row.value)} {row.value}".lower()
        ]
        places = [
            place for place in self._places if search_text in f"{place.name} {place.path} {place.purpose}".lower()
        ]
        table = self.query_one(SettingTable)
        table.show([(row, self._source_words(row)) for row in rows], places)
        has_matches = bool(rows or places)
        table.display, self.query_one("#none").display = has_matches, not has_matches
        self._draw_about()

    def _draw_about(self) -> None:
        row, place = self._row, self._place
        pane = self.query_one("#about", Static)
        self.query_one("#right").visible = row is not None or place is not None
        if row is not None:
            pane.update(about(KEYS[row.key], row, self._source_words(row), SCOPE_WORDS[self._scope]))
        elif place is not None:
            pane.update(about_place(place))
        self._draw_editor()
        self.refresh_bindings()

    def _draw_editor(self) -> None:
        """Show the field or the list of choices while a setting is changed; hide both otherwise."""
        editing = self._editing is not None
        choices = self._choices if editing else ()
        self.query_one("#right").set_class(editing, "-editing")
        self.query_one("#choices").display = bool(choices)
        self.query_one("#value").display = editing and not choices
        if not editing:
            self._show_fault("")
        hint = ""
        if editing:
            hint = "Arrows preview, Enter keeps it, Esc goes back." if choices else "Enter keeps it, Esc goes back."
        elif self._row is not None and self._row.source not in ("default", *self._files):
            hint = f"{self._row.source} says so, and wins over what is written here."
        hint_line = self.query_one("#hint", Static)
        hint_line.update(Content(hint))
        hint_line.display = bool(hint)

    def _source_words(self, row: SettingRow) -> str:
        scope = self.tokmem.settings.scope_of(row.source)
        return {"user": "settings file", "profile": "this profile"}[scope] if scope is not None else row.source

    @property
    def _files(self) -> set[str]:
        return {row.source for row in self._rows if self.tokmem.settings.scope_of(row.source) is not None}

    @property
    def _row(self) -> SettingRow | None:
        name = self.query_one(SettingTable).selected_name
        return next((row for row in self._rows if row.key == name), None)

    @property
    def _place(self) -> Place | None:
        name = self.query_one(SettingTable).selected_name
        return next((place for place in self._places if f"place {place.name}" == name), None)

    @property
    def _choices(self) -> tuple[str, ...]:
        """The values that the setting being changed may have; empty where a value is typed."""
        if self._editing is None:
            return ()
        if self._editing == "theme":
            return tuple(sorted(self.app.available_themes, key=lambda name: (not name.startswith("tokmem"), name)))
        key = KEYS[self._editing]
        return ("on", "off") if isinstance(key.default, bool) else key.choices

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        """Describe the row under the cursor."""
        if self._editing is None:
            self._draw_about()

    # Searching

    def action_search(self) -> None:
        """Put the focus on the search field."""
        self.query_one("#search").focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Search with each key; typing another value hides the error about the last one."""
        if event.input.id == "search":
            self._draw()
        else:
            self._show_fault("")

    # Changing

    def action_edit(self) -> None:
        """Change the setting under the cursor, or copy the path of the place under the cursor."""
        place, row = self._place, self._row
        if place is not None:
            self.app.copy_to_clipboard(place.path)
            self.notify("Copied the path.")
        if row is None:
            return
        self._editing = row.key
        choices = self._choices
        if choices:
            options = self.query_one("#choices", OptionList)
            options.clear_options()
            options.add_options([Option(Content(self._choice_words(choice)), id=choice) for choice in choices])
            current = _text(row.value)
            options.highlighted = choices.index(current) if current in choices else 0
        else:
            self.query_one("#value", Input).value = _text(row.value)
        self._draw_editor()
        self.query_one("#choices" if choices else "#value").focus()

    def _choice_words(self, choice: str) -> str:
        if self._editing == "theme":
            return f"{choice}{theme_words(choice)}"
        return choice if self._editing is None else KEYS[self._editing].choice_words.get(choice, choice)

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        """Preview the theme under the cursor."""
        if self._editing == "theme" and event.option_id is not None:
            self.app.theme = event.option_id

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Store the chosen value."""
        if event.option_id is not None:
            self._keep(event.option_id)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Store the typed value; in the search field, go to the results."""
        if event.input.id == "search":
            self.query_one(SettingTable).focus()
        else:
            self._keep(event.value)

    def action_save(self) -> None:
        """Store what is typed or chosen, while a setting is being changed."""
        options = self.query_one("#choices", OptionList)
        if self._editing is None:
            return
        if options.has_focus:
            options.action_select()
        else:
            self._keep(self.query_one("#value", Input).value)

    def _keep(self, value: str) -> None:
        """Store a value; if it is not allowed, say why and keep the old one."""
        name = self._editing
        if name is None:
            return
        try:
            row = self.tokmem.settings.set(name, value, self._scope)
        except TokmemError as caught:
            self._show_fault(f"{caught.message} {caught.next_step} The old value stays.")
            return
        self._end_editing()
        if _text(row.value) != value and self.tokmem.settings.scope_of(row.source) != self._scope:
            self.notify(f"Written, but {self._source_words(row)} says {_text(row.value)}, which wins.", markup=False)

    @shows_errors
    def action_next_value(self) -> None:
        """Give the setting under the cursor its next possible value."""
        row = self._row
        if row is None:
            return
        self._editing = row.key
        choices, current = self._choices, _text(row.value)
        if not choices:
            self.action_edit()
            return
        self._keep(choices[(choices.index(current) + 1) % len(choices)] if current in choices else choices[0])

    @shows_errors
    def action_reset(self) -> None:
        """Reset the setting under the cursor: remove it from the settings file that has it.

        A value from a flag or a variable cannot be reset here; a notice says so.
        """
        row = self._row
        if row is None:
            return
        scope = self.tokmem.settings.scope_of(row.source)
        if scope is None:
            reason = "is at its default" if row.source == "default" else f"comes from {row.source}; change it there"
            self.notify(f"{row.title} {reason}.", markup=False)
            return
        after = self.tokmem.settings.reset(row.key, scope)
        self._end_editing()
        self.notify(f"{row.title} is {_text(after.value)} again.", markup=False)

    def action_scope(self) -> None:
        """Switch between changing settings for all profiles and for this one."""
        self._scope = "profile" if self._scope == "user" else "user"
        self._draw_about()

    def action_leave(self) -> None:
        """Stop changing and keep the old value; otherwise clear the search and go to the table."""
        if self._editing is not None:
            self._end_editing()
            return
        self.query_one("#search", Input).value = ""
        self.query_one(SettingTable).focus()

    def _end_editing(self) -> None:
        """Apply the settings as they are stored, and go back to the table."""
        self._editing = None
        self.tokmem.apply_settings()
        self._draw()
        self.query_one(SettingTable).focus()

    def _show_fault(self, message: str) -> None:
        line = self.query_one("#fault", Static)
        line.update(Content(f"! {message}" if message else ""))
        line.display = bool(message)


def _text(value: SettingValue) -> str:
    """A value in the form in which it can be typed."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _bytes_of(path: Path) -> int:
    """Size of a file, or of all files in a folder, in bytes; 0 if it does not exist. Links are not followed."""
    total = 0
    try:
        if path.is_file():
            return path.stat().st_size
        for root, _, names in os.walk(path):
            total += sum(os.lstat(Path(root) / name).st_size for name in names)
    except OSError:  # something went while we counted
        return total
    return total
