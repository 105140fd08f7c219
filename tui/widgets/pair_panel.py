"""One procedure in full: description, memory, lint findings and its pairs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.coordinate import Coordinate
from textual.widgets import DataTable, Static

from profiles.lint import Finding
from profiles.records import PairRecord
from tui.keys import keyed
from tui.messages import PairDeleteWanted, PairEditWanted
from tui.overview import ProcedureLine, changed_words

SHOWN_FINDINGS = 4
CELL_CHARACTERS = 400
STACKED_BELOW = 50
"""Cells of width below which input and response stand in one column."""

WRAPPED_ROWS = 500
"""Longer lists get rows of one line: measuring wrapped text is what makes a long table slow."""


@keyed("pairs")
class PairTable(DataTable[Text]):
    """The pairs, train first, then held out; rows as high as their text."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "edit(False)", "Add pair"),
        Binding("e,enter", "edit(True)", "Edit", key_display="e"),
        Binding("d,delete", "delete", "Delete", key_display="d"),
        Binding("k", "cursor_up", show=False),
        Binding("j", "cursor_down", show=False),
        Binding("left,h", "screen.to_procedures", "Procedures", show=False),
    ]

    DEFAULT_CSS = """
    PairTable { height: 1fr; background: transparent; scrollbar-size-vertical: 1; scrollbar-size-horizontal: 0; }
    """

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id, cursor_type="row", zebra_stripes=True, cell_padding=1)
        self.pairs: list[PairRecord] = []
        self._noted: frozenset[int] = frozenset()

    def show(self, pairs: Sequence[PairRecord], noted: frozenset[int]) -> None:
        """Draw.

        Args:
            pairs: the rows.
            noted: places among them that lint found something about.
        """
        self.pairs, self._noted = list(pairs), noted
        self._draw()

    def on_resize(self) -> None:
        """Columns share the width."""
        self._draw()

    @property
    def selected_pair(self) -> PairRecord | None:
        """The pair under the cursor."""
        return self.pairs[self.cursor_row] if 0 <= self.cursor_row < len(self.pairs) else None

    def action_edit(self, existing: bool) -> None:
        """Edit the pair under the cursor, or write a new one."""
        pair = self.selected_pair if existing else None
        self.post_message(PairEditWanted(None if pair is None else pair.id))

    def action_delete(self) -> None:
        """Delete the pair under the cursor."""
        if self.selected_pair is not None:
            self.post_message(PairDeleteWanted(self.selected_pair.id))

    def _draw(self) -> None:
        row = self.cursor_row
        self.clear(columns=True)
        stacked = self.size.width < STACKED_BELOW
        self.add_column(Text(""), width=1)
        # Beside the texts stand the sign, the padding of each cell and the scroll bar.
        if stacked:
            self.add_column(Text("You type → you get"), width=max(10, self.size.width - 6))
        else:
            width = max(10, (self.size.width - 8) // 2)
            self.add_column(Text("You type"), width=width)
            self.add_column(Text("You get"), width=width)
        height = None if len(self.pairs) <= WRAPPED_ROWS else 1
        for place, pair in enumerate(self.pairs):
            sign = "!" if place in self._noted else "t" if pair.part == "held_out" else ""
            style = "dim" if pair.part == "held_out" else ""
            cells = [_cell(pair.input, style), _cell(pair.response, style)]
            if stacked:
                cells = [Text.assemble(cells[0], Text("\n→ ", style="bold"), cells[1], overflow="fold")]
            self.add_row(Text(sign, style="bold"), *cells, height=height)
        if self.pairs:
            self.cursor_coordinate = Coordinate(min(row, len(self.pairs) - 1), 0)


class PairPanel(Vertical):
    """See the module."""

    DEFAULT_CSS = """
    PairPanel {
        width: 1fr; height: 1fr; padding: 0 1;
        #about { height: auto; max-height: 8; margin: 0 0 1 0; }
        #findings { height: auto; color: $text-warning; margin: 0 0 1 0; }
        #no-pairs { height: auto; color: $muted; padding: 1 0; }
    }
    """

    def compose(self) -> ComposeResult:
        yield Static(id="about")
        yield Static(id="findings")
        yield Static(id="no-pairs")
        yield PairTable(id="pairs")

    def show(self, line: ProcedureLine, pairs: Sequence[PairRecord], findings: Sequence[Finding]) -> None:
        """Draw one procedure.

        Args:
            line: the procedure.
            pairs: train pairs, then held-out ones.
            findings: of lint, about the train pairs.
        """
        record = line.record
        about = [Content.styled(record.name, "bold $primary")]
        if record.description:
            about.append(Content.styled(record.description, "$muted"))
        about.append(Content(memory_sentence(line)))
        if record.output_schema is not None or record.reads_conversation:
            about.append(Content(tool_sentence(line)))
        held_out = f", {record.held_out_count} held out (t) to measure" if record.held_out_count else ""
        about.append(Content(f"{_count(record.pair_count, 'pair')} to learn from{held_out}"))
        self.query_one("#about", Static).update(Content("\n").join(about))
        shown = [Content(f"! {finding.text}") for finding in findings[:SHOWN_FINDINGS]]
        if len(findings) > SHOWN_FINDINGS:
            shown.append(Content(f"! and {len(findings) - SHOWN_FINDINGS} more"))
        place = self.query_one("#findings", Static)
        place.update(Content("\n").join(shown))
        place.display = bool(shown)
        table = self.query_one(PairTable)
        empty = self.query_one("#no-pairs", Static)
        empty.display = not pairs
        empty.update(
            Content.assemble("No pairs yet: ", ("→", "bold $accent"), " then ", ("a", "bold $accent"), " writes one.")
        )
        table.show(pairs, frozenset(index for finding in findings for index in finding.pairs))


def tool_sentence(line: ProcedureLine) -> str:
    """What its answers look like, see and may do."""
    parts = []
    if line.record.output_schema is not None:
        names = ", ".join(json.loads(line.record.output_schema).get("properties", {}))
        parts.append(f"Answers with {names}" if names else "Answers with an object")
    if line.record.reads_conversation:
        parts.append("reads the conversation")
    return " · ".join([*parts, "o changes it"])


def memory_sentence(line: ProcedureLine) -> str:
    """What the memory is worth, in a sentence."""
    parts = []
    if line.memory is None:
        parts.append("Not trained yet")
    else:
        card = line.memory.scorecard
        scores = [
            f"{words} {float(card[key]):.2f}"
            for key, words in (("rouge_l", "ROUGE-L"), ("exact_match", "exact"), ("routing_accuracy", "routing"))
            if card.get(key) is not None
        ]
        parts.append(f"Memory v{line.memory.version}" + (f": {', '.join(scores)}" if scores else ""))
        if line.changed:
            parts.append(f"{changed_words(line.changed)} changed since training")
    if line.correction_count:
        parts.append(_count(line.correction_count, "correction"))
    if not line.record.enabled:
        parts.append("off: takes no messages")
    return " · ".join(parts)


def _count(number: int, what: str) -> str:
    return f"1 {what}" if number == 1 else f"{number} {what}s"


def _cell(text: str, style: str) -> Text:
    cut = text if len(text) <= CELL_CHARACTERS else f"{text[:CELL_CHARACTERS]}…"
    return Text(cut, style=style, overflow="fold")
