"""The part of the app that looks after the engine: starts, restarts and ends it, and fetches models beside it.

Draws nothing itself, but asks before a download.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from textual import work
from textual.signal import Signal

from profiles.files.paths import private_folder
from profiles.settings.settings import Settings
from tokmem_desk.errors import DamagedError, EngineError, OfflineError, TokmemError
from tokmem_desk.models.store import ModelStore
from tui.engine_client.client import EngineClient
from tui.engine_client.link import EngineLink, EngineState
from tui.kit.confirm import ConfirmDialog
from tui.kit.error_dialogs import shows_errors
from tui.models.pull import ModelPull
from tui.models.screen import ModelsScreen
from tui.shell.profile_controller import ProfileDesk
from tui.shell.welcome import WelcomeScreen

EngineFactory = Callable[[Path, Settings], EngineClient]
"""Makes the client of an engine that is not started yet; gets the file for its log, and the settings in force."""

ENGINE_SETTINGS = ("model", "device", "offline")
"""What an engine is started with: another value needs another engine."""


class EngineDesk(ProfileDesk):
    """See the module; the base of ``tui.shell.app.TokmemApp``.

    Args:
        engine: makes the engine's client.
    """

    def __init__(self, engine: EngineFactory) -> None:
        super().__init__()
        self._engine_factory = engine
        self._caring = False
        self.own_engine = False
        """Whether the engine must be this app's alone: it works for a profile with a passphrase, and ends with it."""
        self.pull: ModelPull | None = None
        """The newest download of a model."""
        self.engine_changed: Signal[EngineState] = Signal(self, "engine")
        self.pull_changed: Signal[ModelPull] = Signal(self, "pull")

    def show_error(self, error: TokmemError) -> None:
        """Say what happened."""
        raise NotImplementedError

    def _go_on_training(self) -> None:
        """Train what waits, where the engine is ready for it."""
        raise NotImplementedError

    def prepare_engine(self) -> None:
        """Make the link to an engine that starts with the first request."""
        self._engine_has = self._engine_wants
        self.link = EngineLink(self.make_client(self.settings), self._engine_news)
        self.link.may_fetch = False  # not before the person has agreed

    def make_client(self, settings: Settings, log_name: str = "engine.log") -> EngineClient:
        """An engine that is not started yet."""
        return self._engine_factory(private_folder(self.paths.logs) / log_name, settings)

    async def leave_shared_engine(self) -> None:
        """Go on with an engine that works for nobody else, and can be ended."""
        if not self.own_engine:
            self.own_engine = True
            if self.link.client.shared:
                await self.restart_engine()

    @work(group="engine", exit_on_error=False)
    async def load_engine(self) -> None:
        """Start the engine and load the backbone, asking before any download."""
        if self.anew is not None:
            return
        try:
            await self.link.load(self.profile)
        except OfflineError as caught:
            if self.settings.flag("offline") or self.link.may_fetch:
                self.show_error(caught)
                return
            question = ConfirmDialog("Download the model?", caught.message, "Download", "Not now")
            if await self.push_screen_wait(question):
                self.link.may_fetch = True
                await self.link.load(self.profile)
        except DamagedError as caught:
            offline = self.settings.flag("offline")
            if offline or not await asyncio.to_thread(ModelStore(self.paths.models).damage, self.model):
                self.show_error(caught)  # fetching would not mend it: an adapter, or a file of the program
                return
            words = f"{caught.message} What was trained for it stays."
            if await self.push_screen_wait(ConfirmDialog("Fetch the model again?", words, "Fetch", "Not now")):
                self.link.may_fetch = True
                await self.link.load(self.profile)
        except EngineError:
            if not self.locked:  # else it was ended with the profile, and nobody waits for it
                raise

    @property
    def model(self) -> str:
        """The backbone as the settings name it."""
        return self.settings.text("model")

    @property
    def fingerprint(self) -> str | None:
        """Of the loaded backbone; before that, of the one that was used last."""
        backbone = self.link.state.backbone
        return backbone["fingerprint"] if backbone else self._fingerprint

    def _engine_news(self, state: EngineState) -> None:
        self.engine_changed.publish(state)
        self._go_on_training()

    async def restart_engine(self) -> None:
        """Go on with an engine for the settings in force; it loads with the next request, or by ``load_engine``."""
        # First, lest the next look starts another one meanwhile.
        before, self._engine_has = self._engine_has, self._engine_wants
        try:
            await self.link.replace_client(self.make_client(self.settings))
        except BaseException:
            self._engine_has = before
            raise

    @property
    def _engine_wants(self) -> tuple[object, ...]:
        """What an engine would be started with now."""
        return tuple(self.settings.get(name) for name in ENGINE_SETTINGS)

    def _care_for_engine(self) -> None:
        """Look after it, unless that is going on: ending an engine may take longer than the time to the next look."""
        if not self._caring:
            self._caring = True
            self._look_after_engine()

    @work(group="engine-care", exit_on_error=False)
    async def _look_after_engine(self) -> None:
        """Between two requests: another engine where the settings ask for one, none where it is not used."""
        try:
            limit = 60 * self.settings.whole("keep_alive_minutes")
            if self.link.busy:
                return
            if self._engine_shall_end:
                self._engine_shall_end = False
                await self.link.unload()
            elif self._engine_has != self._engine_wants:
                await self.restart_engine()
            elif limit and self.link.state.phase == "ready" and self.link.idle_seconds > limit:
                await self.link.unload(idle_seconds=limit)
        finally:
            self._caring = False

    @shows_errors
    def pull_model(self, model: str, title: str, download_bytes: int | None) -> None:
        """Fetch a model beside everything else, or go on with the one that was paused."""
        if self.pull is None or self.pull.model != model or self.pull.state == "done":
            settings = self.settings.with_value("model", model)
            self.pull = ModelPull(
                model, title, download_bytes, lambda: self.make_client(settings, "pull.log"), self.pull_changed.publish
            )
        self._run_pull(self.pull)

    @work(group="pull", exit_on_error=False)
    async def _run_pull(self, pull: ModelPull) -> None:
        await pull.run()
        if pull.state == "done":
            self.notify(f"{pull.title} is ready. F8, then Enter uses it.", markup=False)
        elif pull.error is not None and not isinstance(self.screen, (ModelsScreen, WelcomeScreen)):
            self.show_error(pull.error)
