"""Ends the app with the wish that its process be replaced, so that nothing of a closed profile stays in memory.

The wish is made when a profile with a passphrase was locked or left. Whoever runs the app reads ``wish`` after its end
(``tui.process.restart``).
"""

from __future__ import annotations

from collections.abc import Callable

from tui.process.restart import Handover
from tui.shell.engine_controller import EngineController
from tui.shell.idle_clock import IdleClock
from tui.shell.mode_screens import ModeScreens
from tui.shell.open_profiles import OpenProfiles
from tui.shell.session import Session
from tui.shell.stage import Stage

QUIET_SECONDS = 60.0
"""How long nobody must have touched a key before the app restarts by itself."""


class RestartController:
    """See the module.

    Args:
        session: the open profile.
        profiles: those that a restart would interrupt.
        engine: not interrupted either.
        screens: store what is being written.
        clock: tells of the last key.
        stage: ends the app.
        is_downloading: whether a model is being fetched, which a restart would interrupt.
        enabled: whether somebody outside restarts the program; otherwise the app goes on in the same process.
    """

    def __init__(
        self,
        session: Session,
        profiles: OpenProfiles,
        engine: EngineController,
        screens: ModeScreens,
        clock: IdleClock,
        stage: Stage,
        is_downloading: Callable[[], bool],
        *,
        enabled: bool,
    ) -> None:
        self.wish: Handover | None = None
        """What the next process begins with, once the app is to end and be restarted."""
        self.enabled = enabled
        self.due = False
        """A profile with a passphrase was closed while the person worked with another one."""
        self._session = session
        self._profiles = profiles
        self._engine = engine
        self._screens = screens
        self._clock = clock
        self._stage = stage
        self._is_downloading = is_downloading

    def restart(self, *, unlocked: bool = False) -> None:
        """End the app, to be restarted with the same profile, unless a training of a profile that was left goes on.

        Args:
            unlocked: the next process gets the profile's key; otherwise it asks for the passphrase, if there is one.
        """
        if not self.enabled or self._profiles.left:  # the key that the training needs would be lost
            return
        key = self._profiles.copy_key() if unlocked else None
        if not self._session.locked:
            self._screens.keep_unsaved()
        self.wish = Handover(self._session.profile, key)
        self._stage.exit()

    def restart_when_quiet(self) -> None:
        """Make the restart that is due, if the person makes a pause, nothing is going on and nothing would be lost."""
        if not self.due or self._session.locked or self._clock.seconds <= QUIET_SECONDS:
            return
        link = self._engine.link
        if link.busy or link.training or self._screens.is_dialog_open or self._screens.holds_unsaved:
            return
        if not self._is_downloading():
            self.due = False
            self.restart(unlocked=True)
