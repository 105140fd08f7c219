"""The part of the app that opens, leaves, locks and erases profiles. Draws nothing itself, but asks for passphrases.

One profile is open at a time. One that is left while a training of it is not over stays open beside it, without a
screen. While the open one is locked, ``locked`` is true, its store is closed, and nothing of it is on any screen. When
one with a passphrase has been closed, the engine ends, and the app ends with the wish to be started anew (``anew``), so
that neither process has anything of it in memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, ClassVar

from textual import events, work
from textual.app import App

from profiles.encryption.file_encryption import ProfileKey
from profiles.files.atomic import write_text
from profiles.files.paths import AppPaths, private_folder
from profiles.files.process_locks import SUFFIX, guarded
from profiles.registry.registry import DEFAULT_PROFILE, ProfileRegistry
from profiles.settings.settings import Settings
from profiles.store.checkpoints import drop_lost_checkpoints
from profiles.store.records import ProfileInfo
from profiles.store.store import ProfileStore
from tokmem_desk.errors import BusyError, StorageError, TokmemError
from tui.engine_client.link import EngineLink
from tui.kit.base import AppScreen
from tui.process.anew import Anew
from tui.profiles.lock_dialogs import UnlockDialog
from tui.profiles.locked import LockedScreen
from tui.shared.overview import last_fingerprint
from tui.training.queue import TrainQueue

HALT_SECONDS = 10.0
"""How long a training may take to write what it has, before the engine's process is ended."""

QUIET_SECONDS = 60.0
"""How long nobody must have touched a key before the app starts anew by itself."""

FORGETTING = "Forgetting what was open …"

STILL_TRAINS = "A training is being finished. Until its end the program has the profile's key in memory."

FORGET_SECONDS = 10.0
"""How long the engine may take to forget a profile before its process is ended."""

PRESENCE_GUARD = f"app{SUFFIX}"

HERE_WHILE_LOCKED = frozenset({"quit", "command_quit", "help_quit"})
"""Actions of the app that need no profile."""


class ProfileDesk(App[None]):
    """See the module; the base of ``tui.shell.app.TokmemApp``."""

    MODES: ClassVar[dict[str, Any]]
    paths: AppPaths
    settings: Settings
    link: EngineLink
    profile: str
    """Name of the open profile, also while it is locked."""
    store: ProfileStore
    trainings: TrainQueue
    errors: deque[str]
    anew: Anew | None = None
    """Set once the app is to end and be started anew, in its own process."""
    starts_anew = False
    """Whether somebody outside heeds ``anew``; without that, what can be forgotten within the process is."""
    locked = True
    """No profile's data can be reached: before the first one is open, and after locking."""
    _revision = 0
    _fingerprint: str | None = None

    def __init__(self) -> None:
        super().__init__()
        self._left_open: dict[str, tuple[ProfileStore, TrainQueue]] = {}
        """Profiles that were left while a training of theirs was running, by name; each is closed at its end."""
        self._presence = contextlib.ExitStack()
        """Holds what tells other windows that the profile is open here."""
        self._locking = False
        self._anew_due = False
        """A profile with a passphrase was closed while the person worked with another one."""
        self._engine_shall_end = False
        """It has worked for a profile with a passphrase that is closed now, and ends as soon as it is not busy."""
        self._last_input = time.time()
        """By the clock on the wall, which goes on while the computer sleeps."""

    # What the app gives

    def apply_settings(self) -> None:
        """Put ``settings`` in force."""
        raise NotImplementedError

    def announce_store(self) -> None:
        """Tell every screen that procedures, pairs or memories may differ."""
        raise NotImplementedError

    def load_engine(self) -> Any:
        """Load the model, asking before any download."""
        raise NotImplementedError

    async def leave_shared_engine(self) -> None:
        """Go on with an engine that works for nobody else, and can be ended."""
        raise NotImplementedError

    def _job_news(self) -> None:
        raise NotImplementedError

    # Opening

    def open_first_profile(self, wanted: str | None, key: ProfileKey | None = None) -> None:
        """Open a profile and show it, or ask for its passphrase.

        Args:
            wanted: its name; the active one without it.
            key: of a locked one.

        Raises:
            TokmemError: it cannot be opened.
        """
        with ProfileRegistry(self.paths) as registry:
            info = registry.info(wanted) if wanted is not None else registry.active()
            self.profile = info.name
            if info.locked and key is None:
                self.switch_mode("locked")
                return
            store = registry.open(info.name, key=key)
        if key is not None:
            self.link.unlock(info.name, key)
        self._take_up(info.name, store, None)
        self._show_first()

    def _take_up(self, name: str, store: ProfileStore, trainings: TrainQueue | None) -> None:
        """Make an open store the one that everything works on."""
        self.profile, self.store, self.locked = name, store, False
        self.trainings = trainings or TrainQueue(store, self.link, name, self.paths, self._job_news)
        self._revision, self._fingerprint = store.revision, last_fingerprint(store)
        self._note_presence(store)
        self.settings = self.settings.for_profile(self.paths, store.folder)
        self.apply_settings()
        with contextlib.suppress(TokmemError):  # what cannot be deleted now goes the next time
            store.collect_garbage()
            drop_lost_checkpoints(self.paths, store)

    def _note_presence(self, store: ProfileStore) -> None:
        """Say so when another window has the same profile open: nothing breaks, but two may write in one chat."""
        self._presence.close()
        try:
            self._presence.enter_context(guarded(store.folder / PRESENCE_GUARD, BusyError("Open twice."), seconds=0))
        except BusyError:
            self.notify(
                f"{self.profile} is open in another window too. What is taught in one shows in the other.",
                timeout=10,
                markup=False,
            )

    def _show_first(self) -> None:
        """The screen to begin with; the model is loaded behind it."""
        if self._is_first_start:
            self.switch_mode("welcome")
            return
        self.switch_mode("chat")
        self.call_after_refresh(self.load_engine)

    @property
    def _welcomed_file(self) -> Path:
        """Is there once the first steps were taken or left."""
        return self.paths.state / "welcomed"

    @property
    def _is_first_start(self) -> bool:
        """Nobody has been here, and nothing was taught or said."""
        if self._welcomed_file.exists():
            return False
        return not self.store.procedures() and not self.store.conversations(limit=1)

    def _note_welcomed(self) -> None:
        write_text(private_folder(self.paths.state) / self._welcomed_file.name, "")

    async def open_profile(self, name: str, key: ProfileKey | None = None, *, stay: bool = False) -> bool:
        """Go on with another profile; a training of the one that is left goes on.

        The loaded model stays where the profile that is left has no passphrase; else the app starts anew with ``name``.

        Args:
            name: the profile.
            key: of a locked one; without it the person is asked.
            stay: do not start anew.

        Returns:
            False when the person gave no passphrase; everything is as it was then.

        Raises:
            TokmemError: it cannot be opened; the present one stays open then.
        """
        if not self.locked:
            self.switch_mode("profiles")
        with ProfileRegistry(self.paths) as registry:
            info = registry.info(name)
            if info.locked and key is None:  # also where a training keeps it open: the passphrase is the person's
                key = await self.push_screen_wait(UnlockDialog(self.paths, name))
                if key is None:
                    return False
            kept = self._left_open.get(name)  # only now: during the question its training may end, and close it
            store = kept[0] if kept is not None else registry.open(name, key=key)
            registry.switch(name)
        self._left_open.pop(name, None)
        before = None
        if not self.locked:
            self.keep_unsaved()
            before = (self.profile, self.store, self.trainings)
        own = None if key is None else key.copy()
        if key is not None:
            await self.leave_shared_engine()
            self.link.unlock(name, key)
        self._take_up(name, store, None if kept is None else kept[1])
        await self._drop_other_screens()
        closed = before is not None and await self._leave_profile(*before)
        self.announce_store()
        if closed and not stay:
            self.start_anew(own)
        return True

    def start_anew(self, key: ProfileKey | None = None) -> None:
        """End, and be started anew with the profile that is open, or its locked screen.

        Args:
            key: opens it there; without it, its passphrase is asked for.
        """
        # What a training that goes on needs would be lost with the process.
        if self.starts_anew and not self._left_open:
            if not self.locked:
                self.keep_unsaved()
            self.anew = Anew(self.profile, key)
            self.exit()

    def holds_unsaved(self) -> bool:
        """Whether something on a screen would be lost that ``keep_unsaved`` does not store."""
        raise NotImplementedError

    def keep_unsaved(self) -> None:
        """Let every screen store what is being written in it, while the profile is still open."""
        for mode in self.MODES:
            with contextlib.suppress(KeyError):  # never shown
                for screen in self.get_screen_stack(mode):
                    if isinstance(screen, AppScreen):
                        screen.keep_unsaved()

    async def _leave_profile(self, name: str, store: ProfileStore, trainings: TrainQueue) -> bool:
        """Close a profile, or keep it open until its queue is at rest; whether one with a passphrase was closed."""
        if trainings.working:
            self._left_open[name] = store, trainings
            return False
        return await self._close(name, store)

    async def _close(self, name: str, store: ProfileStore) -> bool:
        """Close a store; of a profile with a passphrase the key is forgotten, and the engine ends.

        Returns:
            Whether it has a passphrase.
        """
        was_locked = store.vault.key is not None
        store.close()
        if was_locked:
            if self.link.busy and not self._locking:  # with another profile, while a training of this one has ended
                self._engine_shall_end = True
                with contextlib.suppress(TokmemError):
                    await self.link.forget(name)
            else:
                self.link.forget_key(name)
                with contextlib.suppress(BusyError):  # shared, and at work for others
                    await self.link.unload()
        return was_locked

    async def _forget_in_engine(self, name: str) -> None:
        """Have the engine let go of a profile that is encrypted now, or is not there any more."""
        try:
            await asyncio.wait_for(self.link.forget(name), FORGET_SECONDS)
        except (TokmemError, TimeoutError):  # an engine that cannot be told must not go on remembering
            with contextlib.suppress(BusyError):  # shared, and at work for others: it forgets when that is done
                await self.link.unload()

    async def _drop_other_screens(self) -> None:
        """Let every other screen be made anew, so that nothing of one profile is seen in another."""
        for mode, screen in self.MODES.items():
            if mode != self.current_mode:
                await self.remove_mode(mode)
                self.add_mode(mode, screen)
        self._forget_traces()

    def _forget_traces(self) -> None:
        """Let go of what the app itself keeps of a profile: messages, errors, and its own clipboard."""
        self.clear_notifications()
        self.errors.clear()
        # Textual's own copy, from which it pastes; the system's clipboard belongs to the person.
        self._clipboard = ""

    # Trainings of profiles that were left

    def training_elsewhere(self) -> str | None:
        """The profile in which a training runs that is not the open one."""
        return next(iter(self._left_open), None)

    async def end_left_profile(self, name: str) -> None:
        """Close a profile that was left, or locked, while it trained, and is at rest now."""
        if name in self._left_open:
            self._anew_due |= await self._close(name, self._left_open.pop(name)[0])
            if self.locked and not self._locking:
                self.start_anew()

    def close_stores(self) -> None:
        """Close everything, at the app's end."""
        for store, _ in self._left_open.values():
            store.close()
        if not self.locked:
            self.store.close()
        self._presence.close()

    def refuse_if_at_work(self, name: str) -> None:
        """For what needs a profile that nothing works on.

        Raises:
            BusyError: an answer or a training of it is not over.
        """
        at_work = name == self.profile and not self.locked and (self.trainings.working or self.link.busy)
        if at_work or name in self._left_open:
            raise BusyError(
                f"Something is going on in {name!r}.",
                next_step="Wait for the answer, and for the training (F4) or pause it; then try again.",
            )

    # Renaming and erasing

    async def rename_profile(self, name: str, new: str) -> None:
        """Give a profile another name; the open one is opened anew under it.

        Raises:
            BusyError: something of it is going on.
            TokmemError: the new name cannot be had.
        """
        self.refuse_if_at_work(name)
        with ProfileRegistry(self.paths) as registry:
            registry.rename(name, new)
        if name == self.profile:
            await self.open_profile(new, self._own_key(), stay=True)

    async def erase_profile(self, name: str) -> None:
        """Erase a profile for good; erasing the open one goes on with another.

        Raises:
            BusyError: a training of it runs, or it is open in another program.
            TokmemError: it could not be erased.
        """
        with ProfileRegistry(self.paths) as registry:
            left = name == self.profile and not self.locked and self.store.locked
            if name == self.profile:
                after = self.next_after(registry.list(), name) or registry.create(_fresh(name)).name
                await self.open_profile(after, stay=True)
            if name in self._left_open:
                raise BusyError(f"A training runs in {name!r}.", next_step="Stop it there, or wait for its end.")
            registry.delete(name)
        await self._forget_in_engine(name)
        if left:
            self.start_anew()

    @staticmethod
    def next_after(infos: list[ProfileInfo], name: str) -> str | None:
        """The profile to go on with when ``name`` goes: one that needs no passphrase."""
        return next((info.name for info in infos if info.name != name and not info.locked), None)

    # Locking

    def _own_key(self) -> ProfileKey | None:
        """A copy of the open profile's key, which outlives its closing."""
        key = self.store.vault.key
        return None if key is None else key.copy()

    async def add_lock(self, name: str, passphrase: str, show: Callable[[str], Awaitable[object]]) -> None:
        """Encrypt a profile and show its recovery key; the open one is open again afterwards.

        Args:
            name: the profile.
            passphrase: for it.
            show: shows the recovery key, and returns when the person has it. Called as soon as it counts.

        Raises:
            TokmemError: the passphrase is too short, something works on it, the disk refused: it is as it was. Or what
                lay there in plain could not be erased, after ``show``.
        """
        loop = asyncio.get_running_loop()
        known: asyncio.Future[str] = loop.create_future()

        def tell(key: str) -> None:
            loop.call_soon_threadsafe(known.set_result, key)

        def work_on(registry: ProfileRegistry) -> StorageError | None:
            registry.add_lock(name, passphrase, show=tell)
            return registry.not_erased

        async def when_known() -> None:
            await show(await known)

        showing = asyncio.create_task(when_known())
        try:
            left = await self._converted(name, work_on, None)
        finally:
            if known.done():  # it holds, whatever else went wrong
                await showing
            else:
                showing.cancel()
        await self._forget_in_engine(name)  # what it read while the profile was plain
        if name == self.profile:
            try:
                await self._reopen(name, await asyncio.to_thread(self._key_of, name, passphrase))
            except TokmemError:  # it is encrypted all the same, and its passphrase can be given again
                self.switch_mode("locked")
                raise
        if left is not None:
            raise left

    def _key_of(self, name: str, passphrase: str) -> ProfileKey:
        with ProfileRegistry(self.paths) as registry:
            return registry.key(name, passphrase)

    async def remove_lock(self, name: str, key: ProfileKey) -> None:
        """Decrypt a profile; the open one is open again afterwards.

        Raises:
            TokmemError: the key is wrong, something works on it, the disk refused: it is as it was.
        """
        own = key.copy()

        def work_on(registry: ProfileRegistry) -> StorageError | None:
            registry.remove_lock(name, own)
            return registry.not_erased

        left = await self._converted(name, work_on, key)
        if name == self.profile:
            await self._reopen(name, None)
            self.load_engine()
        if left is not None:
            raise left

    async def _converted(self, name: str, work_on: Callable[[ProfileRegistry], Any], key: ProfileKey | None) -> Any:
        """Run the rewriting of a profile in a thread, with the profile closed here.

        Args:
            name: the profile.
            work_on: does it.
            key: of a locked profile, to open it again where it went wrong.
        """
        self.refuse_if_at_work(name)

        def run() -> Any:
            with ProfileRegistry(self.paths) as registry:
                return work_on(registry)

        if name != self.profile:
            return await asyncio.to_thread(run)
        again = None if key is None else key.copy()
        self.keep_unsaved()
        self.locked = True
        await self._drop_other_screens()
        await self._close(name, self.store)
        try:
            return await asyncio.to_thread(run)
        except TokmemError:
            await self._reopen(name, again)
            raise

    async def _reopen(self, name: str, key: ProfileKey | None) -> None:
        with ProfileRegistry(self.paths) as registry:
            store = registry.open(name, key=key)
        if key is not None:
            await self.leave_shared_engine()
            self.link.unlock(name, key)
        self._take_up(name, store, None)
        self.announce_store()

    def lock_now(self) -> None:
        """Close the open profile, forget its key, and ask for its passphrase.

        Raises:
            BusyError: an answer is on its way.
        """
        loads = self.link.state.phase == "loading"  # which can be cut off: the engine ends anyhow
        if self.link.busy and not loads and not self.trainings.working:
            raise BusyError("An answer is on its way.", next_step="Stop it with Esc, or wait for its end; then lock.")
        self._lock(halt=True)

    @work(group="lock", exit_on_error=False)
    async def _lock(self, *, halt: bool) -> None:
        """The app's own work: that of a screen would end with the screen.

        Args:
            halt: stop what trains, to go on after unlocking; else it is finished first, and holds the key until then.
        """
        self.keep_unsaved()
        self.locked = self._locking = True
        await self.remove_mode("locked")  # made anew: it names the profile
        self.add_mode("locked", self.MODES["locked"])
        await self.switch_mode("locked")
        screen = self.get_screen_stack("locked")[0]
        assert isinstance(screen, LockedScreen)
        if self.starts_anew:
            screen.wait(FORGETTING)  # what is typed now would not reach the process that asks
        try:
            await self._drop_other_screens()
            await self._close_locked(halt)
            self.start_anew()
        finally:
            self._locking = False
            if self.anew is None and screen.is_attached:
                screen.ask(STILL_TRAINS if self._left_open else "")

    async def _close_locked(self, halt: bool) -> None:
        """Close everything that is open, except what trains and is not to be halted."""
        if halt:
            await self._halt([self.trainings, *(trainings for _, trainings in self._left_open.values())])
        if self.trainings.working:  # its store is closed when this one has ended; the next ones wait
            self.trainings.hold()
            self._left_open[self.profile] = self.store, self.trainings
        else:
            await self._close(self.profile, self.store)
        for name in [name for name, (_, trainings) in self._left_open.items() if not trainings.working]:
            await self._close(name, self._left_open.pop(name)[0])

    async def _halt(self, queues: list[TrainQueue]) -> None:
        """Have what trains keep what it has, and end; an engine that does not heed it is ended."""
        try:
            await asyncio.wait_for(asyncio.gather(*(queue.set_aside() for queue in queues)), HALT_SECONDS)
        except TimeoutError:
            self.link.client.kill()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.gather(*(queue.set_aside() for queue in queues)), HALT_SECONDS)

    async def unlock(self, name: str, key: ProfileKey) -> None:
        """Open a profile from the locked screen.

        Raises:
            TokmemError: it cannot be opened.
        """
        kept = self._left_open.pop(name, None)
        if kept is None:
            await self._reopen(name, key)
        else:
            self._take_up(name, *kept)
            self.announce_store()
        with ProfileRegistry(self.paths) as registry:
            registry.switch(name)
        self._last_input = time.time()
        self._show_first()

    def _lock_when_idle(self) -> None:
        """Lock a profile that has a passphrase once nobody has touched a key for as long as the settings say."""
        limit = 60 * self.settings.whole("lock_after_minutes")
        idle = time.time() - self._last_input
        if self.locked or not limit or idle < limit or self.store.vault.key is None:
            return
        if self.trainings.working or not self.link.busy:  # an answer on its way is let finish
            self._lock(halt=False)

    def _start_anew_when_quiet(self) -> None:
        """What could not be forgotten while the person was at work is forgotten in a pause."""
        quiet = time.time() - self._last_input > QUIET_SECONDS and not self.link.busy and not self.link.training
        if not self._anew_due or not quiet or self.locked or len(self.screen_stack) > 1 or self.holds_unsaved():
            return
        self._anew_due = False
        self.start_anew(self._own_key())

    async def on_event(self, event: events.Event) -> None:
        """Note when somebody last touched a key or the mouse."""
        if isinstance(event, (events.Key, events.MouseEvent)):
            self._last_input = time.time()
        await super().on_event(event)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While no profile is open, the app's keys do nothing but quit."""
        if self.locked and action not in HERE_WHILE_LOCKED:
            return False
        return super().check_action(action, parameters)


def _fresh(erased: str) -> str:
    """A name for the profile that is made when the only one goes."""
    return DEFAULT_PROFILE if erased != DEFAULT_PROFILE else f"{DEFAULT_PROFILE}-2"
