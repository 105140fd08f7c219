"""Messages that the chat's widgets send to its screen: requests of the person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from textual.message import Message

from tui.chat.turns import Turn

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

    turn: Turn
    """Of the view that had the focus."""
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
