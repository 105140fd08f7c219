"""What a turn looks like, line by line: the question, the route chip, the answer. Knows no keys and no events.

An answer of plain chat is Markdown. An answer of a procedure is shown letter by letter: its form is what the person
trained, and Markdown would eat its stars and line breaks.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Literal

from rich.segment import Segment
from rich.style import Style
from textual.content import Content
from textual.strip import Strip
from textual.visual import Visual
from textual.widget import Widget

from tokmem_desk.procedures import AUTO_ROUTE, NONE_ROUTE
from tui.chat.call_view import calls_content
from tui.chat.doubt_cursor import DoubtCursor
from tui.chat.doubt_view import choices, marked
from tui.chat.plan_view import plans_content
from tui.chat.route_chip import chip_content, filled_words, near_words, route_words, speed
from tui.chat.turns import ENDINGS, WITHOUT_HISTORY, Doubt, Turn
from tui.kit.markdown_lines import markdown_lines
from tui.kit.words import elapsed

FOLD_LINES = 12
"""A question of more lines is folded."""

SHOWN_LINES = 8
"""Lines of a folded question that are shown."""

CUT_WORDS = "╌╌ the model no longer sees what is above: the context is full ╌╌"


@dataclass
class TurnLook:
    """What of a turn's look is not in the turn itself.

    Attributes:
        turn: the question and what there is of its answer.
        first_seen: what is older than this turn no longer fits the context.
        phase: how far the answer is.
        status: what is going on, while the answer is not there yet.
        problem: why there is no answer, or no more of it.
        opened: the runners-up of the route and the whole of a folded question are shown.
        begun_at: when the answer was begun, by the monotonic clock in seconds; None while no time is counted.
        cursor: which doubtful value is looked at.
    """

    turn: Turn
    first_seen: bool = False
    phase: Literal["waiting", "begun", "writing", "ended"] = "waiting"
    status: str = ""
    problem: str = ""
    opened: bool = False
    begun_at: float | None = None
    cursor: DoubtCursor = field(init=False)

    def __post_init__(self) -> None:
        self.cursor = DoubtCursor(self.turn)
        answer = self.turn.answer
        if answer.text or answer.route is not None or self.turn.lost or answer.status == "stopped":
            self.phase = "ended"

    @property
    def doubt(self) -> Doubt | None:
        """The doubtful value that the person is looking at."""
        return self.cursor.doubt if self.phase == "ended" else None

    @property
    def between(self) -> tuple[str, str] | None:
        """The two routes to choose from; None while the answer comes, and where the route is clear."""
        return self.turn.answer.between if self.phase == "ended" else None


class TurnLines:
    """The lines of a turn, kept until ``forget`` or until its widget has another width or other colours.

    Args:
        view: the widget that shows them. Its component classes ``turn-view--…`` have the colours.
        look: what to draw; whoever changes it calls ``forget``.
    """

    def __init__(self, view: Widget, look: TurnLook) -> None:
        self._view = view
        self._look = look
        self._turn = look.turn
        self._drawn: tuple[object, list[Strip]] = (None, [])
        self._wrapped: tuple[object, list[Strip]] = (None, [])
        self.chip_rows = range(0)
        """The lines of the route chip."""
        self.can_fold = False
        """Whether the question is too long to be shown whole unasked."""
        self.fold_row = -1
        """The line that says how much is folded; -1 for none."""

    def forget(self) -> None:
        """Lay them out anew when they are asked for again."""
        self._drawn = (None, [])

    @property
    def height(self) -> int:
        """How many lines were laid out last; 0 after ``forget``."""
        return len(self._drawn[1])

    def at(self, width: int) -> list[Strip]:
        """All lines, ``width`` cells wide; none where the width is 0."""
        key = (width, self._view.visual_style, self._view.app.theme)
        if key != self._drawn[0]:
            self._drawn = (key, self._laid_out(width) if width else [])
        return self._drawn[1]

    def _laid_out(self, width: int) -> list[Strip]:
        lines: list[Strip] = []
        if self._look.first_seen:
            lines += self._part(Content(CUT_WORDS), width, "turn-view--cut")
        waiting = self._look.phase == "waiting"
        question = self._question_lines(width, "turn-view--waiting" if waiting else "turn-view--question")
        self.can_fold = len(question) > FOLD_LINES
        folded = self.can_fold and not self._look.opened
        self.fold_row = len(lines) + SHOWN_LINES if folded else -1
        lines += [*question[:SHOWN_LINES], *self._fold_note(question, width)] if folded else question
        status = self._look.status or ("" if waiting else self._ending())
        if self._look.begun_at is not None:
            status += elapsed(time.monotonic() - self._look.begun_at)
        chip = self._part(chip_content(self._turn.answer, status, opened=self._look.opened), width, "turn-view--chip")
        self.chip_rows = range(len(lines), len(lines) + len(chip))
        lines += chip
        if filled := self._turn.answer.filled:
            lines += self._part(filled_words(filled), width, "turn-view--chip")
        if self._look.between is not None:
            lines += self._part(near_words(self._look.between), width, "turn-view--chip")
        if (doubt := self._look.doubt) is not None:
            lines += self._part(choices(doubt), width, "turn-view--chip")
        if self._look.phase in ("writing", "ended"):
            lines += self._answer(width)
        if self._look.problem:
            lines += self._part(Content(self._look.problem), width, "turn-view--problem")
        return lines

    def _question_lines(self, width: int, look: str) -> list[Strip]:
        """The whole question. Kept, since a long one takes its time to wrap, and its answer is drawn often."""
        key = (width, look, self._view.visual_style, self._view.app.theme, self._turn.route, self._turn.question)
        if key != self._wrapped[0]:
            self._wrapped = (key, self._part(self._question(), width, look))
        return self._wrapped[1]

    def _fold_note(self, question: list[Strip], width: int) -> list[Strip]:
        """One line instead of the rest of a long question."""
        more, words = len(question) - SHOWN_LINES, len(self._turn.question.split())
        note = Content(f"  … {more:,} more lines, {words:,} words in all · ⏎ opens")
        return self._part(note, width, "turn-view--fold")

    def _part(self, content: Content, width: int, *classes: str) -> list[Strip]:
        """Wrapped to the width, with a cell of room at both sides."""
        style = self._view.get_visual_style(*classes)
        strips = Visual.to_strips(self._view, content, max(1, width - 2), None, style, apply_selection=False, pad=True)
        return [_with_room(strip, style.rich_style) for strip in strips]

    def _answer(self, width: int) -> list[Strip]:
        answer = self._turn.answer
        if not answer.text and not answer.has_calls and not answer.plans:
            return []
        if self._look.phase == "ended" and answer.plans and answer.original is None:
            return self._part(plans_content(answer, opened=self._look.opened), width)
        if self._look.phase == "ended" and answer.has_calls and answer.original is None:
            doubt = self._look.doubt
            return self._part(calls_content(answer, None if doubt is None else doubt.value), width)
        if not self._is_markdown:
            body = self._body()
            return self._part(body, width) if body else []
        base = self._view.visual_style.rich_style
        found = markdown_lines(
            answer.text, max(1, width - 2), self._view.app.console, self._view.app.console_options, base, self._colours
        )
        return [_with_room(Strip(line).adjust_cell_length(max(1, width - 2), base), base) for line in found]

    def _colours(self, what: str) -> Style:
        return self._view.get_component_rich_style(f"turn-view--{what}", partial=True)

    @property
    def _is_markdown(self) -> bool:
        return self._turn.answer.route in (None, NONE_ROUTE) and not self._turn.answer.has_parts

    def _body(self) -> Content:
        """The answer; in an answer to several requests a line with its route stands above each further part.

        A call is shown when it is whole.
        """
        answer, doubt = self._turn.answer, self._look.doubt
        chosen = None if doubt is None else doubt.value
        has_doubts = self._look.phase == "ended" and bool(answer.doubts)
        if not answer.has_parts:
            if has_doubts and len(answer.segments) == 1:
                return marked(answer.segments[0], chosen)
            return Content("" if answer.calling else answer.text)
        lines: list[Content] = []
        for place, segment in enumerate(answer.segments[:-1] if answer.calling else answer.segments):
            if place:
                arrow = Content.styled("→ " if segment.follows else "", "$muted")
                lines.append(Content.assemble(arrow, *route_words(segment.route, segment.probability)))
            lines.append(marked(segment, chosen) if has_doubts else Content(segment.response.rstrip("\n")))
        return Content("\n").join(lines)

    def _question(self) -> Content:
        if self._turn.route == AUTO_ROUTE:
            return Content.assemble(Content.styled("› ", "$accent"), Content(self._turn.question))
        return Content.assemble(
            Content.styled("› ", "$accent"),
            Content.styled(f"@{self._turn.route} ", "$primary"),
            Content(self._turn.question),
        )

    def _ending(self) -> str:
        answer = self._turn.answer
        words = []
        if answer.status == "stopped":
            words.append("stopped")
        elif self._turn.lost:
            words.append("broken off · r asks again")
        elif answer.status == "failed":
            words.append("no answer" if not answer.text else "broken off")
        if answer.without_history:
            words.append(WITHOUT_HISTORY)
        if answer.cut:
            words.append(ENDINGS[answer.cut])
        if told := speed(answer):
            words.append(told)
        return " · ".join(words)


def _with_room(strip: Strip, style: Style) -> Strip:
    return Strip([Segment(" ", style), *strip, Segment(" ", style)], strip.cell_length + 2)
