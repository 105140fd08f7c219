"""Progress of one training: step, time left, loss, and answers to held-out pairs so far."""

from __future__ import annotations

import time

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from tui.kit.bar import bar
from tui.kit.words import duration, elapsed
from tui.shared.job_progress import PHASES, Progress
from tui.shared.scorecard import sample_lines
from tui.training.loss_plot import LossPlot
from tui.training.queue import TrainJob

SHOWN_SAMPLES = 4


class TrainProgress(Vertical):
    """The pane of a job that has not ended."""

    DEFAULT_CSS = """
    TrainProgress {
        height: 1fr; padding: 0 2;
        #now { height: auto; }
        #done { height: 1; margin: 0 0 1 0; }
        #loss-line { height: 1; }
        LossPlot { margin: 0 0 1 0; }
        #samples { height: 1fr; scrollbar-size-vertical: 1; }
        #samples Static { height: auto; }
        #notes { height: auto; color: $text-warning; }
    }
    """

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self.log_scale = False

    def compose(self) -> ComposeResult:
        yield Static(id="now")
        yield Static(id="done")
        yield Static(id="loss-line")
        yield LossPlot(id="loss-plot")
        yield Static(id="notes", markup=False)
        with VerticalScroll(id="samples"):
            yield Static(id="sample-lines")

    def show(self, job: TrainJob) -> None:
        """Draw a job that runs, waits or has failed."""
        progress = job.progress
        self.query_one("#now", Static).update(_now(job))
        done = self.query_one("#done", Static)
        done.display = job.state == "running"
        done.update(Content.assemble(bar(progress.fraction), f" {progress.fraction:.0%}"))
        line, plot = self.query_one("#loss-line", Static), self.query_one(LossPlot)
        line.display = plot.display = bool(progress.losses)
        if progress.losses:
            line.update(_loss_line(progress, self.log_scale))
            plot.show(progress.losses, progress.held_out_losses, progress.train_steps, log_scale=self.log_scale)
        notes = self.query_one("#notes", Static)
        notes.update("\n".join(progress.notes[-3:]))
        notes.display = bool(progress.notes)
        self.query_one("#sample-lines", Static).update(_samples(progress))


def _now(job: TrainJob) -> Content:
    progress, how = job.progress, Content.styled(job.how, "$muted")
    name = Content.styled(job.name, "bold $primary")
    match job.state:
        case "failed":
            return _failure(job)
        case "queued":
            words = "waits for its turn. ⇧↑ and ⇧↓ move it, d takes it out."
        case "paused" if progress.train_step:
            words = f"paused at step {progress.train_step} of {progress.train_steps}; Space goes on from there."
        case "paused":
            words = "paused; Space goes on."
        case _ if job.ending == "keep":
            words = "stopping after this step; the best so far is kept."
        case _ if job.ending:
            words = "stopping after this step."
        case _ if not progress.phase:
            words = "starting; the engine may have to load the model first"
            words += elapsed(time.monotonic() - job.begun) if job.begun else ""
        case _:
            words = PHASES.get(progress.phase, progress.phase)
            if progress.steps and progress.phase == "train":
                words += f" · step {progress.step} of {progress.steps}"
            elif progress.steps:
                words += f" · {progress.step / progress.steps:.0%}"
            if progress.eta_s is not None:
                words += f" · {duration(progress.eta_s)} left"
    return Content.assemble(name, "  ", words, "  ", how)


def _failure(job: TrainJob) -> Content:
    if job.error is None:
        return Content.styled(f"{job.name} could not be trained.", "bold $text-error")
    message = job.error.message.splitlines()[0]
    return Content.assemble(
        Content.styled(f"{job.name}: {job.error.title}. ", "bold $text-error"),
        Content(f"{message} {job.error.next_step}\nThe memories you had are unchanged. "),
        Content.styled("r", "bold $accent"),
        " tries again, from the last checkpoint where there is one; ",
        Content.styled("d", "bold $accent"),
        " takes it out.",
    )


def _loss_line(progress: Progress, log_scale: bool) -> Content:
    parts = [f"⠤ loss {progress.losses[0][1]:.2f} → {progress.losses[-1][1]:.2f}" + (" (log)" if log_scale else "")]
    if progress.held_out_loss is not None:
        parts.append(f"○ held out {progress.held_out_loss:.2f}")
    if progress.best_held_out_loss is not None:
        parts.append(f"best {progress.best_held_out_loss:.2f}, kept")
    return Content.styled(" · ".join(parts), "$muted")


def _samples(progress: Progress) -> Content:
    if not progress.samples:
        return Content("")
    lines = [Content.styled("Pairs it has not seen, as it answers them now", "bold $primary")]
    for sample in progress.samples[-SHOWN_SAMPLES:]:
        lines += sample_lines(sample["input"], sample["expected"], sample["got"])
    return Content("\n").join(lines)
