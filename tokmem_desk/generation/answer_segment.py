"""One segment of an answer: what a procedure, or plain chat, said to one part of a message.

The core makes it, the pipe carries it, clients show it, profiles keep it: all have this one class. ``as_dict`` and
``from_dict`` are its only encoding. Imports no torch, so that clients can use it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class AnswerSegment:
    """One procedure's share of an answer, or plain chat's. Clients let it grow while the answer streams.

    Attributes:
        route: the procedure that answers, or ``none``.
        probability: of the route, 0 to 1.
        part: the part of the message that it answers.
        response: the text of the answer, so far or whole.
        arguments: the response as a call's arguments, where the procedure has a schema; else None.
        problem: why there are no arguments although the procedure has a schema; empty where there is no problem.
        run: what came of running the call, as ``tui.shared.command_run`` writes it; None where it was not run.
    """

    route: str
    probability: float
    part: str = ""
    response: str = ""
    arguments: dict[str, Any] | None = None
    problem: str = ""
    run: dict[str, Any] | None = None

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
        return fields if self.run is None else {**fields, "run": self.run}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> AnswerSegment:
        """Read a segment back. What is missing, or of another type, as in files that were edited, is left empty."""
        probability, arguments, run = (fields.get(name) for name in ("probability", "arguments", "run"))
        return cls(
            str(fields.get("route", "")),
            float(probability) if isinstance(probability, (int, float)) else 0.0,
            str(fields.get("part", "")),
            str(fields.get("response", "")),
            arguments if isinstance(arguments, dict) else None,
            str(fields.get("problem") or ""),
            run if isinstance(run, dict) else None,
        )
