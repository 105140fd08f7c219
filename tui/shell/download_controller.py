"""Fetches a model beside everything else, in an engine of its own."""

from __future__ import annotations

from functools import partial

from textual.signal import Signal

from tokmem_desk.errors import TokmemError
from tui.models.pull import ModelPull
from tui.models.screen import ModelsScreen
from tui.shell.engine_controller import EngineController
from tui.shell.errors import ErrorPresenter
from tui.shell.session import Session
from tui.shell.stage import Stage
from tui.shell.welcome import WelcomeScreen


class DownloadController:
    """See the module.

    Args:
        session: the settings in force.
        engine: makes the client of the engine that fetches.
        stage: runs the download and says when it is done.
        errors: shows why it failed.
        changed: published after each step of a download.
    """

    def __init__(
        self,
        session: Session,
        engine: EngineController,
        stage: Stage,
        errors: ErrorPresenter,
        changed: Signal[ModelPull],
    ) -> None:
        self.current: ModelPull | None = None
        """The newest download, also when it is over."""
        self.changed = changed
        """A download went on, paused or ended."""
        self._session = session
        self._engine = engine
        self._stage = stage
        self._errors = errors

    @property
    def is_running(self) -> bool:
        """Whether a model is being fetched now."""
        return self.current is not None and self.current.running

    def fetch(self, model: str, title: str, download_bytes: int | None) -> None:
        """Fetch a model, or go on with the download that was paused.

        Args:
            model: as the settings would name it.
            title: for people.
            download_bytes: how much is to come, where that is known.
        """
        if self.current is None or self.current.model != model or self.current.state == "done":
            try:
                settings = self._session.settings.with_value("model", model)
            except TokmemError as caught:
                self._errors.show(caught)
                return
            make_client = partial(self._engine.make_client, settings, "pull.log")
            self.current = ModelPull(model, title, download_bytes, make_client, self.changed.publish)
        self._stage.run_worker(partial(self._run, self.current), group="pull", exit_on_error=False)

    async def _run(self, pull: ModelPull) -> None:
        await pull.run()
        if pull.state == "done":
            self._stage.notify(f"{pull.title} is ready. F8, then Enter uses it.", markup=False)
        elif pull.error is not None and not isinstance(self._stage.screen, (ModelsScreen, WelcomeScreen)):
            self._errors.show(pull.error)

    def forget(self) -> None:
        """Drop the newest download, whose files were removed."""
        self.current = None

    async def close(self) -> None:
        """End the engine that fetches, at the app's end."""
        if self.current is not None:
            await self.current.close()
