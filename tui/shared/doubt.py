"""What is doubtful about an answer, in one sentence for people. Draws nothing, asks nothing."""

from __future__ import annotations

from collections.abc import Sequence

from tokmem_desk.generation.answer_segment import AnswerSegment, AnswerValue
from tokmem_desk.procedures import NONE_ROUTE
from tui.kit.words import percent, shortened

_NAMED = 3
_SHOWN = 40


def doubt_words(segment: AnswerSegment) -> str:
    """Why a person should look at an answer before it is used; empty where nothing speaks against it."""
    filled = ", ".join(f"{shortened(one.words, _SHOWN)} → {shortened(one.value, _SHOWN)}" for one in segment.filled)
    told = f"Filled in: {filled}." if filled else ""
    if not segment.doubtful or segment.answer_probability is None:
        return told
    sure = f"The answer is right with a probability of {percent(segment.answer_probability)}."
    values = sorted(segment.doubtful_values, key=lambda value: value.probability)
    sure = f"{told} {sure}".lstrip()
    if not values:
        return sure
    more = len(values) - _NAMED
    named = ", ".join([*map(_words, values[:_NAMED]), *([f"{more} more"] if more > 0 else [])])
    return f"{sure} Doubtful: {named}."


def between_words(routes: Sequence[str] | None) -> str:
    """Why a person should look at a route first; empty where it is clear.

    Args:
        routes: the two that a message lies between, the taken one first; None where it is clear.
    """
    if routes is None:
        return ""
    taken, other = ("plain chat" if route == NONE_ROUTE else route for route in routes)
    return f"This may be meant for {other} as well as for {taken}."


def _words(value: AnswerValue) -> str:
    return f"{value.name} {shortened(value.text, _SHOWN)} ({percent(value.probability)})".lstrip()
