"""A message with what its words refer to filled in. Data only, for clients too: no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class FilledIn:
    """A value that was put in the place of words.

    Attributes:
        words: what stood there.
        value: what stands there now.
        source: where the value is from: what a person said before, or its answer. Of a value that is new in a message
            that is done again, the message that it was put into.
        back: how many exchanges ago that was; 0 is the one before.
        start, end: where it stands, in characters of the message as it is read.
    """

    words: str
    value: str
    source: Literal["message", "answer"]
    back: int
    start: int
    end: int

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> FilledIn | None:
        """Read one back; None where a number is missing, or another type."""
        back, start, end = (fields.get(name) for name in ("back", "start", "end"))
        if not isinstance(back, int) or not isinstance(start, int) or not isinstance(end, int):
            return None
        source: Literal["message", "answer"] = "answer" if fields.get("source") == "answer" else "message"
        return cls(str(fields.get("words", "")), str(fields.get("value", "")), source, back, start, end)


@dataclass(frozen=True, slots=True)
class Resolved:
    """A message that stands for itself.

    Attributes:
        message: with all that was filled in.
        filled: in the order of the message.
        again: whether it is a message from before with new values.
    """

    message: str
    filled: tuple[FilledIn, ...]
    again: bool = False
