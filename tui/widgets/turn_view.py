"""One turn of the transcript: the question, the route chip and the answer as it streams.

An answer of plain chat is Markdown. An answer of a procedure is shown letter by letter: its form is what the person
trained, and Markdown would eat its stars and line breaks. Keys on a turn become messages to the screen.
"""

from __future__ import annotations

from typing import ClassVar, Protocol, cast

from markdown_it import MarkdownIt
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Markdown, Static
from textual.widgets.markdown import MarkdownStream

from tokmem_desk.errors import TokmemError
from tokmem_desk.procedures import AUTO_ROUTE, NONE_ROUTE
from tui.keys import keyed
from tui.messages import TurnAction, TurnActionWanted
from tui.turns import Turn
from tui.widgets.call_view import calls_content
from tui.widgets.route_chip import RouteChip, route_words, speed


def _markdown_parser() -> MarkdownIt:
    # Without HTML: tags that a model writes would vanish.
    return MarkdownIt("gfm-like", {"html": False, "linkify": False})


class TurnList(Protocol):
    """What holds turns, and may have more of them than are drawn."""

    async def show_earlier(self) -> bool:
        """Draw the turns before the drawn ones; False when there are none."""

    async def show_later(self) -> bool:
        """Draw the turns behind the drawn ones; False when there are none."""


@keyed("message")
class TurnView(Vertical, can_focus=True):
    """See the module."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("w", "wanted('wrong')", "Wrong route"),
        Binding("p,s", "wanted('pair')", "Make a pair", key_display="p"),
        Binding("plus", "wanted('good')", "Good", key_display="+"),
        Binding("minus", "wanted('bad')", "Bad", key_display="-"),
        Binding("u", "wanted('undo')", "Undo"),
        Binding("e", "wanted('edit')", "Edit"),
        Binding("r", "wanted('again')", "Again"),
        Binding("x", "wanted('run')", "Run"),
        Binding("c", "wanted('copy')", "Copy"),
        Binding("C", "wanted('copy_all')", "Copy the chat", show=False),
        Binding("g", "wanted('procedure')", "Go to procedure", show=False),
        Binding("enter,space", "details", "Details", key_display="⏎"),
        Binding("up,k", "move(-1)", "Previous message", show=False),
        Binding("down,j", "move(1)", "Next message", show=False),
    ]

    DEFAULT_CSS = """
    TurnView {
        height: auto; padding: 0 1; margin: 0 0 1 0; border-left: blank;
        .question { width: 1fr; height: auto; padding: 0 1; margin: 0 0 0 0; background: $surface; color: $text; }
        RouteChip { padding: 0 1; margin: 0; }
        Markdown { margin: 0; padding: 0 1; height: auto; background: transparent; }
        Markdown > * { margin: 0 0 1 0; }
        Markdown > *:last-child { margin: 0; }
        .plain { width: 1fr; height: auto; padding: 0 1; color: $text; }
        .cut { width: 1fr; height: 1; text-align: center; color: $text-warning; display: none; }
        .problem { width: 1fr; height: auto; padding: 0 1; color: $text-error; display: none; }
        &:focus { border-left: outer $accent; background: $boost; }
        &.-waiting .question { color: $muted; }
    }
    """

    def __init__(self, turn: Turn, *, first_seen: bool = False) -> None:
        super().__init__()
        self.turn = turn
        self._first_seen = first_seen
        self._stream: MarkdownStream | None = None
        self._writing = False

    def compose(self) -> ComposeResult:
        yield Static("╌╌ the model no longer sees what is above: the context is full ╌╌", classes="cut", markup=False)
        yield Static(self._question(), classes="question")
        yield RouteChip()
        yield Static("", classes="plain", markup=False)
        yield Markdown(parser_factory=_markdown_parser, open_links=False)
        yield Static("", classes="problem", markup=False)

    async def on_mount(self) -> None:
        """Draw a turn that was answered before."""
        self.show_cut(self._first_seen)
        if self.turn.answer.text or self.turn.answer.route is not None:
            await self.show_end()
        else:
            self.show_waiting("")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer only what makes sense for this turn."""
        if action == "wanted":
            answer = self.turn.answer
            match parameters[0]:
                case "undo":
                    return answer.taught
                case "wrong":
                    return answer.route is not None
                case "pair" | "good" | "bad":
                    return bool(answer.text) and answer.status != "failed"
                case "procedure":
                    return answer.route not in (None, NONE_ROUTE)
                case "run":
                    return any(one.get("arguments") is not None for one in answer.segments)
        return True

    def action_wanted(self, action: TurnAction) -> None:
        """Pass a key on to the screen."""
        self.post_message(TurnActionWanted(self, action))

    def action_details(self) -> None:
        """Open or close the runners-up."""
        self.query_one(RouteChip).toggle()

    def show_cut(self, is_first_seen: bool) -> None:
        """Draw or take away the mark above: what is older no longer fits the context."""
        self.query_one(".cut").display = is_first_seen

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
        self.set_class(True, "-waiting")
        self.query_one(RouteChip).show(self.turn.answer, words)

    async def begin(self) -> None:
        """Clear the place of the answer."""
        self._writing = False
        self.set_class(False, "-waiting")
        self.query_one(".problem").display = False
        self.query_one(".plain", Static).update("")
        await self.query_one(Markdown).update("")
        self.query_one(RouteChip).show(self.turn.answer, "thinking")

    async def stream(self, token: str) -> None:
        """Add to the answer; the turn's route is known by now."""
        if not self._writing:
            # Once, not with every token: each update of a part lays out the whole transcript.
            self._writing = True
            self.query_one(RouteChip).show(self.turn.answer, "calling" if self.turn.answer.calling else "writing")
        if self._is_markdown:
            if self._stream is None:
                self._stream = Markdown.get_stream(self.query_one(Markdown))
            await self._stream.write(token)
        elif not self.turn.answer.calling:  # a call is shown when it is whole
            plain = self.query_one(".plain", Static)
            plain.display = True
            # The first of several parts may have been plain chat.
            self.query_one(Markdown).display = False
            plain.update(self._body())

    async def show_end(self) -> None:
        """The answer as it stays."""
        self.set_class(False, "-waiting")
        await self._end_stream()
        answer = self.turn.answer
        plain, markdown = self.query_one(".plain", Static), self.query_one(Markdown)
        as_calls = answer.has_calls and answer.original is None
        as_markdown = self._is_markdown and not as_calls
        plain.display, markdown.display = not as_markdown and bool(answer.text), as_markdown
        if as_calls:
            plain.update(calls_content(answer))
        elif as_markdown:
            # What streamed in pieces may have been read differently than the whole.
            await markdown.update(answer.text)
        else:
            plain.update(self._body())
        self.query_one(RouteChip).show(answer, self._ending())
        self.refresh_bindings()

    async def show_error(self, error: TokmemError) -> None:
        """The answer failed; what came of it stays."""
        await self.show_end()
        problem = self.query_one(".problem", Static)
        first_line = error.message.splitlines()[0]
        problem.update(Content(f"{error.title}: {first_line} {error.next_step}".rstrip()))
        problem.display = True

    async def _end_stream(self) -> None:
        if self._stream is not None:
            await self._stream.stop()
            self._stream = None

    @property
    def _is_markdown(self) -> bool:
        return self.turn.answer.route in (None, NONE_ROUTE) and not self.turn.answer.has_parts

    def _body(self) -> Content:
        """The answer; in an answer to several requests a line with its route stands above each further part."""
        answer = self.turn.answer
        if not answer.has_parts:
            return Content(answer.text)
        lines: list[Content] = []
        for place, part in enumerate(answer.parts):
            if place:
                lines.append(Content.assemble(*route_words(part.route, part.probability)))
            lines.append(Content(part.text.rstrip("\n")))
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
        elif answer.status == "failed":
            words.append("no answer" if not answer.text else "broken off")
        if answer.cut:
            words.append("cut at its greatest length")
        if told := speed(answer):
            words.append(told)
        return " · ".join(words)
