"""The main screens: stores what is being written in them, and drops those of a profile that is left."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from textual.app import App
from textual.screen import Screen

from tui.chat.screen import ChatScreen
from tui.kit.base import AppScreen


class ModeScreens:
    """See the module.

    Args:
        app: has the screens.
        classes: makes the screen of each mode.
        forget_errors: drops the errors that were shown.
    """

    def __init__(
        self, app: App[Any], classes: Mapping[str, type[Screen[None]]], forget_errors: Callable[[], None]
    ) -> None:
        self._app = app
        self._classes = classes
        self._forget_errors = forget_errors
        for mode, screen in classes.items():
            app.add_mode(mode, screen)

    @property
    def is_dialog_open(self) -> bool:
        """Whether a dialog lies over the main screen."""
        return len(self._app.screen_stack) > 1

    @property
    def holds_unsaved(self) -> bool:
        """Whether something on the screen in sight would be lost that ``keep_unsaved`` does not store."""
        screen = self._app.screen
        return isinstance(screen, ChatScreen) and screen.session.temporary

    def keep_unsaved(self) -> None:
        """Let every screen store what is being written in it, while the profile is still open."""
        for mode in self._classes:
            with contextlib.suppress(KeyError):  # never shown
                for screen in self._app.get_screen_stack(mode):
                    if isinstance(screen, AppScreen):
                        screen.keep_unsaved()

    def of_mode(self, mode: str) -> Screen[Any]:
        """The screen of a mode that was shown."""
        return self._app.get_screen_stack(mode)[0]

    async def renew(self, mode: str) -> None:
        """Let the screen of a mode, which is not in sight, be made again when it is shown next."""
        await self._app.remove_mode(mode)
        self._app.add_mode(mode, self._classes[mode])

    async def drop_others(self) -> None:
        """Let every screen that is not in sight be made again, so that nothing of one profile is seen in another.

        What the app itself has kept of the profile goes too: notices, errors, and the app's clipboard.
        """
        for mode in self._classes:
            if mode != self._app.current_mode:
                await self.renew(mode)
        self._app.clear_notifications()
        self._forget_errors()
        # Textual's own copy, from which it pastes; the system's clipboard belongs to the person.
        self._app._clipboard = ""
