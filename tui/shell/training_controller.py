"""Queues trainings and has the queue worked off, on whatever screen or in whatever profile the person is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from tokmem_desk.errors import TokmemError
from tui.shell.engine_controller import EngineController
from tui.shell.errors import ErrorPresenter
from tui.shell.session import Session
from tui.shell.stage import Stage

TASK = "train"
"""Names the working off for ``ErrorPresenter.show_once``."""


class TrainingController:
    """See the module.

    Args:
        session: the open profile and its queue.
        engine: trains.
        stage: runs the work and shows the Train screen.
        errors: shows what goes wrong.
        end_left: closes a profile that was left while it trained, once its queue is at rest.
    """

    def __init__(
        self,
        session: Session,
        engine: EngineController,
        stage: Stage,
        errors: ErrorPresenter,
        end_left: Callable[[str], Awaitable[None]],
    ) -> None:
        self._session = session
        self._engine = engine
        self._stage = stage
        self._errors = errors
        self._end_left = end_left

    @property
    def preset(self) -> str:
        """How long a training takes unless chosen otherwise."""
        return self._session.settings.text("preset")

    def train(
        self, names: Sequence[str], preset: str | None = None, *, show: bool = True, improve: bool = False
    ) -> None:
        """Put trainings into the queue, and show that.

        Args:
            names: of the procedures.
            preset: how long to take; the settings' one without it.
            show: go to the Train screen.
            improve: learn from verdicts on answers instead, going on from the memories that answer.
        """
        settings = self._session.settings
        try:
            self._session.trainings.add(
                names,
                preset or self.preset,
                span=settings.whole("span") or None,
                router=settings.text("router"),
                improve=improve,
            )
        except TokmemError as caught:
            self._errors.show(caught)
            return
        self.work_off()
        if show:
            self._stage.switch_mode("train")

    def work_off(self, *, asked: bool = True) -> None:
        """Train what is queued, unless that is being done. Goes on whatever screen or profile is in sight.

        Args:
            asked: the person has just asked for it, and is told of an error that was shown before.
        """
        self._stage.run_worker(partial(self._work_off, asked=asked), group="train", exit_on_error=False)

    def resume(self) -> None:
        """Train what waits in the queue, as after a restart, if the engine is ready for it."""
        if not self._session.locked and self._engine.link.state.phase == "ready" and self._session.trainings.may_work:
            self.work_off(asked=False)

    async def _work_off(self, *, asked: bool) -> None:
        profile = self._session.current
        if asked:
            self._errors.settle(TASK)
        try:
            if not await profile.trainings.work():
                return
            self._errors.settle(TASK)
        except TokmemError as caught:  # the queue stays; a profile that was left is closed all the same
            self._errors.show_once(TASK, caught)
        if profile.trainings is not self._session.trainings or self._session.locked:
            await self._end_left(profile.name)
            if not self._session.locked:
                self._stage.notify(f"The training in {profile.name} has ended. F5 goes there.", markup=False)
                self.work_off(asked=False)
            return
        self._session.announce_store()
