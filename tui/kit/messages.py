"""Messages that widgets send to their screen: requests of the person, and facts about what they did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from textual.message import Message

if TYPE_CHECKING:
    from tui.chat.turn_view import TurnView

TurnAction = Literal[
    "copy", "copy_all", "again", "edit", "wrong", "procedure", "undo", "pair", "good", "bad", "run", "withdraw"
]


@dataclass
class PromptSubmitted(Message):
    """The person pressed Enter in the prompt."""

    text: str
    """As typed, route prefix included."""


@dataclass
class TurnActionWanted(Message):
    """A key was pressed on a message of the transcript."""

    turn: TurnView
    """The view that had the focus."""
    action: TurnAction


@dataclass
class ConversationChosen(Message):
    """A line of the history was chosen."""

    conversation_id: int


@dataclass
class ExampleChosen(Message):
    """An example of the empty chat was chosen."""

    text: str
    """The example's input."""


@dataclass
class PairTextWanted(Message):
    """A text of a stored pair should be another one."""

    pair_id: int
    part: Literal["input", "response"]
    text: str
    then: Literal["stay", "next", "previous", "away"]
    """Where the cursor goes once it is stored."""


@dataclass
class PairWritten(Message):
    """A new pair is complete."""

    input: str
    response: str
    another: bool
    """The person is likely to write the next one."""


@dataclass
class PairWanted(Message):
    """Something should be done with a stored pair; ``large`` without one writes a new one in a window."""

    action: Literal["delete", "large", "hold_out"]
    pair_id: int | None
