"""Messages that the chat's widgets send to its screen: requests of the person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from textual.message import Message

from tui.chat.turns import Doubt, Turn

TurnAction = Literal[
    "copy", "copy_all", "again", "edit", "wrong", "procedure", "undo", "pair", "good", "bad", "run", "withdraw"
]


@dataclass
class PromptSubmitted(Message):
    """The person pressed Enter in the prompt."""

    text: str
    """As typed, route prefix included."""


@dataclass
class FilesPasted(Message):
    """Paths of files were pasted or dropped."""

    paths: Sequence[Path]
    """All of them are there."""
    text: str
    """What was pasted."""


@dataclass
class TurnActionWanted(Message):
    """A key was pressed on a message of the transcript."""

    turn: Turn
    """Of the view that had the focus."""
    action: TurnAction


@dataclass
class ValueSettled(Message):
    """The person has looked at a doubtful value."""

    turn: Turn
    doubt: Doubt
    text: str
    """What is to stand there: another value, or the same."""


@dataclass
class RouteSettled(Message):
    """The person has said which of two near routes is right."""

    turn: Turn
    route: str


@dataclass
class ConversationChosen(Message):
    """A line of the history was chosen."""

    conversation_id: int


@dataclass
class ExampleChosen(Message):
    """An example of the empty chat was chosen."""

    text: str
    """The example's input."""
