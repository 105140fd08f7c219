"""Pairs the model suggests: the person takes, changes or drops each one; nothing else is stored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Button, OptionList, Static
from textual.widgets.option_list import Option

from tokmem_desk.errors import TokmemError
from tokmem_desk.procedures import ExamplePair
from tui.engine_client.client import RequestHandle
from tui.engine_client.link import EngineLink
from tui.kit.dialog import Dialog, buttons, paragraph
from tui.kit.edit_pair import PairDialog
from tui.kit.words import error_text

AT_ONCE = 5
"""Drafts that are asked for at a time."""

_SIGNS = {"new": "?", "taken": "✓", "dropped": "✗"}


@dataclass(slots=True)
class Draft:
    """A suggested pair and what the person decided."""

    input: str
    response: str
    fits: bool | None
    state: Literal["new", "taken", "dropped"] = "new"


class DraftsDialog(Dialog[None]):
    """See the module.

    Args:
        name: the procedure.
        link: to the engine.
        profile: whose procedure it is.
        take: stores a pair; raises TokmemError where that fails.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a,enter", "take", "Take", key_display="a"),
        Binding("e", "edit", "Change"),
        Binding("d,x", "drop", "Drop", key_display="d"),
        Binding("m", "more", "More"),
        Binding("s", "stop", "Stop"),
        Binding("k", "up", show=False),
        Binding("j", "down", show=False),
    ]

    def __init__(self, name: str, link: EngineLink, profile: str, take: Callable[[ExamplePair], None]) -> None:
        super().__init__(f"Pairs the model suggests for {name}")
        self._procedure, self._link, self._profile, self._take = name, link, profile, take
        self.drafts: list[Draft] = []
        self._handle: RequestHandle | None = None
        self._problem = ""

    def body(self) -> ComposeResult:
        yield paragraph(
            "Only what you take is stored. Read each answer: the model makes mistakes, and a wrong pair teaches them.",
            classes="muted",
        )
        yield OptionList(id="drafts", markup=False)
        yield Static(id="busy")
        choices = (("close", "Esc Close"), ("more", "m More"), ("drop", "d Drop"), ("edit", "e Change"))
        yield buttons(*choices, ("take", "a Take"))

    @property
    def leaves_for_screens(self) -> bool:
        """Drafts that are not taken yet are worth the wait they took."""
        return not self.drafts and self._handle is None

    def on_mount(self) -> None:
        """Ask for the first ones."""
        self.query_one(OptionList).focus()
        self.action_more()

    @work(exit_on_error=False)
    async def _ask(self) -> None:
        self._problem = ""
        handle = self._handle = self._link.submit("draft", profile=self._profile, name=self._procedure, count=AT_ONCE)
        self._draw()
        try:
            async for event in self._link.events(handle):
                if event["event"] == "draft":
                    self.drafts.append(Draft(event["input"], event["response"], event.get("fits")))
                    self._draw()
        except TokmemError as caught:
            self._problem = error_text(caught)
        self._handle = None
        self._draw()

    async def on_unmount(self) -> None:
        """Nobody wants more."""
        await self._cancel()

    async def _cancel(self) -> None:
        if self._handle is not None:
            await self._handle.cancel()

    def _draw(self) -> None:
        if not self.is_attached:
            return
        options = self.query_one(OptionList)
        place = options.highlighted
        options.clear_options()
        options.add_options(Option(_line(draft)) for draft in self.drafts)
        if self.drafts:
            options.highlighted = 0 if place is None else min(place, len(self.drafts) - 1)
        options.display = bool(self.drafts)
        taken = sum(draft.state == "taken" for draft in self.drafts)
        words = self._problem
        if self._handle is not None:
            words = "The model is writing… s stops it"
        elif not words:
            words = "m asks for more" if self.drafts else "The model found nothing new. m tries again"
        self.query_one("#busy", Static).update(Content(f"{words} · {taken} taken" if taken else words))

    @property
    def _chosen(self) -> Draft | None:
        place = self.query_one(OptionList).highlighted
        return self.drafts[place] if place is not None and place < len(self.drafts) else None

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """The same as the keys."""
        match event.button.id:
            case "close":
                self.dismiss(None)
            case "more":
                self.action_more()
            case "take":
                self.action_take()
            case "drop":
                self.action_drop()
            case _:
                self.action_edit()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter takes."""
        self.action_take()

    def action_more(self) -> None:
        """Let the model write some more."""
        if self._handle is None:
            self._ask()

    async def action_stop(self) -> None:
        """Let the model write no more."""
        await self._cancel()

    def action_take(self) -> None:
        """Store the pair under the cursor."""
        draft = self._chosen
        if draft is not None and draft.state != "taken":
            self._store(draft)

    def _store(self, draft: Draft) -> None:
        try:
            self._take(ExamplePair(draft.input, draft.response))
        except TokmemError as caught:
            self._problem = error_text(caught)
        else:
            draft.state = "taken"
            self._to_next()
        self._draw()

    def _to_next(self) -> None:
        """To the next draft that is not decided."""
        options = self.query_one(OptionList)
        place = options.highlighted or 0
        later = [*range(place + 1, len(self.drafts)), *range(place)]
        options.highlighted = next((one for one in later if self.drafts[one].state == "new"), place)

    def action_drop(self) -> None:
        """Do not store the pair under the cursor."""
        draft = self._chosen
        if draft is not None and draft.state == "new":
            draft.state = "dropped"
            self._to_next()
            self._draw()

    @work(exit_on_error=False)
    async def action_edit(self) -> None:
        """Change the pair under the cursor, then store it."""
        draft = self._chosen
        if draft is None or draft.state == "taken":
            return
        dialog = PairDialog("Correct the draft", [self._procedure], input=draft.input, response=draft.response)
        made = await self.app.push_screen_wait(dialog)
        if made is not None:
            draft.input, draft.response = made.input, made.response
            self._store(draft)

    def action_up(self) -> None:
        """One draft up."""
        self.query_one(OptionList).action_cursor_up()

    def action_down(self) -> None:
        """One draft down."""
        self.query_one(OptionList).action_cursor_down()


def _line(draft: Draft) -> Content:
    style = "$muted" if draft.state == "dropped" else ""
    odd = Content.styled("  ! not of the usual form", "$text-warning") if draft.fits is False else ""
    return Content.assemble(
        Content.styled(f"{_SIGNS[draft.state]} ", "bold $text-success" if draft.state == "taken" else "bold"),
        Content.styled(draft.input, style),
        Content.styled("\n  → ", "$accent"),
        Content.styled(draft.response, style),
        odd,
    )
