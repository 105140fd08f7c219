"""A running training: how far, how long yet, the loss, and what the memory makes of held-out pairs by now."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import ProgressBar, Static

from tui.training import PHASES, ProcedureProgress, TrainJob, duration
from tui.widgets.loss_plot import LossPlot

SHOWN_SAMPLES = 4


class TrainProgress(Vertical):
    """See the module."""

    DEFAULT_CSS = """
    TrainProgress {
        height: 1fr; padding: 1 2;
        #queue { height: auto; max-height: 6; margin: 0 0 1 0; }
        #now { height: auto; }
        ProgressBar { width: 1fr; height: 1; margin: 0 0 1 0; }
        ProgressBar Bar { width: 1fr; }
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
        yield Static(id="queue")
        yield Static(id="now")
        yield ProgressBar(total=100, show_eta=False)
        yield Static(id="loss-line")
        yield LossPlot(id="loss-plot")
        yield Static(id="notes", markup=False)
        with VerticalScroll(id="samples"):
            yield Static(id="sample-lines")

    def show(self, job: TrainJob) -> None:
        """Draw the job as it stands."""
        self.query_one("#queue", Static).update(_queue(job))
        one = job.progress.get(job.current)
        self.query_one("#now", Static).update(_now(job, one))
        bar = self.query_one(ProgressBar)
        bar.update(total=None if job.fraction is None else 100, progress=100 * (job.fraction or 0))
        line, plot = self.query_one("#loss-line", Static), self.query_one(LossPlot)
        line.display = plot.display = one is not None and bool(one.losses)
        if one is not None and one.losses:
            line.update(_loss_line(one, self.log_scale))
            plot.show(one.losses, one.train_steps, log_scale=self.log_scale)
        notes = self.query_one("#notes", Static)
        notes.update("\n".join(job.notes[-3:]))
        notes.display = bool(job.notes)
        self.query_one("#sample-lines", Static).update(_samples(one))


def _queue(job: TrainJob) -> Content:
    width = max(len(name) for name in job.names)
    lines = []
    for name in job.names:
        one = job.progress.get(name)
        if name == job.current and one is not None:
            sign, words = "▸", PHASES.get(one.phase, one.phase)
        elif one is not None:
            sign, words = (
                "✓",
                "" if one.best_held_out_loss is None else f"best held-out loss {one.best_held_out_loss:.3f}",
            )
        else:
            sign, words = "·", "waits"
        style = "bold $primary" if sign == "▸" else "$muted" if sign == "·" else ""
        lines.append(
            Content.assemble(Content.styled(f"{sign} {name:<{width}}", style), Content.styled(f"  {words}", "$muted"))
        )
    return Content("\n").join(lines)


def _now(job: TrainJob, one: ProcedureProgress | None) -> Content:
    if job.state == "stopping":
        return Content("Stopping after this step; the best so far is kept.")
    if one is None:
        return Content("Starting; the engine may have to load the model first.")
    words = [Content.styled(one.name, "bold"), Content(PHASES.get(one.phase, one.phase))]
    if one.steps and one.phase == "train":
        words.append(Content(f"step {one.step} of {one.steps}"))
    elif one.steps:
        words.append(Content(f"{one.step / one.steps:.0%}"))
    if job.eta_s is not None:
        words.append(Content.styled(f"{duration(job.eta_s)} left", "$accent"))
    return Content(" · ").join(words)


def _loss_line(one: ProcedureProgress, log_scale: bool) -> Content:
    parts = [f"loss {one.losses[0][1]:.2f} → {one.losses[-1][1]:.2f}" + (" (log)" if log_scale else "")]
    if one.held_out_loss is not None:
        parts.append(f"held out {one.held_out_loss:.2f}")
    if one.best_held_out_loss is not None:
        parts.append(f"best {one.best_held_out_loss:.2f}, kept")
    return Content.styled(" · ".join(parts), "$muted")


def _samples(one: ProcedureProgress | None) -> Content:
    if one is None or not one.samples:
        return Content("")
    lines = [Content.styled("Pairs it has not seen, as it answers them now", "bold $primary")]
    for sample in one.samples[-SHOWN_SAMPLES:]:
        lines += sample_lines(sample["input"], sample["expected"], sample["got"])
    return Content("\n").join(lines)


def sample_lines(question: str, expected: str, got: str, base: str | None = None) -> list[Content]:
    """A held-out pair beside what was answered; ``base`` is the untrained backbone's answer."""
    right = got.strip() == expected.strip()
    lines = [
        Content.assemble(Content.styled("› ", "$accent"), Content.styled(_short(question), "$muted")),
        Content.assemble(
            Content.styled("✓ " if right else "✗ ", "$text-success" if right else "$text-error"),
            Content(_short(got) or "(nothing)"),
        ),
    ]
    if not right:
        lines.append(Content.assemble("  wanted: ", Content(_short(expected))))
    if base is not None:
        lines.append(Content.styled(f"  untrained: {_short(base) or '(nothing)'}", "$muted"))
    return lines


def _short(text: str, width: int = 240) -> str:
    line = text.strip().replace("\n", " ⏎ ")
    return line if len(line) <= width else f"{line[: width - 1]}…"
