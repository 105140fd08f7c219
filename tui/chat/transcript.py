"""The scrolling list of turns, and what stands there when there is none.

Follows the newest text only while it is scrolled to the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from tui.chat.messages import ExampleChosen
from tui.chat.turn_view import TurnView
from tui.chat.turns import Turn

FIRST_TURNS = 24
"""How many turns are drawn at first: more than a screen holds."""
PAGE_TURNS = 8
"""How many more at a time, when the person scrolls to either end of them."""
DRAWN_TURNS = 48
"""At most this many: a chat of thousands of messages must scroll like a short one."""


class Transcript(VerticalScroll, can_focus=False):
    """The turns, oldest first. Only a range of them is drawn; it moves when the person scrolls to its end."""

    DEFAULT_CSS = """
    Transcript { height: 1fr; padding: 1 1 0 1; align-vertical: bottom; }
    """

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._turns: list[Turn] = []
        self._start = self._stop = 0
        """The stretch of turns that is drawn."""
        self._cut: Turn | None = None
        self._moving = False

    def on_mount(self) -> None:
        """Stay at the end until the person scrolls away."""
        self.anchor()
        self.watch(self, "scroll_y", self._scrolled, init=False)

    async def show_all(self, turns: Sequence[Turn]) -> None:
        """Replace everything, and go to the end."""
        self._turns = list(turns)
        await self._draw_end()

    async def _draw_end(self) -> None:
        await self.remove_children()
        self._start, self._stop = max(0, len(self._turns) - FIRST_TURNS), len(self._turns)
        await self.mount_all([self._view(turn) for turn in self._turns[self._start :]])
        self.anchor()

    async def add(self, turn: Turn) -> TurnView:
        """Append a turn and go to the end: the person has just asked."""
        if self._stop < len(self._turns):
            await self._draw_end()
        self._turns.append(turn)
        self._stop += 1
        view = self._view(turn)
        await self.mount(view)
        self.anchor()
        return view

    async def forget(self, turns: Sequence[Turn]) -> None:
        """Take turns out: the last ones of the conversation, or one that waits."""
        before = self._turns[: self._start], self._turns[: self._stop]
        self._turns = [turn for turn in self._turns if turn not in turns]
        self._start, self._stop = (len(part) - sum(turn in turns for turn in part) for part in before)
        for view in self.query(TurnView):
            if view.turn in turns:
                await view.remove()
        if not self.query(TurnView):
            await self._draw_end()

    def view_of(self, turn: Turn) -> TurnView | None:
        """The view of a turn, if it is drawn."""
        return next((view for view in self.query(TurnView) if view.turn is turn), None)

    def mark_cut(self, first_seen: Turn | None) -> None:
        """Mark the oldest turn that the model still sees; None while it sees all."""
        self._cut = first_seen
        for view in self.query(TurnView):
            view.show_cut(view.turn is first_seen)

    def to_end(self) -> None:
        """Go to the newest text and follow it."""
        if self._stop < len(self._turns):
            self.run_worker(self._draw_end(), exclusive=True)
        else:
            self.anchor()

    @property
    def at_end(self) -> bool:
        """True when the newest line is in sight."""
        return self._stop == len(self._turns) and self.scroll_offset.y >= self.max_scroll_y - 1

    async def show_earlier(self) -> bool:
        """Draw the turns before the drawn ones; False when there are none."""
        return await self._move(-1)

    async def show_later(self) -> bool:
        """Draw the turns behind the drawn ones; False when there are none."""
        return await self._move(1)

    async def page(self, direction: int) -> None:
        """Scroll by a page, up below zero; at once, since a smooth scroll is drawn a dozen times."""
        left = self.scroll_offset.y if direction < 0 else self.max_scroll_y - self.scroll_offset.y
        if left < self.size.height:
            await self._move(direction)
        y = self.scroll_offset.y + direction * self.scrollable_content_region.height
        self.scroll_to(y=y, animate=False, immediate=True)

    def _view(self, turn: Turn) -> TurnView:
        return TurnView(turn, first_seen=turn is self._cut)

    def _scrolled(self) -> None:
        if self._moving or not self.max_scroll_y:
            return
        if self.scroll_offset.y <= 0 and self._start > 0:
            self.run_worker(self._move(-1))
        elif self.scroll_offset.y >= self.max_scroll_y and self._stop < len(self._turns):
            self.run_worker(self._move(1))

    async def _move(self, direction: int) -> bool:
        earlier = direction < 0
        while self._moving:  # a scroll to the edge may have begun this already
            await asyncio.sleep(0)
        if self._start <= 0 if earlier else self._stop >= len(self._turns):
            return False
        self._moving = True
        try:
            views = list(self.query(TurnView))
            # What stands at the edge stays where it is on the screen, whatever comes and goes around it.
            pinned = views[0] if earlier else views[-1]
            place = pinned.virtual_region.y - self.scroll_offset.y
            if earlier:
                begin, end = max(0, self._start - PAGE_TURNS), self._start
                await self.mount_all([self._view(turn) for turn in self._turns[begin:end]], before=0)
                self._start = begin
                surplus = views[DRAWN_TURNS - (end - begin) :]
                self._stop -= len(surplus)
            else:
                begin, end = self._stop, min(len(self._turns), self._stop + PAGE_TURNS)
                await self.mount_all([self._view(turn) for turn in self._turns[begin:end]])
                self._stop = end
                surplus = views[: max(0, len(views) + end - begin - DRAWN_TURNS)]
                self._start += len(surplus)
            await self.remove_children(surplus)
            laid_out = asyncio.Event()
            self.call_after_refresh(laid_out.set)
            await laid_out.wait()
            if pinned.is_attached:
                self.scroll_to(y=pinned.virtual_region.y - place, animate=False, force=True, immediate=True)
        finally:
            self._moving = False
        return True


class TranscriptPane(Vertical):
    """The transcript, with a note below it if there is new text that is not in sight. Hidden without turns."""

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
        self.watch(self.transcript, "scroll_y", self._check, init=False)

    async def show_all(self, turns: Sequence[Turn]) -> None:
        """Replace everything."""
        self.display = bool(turns)
        await self.transcript.show_all(turns)
        self._unseen = False
        self._check()

    async def add(self, turn: Turn) -> TurnView:
        """Append a turn and go to it."""
        self.display = True
        return await self.transcript.add(turn)

    def note_new_text(self) -> None:
        """Text was added to some turn."""
        self._unseen = not self.transcript.at_end
        self._check()

    def to_end(self) -> None:
        """Go to the newest text and follow it."""
        self.transcript.to_end()

    def page(self, direction: int) -> None:
        """Scroll by a page, up below zero."""
        self.run_worker(self.transcript.page(direction))

    def on_click(self, event: events.Click) -> None:
        """A click on the word goes to the end."""
        if event.widget is self.query_one("#below"):
            self.to_end()

    @property
    def transcript(self) -> Transcript:
        """The scrolling part."""
        return self.query_one(Transcript)

    def _check(self) -> None:
        if self.transcript.at_end:
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
