"""The queue of trainings: one row each, in their order, with what it does or waits for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType

from tui.kit.keys import keyed
from tui.kit.named_table import NamedTable
from tui.kit.words import duration, part_of
from tui.shared.job_progress import PHASES
from tui.shared.scorecard import was_measured
from tui.training.queue import TrainJob

_SIGNS = {"queued": "·", "running": "▸", "paused": "‖", "undecided": "◆", "failed": "!"}
_STYLES = {"queued": "dim", "running": "bold", "paused": "dim", "undecided": "bold", "failed": "bold"}


@keyed("train")
class JobTable(NamedTable):
    """A row per job, its number as the row's key."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a,enter", "screen.activate", "Activate", key_display="a"),
        Binding("k", "screen.keep_old", "Keep old"),
        Binding("j", "cursor_down", show=False),
        Binding("shift+up,K", "screen.move(-1)", "Earlier", key_display="⇧↑"),
        Binding("shift+down,J", "screen.move(1)", "Later", key_display="⇧↓"),
        Binding("space", "screen.pause", "Pause or go on", key_display="spc"),
        Binding("d,delete", "screen.remove", "Remove", key_display="d"),
    ]

    DEFAULT_CSS = """
    JobTable {
        height: auto; max-height: 8; background: transparent;
        scrollbar-size-vertical: 1; scrollbar-size-horizontal: 0;
    }
    """

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id, cursor_type="row", cell_padding=1, show_header=False)
        self._jobs: Sequence[TrainJob] = ()
        self._widths = (0, 0)

    @property
    def selected_id(self) -> int | None:
        """The number of the job under the cursor."""
        return None if self.selected_name is None else int(self.selected_name)

    def show(self, jobs: Sequence[TrainJob]) -> None:
        """Draw; rows are made anew only when they are others than before, so that a step costs one cell.

        Widths are given, not found by the table: it measures when it is idle, and until then cuts what is longer.
        """
        self._jobs = jobs
        names = min(max((len(job.name) for job in jobs), default=1) + 2, 26)
        widths = (names, max(1, self.scrollable_content_region.width - names - 4))
        keys = [str(job.id) for job in jobs]
        if keys != [str(row.key.value) for row in self.ordered_rows] or widths != self._widths:
            selected, row = self.selected_name, self.cursor_row
            self._widths = widths
            self.clear(columns=True)
            for key, width in zip(("name", "state"), widths, strict=True):
                self.add_column(Text(), key=key, width=width)
            for job in jobs:
                self.add_row(*_cells(job), key=str(job.id))
            self.keep_cursor(selected, row)
            return
        for job in jobs:
            for column, cell in zip(("name", "state"), _cells(job), strict=True):
                if self.get_cell(str(job.id), column) != cell:
                    self.update_cell(str(job.id), column, cell)

    def on_resize(self) -> None:
        """Give the state of a job all the room that its name leaves."""
        self.show(self._jobs)


def _cells(job: TrainJob) -> tuple[Text, Text]:
    style = _STYLES[job.state]
    name = Text(f"{_SIGNS[job.state]} {job.name}", style=style, no_wrap=True, overflow="ellipsis")
    return name, Text(job_words(job), style="dim" if style == "dim" else "", no_wrap=True, overflow="ellipsis")


def job_words(job: TrainJob) -> str:
    """What a job does or waits for, in one line."""
    progress = job.progress
    if job.state == "running":
        words = _running_words(job)
    elif job.state == "undecided":
        words = f"{_score_words(job)}your choice"
    elif job.state == "failed":
        words = f"failed: {job.error.message.splitlines()[0]}" if job.error is not None else "failed"
    else:
        words = {"queued": "waits", "paused": "paused"}[job.state]
        if progress.train_step:
            words += f" at step {progress.train_step} of {progress.train_steps}"
    if job.state in ("running", "queued", "paused") and progress.notes:
        words += f" · {progress.notes[-1]}"
    return words


def _running_words(job: TrainJob) -> str:
    if job.ending:
        return {"keep": "stopping; keeps the best", "pause": "pausing", "drop": "being cancelled"}[job.ending]
    progress = job.progress
    parts = [PHASES.get(progress.phase, "starting")]
    if progress.phase:
        parts[0] += f" {progress.fraction:.0%}"
    if progress.eta_s is not None:
        parts.append(f"{duration(progress.eta_s)} left")
    if job.elsewhere:
        parts.append("in another tokmem-desk")
    return ", ".join(parts)


def _score_words(job: TrainJob) -> str:
    if job.trained is None:
        return ""
    card = job.trained["scorecard"]
    if not was_measured(card):
        return f"{'too few pairs' if card.get('held_out_source') == 'none' else 'stopped early'}, not measured · "
    words, other, total = "untrained", card["base"]["exact_match"], card["held_out"]
    now = card["exact_match"]
    if previous := card.get("before"):
        words, other, total = "before", previous["exact_match"], previous["held_out"]
        now = previous["now"]["exact_match"]
    return f"exact {part_of(now, total)}, {words} {part_of(other, total)} · "
