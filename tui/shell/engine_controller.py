"""Looks after the engine: loads the model, asks before a download, and restarts or ends the engine between requests."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

from profiles.files.paths import private_folder
from profiles.settings.settings import Settings
from tokmem_desk.errors import BusyError, DamagedError, EngineError, OfflineError, TokmemError
from tokmem_desk.models.store import ModelStore
from tui.engine_client.client import EngineClient
from tui.engine_client.link import EngineLink, EngineState
from tui.kit.confirm import ConfirmDialog
from tui.shell.errors import ErrorPresenter
from tui.shell.session import Session
from tui.shell.stage import Stage

EngineFactory = Callable[[Path, Settings], EngineClient]
"""Makes the client of an engine that is not started yet; gets the file for its log, and the settings in force."""

ENGINE_SETTINGS = ("model", "device", "offline")
"""What an engine is started with: another value needs another engine."""

FORGET_SECONDS = 10.0
"""How long the engine may take to forget a profile before its process is ended."""


class EngineController:
    """See the module.

    Args:
        session: the open profile and the settings in force.
        factory: makes the engine's client.
        stage: runs workers and asks.
        errors: shows what cannot be mended by a download.
        changed: called after each change of the engine's state.
        may_load: False once the app is to end; nothing is loaded then.
        exclusive: the engine must be this app's alone from the beginning.
    """

    def __init__(
        self,
        session: Session,
        factory: EngineFactory,
        stage: Stage,
        errors: ErrorPresenter,
        changed: Callable[[EngineState], None],
        may_load: Callable[[], bool],
        *,
        exclusive: bool,
    ) -> None:
        self.link: EngineLink
        """The way to the engine; there once ``prepare`` was called."""
        self.exclusive = exclusive
        """Whether the engine must be this app's alone: it works for a profile with a passphrase, and ends with it."""
        self._session = session
        self._factory = factory
        self._stage = stage
        self._errors = errors
        self._changed = changed
        self._may_load = may_load
        self._started_with: tuple[object, ...] = ()
        self._is_tending = False
        self._must_end = False
        """It has worked for a profile with a passphrase that is closed now, and ends as soon as it is not busy."""

    # Making and ending

    def prepare(self) -> None:
        """Make the link to an engine that starts with the first request.

        Raises:
            TokmemError: the folder for its log cannot be made.
        """
        self._started_with = self._wanted
        self.link = EngineLink(self.make_client(self._session.settings), self._changed)
        self.link.may_fetch = False  # not before the person has agreed

    def make_client(self, settings: Settings, log_name: str = "engine.log") -> EngineClient:
        """The client of another engine, which is not started yet."""
        return self._factory(private_folder(self._session.paths.logs) / log_name, settings)

    def beside(self, model: str, changed: Callable[[EngineState], None]) -> EngineLink:
        """The way to an engine for another model, beside the app's own; it starts with the first request.

        It opens the same profiles, and fetches nothing. Whoever asked for it closes its client.

        Args:
            model: as the settings would name it.
            changed: called after each change of its state.

        Raises:
            TokmemError: the settings take no such model, or the folder for its log cannot be made.
        """
        settings = self._session.settings.with_value("model", model)
        link = EngineLink(self.make_client(settings, "drafts.log"), changed)
        link.may_fetch = False
        self.link.share_keys(link)
        return link

    async def restart(self) -> None:
        """Go on with an engine for the settings in force; it loads with the next request, or by ``load``."""
        # First, lest ``tend`` starts another one meanwhile.
        before, self._started_with = self._started_with, self._wanted
        try:
            await self.link.replace_client(self.make_client(self._session.settings))
        except BaseException:
            self._started_with = before
            raise

    async def make_exclusive(self) -> None:
        """Go on with an engine that works for nobody else, and can be ended."""
        if not self.exclusive:
            self.exclusive = True
            if self.link.client.shared:
                await self.restart()

    async def close(self) -> None:
        """End the engine, at the app's end."""
        if hasattr(self, "link"):
            await self.link.client.close()

    @property
    def _wanted(self) -> tuple[object, ...]:
        """What an engine would be started with now."""
        return tuple(self._session.settings.get(name) for name in ENGINE_SETTINGS)

    # The model

    @property
    def model(self) -> str:
        """The backbone as the settings name it."""
        return self._session.settings.text("model")

    @property
    def fingerprint(self) -> str | None:
        """Of the loaded backbone; before that, of the one that was used last."""
        backbone = self.link.state.backbone
        return backbone["fingerprint"] if backbone else self._session.fingerprint

    def load(self) -> None:
        """Start the engine and load the backbone, asking before any download."""
        self._stage.run_worker(self._load, group="engine", exit_on_error=False)

    async def _load(self) -> None:
        if not self._may_load():
            return
        try:
            await self.link.load(self._session.profile)
        except OfflineError as caught:
            if self._session.settings.flag("offline") or self.link.may_fetch:
                self._errors.show(caught)
                return
            await self._load_after(ConfirmDialog("Download the model?", caught.message, "Download", "Not now"))
        except DamagedError as caught:
            offline = self._session.settings.flag("offline")
            store = ModelStore(self._session.paths.models)
            if offline or not await asyncio.to_thread(store.damage, self.model):
                self._errors.show(caught)  # fetching would not mend it: an adapter, or a file of the program
                return
            message = f"{caught.message} What was trained for it stays."
            await self._load_after(ConfirmDialog("Fetch the model again?", message, "Fetch", "Not now"))
        except EngineError:
            if not self._session.locked:  # else it was ended with the profile, and nobody waits for it
                raise

    async def _load_after(self, question: ConfirmDialog) -> None:
        """Load the backbone, with a download if need be, where the person agrees."""
        if await self._stage.push_screen_wait(question):
            self.link.may_fetch = True
            await self.link.load(self._session.profile)

    # Between requests

    def tend(self) -> None:
        """Between two requests: restart the engine where the settings ask for another, end it where it is not used.

        Does nothing while the last call is not over: ending an engine may take longer than the time to the next call.
        """
        if not self._is_tending:
            self._is_tending = True
            self._stage.run_worker(self._tend, group="engine-care", exit_on_error=False)

    async def _tend(self) -> None:
        try:
            limit = 60 * self._session.settings.whole("keep_alive_minutes")
            if self.link.busy:
                return
            if self._must_end:
                self._must_end = False
                await self.link.unload()
            elif self._started_with != self._wanted:
                await self.restart()
            elif limit and self.link.state.phase == "ready" and self.link.idle_seconds > limit:
                await self.link.unload(idle_seconds=limit)
        finally:
            self._is_tending = False

    # Forgetting

    async def drop_key(self, name: str, *, at_once: bool) -> None:
        """Forget the key of a profile that was closed, and end the engine, which remembers its texts.

        Args:
            name: the profile.
            at_once: end the engine although it is busy; otherwise it ends after the request for another profile.
        """
        if self.link.busy and not at_once:
            self._must_end = True
            with contextlib.suppress(TokmemError):
                await self.link.forget(name)
        else:
            self.link.forget_key(name)
            with contextlib.suppress(BusyError):  # shared, and at work for others
                await self.link.unload()

    async def forget(self, name: str) -> None:
        """Have the engine let go of a profile that is encrypted now, or does not exist any more."""
        try:
            await asyncio.wait_for(self.link.forget(name), FORGET_SECONDS)
        except (TokmemError, TimeoutError):  # an engine that cannot be told must not go on remembering
            with contextlib.suppress(BusyError):  # shared, and at work for others: it forgets when that is done
                await self.link.unload()
