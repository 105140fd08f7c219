"""The scrolling list of turns, and what stands there when there is none.

Follows the newest text only while it is scrolled to the end.
"""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from tui.chat_session import Turn
from tui.messages import ExampleChosen
from tui.widgets.turn_view import TurnView


class Transcript(VerticalScroll, can_focus=False):
    """The turns, oldest first."""

    DEFAULT_CSS = """
    Transcript { height: 1fr; padding: 1 1 0 1; align-vertical: bottom; }
    """

    def on_mount(self) -> None:
        """Stay at the end until the person scrolls away."""
        self.anchor()

    async def show_all(self, turns: Sequence[Turn]) -> None:
        """Replace everything."""
        await self.remove_children()
        await self.mount_all([TurnView(turn) for turn in turns])
        self.anchor()

    async def add(self, turn: Turn) -> TurnView:
        """Append a turn and go to the end: the person has just asked."""
        view = TurnView(turn)
        await self.mount(view)
        self.anchor()
        return view

    @property
    def at_end(self) -> bool:
        """True when the newest line is in sight."""
        return self.scroll_offset.y >= self.max_scroll_y - 1


class TranscriptPane(Vertical):
    """The transcript, and a word below it when new text has come that is not in sight. Hidden without turns."""

    DEFAULT_CSS = """
    TranscriptPane {
        height: 1fr; display: none;
        #below { height: 1; width: 1fr; text-align: center; color: $accent; display: none; pointer: pointer; }
    }
    """

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._unseen = False

    def compose(self) -> ComposeResult:
        yield Transcript(id="transcript")
        yield Static("↓ new text below · ^End", id="below")

    def on_mount(self) -> None:
        """The word goes when the person scrolls to the end."""
        self.watch(self._transcript, "scroll_y", self._check, init=False)

    async def show_all(self, turns: Sequence[Turn]) -> None:
        """Replace everything."""
        self.display = bool(turns)
        await self._transcript.show_all(turns)
        self._unseen = False
        self._check()

    async def add(self, turn: Turn) -> TurnView:
        """Append a turn and go to it."""
        self.display = True
        return await self._transcript.add(turn)

    def note_new_text(self) -> None:
        """Text was added to some turn."""
        self._unseen = not self._transcript.at_end
        self._check()

    def to_end(self) -> None:
        """Go to the newest text and follow it."""
        self._transcript.anchor()

    def page(self, direction: int) -> None:
        """Scroll by a page, up below zero."""
        if direction < 0:
            self._transcript.scroll_page_up()
        else:
            self._transcript.scroll_page_down()

    def on_click(self, event: events.Click) -> None:
        """A click on the word goes to the end."""
        if event.widget is self.query_one("#below"):
            self.to_end()

    @property
    def _transcript(self) -> Transcript:
        return self.query_one(Transcript)

    def _check(self) -> None:
        if self._transcript.at_end:
            self._unseen = False
        self.query_one("#below").display = self._unseen


class EmptyChat(Vertical):
    """What can be typed, for an empty conversation."""

    DEFAULT_CSS = """
    EmptyChat {
        height: 1fr; align: center middle; padding: 1 2;
        Static { width: 100%; max-width: 76; height: auto; text-align: center; color: $muted; }
        #welcome { color: $text; margin: 0 0 1 0; }
        OptionList { width: 100%; max-width: 76; height: auto; max-height: 12; margin: 1 0;
            background: transparent; border: none; padding: 0; }
    }
    """

    def compose(self) -> ComposeResult:
        yield Static(id="welcome")
        yield OptionList(id="examples", markup=False)
        yield Static(id="first-step")

    def show(self, examples: Sequence[tuple[str, str, bool]]) -> None:
        """Draw.

        Args:
            examples: name, an example's input, and whether the procedure is trained.
        """
        self._inputs = [text for _, text, _ in examples]
        options = self.query_one(OptionList)
        options.clear_options()
        options.display = bool(examples)
        welcome, first_step = self.query_one("#welcome", Static), self.query_one("#first-step", Static)
        if not examples:
            welcome.update(Content("Chat works right away. Procedures make it yours."))
            first_step.update(
                Content.assemble("Press ", ("F3", "bold $accent"), " and show it a few pairs of what you type and get.")
            )
            return
        welcome.update(Content("Say anything. What fits a procedure goes to it, the rest is plain chat."))
        width = max(len(name) for name, _, _ in examples)
        for name, text, trained in examples:
            first_line = text.strip().splitlines()[0]
            sign = Content.styled("◆ ", "$primary") if trained else Content.styled("◇ ", "$muted")
            options.add_option(
                Option(
                    Content.assemble(
                        sign, Content.styled(f"{name:<{width}}  ", "bold"), Content.styled(first_line, "$muted")
                    )
                )
            )
        if all(trained for _, _, trained in examples):
            first_step.update(Content("Enter on a line puts its example in the prompt."))
        else:
            first_step.update(
                Content.assemble("◇ is not trained yet: press ", ("F4", "bold $accent"), " to train what is new.")
            )

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Offer the example to the prompt."""
        event.stop()
        self.post_message(ExampleChosen(self._inputs[event.option_index]))
