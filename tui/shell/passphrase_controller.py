"""Gives a profile a passphrase, or takes it away: the profile is closed, rewritten in a thread, and opened again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from profiles.encryption.file_encryption import ProfileKey
from profiles.registry.registry import ProfileRegistry
from tokmem_desk.errors import StorageError, TokmemError
from tui.shell.engine_controller import EngineController
from tui.shell.mode_screens import ModeScreens
from tui.shell.open_profiles import OpenProfiles
from tui.shell.session import Session
from tui.shell.stage import Stage


class PassphraseController:
    """See the module.

    Args:
        session: the open profile.
        stores: closes the profile and opens it again.
        engine: forgets what it read while the profile was not encrypted.
        screens: dropped while the profile is closed.
        stage: shows the locked screen.
    """

    def __init__(
        self, session: Session, stores: OpenProfiles, engine: EngineController, screens: ModeScreens, stage: Stage
    ) -> None:
        self._session = session
        self._stores = stores
        self._engine = engine
        self._screens = screens
        self._stage = stage

    def refuse_if_at_work(self, name: str) -> None:
        """For changes of a profile that nothing may be working on.

        Raises:
            BusyError: an answer or a training of it is not over.
        """
        self._stores.refuse_if_at_work(name)

    async def add(self, name: str, passphrase: str, show: Callable[[str], Awaitable[object]]) -> None:
        """Encrypt a profile and show its recovery key; the open one is open again afterwards.

        Args:
            name: the profile.
            passphrase: for it.
            show: shows the recovery key, and returns when the person has it. Called as soon as the key is in force.

        Raises:
            TokmemError: the passphrase is too short, something works on the profile, or the disk refused: it is as it
                was. Or the unencrypted files could not be erased; raised after ``show``.
        """
        loop = asyncio.get_running_loop()
        recovery_key: asyncio.Future[str] = loop.create_future()

        def tell(key: str) -> None:
            loop.call_soon_threadsafe(recovery_key.set_result, key)

        def encrypt(registry: ProfileRegistry) -> None:
            registry.locks.add(name, passphrase, show=tell)

        async def show_key() -> None:
            await show(await recovery_key)

        showing = asyncio.create_task(show_key())
        try:
            not_erased = await self._rewrite(name, encrypt, None)
        finally:
            if recovery_key.done():  # it is in force, whatever else went wrong
                await showing
            else:
                showing.cancel()
        await self._engine.forget(name)  # what it read while the profile was not encrypted
        if name == self._session.profile:
            try:
                await self._stores.reopen(name, await asyncio.to_thread(self._key_of, name, passphrase))
            except TokmemError:  # it is encrypted all the same, and its passphrase can be given again
                self._stage.switch_mode("locked")
                raise
        if not_erased is not None:
            raise not_erased

    async def remove(self, name: str, key: ProfileKey) -> None:
        """Decrypt a profile; the open one is open again afterwards.

        Raises:
            TokmemError: the key is wrong, something works on the profile, or the disk refused: it is as it was.
        """
        own = key.copy()
        not_erased = await self._rewrite(name, lambda registry: registry.locks.remove(name, own), key)
        if name == self._session.profile:
            await self._stores.reopen(name, None)
            self._engine.load()
        if not_erased is not None:
            raise not_erased

    def _key_of(self, name: str, passphrase: str) -> ProfileKey:
        with ProfileRegistry(self._session.paths) as registry:
            return registry.locks.key(name, passphrase)

    async def _rewrite(
        self, name: str, change: Callable[[ProfileRegistry], object], key: ProfileKey | None
    ) -> StorageError | None:
        """Run the rewriting of a profile in a thread, with the profile closed here.

        Args:
            name: the profile.
            change: rewrites it.
            key: of one with a passphrase, to open it again where the rewriting fails.

        Returns:
            Why the old files could not be erased, if they could not.
        """
        self._stores.refuse_if_at_work(name)

        def run() -> StorageError | None:
            with ProfileRegistry(self._session.paths) as registry:
                change(registry)
                return registry.locks.not_erased

        if name != self._session.profile:
            return await asyncio.to_thread(run)
        again = None if key is None else key.copy()
        self._screens.keep_unsaved()
        self._session.locked = True
        await self._screens.drop_others()
        await self._stores.close(self._session.current)
        try:
            return await asyncio.to_thread(run)
        except TokmemError:
            await self._stores.reopen(name, again)
            raise
