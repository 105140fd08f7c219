"""What a training achieved, beside the untrained backbone and beside the pairs put into the prompt."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import DataTable, Static

from tui.engine.protocol import BeforeScores, Confusion, Scorecard, Trained
from tui.training import TrainJob, duration
from tui.widgets.train_progress import sample_lines

SHOWN_LABELS = 8
BAR_CELLS = 16
WORSE_BY = 0.05
"""Less than this in ROUGE-L on a few held-out pairs is chance."""


class ResultTable(DataTable[Text]):
    """A row per trained procedure, with a tick for those to activate."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "screen.tick", "Tick", key_display="spc"),
        Binding("enter", "screen.activate", "Activate", show=False),
        Binding("k", "screen.keep_old", "Keep old"),
        Binding("j", "cursor_down", show=False),
    ]


class ScorecardPane(Vertical):
    """Rows for all, and everything about the one under the cursor."""

    DEFAULT_CSS = """
    ScorecardPane {
        height: 1fr; padding: 1 2 0 2;
        #outcome { height: auto; margin: 0 0 1 0; }
        ResultTable {
            height: auto; max-height: 8; background: transparent; margin: 0 0 1 0; scrollbar-size-horizontal: 0;
        }
        #card-scroll { height: 1fr; scrollbar-size-vertical: 1; }
        #card { height: auto; }
    }
    """

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self.ticked: set[str] = set()
        self._trained: list[Trained] = []
        self._job_id: int | None = None

    def compose(self) -> ComposeResult:
        yield Static(id="outcome")
        yield ResultTable(id="results", cursor_type="row", cell_padding=1)
        with VerticalScroll(id="card-scroll"):
            yield Static(id="card")

    def show(self, job: TrainJob) -> None:
        """Draw the end of a job. Every memory that beats the untrained backbone is ticked at first."""
        if job.job_id != self._job_id:
            self._job_id = job.job_id
            self.ticked = {one["name"] for one in job.trained if is_better(one["scorecard"])}
        self._trained = job.trained
        self.query_one("#outcome", Static).update(_outcome(job))
        self.query_one(ResultTable).display = bool(job.trained)
        self._draw_table()
        self._draw_card()

    def tick(self) -> None:
        """Tick or untick the row under the cursor."""
        one = self._selected
        if one is not None:
            self.ticked ^= {one["name"]}
            self._draw_table()

    @property
    def selected_name(self) -> str | None:
        """The procedure under the cursor."""
        return None if self._selected is None else self._selected["name"]

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        """Show the card of the row."""
        event.stop()
        self._draw_card()

    @property
    def _selected(self) -> Trained | None:
        row = self.query_one(ResultTable).cursor_row
        return self._trained[row] if 0 <= row < len(self._trained) else None

    def _draw_table(self) -> None:
        table = self.query_one(ResultTable)
        row = table.cursor_row
        table.clear(columns=True)
        for title in ("Activate", "Procedure", "Routing", "Exact", "ROUGE-L", "untrained", "in prompt"):
            table.add_column(Text(title))
        for one in self._trained:
            ticked = Text("[x]" if one["name"] in self.ticked else "[ ]", style="bold", justify="center")
            table.add_row(ticked, Text(one["name"], style="bold"), *_figures(one["scorecard"]))
        if self._trained:
            table.move_cursor(row=min(row, len(self._trained) - 1))

    def _draw_card(self) -> None:
        one = self._selected
        self.query_one("#card", Static).update(Content("") if one is None else card_text(one))


def is_better(card: Scorecard) -> bool:
    """True when the memory answers better than the untrained backbone and no worse than the one before it, or when
    nobody has measured.
    """
    if not was_measured(card):
        return True
    before = card.get("before")
    kept_up = before is None or before["now"]["rouge_l"] >= before["rouge_l"] - WORSE_BY
    return card["rouge_l"] > card["base"]["rouge_l"] and kept_up


def was_measured(card: Scorecard) -> bool:
    """False for a training that was stopped before its memory was measured."""
    return "rouge_l" in card


def share(value: float) -> str:
    """A part of one as whole percent."""
    return f"{value:.0%}"


def _figures(card: Scorecard) -> list[Text]:
    """The cells of the table behind the name."""
    if not was_measured(card):
        return [Text("-", justify="right") for _ in range(5)]
    prompt = card.get("prompt")
    return [
        Text(share(card["routing_accuracy"]), justify="right"),
        Text(share(card["exact_match"]), justify="right"),
        Text(f"{card['rouge_l']:.2f}", justify="right", style="bold"),
        Text(f"{card['base']['rouge_l']:.2f}", justify="right"),
        Text("-" if prompt is None else f"{prompt['rouge_l']:.2f}", justify="right"),
    ]


def card_text(one: Trained) -> Content:
    """A scorecard as text."""
    card = one["scorecard"]
    if not was_measured(card):
        words = f"  stopped after {card['steps']} steps and {duration(card['seconds'])}, before it was measured"
        lines = [Content.assemble(Content.styled(one["name"], "bold $primary"), Content.styled(words, "$muted"))]
        return Content("\n").join([*lines, *(Content(f"→ {advice}") for advice in card["advice"])])
    source = "of your held-out pairs" if card["held_out_source"] == "test" else "pairs set aside from your own"
    lines = [
        Content.assemble(
            Content.styled(one["name"], "bold $primary"),
            Content.styled(
                f"  {card['pairs']} pairs learned in {duration(card['seconds'])}, {card['steps']} steps, "
                f"{card['span']} embeddings; measured on {card['held_out']} {source}",
                "$muted",
            ),
        )
    ]
    lines += [Content(f"→ {advice}") for advice in card["advice"]]
    if before := card.get("before"):
        lines += [Content(""), *_before_and_after(before)]
    lines += [Content(""), *_comparison(card)]
    lines += [
        Content(""),
        Content.styled("Where the held-out messages went", "bold $primary"),
        *_confusion(card["confusion"]),
    ]
    lines.append(Content(f"{share(card['false_trigger_rate'])} of ordinary chat was taken for a procedure."))
    if card["samples"]:
        lines += [Content(""), Content.styled("Held-out pairs", "bold $primary")]
        for sample in card["samples"]:
            lines += sample_lines(sample["input"], sample["expected"], sample["got"], sample["base"])
    return Content("\n").join(lines)


def _outcome(job: TrainJob) -> Content:
    count = len(job.trained)
    what = "1 procedure" if count == 1 else f"{count} procedures"
    if job.error is not None:
        message = job.error.message.splitlines()[0]
        return Content.assemble(
            Content.styled(f"{job.error.title}. ", "bold $text-error"),
            Content(f"{message} {job.error.next_step}\nThe memories you had are unchanged. "),
            Content.styled("r", "bold $accent"),
            " goes on from the last checkpoint.",
        )
    if not count:
        return Content("Stopped before anything was learned. The memories you had are unchanged.")
    if job.state == "cancelled":
        return Content.styled(f"Stopped early; the best so far of {what} is below and can be used.", "bold")
    return Content.styled(f"Trained {what}. Nothing changes in the chat until you activate it.", "bold")


def _comparison(card: Scorecard) -> list[Content]:
    prompt = card.get("prompt")
    rows = [
        ("this memory", card["exact_match"], card["rouge_l"], "no prompt"),
        ("untrained model", card["base"]["exact_match"], card["base"]["rouge_l"], ""),
    ]
    if prompt is not None:
        words = f"{prompt['tokens']} tokens a query"
        rows.append(("pairs in the prompt", prompt["exact_match"], prompt["rouge_l"], words))
    best = max(row[2] for row in rows)
    lines = [Content.styled(f"{'':<20} {'exact':>6} {'ROUGE-L':>8}", "$muted")]
    for name, exact, rouge, words in rows:
        filled = round(rouge * BAR_CELLS)
        lines.append(
            Content.assemble(
                Content.styled(f"{name:<20} {share(exact):>6} {rouge:>8.2f}  ", "bold" if rouge == best else ""),
                Content.styled("━" * filled, "$primary" if name == "this memory" else "$secondary"),
                Content.styled("─" * (BAR_CELLS - filled), "$panel-lighten-2"),
                Content.styled(f"  {words}", "$muted"),
            )
        )
    if card.get("form_valid") is not None:
        lines.append(Content(f"{share(card['form_valid'] or 0.0)} of the answers have the right form."))
    return lines


def _before_and_after(before: BeforeScores) -> list[Content]:
    """The memory that answers so far and the new one, on pairs that neither has learned."""
    now = before["now"]
    pairs = "1 pair" if before["held_out"] == 1 else f"{before['held_out']} pairs"
    heads = ("exact", "ROUGE-L", "found", "chat taken")
    lines = [
        Content.assemble(
            Content.styled("Before and after", "bold $primary"),
            Content.styled(f"  on {pairs} that neither has learned", "$muted"),
        ),
        Content.styled(f"{'':<20} " + " ".join(f"{head:>10}" for head in heads), "$muted"),
    ]
    for name, scores in ((f"version {before['version']}, active", before), ("this memory", now)):
        cells = (
            share(scores["exact_match"]),
            f"{scores['rouge_l']:.2f}",
            share(scores["routing_accuracy"]),
            share(scores["false_trigger_rate"]),
        )
        style = "bold" if name == "this memory" else ""
        lines.append(Content.styled(f"{name:<20} " + " ".join(f"{cell:>10}" for cell in cells), style))
    change = now["rouge_l"] - before["rouge_l"]
    words = "better than" if change > WORSE_BY else "worse than" if change < -WORSE_BY else "about as good as"
    lines.append(Content(f"→ {words} what you have now ({change:+.2f} ROUGE-L)"))
    return lines


def _confusion(confusion: Confusion) -> list[Content]:
    """Rows are where messages belong, columns where they went; only labels that occur are shown."""
    labels, counts = confusion["labels"], confusion["counts"]
    used = [place for place in range(len(labels)) if any(counts[place]) or any(row[place] for row in counts)]
    shown = used[:SHOWN_LABELS]
    if not shown:
        return []
    name_width = max(len(labels[place]) for place in shown)
    heads = [_head(labels[place]) for place in shown]
    widths = [max(5, len(head) + 1) for head in heads]
    lines = [
        Content.styled(
            " " * (name_width + 2) + "".join(f"{head:>{width}}" for head, width in zip(heads, widths, strict=True)),
            "$muted",
        )
    ]
    for row in shown:
        cells: list[Content] = [Content(f"{labels[row]:<{name_width}}  ")]
        for column, width in zip(shown, widths, strict=True):
            count = counts[row][column]
            style = "$muted" if not count else "bold $text-success" if row == column else "bold $text-error"
            cells.append(Content.styled(f"{count or '·':>{width}}", style))
        lines.append(Content("").join(cells))
    if len(used) > len(shown):
        lines.append(Content.styled(f"and {len(used) - len(shown)} more", "$muted"))
    return lines


def _head(label: str) -> str:
    return label if len(label) <= 12 else f"{label[:11]}…"
