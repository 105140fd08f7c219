"""The part of the app that opens, leaves, locks and erases profiles. Draws nothing itself, but asks for passphrases.

One profile is open at a time. One that is left while a training of it is not over stays open beside it, without a
screen. While the open one is locked, ``locked`` is true, its store is closed, and nothing of it is on any screen.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from textual import events, work
from textual.app import App

from profiles.atomic import write_text
from profiles.guards import SUFFIX, guarded
from profiles.paths import AppPaths, private_folder
from profiles.records import ProfileInfo
from profiles.registry import DEFAULT_PROFILE, ProfileRegistry
from profiles.sealing import ProfileKey
from profiles.settings import Settings
from profiles.store import ProfileStore
from tokmem_desk.errors import BusyError, TokmemError
from tui.engine_link import EngineLink
from tui.overview import last_fingerprint
from tui.screens.base import AppScreen
from tui.screens.lock_dialogs import UnlockDialog
from tui.training import TrainQueue

FORGET_SECONDS = 10.0
"""How long the engine may take to forget a profile before its process is ended."""

PRESENCE_GUARD = f"app{SUFFIX}"

HERE_WHILE_LOCKED = frozenset({"quit", "command_quit", "help_quit"})
"""Actions of the app that need no profile."""


class ProfileDesk(App[None]):
    """See the module; the base of ``tui.app.TokmemApp``."""

    paths: AppPaths
    settings: Settings
    link: EngineLink
    profile: str
    """Name of the open profile, also while it is locked."""
    store: ProfileStore
    trainings: TrainQueue
    errors: deque[str]
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

    def _job_news(self) -> None:
        raise NotImplementedError

    # Opening

    def open_first_profile(self, wanted: str | None) -> None:
        """Open a profile and show it, or ask for its passphrase.

        Args:
            wanted: its name; the active one without it.

        Raises:
            TokmemError: it cannot be opened.
        """
        with ProfileRegistry(self.paths) as registry:
            info = registry.info(wanted) if wanted is not None else registry.active()
            self.profile = info.name
            if info.locked:
                self.switch_mode("locked")
                return
            store = registry.open(info.name)
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

    async def open_profile(self, name: str, key: ProfileKey | None = None) -> bool:
        """Go on with another profile; the loaded model stays, and so does a training of the one that is left.

        Args:
            name: the profile.
            key: of a locked one; without it the person is asked.

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
        if key is not None:
            self.link.unlock(name, key)
        self._take_up(name, store, None if kept is None else kept[1])
        await self._drop_other_screens()
        if before is not None:
            await self._leave_profile(*before)
        self.announce_store()
        return True

    def keep_unsaved(self) -> None:
        """Let every screen store what is being written in it, while the profile is still open."""
        for mode in self.MODES:
            with contextlib.suppress(KeyError):  # never shown
                for screen in self.get_screen_stack(mode):
                    if isinstance(screen, AppScreen):
                        screen.keep_unsaved()

    async def _leave_profile(self, name: str, store: ProfileStore, trainings: TrainQueue) -> None:
        """Close a profile, or keep it open until its queue is at rest."""
        if trainings.working:
            self._left_open[name] = store, trainings
        else:
            await self._close(name, store)

    async def _close(self, name: str, store: ProfileStore) -> None:
        """Close a store; of a locked profile the key is forgotten, here and in the engine."""
        was_locked = store.vault.key is not None
        store.close()
        if was_locked:
            await self._forget_in_engine(name)

    async def _forget_in_engine(self, name: str) -> None:
        """Have the engine let go of a profile that was locked or is not there any more."""
        try:
            await asyncio.wait_for(self.link.lock(name), FORGET_SECONDS)
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
            await self._close(name, self._left_open.pop(name)[0])

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
            await self.open_profile(new, self._own_key())

    async def erase_profile(self, name: str) -> None:
        """Erase a profile for good; erasing the open one goes on with another.

        Raises:
            BusyError: a training of it runs, or it is open in another program.
            TokmemError: it could not be erased.
        """
        with ProfileRegistry(self.paths) as registry:
            if name == self.profile:
                await self.open_profile(self.next_after(registry.list(), name) or registry.create(_fresh(name)).name)
            if name in self._left_open:
                raise BusyError(f"A training runs in {name!r}.", next_step="Stop it there, or wait for its end.")
            registry.delete(name)
        await self._forget_in_engine(name)

    @staticmethod
    def next_after(infos: list[ProfileInfo], name: str) -> str | None:
        """The profile to go on with when ``name`` goes: one that needs no passphrase."""
        return next((info.name for info in infos if info.name != name and not info.locked), None)

    # Locking

    def _own_key(self) -> ProfileKey | None:
        """A copy of the open profile's key, which outlives its closing."""
        key = self.store.vault.key
        return None if key is None else ProfileKey.from_text(key.text())

    async def add_lock(self, name: str, passphrase: str) -> str:
        """Encrypt a profile and return its recovery key; the open one is open again afterwards.

        Raises:
            TokmemError: the passphrase is too short, something works on it, the disk refused: it is as it was.
        """

        def work_on(registry: ProfileRegistry) -> tuple[str, ProfileKey]:
            return registry.add_lock(name, passphrase), registry.key(name, passphrase)

        recovery, key = await self._converted(name, work_on, None)
        await self._forget_in_engine(name)  # what it read while the profile was plain
        if name == self.profile:
            await self._reopen(name, key)
        return recovery

    async def remove_lock(self, name: str, key: ProfileKey) -> None:
        """Decrypt a profile; the open one is open again afterwards.

        Raises:
            TokmemError: the key is wrong, something works on it, the disk refused: it is as it was.
        """
        own = ProfileKey.from_text(key.text())
        await self._converted(name, lambda registry: registry.remove_lock(name, own), key)
        if name == self.profile:
            await self._reopen(name, None)

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
        again = None if key is None else ProfileKey.from_text(key.text())
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
            self.link.unlock(name, key)
        self._take_up(name, store, None)
        self.announce_store()

    def lock_now(self) -> None:
        """Close the open profile, forget its key, and ask for its passphrase.

        Raises:
            BusyError: an answer is on its way.
        """
        if self.link.busy and not self.trainings.working:
            raise BusyError("An answer is on its way.", next_step="Stop it with Esc, or wait for its end; then lock.")
        self._lock()

    @work(group="lock", exit_on_error=False)
    async def _lock(self) -> None:
        """The app's own work: that of a screen would end with the screen."""
        self.keep_unsaved()
        self.locked = True
        await self.remove_mode("locked")  # made anew: it names the profile
        self.add_mode("locked", self.MODES["locked"])
        self.switch_mode("locked")
        await self._drop_other_screens()
        if self.trainings.working:  # its store is closed when this one has ended; the next ones wait
            self.trainings.hold()
            self._left_open[self.profile] = self.store, self.trainings
        else:
            await self._close(self.profile, self.store)

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
            self._lock()

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
