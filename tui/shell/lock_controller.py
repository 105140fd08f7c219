"""Locks and unlocks the open profile: by key, and after nobody has touched one for a while.

While it is locked, its store is closed, and nothing of it is on any screen.
"""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial

from profiles.encryption.file_encryption import ProfileKey
from profiles.registry.registry import ProfileRegistry
from tokmem_desk.errors import BusyError
from tui.profiles.locked import LockedScreen
from tui.shell.engine_controller import EngineController
from tui.shell.first_screen import FirstScreen
from tui.shell.idle_clock import IdleClock
from tui.shell.mode_screens import ModeScreens
from tui.shell.open_profiles import OpenProfiles
from tui.shell.restart_controller import RestartController
from tui.shell.session import Session
from tui.shell.stage import Stage
from tui.training.queue import TrainQueue

HALT_SECONDS = 10.0
"""How long a training may take to write what it has, before the engine's process is ended."""

FORGETTING = "Forgetting what was open …"

STILL_TRAINS = "A training is being finished. Until its end the program has the profile's key in memory."


class LockController:
    """See the module.

    Args:
        session: the open profile.
        stores: closes the profile and opens it again.
        engine: ended where a training does not stop.
        screens: dropped when the profile is locked.
        restarts: after a lock.
        first_screen: shown after unlocking.
        clock: tells how long nobody has touched a key.
        stage: shows the locked screen.
    """

    def __init__(
        self,
        session: Session,
        stores: OpenProfiles,
        engine: EngineController,
        screens: ModeScreens,
        restarts: RestartController,
        first_screen: FirstScreen,
        clock: IdleClock,
        stage: Stage,
    ) -> None:
        self._session = session
        self._stores = stores
        self._engine = engine
        self._screens = screens
        self._restarts = restarts
        self._first_screen = first_screen
        self._clock = clock
        self._stage = stage

    def lock(self) -> None:
        """Close the open profile, forget its key, and ask for its passphrase.

        Raises:
            BusyError: an answer is on its way.
        """
        link = self._engine.link
        loads = link.state.phase == "loading"  # which can be cut off: the engine ends anyhow
        if link.awaited and not loads and not self._session.is_training:
            raise BusyError("An answer is on its way.", next_step="Stop it with Esc, or wait for its end; then lock.")
        self._start_locking(halt=True)

    def lock_when_idle(self) -> None:
        """Lock a profile with a passphrase if nobody has touched a key for as long as the settings say."""
        limit = 60 * self._session.settings.whole("lock_after_minutes")
        if self._session.locked or not limit or self._clock.seconds < limit or not self._stores.has_key:
            return
        if self._session.is_training or not self._engine.link.awaited:  # an answer on its way is let finish
            self._start_locking(halt=False)

    async def unlock(self, name: str, key: ProfileKey) -> None:
        """Open a profile from the locked screen.

        Raises:
            TokmemError: it cannot be opened.
        """
        kept = self._stores.left.pop(name, None)
        if kept is None:
            await self._stores.reopen(name, key)
        else:
            self._stores.resume(kept)
            self._session.announce_store()
        with ProfileRegistry(self._session.paths) as registry:
            registry.switch(name)
        self._clock.restart()
        self._first_screen.show()

    def _start_locking(self, *, halt: bool) -> None:
        """Lock in a worker of the app: one of a screen would end with the screen.

        Args:
            halt: stop what trains; it goes on after unlocking. Otherwise it is finished first, and holds the key until
                then.
        """
        self._stage.run_worker(partial(self._lock, halt=halt), group="lock", exit_on_error=False)

    async def _lock(self, *, halt: bool) -> None:
        self._screens.keep_unsaved()
        self._session.locked = self._session.locking = True
        await self._screens.renew("locked")  # made again, since it names the profile
        await self._stage.switch_mode("locked")
        screen = self._screens.of_mode("locked")
        assert isinstance(screen, LockedScreen)
        if self._restarts.enabled:
            screen.wait(FORGETTING)  # what is typed now would not reach the process that asks
        try:
            await self._screens.drop_others()
            await self._close_everything(halt)
            self._restarts.restart()
        finally:
            self._session.locking = False
            if self._restarts.wish is None and screen.is_attached:
                screen.ask(STILL_TRAINS if self._stores.left else "")

    async def _close_everything(self, halt: bool) -> None:
        """Close every store, except those of profiles that train and are not to be halted."""
        current = self._session.current
        if halt:
            await self._halt([current.trainings, *(profile.trainings for profile in self._stores.left.values())])
        if current.trainings.working:  # its store is closed when this training has ended; the next ones wait
            current.trainings.hold()
        await self._stores.leave(current)
        await self._stores.close_resting()

    async def _halt(self, queues: list[TrainQueue]) -> None:
        """Have trainings store what they have, and end; an engine that does not react is ended."""
        try:
            await asyncio.wait_for(asyncio.gather(*(queue.set_aside() for queue in queues)), HALT_SECONDS)
        except TimeoutError:
            self._engine.link.client.kill()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.gather(*(queue.set_aside() for queue in queues)), HALT_SECONDS)
