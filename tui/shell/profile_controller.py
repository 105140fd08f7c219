"""Opens, renames and erases profiles, and asks for the passphrase where one is needed."""

from __future__ import annotations

from profiles.encryption.file_encryption import ProfileKey
from profiles.registry.registry import DEFAULT_PROFILE, ProfileInfo, ProfileRegistry
from tokmem_desk.errors import BusyError
from tui.profiles.lock_dialogs import UnlockDialog
from tui.shell.engine_controller import EngineController
from tui.shell.first_screen import FirstScreen
from tui.shell.mode_screens import ModeScreens
from tui.shell.open_profiles import OpenProfiles
from tui.shell.restart_controller import RestartController
from tui.shell.session import Session
from tui.shell.stage import Stage


class ProfileController:
    """See the module.

    Args:
        session: the open profile.
        stores: takes up and closes their stores.
        engine: forgets erased profiles.
        screens: dropped when another profile is opened.
        restarts: after a profile with a passphrase was left.
        first_screen: shown with the first profile.
        stage: asks.
    """

    def __init__(
        self,
        session: Session,
        stores: OpenProfiles,
        engine: EngineController,
        screens: ModeScreens,
        restarts: RestartController,
        first_screen: FirstScreen,
        stage: Stage,
    ) -> None:
        self._session = session
        self._stores = stores
        self._engine = engine
        self._screens = screens
        self._restarts = restarts
        self._first_screen = first_screen
        self._stage = stage

    # Opening

    def open_first(self, name: str | None, key: ProfileKey | None = None) -> None:
        """Open a profile at the start and show it, or ask for its passphrase.

        Args:
            name: the profile; the active one without it.
            key: of one with a passphrase.

        Raises:
            TokmemError: it cannot be opened.
        """
        with ProfileRegistry(self._session.paths) as registry:
            info = registry.info(name) if name is not None else registry.active()
            self._session.profile = info.name
            if info.locked and key is None:
                self._stage.switch_mode("locked")
                return
            store = registry.open(info.name, key=key)
        if key is not None:
            self._engine.link.unlock(info.name, key)
        self._stores.take_up(info.name, store)
        self._first_screen.show()

    async def open(self, name: str, key: ProfileKey | None = None, *, stay: bool = False) -> bool:
        """Go on with another profile; a training of the one that is left goes on.

        The loaded model stays where the profile that is left has no passphrase. Otherwise the program restarts with
        ``name``.

        Args:
            name: the profile.
            key: of one with a passphrase; without it the person is asked.
            stay: do not restart.

        Returns:
            False when the person gave no passphrase; everything is as it was then.

        Raises:
            TokmemError: it cannot be opened; the present one stays open then.
        """
        if not self._session.locked:
            self._stage.switch_mode("profiles")
        with ProfileRegistry(self._session.paths) as registry:
            info = registry.info(name)
            if info.locked and key is None:  # also where a training keeps it open: the passphrase is the person's
                key = await self._stage.push_screen_wait(UnlockDialog(self._session.paths, name))
                if key is None:
                    return False
            kept = self._stores.left.get(name)  # only now: during the question its training may end, and close it
            store = kept.store if kept is not None else registry.open(name, key=key)
            registry.switch(name)
        self._stores.left.pop(name, None)
        before = None
        if not self._session.locked:
            self._screens.keep_unsaved()
            before = self._session.current
        if key is not None:
            await self._stores.give_key(name, key)
        if kept is not None:
            self._stores.resume(kept)
        else:
            self._stores.take_up(name, store)
        await self._screens.drop_others()
        closed = before is not None and await self._stores.leave(before)
        self._session.announce_store()
        if closed and not stay:
            self._restarts.restart(unlocked=True)
        return True

    async def end_left(self, name: str) -> None:
        """Close a profile that was left, or locked, while it trained, and whose queue is at rest now."""
        if name in self._stores.left:
            self._restarts.due |= await self._stores.close(self._stores.left.pop(name))
            if self._session.locked and not self._session.locking:
                self._restarts.restart()

    def training_elsewhere(self) -> str | None:
        """The profile in which a training runs that is not the open one."""
        return self._stores.training_elsewhere()

    # Renaming and erasing

    async def rename(self, name: str, new: str) -> None:
        """Give a profile another name; the open one is opened again under it.

        Raises:
            BusyError: an answer or a training of it is not over.
            TokmemError: the new name is not allowed, or taken.
        """
        self._stores.refuse_if_at_work(name)
        with ProfileRegistry(self._session.paths) as registry:
            registry.rename(name, new)
        if name == self._session.profile:
            await self.open(new, self._stores.copy_key(), stay=True)

    async def erase(self, name: str) -> None:
        """Erase a profile for good; after the open one, another is opened.

        Raises:
            BusyError: a training of it runs, or it is open in another program.
            TokmemError: it could not be erased.
        """
        with ProfileRegistry(self._session.paths) as registry:
            is_open = name == self._session.profile
            has_passphrase = is_open and not self._session.locked and self._session.store.locked
            if is_open:
                after = self.next_after(registry.list(), name) or registry.create(_fresh_name(name)).name
                await self.open(after, stay=True)
            if name in self._stores.left:
                raise BusyError(f"A training runs in {name!r}.", next_step="Stop it there, or wait for its end.")
            registry.delete(name)
        await self._engine.forget(name)
        if has_passphrase:
            self._restarts.restart()

    @staticmethod
    def next_after(infos: list[ProfileInfo], name: str) -> str | None:
        """The profile to go on with when ``name`` is erased: one that needs no passphrase."""
        return next((info.name for info in infos if info.name != name and not info.locked), None)


def _fresh_name(erased: str) -> str:
    """A name for the profile that is made when the only one is erased."""
    return DEFAULT_PROFILE if erased != DEFAULT_PROFILE else f"{DEFAULT_PROFILE}-2"
