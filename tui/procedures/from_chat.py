"""A dialog that makes pairs of a conversation: which exchanges, and for which procedure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Input, Select, Static
from textual.widgets.selection_list import Selection

from profiles.store.chats import ConversationRecord
from profiles.store.messages import MessageRecord
from profiles.store.pair_rules import pair_fault
from tokmem_desk.errors import TokmemError
from tokmem_desk.procedures import ExamplePair, check_name
from tui.kit.dialog import SaveDialog, buttons, fault_line
from tui.kit.ticks import TickList
from tui.kit.words import error_text
from tui.kit.wrapped import one_line

_LINE = 72


@dataclass(frozen=True, slots=True)
class ChatPairs:
    """What was chosen."""

    name: str
    """The procedure; a new one where there is none of that name."""
    pairs: list[ExamplePair]


class FromChatDialog(SaveDialog[ChatPairs | None]):
    """Closes with the chosen exchanges, or with None.

    Args:
        conversations: newest first, at least one.
        messages: tells the messages of a conversation.
        known: names of the profile's procedures.
        into: the procedure that is proposed.
    """

    def __init__(
        self,
        conversations: Sequence[ConversationRecord],
        messages: Callable[[int], Sequence[MessageRecord]],
        known: Collection[str],
        into: str = "",
    ) -> None:
        super().__init__("Pairs from a conversation")
        self._conversations, self._messages, self._known, self._into = conversations, messages, known, into
        self._pairs: list[ExamplePair] = []

    def body(self) -> ComposeResult:
        yield Static("Conversation", classes="field-label")
        options = [(Content(f"{one.title}  ({one.updated[:10]})"), one.id) for one in self._conversations]
        yield Select(options, value=self._conversations[0].id, allow_blank=False, id="conversation", compact=True)
        yield Static("What you typed → what you got; tick what should be learned", classes="field-label")
        yield TickList(id="exchanges")
        yield Static("", id="name-label", classes="field-label")
        yield Input(self._into, id="name", max_length=40, placeholder="name of the procedure")
        yield fault_line()
        yield buttons(("cancel", "Esc Cancel"), ("take", "^s Take the ticked"), primary="take")

    def on_mount(self) -> None:
        """The newest conversation first."""
        self._show(self._conversations[0].id)
        self._name_it()
        self.query_one(TickList).focus()

    def on_select_changed(self, event: Select.Changed) -> None:
        """Another conversation."""
        if isinstance(event.value, int):
            self._show(event.value)

    def _show(self, conversation_id: int) -> None:
        self._pairs = exchanges(self._messages(conversation_id))
        ticks = self.query_one(TickList)
        ticks.clear_options()
        for place, pair in enumerate(self._pairs):
            text = Content.assemble(
                one_line(pair.input, _LINE // 2), Content.styled(" → ", "$accent"), one_line(pair.response, _LINE // 2)
            )
            ticks.add_option(Selection(text, str(place), True))
        ticks.highlighted = 0 if self._pairs else None
        self.say_fault("" if self._pairs else "There is no answered message in this conversation.")

    def on_input_changed(self, event: Input.Changed) -> None:
        """The name decides whether pairs are added or a procedure is made."""
        self._name_it()

    def _name_it(self) -> None:
        exists = self.query_one("#name", Input).value.strip() in self._known
        words = "Into the procedure, whose pairs stay" if exists else "Into a new procedure"
        self.query_one("#name-label", Static).update(words)

    def action_save(self) -> None:
        """Hand it over, or say what is wrong with it."""
        name = self.query_one("#name", Input).value.strip()
        chosen = sorted(int(value) for value in self.query_one(TickList).selected)
        try:
            check_name(name)
        except TokmemError as caught:
            self.say_fault(error_text(caught), "#name")
            return
        if not chosen:
            self.say_fault("Tick at least one exchange.")
            return
        self.dismiss(ChatPairs(name, [self._pairs[place] for place in chosen]))


def exchanges(messages: Sequence[MessageRecord]) -> list[ExamplePair]:
    """Each message of the person with the answer that followed it, where that is whole and usable."""
    pairs = []
    for question, answer in pairwise(messages):
        if question.role == "user" and answer.role == "assistant" and answer.status == "complete":
            pair = ExamplePair(question.content, answer.content)
            if pair_fault(pair) is None:
                pairs.append(pair)
    return pairs
