"""One turn of the transcript: the question, the route chip and the answer as it streams. One widget draws all of it:
thousands of messages must scroll like a few, and what a screen costs is the number of its widgets.

An answer of plain chat is Markdown. An answer of a procedure is shown letter by letter: its form is what the person
trained, and Markdown would eat its stars and line breaks. Keys on a turn become messages to the screen.
"""

from __future__ import annotations

from typing import ClassVar, Literal, Protocol, cast

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Size
from textual.selection import Selection
from textual.strip import Strip
from textual.timer import Timer
from textual.visual import Visual
from textual.widget import Widget

from tokmem_desk.errors import TokmemError
from tokmem_desk.procedures import AUTO_ROUTE, NONE_ROUTE
from tui.chat.call_view import calls_content
from tui.chat.messages import TurnAction, TurnActionWanted
from tui.chat.route_chip import chip_content, route_words, speed
from tui.chat.turns import ENDINGS, WITHOUT_HISTORY, Turn
from tui.kit.keys import keyed
from tui.kit.markdown_lines import markdown_lines

STREAM_SECONDS = 0.08
"""The least time between two drawings of an answer that streams."""

CUT_WORDS = "╌╌ the model no longer sees what is above: the context is full ╌╌"


class TurnList(Protocol):
    """What holds turns, and may have more of them than are drawn."""

    async def show_earlier(self) -> bool:
        """Draw the turns before the drawn ones; False when there are none."""

    async def show_later(self) -> bool:
        """Draw the turns behind the drawn ones; False when there are none."""


@keyed("message")
class TurnView(Widget, can_focus=True):
    """See the module."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("w", "wanted('wrong')", "Wrong route"),
        Binding("p,s", "wanted('pair')", "Make a pair", key_display="p"),
        Binding("plus", "wanted('good')", "Good", key_display="+"),
        Binding("minus", "wanted('bad')", "Bad", key_display="-"),
        Binding("u", "wanted('undo')", "Undo"),
        Binding("e", "wanted('edit')", "Edit"),
        Binding("d,delete", "wanted('withdraw')", "Withdraw", key_display="d"),
        Binding("r", "wanted('again')", "Again"),
        Binding("x", "wanted('run')", "Run"),
        Binding("c", "wanted('copy')", "Copy"),
        Binding("C", "wanted('copy_all')", "Copy the chat", show=False),
        Binding("g", "wanted('procedure')", "Go to procedure", show=False),
        Binding("enter,space", "details", "Details", key_display="⏎"),
        Binding("up,k", "move(-1)", "Previous message", show=False),
        Binding("down,j", "move(1)", "Next message", show=False),
    ]

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "turn-view--question",
        "turn-view--waiting",
        "turn-view--chip",
        "turn-view--cut",
        "turn-view--problem",
        "turn-view--heading",
        "turn-view--code",
        "turn-view--fence",
        "turn-view--mark",
    }
    DEFAULT_CSS = """
    TurnView {
        width: 1fr; height: auto; padding: 0 1; margin: 0 0 1 0; border-left: blank; color: $text;
        .turn-view--question { background: $surface; color: $text; }
        .turn-view--waiting { background: $surface; color: $muted; }
        .turn-view--chip { color: $muted; }
        .turn-view--cut { color: $text-warning; }
        .turn-view--problem { color: $text-error; }
        .turn-view--heading { color: $primary; text-style: bold; }
        .turn-view--code { color: $accent; }
        .turn-view--fence { background: $panel; }
        .turn-view--mark { color: $muted; }
        &:focus { border-left: outer $accent; background: $boost; }
    }
    """

    def __init__(self, turn: Turn, *, first_seen: bool = False) -> None:
        super().__init__()
        self.turn = turn
        self._first_seen = first_seen
        self._opened = False
        self._problem = ""
        self._status = ""
        """What is going on, while the answer is not there yet."""
        self._queued = False
        """True while the message waits for the answers before it."""
        self._phase: Literal["waiting", "begun", "writing", "ended"] = "waiting"
        answer = turn.answer
        if answer.text or answer.route is not None or turn.lost:
            self._phase = "ended"
        self._late: Timer | None = None
        self._drawn: tuple[object, list[Strip]] = (None, [])
        self._chip_rows = range(0)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer only what makes sense for this turn."""
        if action == "wanted":
            answer = self.turn.answer
            match parameters[0]:
                case "withdraw":
                    return self._queued
                case "again":
                    return not self._queued
                case "undo":
                    return answer.taught
                case "wrong":
                    return answer.route is not None
                case "pair" | "good" | "bad":
                    return bool(answer.text) and answer.status != "failed"
                case "procedure":
                    return answer.route not in (None, NONE_ROUTE)
                case "run":
                    return any(segment.arguments is not None for segment in answer.segments)
        return True

    def action_wanted(self, action: TurnAction) -> None:
        """Pass a key on to the screen."""
        self.post_message(TurnActionWanted(self.turn, action))

    def action_details(self) -> None:
        """Open or close the runners-up."""
        if self.turn.answer.candidates:
            self._opened = not self._opened
            self._draw_anew()

    def on_click(self, event: events.Click) -> None:
        """A click on the route opens or closes the runners-up."""
        inside = event.get_content_offset(self)
        if inside is not None and inside.y in self._chip_rows:
            self.action_details()

    def show_cut(self, is_first_seen: bool) -> None:
        """Draw or take away the mark above: what is older no longer fits the context."""
        if is_first_seen != self._first_seen:
            self._first_seen = is_first_seen
            self._draw_anew()

    async def action_move(self, step: int) -> None:
        """Go to the turn above or below; below the last one is the prompt."""
        views = self._neighbours()
        place = views.index(self) + step
        if not 0 <= place < len(views):
            holder = cast(TurnList, self.parent)
            if not await (holder.show_earlier() if step < 0 else holder.show_later()):
                if step > 0:
                    self.screen.focus_next("Prompt")
                return
            views = self._neighbours()
            place = views.index(self) + step
        views[place].focus()

    def _neighbours(self) -> list[TurnView]:
        return [] if self.parent is None else list(self.parent.query(TurnView))

    def show_waiting(self, words: str) -> None:
        """Before the first event: ``words`` says what is waited for."""
        self._phase, self._status = "waiting", words
        self._draw_anew()

    def show_place(self, place: int) -> None:
        """The message waits for the answers before it: ``place`` in line, from 1."""
        before = "next in line" if place == 1 else f"number {place} in line"
        self._queued = True
        self.show_waiting(f"waits for its turn, {before} · e edits it, d withdraws it")
        self.refresh_bindings()

    def begin(self) -> None:
        """Clear the place of the answer."""
        self._phase, self._status, self._problem = "begun", "thinking", ""
        self._queued = False
        self._draw_anew()
        self.refresh_bindings()

    def stream(self) -> None:
        """The answer has grown; its route is known by now."""
        self._phase = "writing"
        self._status = "calling" if self.turn.answer.calling else "writing"
        if self._late is None:
            self._late = self.set_timer(STREAM_SECONDS, self._draw_streamed)

    def _draw_streamed(self) -> None:
        self._late = None
        self._draw_anew()

    def show_end(self) -> None:
        """The answer as it stays."""
        self._phase, self._status = "ended", ""
        if self._late is not None:
            self._late.stop()
            self._late = None
        self._draw_anew()
        self.refresh_bindings()

    def show_error(self, error: TokmemError) -> None:
        """The answer failed; what came of it stays."""
        self._problem = f"{error.title}: {error.message.splitlines()[0]} {error.next_step}".rstrip()
        self.show_end()

    # Drawing

    def _draw_anew(self) -> None:
        """Lay the text out again; what stands around it moves only where its height is another one."""
        height = len(self._drawn[1])
        self._drawn = (None, [])
        width = self.content_size.width
        self.refresh(layout=not width or len(self._lines(width)) != height)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """The lines of everything that is said."""
        return len(self._lines(width))

    def render_line(self, y: int) -> Strip:
        """One line, with what of it is selected."""
        width = self.content_size.width
        lines = self._lines(width)
        if y >= len(lines):
            return Strip.blank(width, self.visual_style.rich_style)
        strip = lines[y]
        span = None if self.text_selection is None else self.text_selection.get_span(y)
        if span is not None:
            strip = _selected(strip, *span, self.screen.get_component_rich_style("screen--selection"))
        return strip.apply_offsets(0, y)

    @property
    def text(self) -> str:
        """What is shown, line by line."""
        return "\n".join(strip.text.rstrip() for strip in self._lines(self.content_size.width or 80))

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """The selected text, as it is shown."""
        return selection.extract(self.text), "\n"

    def _lines(self, width: int) -> list[Strip]:
        key = (width, self.visual_style, self.app.theme)
        if key != self._drawn[0]:
            self._drawn = (key, self._laid_out(width) if width else [])
        return self._drawn[1]

    def _laid_out(self, width: int) -> list[Strip]:
        lines: list[Strip] = []
        if self._first_seen:
            lines += self._part(Content(CUT_WORDS), width, "turn-view--cut")
        waiting = self._phase == "waiting"
        lines += self._part(self._question(), width, "turn-view--waiting" if waiting else "turn-view--question")
        status = self._status or ("" if waiting else self._ending())
        chip = self._part(chip_content(self.turn.answer, status, opened=self._opened), width, "turn-view--chip")
        self._chip_rows = range(len(lines), len(lines) + len(chip))
        lines += chip
        if self._phase in ("writing", "ended"):
            lines += self._answer(width)
        if self._problem:
            lines += self._part(Content(self._problem), width, "turn-view--problem")
        return lines

    def _part(self, content: Content, width: int, *classes: str) -> list[Strip]:
        """Wrapped to the width, with a cell of room at both sides."""
        style = self.get_visual_style(*classes)
        strips = Visual.to_strips(self, content, max(1, width - 2), None, style, apply_selection=False, pad=True)
        return [_with_room(strip, style.rich_style) for strip in strips]

    def _answer(self, width: int) -> list[Strip]:
        answer = self.turn.answer
        if not answer.text and not answer.has_calls:
            return []
        if self._phase == "ended" and answer.has_calls and answer.original is None:
            return self._part(calls_content(answer), width)
        if not self._is_markdown:
            body = self._body()
            return self._part(body, width) if body else []
        base = self.visual_style.rich_style
        found = markdown_lines(
            answer.text, max(1, width - 2), self.app.console, self.app.console_options, base, self._look
        )
        return [_with_room(Strip(line).adjust_cell_length(max(1, width - 2), base), base) for line in found]

    def _look(self, what: str) -> Style:
        return self.get_component_rich_style(f"turn-view--{what}", partial=True)

    @property
    def _is_markdown(self) -> bool:
        return self.turn.answer.route in (None, NONE_ROUTE) and not self.turn.answer.has_parts

    def _body(self) -> Content:
        """The answer; in an answer to several requests a line with its route stands above each further part.

        A call is shown when it is whole.
        """
        answer = self.turn.answer
        if not answer.has_parts:
            return Content("" if answer.calling else answer.text)
        lines: list[Content] = []
        for place, segment in enumerate(answer.segments[:-1] if answer.calling else answer.segments):
            if place:
                lines.append(Content.assemble(*route_words(segment.route, segment.probability)))
            lines.append(Content(segment.response.rstrip("\n")))
        return Content("\n").join(lines)

    def _question(self) -> Content:
        if self.turn.route == AUTO_ROUTE:
            return Content.assemble(Content.styled("› ", "$accent"), Content(self.turn.question))
        return Content.assemble(
            Content.styled("› ", "$accent"),
            Content.styled(f"@{self.turn.route} ", "$primary"),
            Content(self.turn.question),
        )

    def _ending(self) -> str:
        answer = self.turn.answer
        words = []
        if answer.status == "stopped":
            words.append("stopped")
        elif self.turn.lost:
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


def _selected(strip: Strip, start: int, end: int, style: Style) -> Strip:
    """A strip with the characters from ``start`` to ``end`` (-1: to its end) looking selected."""
    text = strip.text.rstrip()
    first, last = cell_len(text[:start]), cell_len(text if end == -1 else text[:end])
    if last <= first:
        return strip
    parts = strip.divide([first, last, strip.cell_length])
    return Strip.join([parts[0], parts[1].apply_style(style), *parts[2:]])
