"""Takes up the stores of profiles and closes them.

One profile is open at a time. One that is left while a training of it runs stays open beside it, without a screen,
until its queue is at rest. When a profile with a passphrase is closed, its key is forgotten and the engine ends.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from profiles.encryption.file_encryption import ProfileKey
from profiles.files.process_locks import SUFFIX, process_lock
from profiles.registry.registry import ProfileRegistry
from profiles.store.checkpoints import drop_lost_checkpoints
from profiles.store.store import ProfileStore
from tokmem_desk.errors import BusyError, TokmemError
from tui.shell.engine_controller import EngineController
from tui.shell.session import OpenProfile, Session
from tui.shell.stage import Stage
from tui.training.queue import TrainQueue

PRESENCE_GUARD = f"app{SUFFIX}"


class OpenProfiles:
    """See the module.

    Args:
        session: gets the profile that is taken up.
        engine: gets the keys.
        stage: says that a profile is open in another window too.
        jobs_changed: called after each change of a queue.
        apply_settings: puts the settings of a profile in force.
    """

    def __init__(
        self,
        session: Session,
        engine: EngineController,
        stage: Stage,
        jobs_changed: Callable[[], None],
        apply_settings: Callable[[], None],
    ) -> None:
        self.left: dict[str, OpenProfile] = {}
        """Profiles that were left while a training of theirs was running, by name; each is closed at its end."""
        self._session = session
        self._engine = engine
        self._stage = stage
        self._jobs_changed = jobs_changed
        self._apply_settings = apply_settings
        self._presence = contextlib.ExitStack()
        """Holds the file that tells other windows that the profile is open here."""

    # Opening

    def take_up(self, name: str, store: ProfileStore) -> None:
        """Make an open store the one that everything works on."""
        queue = TrainQueue(store, self._engine.link, name, self._session.paths, self._jobs_changed)
        self.resume(OpenProfile(name, store, queue))

    def resume(self, profile: OpenProfile) -> None:
        """Make a profile that is open already, with its queue, the one that everything works on."""
        self._session.set_current(profile)
        self._note_presence(profile)
        self._apply_settings()
        with contextlib.suppress(TokmemError):  # what cannot be deleted now goes the next time
            profile.store.garbage.collect()
            drop_lost_checkpoints(self._session.paths, profile.store)

    async def reopen(self, name: str, key: ProfileKey | None) -> None:
        """Open a profile that was closed, and make it the one that everything works on.

        Args:
            name: the profile.
            key: of one with a passphrase.

        Raises:
            TokmemError: it cannot be opened.
        """
        with ProfileRegistry(self._session.paths) as registry:
            store = registry.open(name, key=key)
        if key is not None:
            await self.give_key(name, key)
        self.take_up(name, store)
        self._session.announce_store()

    async def give_key(self, name: str, key: ProfileKey) -> None:
        """Let an engine of this app's own open a profile with a passphrase."""
        await self._engine.make_exclusive()
        self._engine.link.unlock(name, key)

    @property
    def has_key(self) -> bool:
        """Whether the open profile has a passphrase."""
        return self._session.store.files.key is not None

    def copy_key(self) -> ProfileKey | None:
        """A copy of the open profile's key, which outlives its closing; None where it has no passphrase."""
        key = self._session.store.files.key
        return None if key is None else key.copy()

    def _note_presence(self, profile: OpenProfile) -> None:
        """Say so when another window has the same profile open: nothing breaks, but two may write in one chat."""
        self._presence.close()
        guard = profile.store.folder / PRESENCE_GUARD
        try:
            self._presence.enter_context(process_lock(guard, BusyError("Open twice."), seconds=0))
        except BusyError:
            self._stage.notify(
                f"{profile.name} is open in another window too. What is taught in one shows in the other.",
                timeout=10,
                markup=False,
            )

    # Closing

    async def leave(self, profile: OpenProfile) -> bool:
        """Close a profile, or keep it open until its queue is at rest.

        Returns:
            Whether a profile with a passphrase was closed.
        """
        if profile.trainings.working:
            self.left[profile.name] = profile
            return False
        return await self.close(profile)

    async def close(self, profile: OpenProfile) -> bool:
        """Close a store, and let the engine forget what it knows of a profile with a passphrase.

        Returns:
            Whether the profile has a passphrase.
        """
        has_passphrase = profile.store.files.key is not None
        profile.store.close()
        if has_passphrase:
            await self._engine.drop_key(profile.name, at_once=self._session.locking)
        return has_passphrase

    async def close_resting(self) -> None:
        """Close the profiles that were left and whose queues are at rest."""
        for name in [name for name, profile in self.left.items() if not profile.trainings.working]:
            await self.close(self.left.pop(name))

    def close_all(self) -> None:
        """Close every store, at the app's end."""
        for profile in self.left.values():
            profile.store.close()
        if not self._session.locked:
            self._session.store.close()
        self._presence.close()

    # At work

    def training_elsewhere(self) -> str | None:
        """The profile in which a training runs that is not the open one."""
        return next(iter(self.left), None)

    def refuse_if_at_work(self, name: str) -> None:
        """For changes of a profile that nothing may be working on.

        Raises:
            BusyError: an answer or a training of it is not over.
        """
        is_open = name == self._session.profile and not self._session.locked
        if name in self.left or (is_open and (self._session.is_training or self._engine.link.awaited)):
            raise BusyError(
                f"Something is going on in {name!r}.",
                next_step="Wait for the answer, and for the training (F4) or pause it; then try again.",
            )
