"""Messages that the grid of pairs and its panel send to the Procedures screen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from textual.message import Message


@dataclass
class PairTextWanted(Message):
    """A text of a stored pair should be replaced."""

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
    """Whether the next pair should be begun at once."""


@dataclass
class PairWanted(Message):
    """Something should be done with a stored pair; ``large`` without one writes a new one in a window."""

    action: Literal["delete", "large", "hold_out"]
    pair_id: int | None
