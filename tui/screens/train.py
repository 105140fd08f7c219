"""Train: choose, watch, decide. Shows the app's one training job; the job itself is in ``tui.training``."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Button, ContentSwitcher, RadioButton, SelectionList

from tui.engine_link import EngineState
from tui.guard import shows_errors
from tui.overview import procedure_lines
from tui.screens.base import AppScreen
from tui.training import PRESETS, TrainJob
from tui.widgets.scorecard import ResultTable, ScorecardPane
from tui.widgets.train_progress import TrainProgress
from tui.widgets.train_setup import TrainSetup


class TrainScreen(AppScreen):
    """See the module."""

    MODE = "train"
    CSS_PATH = "train.tcss"
    AUTO_FOCUS = "#choice"
    HELP_TITLE = "Train"
    HELP_TEXT = (
        "Tick what should be trained and press t. Chat goes on meanwhile. Stopping early keeps the best so far. At the "
        "end you see how the new memory does on pairs it never saw, and you decide: nothing changes in the chat before."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("t", "train", "Train"),
        Binding("escape", "stop", "Stop, keep the best"),
        Binding("a", "activate", "Activate ticked"),
        Binding("k", "keep_old", "Keep old"),
        Binding("p", "add_pairs", "Add pairs"),
        Binding("r", "resume", "Resume"),
        Binding("x", "give_up", "Forget it"),
        Binding("l", "log_scale", "Log scale"),
        *(Binding(str(place), f"preset('{preset}')", preset, show=False) for place, preset in enumerate(PRESETS, 1)),
    ]

    def body(self) -> ComposeResult:
        with ContentSwitcher(initial="setup"):
            yield TrainSetup(id="setup")
            yield TrainProgress(id="progress")
            yield ScorecardPane(id="result")

    async def begin(self) -> None:
        """Draw what there is."""
        self.query_one(TrainSetup).set_preset(self.tokmem.preset)
        self._draw()

    def on_engine_changed(self, state: EngineState) -> None:
        if state.phase == "ready":
            self._draw_setup()

    def on_job_changed(self, job: TrainJob) -> None:
        self._draw()

    def on_store_changed(self) -> None:
        self._draw_setup()

    def on_screen_resume(self) -> None:
        """Procedures may be new."""
        self._draw()

    @property
    def pane(self) -> str:
        """Which of the three is in sight."""
        return str(self.query_one(ContentSwitcher).current)

    def _draw(self) -> None:
        job = self.tokmem.runner.job
        before = self.pane
        if job is None or job.decided or (job.state == "cancelled" and not job.trained):
            self._switch("setup")
            self._draw_setup()
        elif job.running:
            self._switch("progress")
            self.query_one(TrainProgress).show(job)
        else:
            self._switch("result")
            self.query_one(ScorecardPane).show(job)
        if self.pane != before:
            self._focus_pane()
        self.refresh_bindings()

    def _switch(self, pane: str) -> None:
        self.query_one(ContentSwitcher).current = pane

    def _focus_pane(self) -> None:
        if self.pane == "setup":
            self.query_one(SelectionList).focus()
        elif self.pane == "progress":
            self.query_one("#samples").focus()
        else:
            self.query_one(ResultTable if self.query_one(ResultTable).display else "#card-scroll").focus()

    @shows_errors
    def _draw_setup(self) -> None:
        if not self.is_mounted:
            return
        waiting = self.tokmem.runner.unfinished()
        words = ""
        if waiting is not None:
            names = ", ".join(waiting.request.get("names") or ())
            words = f"An earlier training of {names} was broken off. r goes on with it, x forgets it."
        self.query_one(TrainSetup).show(procedure_lines(self.tokmem.store, self.tokmem.fingerprint), words)
        self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer what the pane in sight can do."""
        if not self.is_mounted or action not in {
            "train",
            "stop",
            "activate",
            "keep_old",
            "add_pairs",
            "resume",
            "give_up",
            "log_scale",
            "preset",
            "tick",
        }:
            return True
        job = self.tokmem.runner.job
        has_trained = job is not None and bool(job.trained)
        match action:
            case "train" | "preset":
                return self.pane == "setup"
            case "stop" | "log_scale":
                return self.pane == "progress"
            case "resume" | "give_up":
                if self.pane == "result":
                    return job is not None and job.state == "failed"
                return self.pane == "setup" and self.tokmem.runner.unfinished() is not None
            case "activate" | "tick":
                return self.pane == "result" and has_trained
            case "keep_old" | "add_pairs":
                return self.pane == "result"
        return True

    @shows_errors
    def action_train(self) -> None:
        """Start with what is ticked."""
        setup = self.query_one(TrainSetup)
        self.tokmem.train(setup.names, setup.preset)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """The same by mouse or Enter."""
        self.action_train()

    def action_preset(self, preset: str) -> None:
        """Choose how long."""
        self.query_one(f"#preset-{preset}", RadioButton).value = True

    async def action_stop(self) -> None:
        """End early; the best so far is kept."""
        await self.tokmem.runner.cancel()

    def action_log_scale(self) -> None:
        """Draw the loss on a logarithmic scale, or not."""
        progress = self.query_one(TrainProgress)
        progress.log_scale = not progress.log_scale
        if self.tokmem.runner.job is not None:
            progress.show(self.tokmem.runner.job)

    def action_tick(self) -> None:
        """Tick or untick a result."""
        self.query_one(ScorecardPane).tick()

    @shows_errors
    def action_activate(self) -> None:
        """Use the ticked memories from now on and drop the others."""
        active = self.tokmem.runner.activate(sorted(self.query_one(ScorecardPane).ticked))
        self.tokmem.announce_store()
        names = ", ".join(active)
        self.notify(f"Active now: {names}. F2 to try." if active else "Kept the old memories.", markup=False)

    @shows_errors
    def action_keep_old(self) -> None:
        """Drop what was trained."""
        self.tokmem.runner.keep_old()
        self.tokmem.announce_store()
        self.notify("Kept the old memories.")

    def action_add_pairs(self) -> None:
        """To the procedure; the result waits here."""
        job = self.tokmem.runner.job
        name = self.query_one(ScorecardPane).selected_name or (job.names[0] if job is not None else None)
        if name is not None:
            self.tokmem.open_procedure(name)

    @shows_errors
    def action_resume(self) -> None:
        """Go on with a job that was broken off."""
        job = self.tokmem.runner.job
        if self.pane == "result" and job is not None:
            self.tokmem.resume(self.tokmem.store.job(job.job_id))
            return
        waiting = self.tokmem.runner.unfinished()
        if waiting is not None:
            self.tokmem.resume(waiting)

    @shows_errors
    def action_give_up(self) -> None:
        """Do not offer the broken-off job again."""
        if self.pane == "result":
            self.tokmem.runner.keep_old()
            return
        waiting = self.tokmem.runner.unfinished()
        if waiting is not None:
            self.tokmem.runner.give_up(waiting)
            self._draw_setup()
