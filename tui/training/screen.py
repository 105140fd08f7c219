"""Train: choose, watch the queue, decide. The queue itself is in ``tui.training.queue``."""

from __future__ import annotations

from typing import ClassVar, cast

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.dom import DOMNode
from textual.widgets import Button, ContentSwitcher, DataTable, RadioButton, RadioSet, SelectionList

from tui.engine_client.link import EngineState
from tui.kit.base import AppScreen
from tui.kit.confirm import ConfirmDialog
from tui.kit.error_dialogs import shows_errors
from tui.kit.key_gate import asks
from tui.kit.verdict import verdict_of
from tui.kit.words import duration
from tui.shared.overview import procedure_lines
from tui.shared.scorecard import is_better
from tui.shared.training_times import TrainingTimes
from tui.training.job_table import JobTable
from tui.training.queue import PRESETS, TrainJob
from tui.training.scorecard import ScorecardPane
from tui.training.services import TrainingServices
from tui.training.train_progress import TrainProgress
from tui.training.train_setup import TrainSetup


class TrainScreen(AppScreen):
    """Shows either what can be trained, or the queue with the job under the cursor."""

    MODE = "train"
    CSS_PATH = "screen.tcss"
    AUTO_FOCUS = "#choice"
    LISTS: ClassVar[tuple[type[DOMNode], ...]] = (JobTable,)
    HELP_TEXT = (
        "Tick what should be trained and press t; it waits in the queue, also when the app is closed. Chat goes on "
        "meanwhile. Esc stops early, after asking, and keeps the best so far; Space pauses everything. At the end you "
        "see how the new memory does on pairs it never saw, and you decide: nothing changes in the chat before."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("t", "train", "Train"),
        Binding("escape", "stop", "Stop, keep the best"),
        Binding("a", "activate", "Activate", show=False),
        Binding("A", "activate_all", "Activate all better ones"),
        Binding("k", "keep_old", "Keep old", show=False),
        Binding("p", "add_pairs", "Add pairs"),
        Binding("space", "pause", "Pause or go on", show=False),
        Binding("r", "resume", "Resume"),
        Binding("d", "remove", "Remove", show=False),
        Binding("l", "log_scale", "Log scale"),
        *(Binding(str(place), f"preset('{preset}')", preset, show=False) for place, preset in enumerate(PRESETS, 1)),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._choosing = False
        """The person wants to see what can be trained although something is in the queue."""

    @property
    def tokmem(self) -> TrainingServices:
        """The app, as far as this room uses it."""
        return cast(TrainingServices, self.app)

    def body(self) -> ComposeResult:
        with ContentSwitcher(initial="setup", id="panes"):
            yield TrainSetup(id="setup")
            with Container(id="queue"):
                yield JobTable(id="jobs")
                with ContentSwitcher(initial="progress", id="detail"):
                    yield TrainProgress(id="progress")
                    yield ScorecardPane(id="result")

    async def begin(self) -> None:
        """Draw what there is."""
        self.query_one(TrainSetup).set_preset(self.tokmem.training.preset)
        self._draw()
        self.set_interval(1.0, self._draw_starting)

    def on_engine_changed(self, state: EngineState) -> None:
        if state.phase == "ready":
            self._draw_setup()

    def on_jobs_changed(self) -> None:
        self._draw()

    def on_store_changed(self) -> None:
        self._draw_setup()

    def on_screen_resume(self) -> None:
        """Procedures may be new."""
        self._draw()

    @property
    def pane(self) -> str:
        """What is in sight: ``setup``, or of the job under the cursor ``progress`` or ``result``."""
        outer = str(self.query_one("#panes", ContentSwitcher).current)
        return outer if outer == "setup" else str(self.query_one("#detail", ContentSwitcher).current)

    @property
    def job(self) -> TrainJob | None:
        """The job under the cursor, while the queue is in sight."""
        if not self.is_mounted or self.pane == "setup":
            return None
        selected = self.query_one(JobTable).selected_id
        return None if selected is None else self.tokmem.trainings.job(selected)

    # Drawing

    def _draw(self) -> None:
        if not self.is_mounted:
            return
        jobs = self.tokmem.trainings.jobs
        panes = self.query_one("#panes", ContentSwitcher)
        before = panes.current
        if not jobs:
            self._choosing = False
        panes.current = "queue" if jobs and not self._choosing else "setup"
        table = self.query_one(JobTable)
        table.show(jobs)
        if panes.current != before:
            self._focus_pane()
        if panes.current == "setup":
            self._draw_setup()
        else:
            self._draw_detail()
        self.refresh_bindings()

    def _focus_pane(self) -> None:
        if self.query_one("#panes", ContentSwitcher).current == "setup":
            self.query_one(SelectionList).focus()
            return
        table = self.query_one(JobTable)
        first = self.tokmem.trainings.in_state("undecided", "running") or self.tokmem.trainings.jobs
        table.select(str(first[0].id))
        table.focus()

    def _draw_detail(self) -> None:
        job = self.job
        if job is None:
            return
        detail = self.query_one("#detail", ContentSwitcher)
        if job.trained is not None:
            detail.current = "result"
            self.query_one(ScorecardPane).show(job.trained)
        else:
            detail.current = "progress"
            self.query_one(TrainProgress).show(job)

    def _draw_starting(self) -> None:
        """Say how long a training has been starting: nothing else is heard of it until the model is loaded."""
        if self.is_current and self.job is not None and self.job.state == "running" and not self.job.progress.phase:
            self._draw_detail()

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        """Show the job of the row."""
        event.stop()
        self._draw_detail()
        self.refresh_bindings()

    @shows_errors
    def _draw_setup(self) -> None:
        if not self.is_mounted:
            return
        count = len(self.tokmem.trainings.jobs)
        words = f"In the queue: {count}. Esc goes back to it." if count else ""
        self.query_one(TrainSetup).show(procedure_lines(self.tokmem.store, self.tokmem.fingerprint), words)
        self._draw_estimate()
        self.refresh_bindings()

    @on(SelectionList.SelectionToggled)
    @on(RadioSet.Changed)
    @shows_errors
    def _draw_estimate(self) -> None:
        """Say how long what is ticked takes on this machine, measuring included."""
        setup, store, times = self.query_one(TrainSetup), self.tokmem.store, TrainingTimes(self.tokmem.paths)
        model = self.tokmem.fingerprint or ""
        estimates = [times.estimate(model, setup.preset, store.pairs.characters(name)) for name in setup.names]
        if not estimates:
            words = ""
        elif None in estimates:
            words = "How long it takes here is known after the first training with this model."
        else:
            total = sum(sum(one.values()) for one in estimates if one is not None)
            words = f"About {duration(total)} on this machine, measuring included, as far as earlier trainings tell."
        setup.show_estimate(words)

    # What can be done

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer what the pane in sight can do."""
        if not self.is_mounted:
            return True
        trainings, job = self.tokmem.trainings, self.job
        state = None if job is None else job.state
        match action:
            case "preset":
                return self.pane == "setup"
            case "stop":
                return self._choosing or (job is not None and trainings.current is not None)
            case "log_scale":
                return job is not None and bool(job.progress.losses) and job.trained is None
            case "activate" | "keep_old" | "add_pairs":
                return state == "undecided" or (action == "add_pairs" and state == "failed")
            case "activate_all":
                return job is not None and len(self._better) > 1
            case "pause":
                return job is not None and bool(trainings.in_state("running", "queued", "paused"))
            case "resume":
                return state in ("paused", "failed")
            case "remove":
                return state is not None and state != "undecided"
            case "move":
                return state in ("queued", "paused")
        return True

    @property
    def _better(self) -> list[TrainJob]:
        """What waits for a decision and is better than what there is."""
        return [job for job in self.tokmem.trainings.jobs if job.trained and is_better(job.trained["scorecard"])]

    @shows_errors
    def action_train(self) -> None:
        """Put what is ticked into the queue; from the queue, go and choose."""
        setup = self.query_one(TrainSetup)
        if self.pane != "setup":
            self._choosing = True
            self._draw()
            return
        names, preset = setup.names, setup.preset
        self._choosing = False
        self.tokmem.train(names, preset)
        self._draw()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """The same by mouse or Enter."""
        self.action_train()

    def action_preset(self, preset: str) -> None:
        """Choose how long."""
        self.query_one(f"#preset-{preset}", RadioButton).value = True

    def action_stop(self) -> None:
        """End what runs early, with the best so far, after asking; from choosing, back to the queue."""
        if self._choosing:
            self._choosing = False
            self._draw()
            return
        self._ask_then_stop()

    @asks
    @work(group="stop", exclusive=True, exit_on_error=False)
    async def _ask_then_stop(self) -> None:
        job = self.tokmem.trainings.current
        if job is None or job.ending:
            return
        question = ConfirmDialog(
            f"Stop the training of {job.name} early?",
            "The best so far is kept and waits for your decision, without having been measured. To halt it and go on "
            "later, press Space instead.",
            "Stop it",
            "Go on",
            danger=True,
        )
        # It may have ended meanwhile, and another one may run.
        if await self.app.push_screen_wait(question) and self.tokmem.trainings.current is job:
            await self.tokmem.trainings.stop()

    @shows_errors
    async def action_pause(self) -> None:
        """Halt everything, or go on with everything that is paused."""
        trainings = self.tokmem.trainings
        if trainings.in_state("running", "queued"):
            await trainings.pause()
        else:
            trainings.resume(trainings.in_state("paused"))
            self.tokmem.training.work_off()

    @shows_errors
    def action_resume(self) -> None:
        """Go on with the one under the cursor."""
        if self.job is not None:
            self.tokmem.trainings.resume([self.job])
            self.tokmem.training.work_off()

    @asks
    @work(group="remove", exit_on_error=False)
    async def action_remove(self) -> None:
        """Take a job out of the queue; asks where work would be lost."""
        job = self.job
        if job is None:
            return
        if job.progress.train_step:
            question = ConfirmDialog(
                f"Cancel the training of {job.name}?",
                f"What it has learned in {job.progress.train_step} steps is lost. The memory you have stays.",
                "Cancel it",
                "Go on",
                danger=True,
            )
            if not await self.app.push_screen_wait(question):
                return
            job = self.tokmem.trainings.job(job.id)  # it may have ended meanwhile
        if job is not None and job.state != "undecided":
            await self.tokmem.trainings.remove(job)

    @shows_errors
    def action_move(self, by: int) -> None:
        """Earlier or later in the queue."""
        if self.job is not None:
            self.tokmem.trainings.move(self.job, by)

    def action_log_scale(self) -> None:
        """Draw the loss on a logarithmic scale, or not."""
        progress = self.query_one(TrainProgress)
        progress.log_scale = not progress.log_scale
        self._draw_detail()

    @shows_errors
    def action_activate(self) -> None:
        """Use the memory under the cursor from now on; asks where an improvement was found to be worse."""
        job = self.job
        if job is None:
            return
        card = job.trained["scorecard"] if job.trained else {}
        if card.get("verdicts") and verdict_of(card).case == "worse":
            self._ask_then_activate(job, verdict_of(card).sentence)
        else:
            self._decide([job], activate=True)

    @asks
    @work(group="activate", exclusive=True, exit_on_error=False)
    async def _ask_then_activate(self, job: TrainJob, found: str) -> None:
        question = ConfirmDialog(
            f"Let {job.name} answer so all the same?",
            f"{found} To stay with what you have now, press k.",
            "Activate it",
            "Leave it",
            danger=True,
        )
        if await self.app.push_screen_wait(question):
            self._decide([job], activate=True)

    @shows_errors
    def action_activate_all(self) -> None:
        """Use all that are better than what there is; the others wait on."""
        self._decide(self._better, activate=True)

    @shows_errors
    def action_keep_old(self) -> None:
        """Drop the memory under the cursor."""
        if self.job is not None:
            self._decide([self.job], activate=False)

    def _decide(self, jobs: list[TrainJob], *, activate: bool) -> None:
        names = ", ".join(self.tokmem.trainings.decide(jobs, activate=activate))
        self.tokmem.announce_store()
        if names:
            self.notify(f"Active now: {names}. F2 to try." if activate else f"Kept the old: {names}.", markup=False)

    def action_add_pairs(self) -> None:
        """Go to the procedure. The result goes on waiting here."""
        if self.job is not None:
            self.tokmem.open_procedure(self.job.name)
