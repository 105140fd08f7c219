"""One segment of an answer: what a procedure, or plain chat, said to one part of a message.

The core makes it, the pipe carries it, clients show it, profiles keep it: all have this one class. ``as_dict`` and
``from_dict`` are its only encoding. Imports no torch, so that clients can use it.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tokmem_desk.references.filled import FilledIn

SEGMENT_BREAK = "\n"
"""Stands between the responses of two segments."""

DOUBTFUL_BELOW = 0.7
"""A value that is less probable is doubtful: it is marked, and no command takes it unasked."""


@dataclass(frozen=True, slots=True)
class AnswerValue:
    """A value in an answer, which is right or wrong by itself.

    Attributes:
        start, end: where it stands in the response, in characters.
        text: as it stands there.
        probability: that it is right, 0 to 1, if the route is.
        name: its key, in a JSON object; else empty.
        others: what may stand there instead, the likeliest first.
    """

    start: int
    end: int
    text: str
    probability: float
    name: str = ""
    others: tuple[str, ...] = ()

    @property
    def doubtful(self) -> bool:
        """Whether a person should look at it."""
        return self.probability < DOUBTFUL_BELOW

    def as_dict(self) -> dict[str, Any]:
        """The value as JSON has it; without an empty name."""
        fields: dict[str, Any] = {"start": self.start, "end": self.end, "text": self.text}
        named = {"name": self.name} if self.name else {}
        others = list(self.others)
        return {**fields, **named, "probability": self.probability, "doubtful": self.doubtful, "others": others}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> AnswerValue | None:
        """Read a value back; None where a number is missing, or another type."""
        start, end, probability = (fields.get(name) for name in ("start", "end", "probability"))
        if not isinstance(start, int) or not isinstance(end, int) or not isinstance(probability, int | float):
            return None
        given = fields.get("others")
        others = tuple(other for other in given if isinstance(other, str)) if isinstance(given, list) else ()
        return cls(start, end, str(fields.get("text", "")), float(probability), str(fields.get("name", "")), others)


@dataclass(slots=True)
class AnswerSegment:
    """One procedure's share of an answer, or plain chat's. Clients let it grow while the answer streams.

    Attributes:
        route: the procedure that answers, or ``none``.
        probability: of the route, 0 to 1.
        part: the part of the message that it answers. What its words refer to is filled in.
        response: the text of the answer, so far or whole.
        arguments: the response as a call's arguments, where the procedure has a schema; else None.
        problem: why there are no arguments although the procedure has a schema; empty where there is no problem.
        follows: the procedure whose answer is the part, where this is a further step of a chain; else empty.
        answer_probability: that the response is right to the letter, 0 to 1, with its route and the steps before it;
            None in plain chat, for an answer that was cut short, and in conversations of before.
        values: those of the response, in their order, each with its own probability; empty where there is none.
        run: what came of running the call, as ``tui.shared.command_run`` writes it; None where it was not run.
        place: where in a plan this step stands, as ``2`` or ``2.1``; ``0`` is the plan itself. Empty outside of plans.
        typed: the part as it stands in the message, where something was filled in; else empty.
        filled: what was filled in, in the order of the part.
    """

    route: str
    probability: float
    part: str = ""
    response: str = ""
    arguments: dict[str, Any] | None = None
    problem: str = ""
    follows: str = ""
    answer_probability: float | None = None
    values: list[AnswerValue] = field(default_factory=list)
    run: dict[str, Any] | None = None
    place: str = ""
    typed: str = ""
    filled: list[FilledIn] = field(default_factory=list)

    @property
    def doubtful(self) -> bool:
        """Whether a person should look at the answer, or at a value in it, before it is used."""
        if self.answer_probability is None:
            return False
        return self.answer_probability < DOUBTFUL_BELOW or bool(self.doubtful_values)

    @property
    def doubtful_values(self) -> list[AnswerValue]:
        """The values that a person should look at, in their order."""
        return [value for value in self.values if value.doubtful]

    def as_dict(self) -> dict[str, Any]:
        """The segment as JSON has it: on the pipe, in ``--json`` and in kept conversations."""
        fields: dict[str, Any] = {
            "route": self.route,
            "probability": self.probability,
            "part": self.part,
            "response": self.response,
            "arguments": self.arguments,
            "problem": self.problem,
        }
        if self.follows:
            fields["follows"] = self.follows
        if self.place:
            fields["place"] = self.place
        if self.filled:
            fields["typed"] = self.typed
            fields["filled"] = [one.as_dict() for one in self.filled]
        if self.answer_probability is not None:
            fields["answer_probability"] = self.answer_probability
            fields["slots"] = [value.as_dict() for value in self.values]
        return fields if self.run is None else {**fields, "run": self.run}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> AnswerSegment:
        """Read a segment back. What is missing, or of another type, as in files that were edited, is left empty."""
        probability, arguments, run = (fields.get(name) for name in ("probability", "arguments", "run"))
        sure, slots = fields.get("answer_probability"), fields.get("slots")
        read = (
            [AnswerValue.from_dict(slot) for slot in slots if isinstance(slot, Mapping)]
            if isinstance(slots, list)
            else []
        )
        given = fields.get("filled")
        filled = (
            [FilledIn.from_dict(one) for one in given if isinstance(one, Mapping)] if isinstance(given, list) else []
        )
        return cls(
            str(fields.get("route", "")),
            float(probability) if isinstance(probability, (int, float)) else 0.0,
            str(fields.get("part", "")),
            str(fields.get("response", "")),
            arguments if isinstance(arguments, dict) else None,
            str(fields.get("problem") or ""),
            str(fields.get("follows") or ""),
            float(sure) if isinstance(sure, int | float) and not isinstance(sure, bool) else None,
            [value for value in read if value is not None],
            run if isinstance(run, dict) else None,
            str(fields.get("place") or ""),
            str(fields.get("typed") or ""),
            [one for one in filled if one is not None],
        )


def all_right(segments: Sequence[AnswerSegment]) -> float | None:
    """The probability that all segments are right; None where one does not say so of itself."""
    total = 1.0
    for segment, after in itertools.zip_longest(segments, segments[1:]):
        if segment.answer_probability is None:
            return None
        # A further step of a chain has the probability of those before it in its own.
        if after is None or not after.follows:
            total *= segment.answer_probability
    return total if segments else None
