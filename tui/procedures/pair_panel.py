"""One procedure in full: description, memory, what seems odd, and its pairs in a grid that is edited in place."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from textual import on
from textual.app import ComposeResult
from textual.containers import Container, Vertical
from textual.content import Content
from textual.widgets import Input, Static

from profiles.pair_files.lint import Finding
from profiles.store.pairs import PairList, PairRecord
from tokmem_desk.templates.template import template_in
from tui.engine_client.protocol import Overlap
from tui.kit.search_field import SearchField
from tui.kit.words import part_of
from tui.procedures.cell_editor import CellEditor
from tui.procedures.form_example import form_example
from tui.procedures.messages import PairTextWanted, PairWanted, PairWritten
from tui.procedures.overlap_words import overlap_sentences
from tui.procedures.pair_grid import PairGrid
from tui.procedures.pair_rows import DRAFT, CellPart, pair_rows
from tui.shared.overview import ProcedureLine, changed_words

SHOWN_FINDINGS = 4
SHOWN_NARROW = 1
Then = Literal["stay", "next", "previous", "away"]


@dataclass(frozen=True, slots=True)
class Advice:
    """What seems odd about the pairs of a procedure."""

    findings: Sequence[Finding] = ()
    """Sentences of lint."""
    notes: Mapping[int, Sequence[str]] = field(default_factory=dict)
    """Sentences about single pairs, by the ids of the pairs."""
    overlap: Overlap | None = None
    """Overlap with other procedures, as far as it is known."""


class PairPanel(Vertical):
    """One procedure with its pairs. It posts what should be stored; the screen calls ``saved`` or ``refused``."""

    DEFAULT_CSS = """
    PairPanel {
        width: 1fr; height: 1fr; padding: 0 1;
        #about { height: auto; max-height: 8; margin: 0 0 1 0; }
        #findings { height: auto; max-height: 6; color: $text-warning; margin: 0 0 1 0; }
        #no-pairs { height: auto; color: $muted; padding: 1 0; }
        #pair-filter { display: none; height: 1; border: none; padding: 0 1; margin: 0 0 1 0; background: $panel; }
        #grid-area { height: 1fr; layers: base edit; }
        #row-note { height: auto; max-height: 2; color: $text-warning; }
    }
    """

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self.pairs = PairList()
        """Of the procedure, train pairs first, whatever the filter shows."""
        self._procedure: tuple[str, int] = ("", 0)
        self._drafts: dict[tuple[str, int], dict[CellPart, str]] = {}
        self._notes: Mapping[int, Sequence[str]] = {}
        self._edited: tuple[int, CellPart] | None = None

    def compose(self) -> ComposeResult:
        yield Static(id="about")
        yield Static(id="findings")
        yield SearchField(placeholder="Filter the pairs", id="pair-filter")
        yield Static(id="no-pairs")
        with Container(id="grid-area"):
            yield PairGrid(id="pairs")
            yield CellEditor(id="cell")
        yield Static(id="row-note", markup=False)

    @property
    def grid(self) -> PairGrid:
        """The pairs."""
        return self.query_one(PairGrid)

    @property
    def editor(self) -> CellEditor:
        """The editor, which lies over a cell while it is edited."""
        return self.query_one(CellEditor)

    # What is shown

    def show(self, profile: str, line: ProcedureLine, pairs: PairList, advice: Advice) -> None:
        """Draw one procedure.

        Args:
            profile: whose it is. A row that was begun in one profile does not show in another.
            line: the procedure.
            pairs: its pairs.
            advice: about them.
        """
        record = line.record
        if (profile, record.id) != self._procedure:
            self._close_editor()
            self.query_one("#pair-filter", Input).value = ""
            self._procedure = (profile, record.id)
        self.pairs = pairs
        overlap = advice.overlap
        self._notes = advice.notes if overlap is None else _with_overlap(advice.notes, pairs, overlap)
        _put(self.query_one("#about", Static), _about(line, self.pairs, short=self.app.size.width < 100))
        sentences = (overlap_sentences(overlap) if overlap else []) + [finding.text for finding in advice.findings]
        most = SHOWN_FINDINGS if self.app.size.width >= 100 else SHOWN_NARROW
        shown = [Content(f"! {sentence}") for sentence in sentences[:most]]
        if len(sentences) > most:
            shown.append(Content(f"! and {len(sentences) - most} more, said at their rows"))
        place = self.query_one("#findings", Static)
        _put(place, Content("\n").join(shown))
        place.display = bool(shown)
        self._show_rows()

    def _show_rows(self) -> None:
        wanted = self.query_one("#pair-filter", Input).value.strip().lower()
        draft = self._drafts.get(self._procedure)
        rows = pair_rows(self.pairs, self.pairs.matching(wanted) if wanted else None, self._sign, draft)
        empty = self.query_one("#no-pairs", Static)
        empty.display = not rows
        if len(self.pairs):
            _put(empty, Content("No pair has this text."))
        else:
            keys = (("a", " writes one, "), ("i", " imports a file, "), ("paste", " takes a table from a spreadsheet."))
            parts = [part for key, words in keys for part in (Content.styled(key, "bold $accent"), words)]
            _put(empty, Content.assemble("No pairs yet: ", *parts))
        # Not hidden: an empty grid can have the focus, and its keys work.
        self.grid.show(rows)
        if self.editor.editing:
            self.call_after_refresh(self._follow)

    def _sign(self, pair: PairRecord) -> str:
        return "!" if pair.id in self._notes else "t" if pair.part == "held_out" else ""

    @on(PairGrid.RowHighlighted)
    def _show_note(self, event: PairGrid.RowHighlighted) -> None:
        event.stop()
        notes = self._notes.get(event.key or DRAFT, [])
        if event.key == DRAFT and not self.editor.editing:
            notes = ["Not saved yet: it needs both texts."]
        self._say(" ".join(notes))

    def _say(self, text: str) -> None:
        place = self.query_one("#row-note", Static)
        _put(place, Content(text))
        place.display = bool(text)

    # The filter

    def open_filter(self) -> None:
        """Let the person type what pairs to look for."""
        place = self.query_one("#pair-filter", Input)
        place.display = True
        place.focus()

    def close_filter(self) -> bool:
        """Show all pairs again; False when they were shown already."""
        place = self.query_one("#pair-filter", Input)
        was_open = bool(place.display)
        place.value = ""
        place.display = False
        return was_open

    @on(Input.Changed, "#pair-filter")
    def _filter(self, event: Input.Changed) -> None:
        event.stop()
        self._show_rows()

    @on(Input.Submitted, "#pair-filter")
    def _to_rows(self, event: Input.Submitted) -> None:
        event.stop()
        self.grid.focus()

    # Editing

    def write_pair(self) -> None:
        """Begin a new pair in a row of its own, or go on with the one that was begun."""
        self.close_filter()
        self._drafts.setdefault(self._procedure, {"input": "", "response": ""})
        self._show_rows()
        self.grid.go_to(DRAFT, "response" if self._drafts[self._procedure]["input"] else "input")
        self._open_editor()

    @on(PairGrid.Wanted)
    def _act(self, event: PairGrid.Wanted) -> None:
        key = event.key
        if event.action == "leave":
            return  # the screen knows where to
        event.stop()
        if event.action == "add":
            self.write_pair()
        elif event.action == "edit":
            self._open_editor()
        elif key == DRAFT and event.action == "delete":
            self._drafts.pop(self._procedure, None)
            self._show_rows()
        elif key:
            self.post_message(PairWanted(event.action, key))
        elif event.action == "large":
            self.post_message(PairWanted("large", None))

    def _open_editor(self) -> None:
        """Put the editor over the cell under the cursor, once that is in sight."""
        key, part = self.grid.key, self.grid.part
        if key is None:
            return
        self._edited = (key, part)
        self.call_after_refresh(self._begin)

    def _begin(self) -> None:
        if self._edited is None:
            return
        key, part = self._edited
        if self.grid.key != key:
            self.grid.go_to(key, part)
        self._say("")
        self.editor.begin(self._text(key, part), self.grid.cell_region(), self.query_one("#grid-area").size.height)

    def _follow(self) -> None:
        """Put the editor over the same cell after the rows were drawn anew; close it if its pair is gone."""
        if self._edited is None or not self.editor.editing:
            return
        key, part = self._edited
        if self.grid.rows.place(key) is None:
            self._close_editor()
            return
        self.grid.go_to(key, part)
        self.editor.put(self.grid.cell_region(), self.query_one("#grid-area").size.height)

    def on_resize(self) -> None:
        """Move the editor with its cell."""
        self.call_after_refresh(self._follow)

    def _text(self, key: int, part: CellPart) -> str:
        if key == DRAFT:
            return self._drafts.get(self._procedure, {}).get(part, "")
        pair = self.pairs.find(key)
        return "" if pair is None else pair.input if part == "input" else pair.response

    @property
    def open_text(self) -> tuple[int, CellPart, str] | None:
        """Id, part and text of a stored pair that is being edited and differs from what is stored."""
        if self._edited is None or not self.editor.editing or self._edited[0] == DRAFT:
            return None
        key, part = self._edited
        return (key, part, self.editor.text) if self.editor.text != self._text(key, part) else None

    @on(CellEditor.Done)
    def _take(self, event: CellEditor.Done) -> None:
        event.stop()
        if self._edited is None:
            return
        key, part = self._edited
        if key == DRAFT:
            self._take_draft(part, event.text, event.then)
        elif event.text == self._text(key, part):
            self.saved(event.then)
        else:
            self.post_message(PairTextWanted(key, part, event.text, event.then))

    def _take_draft(self, part: CellPart, text: str, then: Then) -> None:
        draft = self._drafts.setdefault(self._procedure, {"input": "", "response": ""})
        draft[part] = text
        if draft["input"].strip() and draft["response"].strip():
            self.post_message(PairWritten(draft["input"], draft["response"], another=then in ("stay", "next")))
        elif then in ("away", "previous") or not text.strip():
            self._leave_draft(focus=then != "away")
        else:
            self._show_rows()
            self.grid.go_to(DRAFT, "response" if part == "input" else "input")
            self._open_editor()

    def _leave_draft(self, *, focus: bool) -> None:
        """Stop writing; what there is of the pair stays in its row."""
        draft = self._drafts.get(self._procedure, {})
        if not any(text.strip() for text in draft.values()):
            self._drafts.pop(self._procedure, None)
        self._close_editor()
        self._show_rows()
        if focus:
            self.grid.focus()

    @on(CellEditor.GivenUp)
    def _give_up(self, event: CellEditor.GivenUp) -> None:
        event.stop()
        if self._edited is not None and self._edited[0] == DRAFT:
            self._leave_draft(focus=True)
        else:
            self._close_editor()
            self.grid.focus()

    def _close_editor(self) -> None:
        self._edited = None
        self.editor.end()

    # What the screen answers

    def saved(self, then: Then) -> None:
        """The text is stored: go where the person wanted to."""
        self._close_editor()
        if then == "away":
            return
        self.grid.focus()
        if then == "stay":
            return
        grid, step = self.grid, 1 if then == "next" else -1
        place = grid.row * 2 + grid.column + step
        if 0 <= place < len(grid.rows) * 2:
            grid.row, grid.column = divmod(place, 2)
            self._open_editor()

    def written(self, another: bool) -> None:
        """The new pair is stored: begin the next one, or not."""
        self._drafts.pop(self._procedure, None)
        self._close_editor()
        if another:
            self.write_pair()
        else:
            self._show_rows()

    def refused(self, reason: str, then: Then = "stay") -> None:
        """The text cannot be stored: show why, and let the person change it."""
        self._say(reason)
        if then == "away":
            self._close_editor()
            self.app.notify(f"Left as it was: {reason}", markup=False)
        else:
            self.editor.focus()


def _put(place: Static, content: Content) -> None:
    """Show a text; one that stands there already costs no new layout."""
    if place.content != content:
        place.update(content)


def _with_overlap(notes: Mapping[int, Sequence[str]], pairs: PairList, overlap: Overlap) -> dict[int, list[str]]:
    """The notes of single pairs, and what the overlap says of them; its places count train pairs, which stand first."""
    found = defaultdict(list, {key: list(texts) for key, texts in notes.items()})
    told = {f"Would go to {going['name']}.": going["pairs"] for going in overlap["to"]}
    told["Would be taken for ordinary chat."] = overlap["none_pairs"]
    for text, places in told.items():
        for place in places:
            if place < len(pairs):
                found[pairs[place].id].append(text)
    return dict(found)


def _about(line: ProcedureLine, pairs: PairList, *, short: bool) -> Content:
    """The head of the panel; in short form what must be cut off is the description, not the figures."""
    record = line.record
    lines = [Content.styled(record.name, "bold $primary")]
    if record.description and not short:
        lines.append(Content.styled(record.description, "$muted"))
    lines.append(Content(memory_sentence(line)))
    if record.output_schema is not None or record.reads_conversation:
        lines.append(Content(tool_sentence(line)))
    elif form := None if line.memory is None or short else template_in(line.memory.settings):
        example = form_example(form, (record.pair for record in pairs))
        if example is not None:
            lines.append(example)
    held_out = f", {record.held_out_count} held out (t) to measure" if record.held_out_count else ""
    more = f" · group {record.group}" if record.group else ""
    more += "" if record.threshold is None else f" · answers from {record.threshold:.0%} on"
    lines.append(Content(f"{_count(record.pair_count, 'pair')} to learn from{held_out}{more}"))
    if record.description and short:
        lines.append(Content.styled(record.description, "$muted"))
    return Content("\n").join(lines)


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
    """How good the memory is, in a sentence."""
    parts = []
    if line.memory is None:
        parts.append("Not trained yet")
    else:
        card = line.memory.scorecard
        total = int(card.get("held_out") or 0)
        scores = [
            f"{words} {part_of(float(card[key]), total) if total and key != 'rouge_l' else f'{float(card[key]):.0%}'}"
            for key, words in (("rouge_l", "alike"), ("exact_match", "exact"), ("routing_accuracy", "found"))
            if card.get(key) is not None
        ]
        if card.get("held_out_source") == "none":
            scores = ["not measured, too few pairs"]
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
