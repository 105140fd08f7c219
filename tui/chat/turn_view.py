"""One turn of the transcript: the question, the route chip and the answer as it streams. One widget draws all of it:
thousands of messages must scroll like a few, and what a screen costs is the number of its widgets.

Keys on a turn become messages to the screen. ``turn_lines`` draws it.
"""

from __future__ import annotations

import time
from typing import ClassVar, Protocol, cast

from rich.cells import cell_len
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.selection import Selection
from textual.strip import Strip
from textual.timer import Timer
from textual.widget import Widget

from tokmem_desk.errors import TokmemError
from tokmem_desk.procedures import NONE_ROUTE
from tui.chat.doubt_cursor import RUNNERS_UP
from tui.chat.messages import RouteSettled, TurnAction, TurnActionWanted, ValueSettled
from tui.chat.turn_lines import TurnLines, TurnLook
from tui.chat.turns import Turn
from tui.kit.key_footer import WHERE_ROOM
from tui.kit.keys import keyed

STREAM_SECONDS = 0.08
"""The least time between two drawings of an answer that streams."""


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
        Binding("plus", "wanted('good')", "Good, as a pair", key_display="+"),
        Binding("minus", "wanted('bad')", "Bad", key_display="-"),
        Binding("u", "wanted('undo')", "Undo"),
        Binding("e", "wanted('edit')", "Edit"),
        Binding("d,delete", "wanted('withdraw')", "Withdraw", key_display="d"),
        Binding("r", "wanted('again')", "Again"),
        Binding("x", "wanted('run')", "Run"),
        Binding("c", "wanted('copy')", "Copy"),
        Binding("C", "wanted('copy_all')", "Copy the chat", group=WHERE_ROOM),
        Binding("g", "wanted('procedure')", "Go to procedure", group=WHERE_ROOM),
        # Where there is nothing (more) to look at, Tab goes on to the next widget, Enter opens the details.
        Binding("tab", "look(1)", "Next doubt", key_display="Tab"),
        Binding("shift+tab", "look(-1)", "Previous doubt", show=False),
        Binding("enter", "put(0)", "Keep the value", show=False),
        *(Binding(str(place), f"put({place})", f"Put {place} in", show=False) for place in range(1, RUNNERS_UP + 1)),
        *(Binding(str(place), f"take({place})", f"Route {place} of two", show=False) for place in (1, 2)),
        Binding("enter,space", "details", "Details", key_display="⏎"),
        Binding("up,k", "move(-1)", "Previous message", show=False),
        Binding("down,j", "move(1)", "Next message", show=False),
    ]

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "turn-view--question",
        "turn-view--waiting",
        "turn-view--chip",
        "turn-view--fold",
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
        .turn-view--fold { background: $surface; color: $muted; }
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
        self._look = TurnLook(turn, first_seen)
        self._lines = TurnLines(self, self._look)
        self._queued = False
        """True while the message waits for the answers before it."""
        self._late: Timer | None = None
        self._clock: Timer | None = None

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer only what makes sense for this turn."""
        match action, parameters:
            case "look", (int(step),):
                return self._look.phase == "ended" and self._look.cursor.can_move(step)
            case "put", (int(place),):
                return self._look.doubt is not None and self._look.cursor.choice(place) is not None
            case "take", _:
                return self._look.between is not None
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
                case "pair" | "good" if answer.plans:
                    return False  # what its steps have said is no answer that it could learn
                case "pair" | "good" | "bad":
                    return bool(answer.text) and answer.status != "failed"
                case "procedure":
                    return answer.route not in (None, NONE_ROUTE)
                case "run":
                    # Whether there is a command is the screen's to know; it says how to set one.
                    procedures = [one.route for one in answer.segments if one.route != NONE_ROUTE]
                    return bool(procedures) or answer.route not in (None, NONE_ROUTE)
        return True

    def action_wanted(self, action: TurnAction) -> None:
        """Pass a key on to the screen."""
        self.post_message(TurnActionWanted(self.turn, action))

    def action_look(self, step: int) -> None:
        """Look at the next doubtful value, or the one before."""
        self._look.cursor.move(step)
        self._draw_anew()
        self.refresh_bindings()

    def action_put(self, place: int) -> None:
        """Put a runner-up in the place of the value; 0 keeps it."""
        doubt, text = self._look.doubt, self._look.cursor.choice(place)
        if doubt is not None and text is not None:
            self._look.cursor.settled()
            self.post_message(ValueSettled(self.turn, doubt, text))

    def action_take(self, place: int) -> None:
        """Say that the message was meant for the first or the second of two near routes."""
        if self._look.between is not None:
            self.post_message(RouteSettled(self.turn, self._look.between[place - 1]))

    def on_blur(self) -> None:
        """Who goes elsewhere looks at no value."""
        if self._look.cursor.leave():
            self._draw_anew()

    def action_details(self) -> None:
        """Open or close the runners-up, and a folded question."""
        if self.turn.answer.candidates or self._lines.can_fold:
            self._look.opened = not self._look.opened
            self._draw_anew()

    def on_click(self, event: events.Click) -> None:
        """A click on the route, or on what is folded, opens or closes."""
        inside = event.get_content_offset(self)
        if inside is not None and (inside.y in self._lines.chip_rows or inside.y == self._lines.fold_row):
            self.action_details()

    def show_cut(self, is_first_seen: bool) -> None:
        """Draw or take away the mark above: what is older no longer fits the context."""
        if is_first_seen != self._look.first_seen:
            self._look.first_seen = is_first_seen
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
        self._look.phase, self._look.status = "waiting", words
        self._draw_anew()

    def show_place(self, place: int) -> None:
        """The message waits for the answers before it: ``place`` in line, from 1."""
        before = "next in line" if place == 1 else f"number {place} in line"
        self._queued = True
        self.show_waiting(f"waits for its turn, {before} · e edits it, d withdraws it")
        self.refresh_bindings()

    def begin(self) -> None:
        """Clear the place of the answer."""
        self._look.phase, self._look.status, self._look.problem = "begun", "reading", ""
        self._queued = False
        self._look.begun_at = time.monotonic()
        if self._clock is None:
            self._clock = self.set_interval(1.0, self._draw_anew)
        self._draw_anew()
        self.refresh_bindings()

    def show_reading(self, words: str) -> None:
        """A long message is being read: ``words`` says how far it is."""
        self._look.status = words
        self._draw_anew()

    def stream(self) -> None:
        """The answer has grown; its route is known by now."""
        self._look.phase = "writing"
        self._stop_clock()
        self._look.status = "calling" if self.turn.answer.calling else "writing"
        if self._late is None:
            self._late = self.set_timer(STREAM_SECONDS, self._draw_streamed)

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.stop()
            self._clock = None
        self._look.begun_at = None

    def _draw_streamed(self) -> None:
        self._late = None
        self._draw_anew()

    def show_end(self) -> None:
        """The answer as it stays."""
        self._look.phase, self._look.status = "ended", ""
        self._stop_clock()
        if self._late is not None:
            self._late.stop()
            self._late = None
        self._draw_anew()
        self.refresh_bindings()

    def show_error(self, error: TokmemError) -> None:
        """The answer failed; what came of it stays."""
        self._look.problem = f"{error.title}: {error.message.splitlines()[0]} {error.next_step}".rstrip()
        self.show_end()

    # Drawing

    def _draw_anew(self) -> None:
        """Lay the text out again; what stands around it moves only where its height is another one."""
        height = self._lines.height
        self._lines.forget()
        width = self.content_size.width
        self.refresh(layout=not width or len(self._lines.at(width)) != height)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """The lines of everything that is said."""
        return len(self._lines.at(width))

    def render_line(self, y: int) -> Strip:
        """One line, with what of it is selected."""
        width = self.content_size.width
        lines = self._lines.at(width)
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
        return "\n".join(strip.text.rstrip() for strip in self._lines.at(self.content_size.width or 80))

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """The selected text, as it is shown."""
        return selection.extract(self.text), "\n"


def _selected(strip: Strip, start: int, end: int, style: Style) -> Strip:
    """A strip with the characters from ``start`` to ``end`` (-1: to its end) looking selected."""
    text = strip.text.rstrip()
    first, last = cell_len(text[:start]), cell_len(text if end == -1 else text[:end])
    if last <= first:
        return strip
    parts = strip.divide([first, last, strip.cell_length])
    return Strip.join([parts[0], parts[1].apply_style(style), *parts[2:]])
