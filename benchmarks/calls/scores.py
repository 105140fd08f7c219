"""How right calls are. Pure functions, no model."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence

from benchmarks.calls.data import Call
from benchmarks.result import Metrics


def normalised(value: object) -> str:
    """A value for comparison: small letters, single blanks, no sentence mark at its end."""
    return " ".join(str(value).lower().split()).strip(" .,;!?\"'")


def argument_set(call: Call) -> list[tuple[str, str, str]]:
    """(function, slot, value) of every value; lists are free of order."""
    found = []
    for slot, value in call.arguments.items():
        values = value if isinstance(value, list) else [value]
        found += [(call.tool, slot, normalised(one)) for one in values]
    return found


def micro_f1(got: Sequence[Sequence[Hashable]], wanted: Sequence[Sequence[Hashable]]) -> float:
    """F1 over all items of all rows; items count as often as they stand there."""
    hits = sum((Counter(g) & Counter(w)).total() for g, w in zip(got, wanted, strict=True))
    total = sum(map(len, got)) + sum(map(len, wanted))
    return 2 * hits / total if total else 1.0


def score_calls(got: Sequence[Sequence[Call]], wanted: Sequence[Sequence[Call]]) -> Metrics:
    """``tool_f1``, ``argument_f1`` and ``call_list_exact`` (same functions in order, same arguments)."""
    return {
        "tool_f1": micro_f1([[c.tool for c in calls] for calls in got], [[c.tool for c in calls] for calls in wanted]),
        "argument_f1": micro_f1(
            [[one for c in calls for one in argument_set(c)] for calls in got],
            [[one for c in calls for one in argument_set(c)] for calls in wanted],
        ),
        "call_list_exact": sum(_form(g) == _form(w) for g, w in zip(got, wanted, strict=True)) / len(wanted),
    }


def score_conversation(got: Sequence[Sequence[Call]], wanted: Sequence[Sequence[Call]]) -> Metrics:
    """Share of turns' calls that are wrong or missing, with its Wilson interval at 95 %.

    Every call wanted is one chance to miss, every call made that was not wanted is wrong, and a turn of chat is one
    chance for a wrong call.
    """
    wrong = chances = 0
    for calls, right in zip(got, wanted, strict=True):
        have, want = Counter(c.tool for c in calls), Counter(c.tool for c in right)
        missing, extra = (want - have).total(), (have - want).total()
        # A call to another function than the one wanted is one mistake, not two.
        wrong += max(missing, extra)
        chances += max(1, len(right), len(calls))
    low, high = wilson(wrong, chances)
    return {"wrong_or_missing": wrong / chances, "wrong_or_missing_low": low, "wrong_or_missing_high": high}


def wilson(hits: int, total: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson score interval of a share."""
    share = hits / total
    centre = (share + z * z / (2 * total)) / (1 + z * z / total)
    reach = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total)) / (1 + z * z / total)
    return max(0.0, centre - reach), min(1.0, centre + reach)


def _form(calls: Sequence[Call]) -> list[tuple[str, list[tuple[str, str, str]]]]:
    return [(call.tool, sorted(argument_set(call))) for call in calls]
