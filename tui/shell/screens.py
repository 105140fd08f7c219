"""The list of screens. A new screen is entered here and nowhere else.

The app's modes and function keys, the tabs of the header, the palette, the help and the key tables of the reference
are made from it.
"""

from __future__ import annotations

from dataclasses import dataclass

from textual.binding import Binding

from tui.chat.screen import ChatScreen
from tui.kit.base import AppScreen
from tui.models.screen import ModelsScreen
from tui.procedures.screen import ProceduresScreen
from tui.profiles.screen import ProfilesScreen
from tui.shell.settings import SettingsScreen
from tui.shell.welcome import WelcomeScreen
from tui.training.screen import TrainScreen


@dataclass(frozen=True, slots=True)
class ScreenEntry:
    """One screen of the app."""

    screen: type[AppScreen]
    """Makes it; its ``MODE`` names it."""
    title: str
    """In the header, in the palette and over the help."""
    summary: str
    """What it is for, in the palette."""
    key: str = ""
    """Goes there. A screen without a key has no tab in the header; the palette goes there.

    Taken are F1 and F12 (``tui.shell.commands``), F6, F7 and F10 on the chat (``tui.chat.screen``), and those
    in ``SCREENS``.
    """

    @property
    def mode(self) -> str:
        """Its name in Textual's modes, in ``[keys]`` of the settings and in the ids of its bindings."""
        return self.screen.MODE


SCREENS: tuple[ScreenEntry, ...] = (
    ScreenEntry(ChatScreen, "Chat", "Talk", key="f2"),
    ScreenEntry(ProceduresScreen, "Procedures", "Teach by example pairs", key="f3"),
    ScreenEntry(TrainScreen, "Train", "Train what is new or changed", key="f4"),
    ScreenEntry(ProfilesScreen, "Profiles", "Who works here; switch, add, lock, erase", key="f5"),
    ScreenEntry(ModelsScreen, "Models", "Which model, what fits, fetch and unload", key="f8"),
    ScreenEntry(SettingsScreen, "Settings", "Every value, its default and where it comes from", key="f9"),
    ScreenEntry(WelcomeScreen, "First steps", "A model, a first procedure"),
)


def screen_bindings(screens: tuple[ScreenEntry, ...]) -> list[Binding]:
    """The keys that go to screens from everywhere."""
    return [
        Binding(entry.key, f"switch_mode('{entry.mode}')", entry.title, show=False, priority=True, id=entry.mode)
        for entry in screens
        if entry.key
    ]
