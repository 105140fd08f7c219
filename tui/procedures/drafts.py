"""Pairs the model suggests: the person takes, changes or drops each one; nothing else is stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Button, OptionList, Static
from textual.widgets.option_list import Option

from tokmem_desk.errors import TokmemError
from tokmem_desk.procedures import ExamplePair
from tui.engine_client.client import RequestHandle
from tui.engine_client.protocol import Message
from tui.kit.dialog import Dialog, buttons, paragraph
from tui.kit.edit_pair import PairDialog
from tui.kit.words import error_text
from tui.procedures.drafter import Drafter
from tui.shared.draft_words import is_good, weak_words

AT_ONCE = 5
"""Drafts that are asked for at a time."""

AT_ONCE_OF_ANOTHER = 20
"""The same of a larger model, which was started for them."""

_SIGNS = {"new": "?", "taken": "✓", "dropped": "✗"}


@dataclass(slots=True)
class Draft:
    """A suggested pair and what the person decided."""

    input: str
    response: str
    fits: bool | None
    sure: bool | None = None
    state: Literal["new", "taken", "dropped"] = "new"

    @property
    def is_good(self) -> bool:
        """Whether all that is known speaks for it: the usual form, and the same answer when asked twice."""
        return is_good(self.fits, self.sure)


class DraftsDialog(Dialog[None]):
    """See the module.

    Args:
        name: the procedure.
        drafter: the model that writes.
        profile: whose procedure it is.
        take: stores pairs, in one step; raises TokmemError where that fails.
        of_text: fields of a request for drafts that follow a text, where the procedure has no pairs to imitate.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a,enter", "take", "Take", key_display="a"),
        Binding("A,shift+a", "take_good", "Take the good", key_display="A"),
        Binding("e", "edit", "Change"),
        Binding("d,x", "drop", "Drop", key_display="d"),
        Binding("m", "more", "More"),
        Binding("s", "stop", "Stop"),
        Binding("k", "up", show=False),
        Binding("j", "down", show=False),
    ]

    def __init__(
        self,
        name: str,
        drafter: Drafter,
        profile: str,
        take: Callable[[Sequence[ExamplePair]], None],
        of_text: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(f"Pairs the model suggests for {name}")
        self._procedure, self._profile, self._take = name, profile, take
        self._drafter, self._link = drafter, drafter.link
        drafter.changed = self._draw
        self._of_text = of_text
        self.drafts: list[Draft] = []
        self._handle: RequestHandle | None = None
        self._problem = ""

    def body(self) -> ComposeResult:
        yield paragraph(
            "Only what you take is stored. Read each answer: the model makes mistakes, and a wrong pair teaches them.",
            classes="muted",
        )
        if (words := self._drafter.words) or (
            self._of_text is not None and (words := weak_words(self._link.state.backbone))
        ):
            yield paragraph(words, classes="muted")
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
        handle = self._handle = self._submit()
        self._draw()
        try:
            async for event in self._link.events(handle):
                if event["event"] == "draft":
                    self.drafts.append(_draft(event))
                    self._draw()
        except TokmemError as caught:
            self._problem = error_text(caught)
        self._handle = None
        self._draw()

    @property
    def _at_once(self) -> int:
        return AT_ONCE_OF_ANOTHER if self._drafter.title else AT_ONCE

    def _submit(self) -> RequestHandle:
        if self._of_text is None:
            return self._link.submit("draft", profile=self._profile, name=self._procedure, count=self._at_once)
        known = [*self._of_text["known"], *(draft.input for draft in self.drafts)]
        fields = {**self._of_text, "known": known}
        return self._link.submit("draft_from_text", profile=self._profile, count=self._at_once, **fields)

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
            words = self._drafter.starting or "The model is writing… s stops it"
        elif not words:
            words = "m asks for more" if self.drafts else "The model found nothing new. m tries again"
        good = len(self._good)
        offer = f"A takes the {good} good ones" if good > 1 else ""
        parts = (words, offer, f"{taken} taken" if taken else "")
        self.query_one("#busy", Static).update(Content(" · ".join(part for part in parts if part)))

    @property
    def _good(self) -> list[Draft]:
        """Those that are not decided, and that everything speaks for."""
        return [draft for draft in self.drafts if draft.state == "new" and draft.is_good]

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
            self._store([draft])

    def action_take_good(self) -> None:
        """Store all that are not decided and that everything speaks for."""
        if good := self._good:
            self._store(good)

    def _store(self, drafts: Sequence[Draft]) -> None:
        try:
            self._take([ExamplePair(draft.input, draft.response) for draft in drafts])
        except TokmemError as caught:
            self._problem = error_text(caught)
        else:
            for draft in drafts:
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
            self._store([draft])

    def action_up(self) -> None:
        """One draft up."""
        self.query_one(OptionList).action_cursor_up()

    def action_down(self) -> None:
        """One draft down."""
        self.query_one(OptionList).action_cursor_down()


def _draft(event: Message) -> Draft:
    return Draft(event["input"], event["response"], event.get("fits"), event.get("sure"))


def _line(draft: Draft) -> Content:
    style = "$muted" if draft.state == "dropped" else ""
    words = "not of the usual form" if draft.fits is False else "another answer when asked again"
    odd = Content.styled(f"  ! {words}", "$text-warning") if False in (draft.fits, draft.sure) else ""
    return Content.assemble(
        Content.styled(f"{_SIGNS[draft.state]} ", "bold $text-success" if draft.state == "taken" else "bold"),
        Content.styled(draft.input, style),
        Content.styled("\n  → ", "$accent"),
        Content.styled(draft.response, style),
        odd,
    )
