"""How probable it is that an answer is right to the letter, and each of its values by itself.

The raw measure is how likely the model found its own words among those that were allowed, or how likely the extractor
found the marks that it copied by. Such numbers are too sure of themselves where much was generated. A map of few
numbers (``SureMap``), fitted beforehand to procedures of the project's own, turns them into probabilities. A shift on
the scale of log odds, from the pairs that were left out when a procedure was trained, moves them for that procedure.

Plain numbers and text: no model, no torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tokmem_desk.generation.answer_segment import AnswerValue
from tokmem_desk.templates.answer_values import ValuePlace

if TYPE_CHECKING:
    from tokmem_desk.generation.trace import Trace

SHIFT_SETTING = "sureness_shift"
"""The setting of a memory that holds its shift, in nats of log odds."""

LEAST_LOG = -20.0
"""Log probabilities below this say no more than this one, in nats."""

_CERTAIN = 0.05
"""Nats by which a log probability of 0 counts as unlikely, so that what had to follow is not surer than anything."""

RUNNERS_UP = 4
"""Other values of a place that are offered, at most."""

_RIVALS = 32
"""Other answers that are looked into for them, the likeliest ones."""


@dataclass(frozen=True, slots=True)
class Signals:
    """What is known of an answer before anything is fitted, in nats.

    Attributes:
        whole: log probability of the answer.
        values: of each value in it, in their order.
        copied: it was copied out of the message by an extractor, not generated.
        others: what may stand in the place of each value instead, the likeliest first.
    """

    whole: float
    values: tuple[float, ...]
    copied: bool = False
    others: tuple[tuple[str, ...], ...] = ()

    @property
    def weakest(self) -> float:
        """Of the least likely value; of the whole answer where it has none."""
        return min(self.values, default=self.whole)


@dataclass(frozen=True, slots=True)
class SureMap:
    """Log odds of being right, from signals; linear in their sureness (``sureness``).

    Attributes:
        whole: constant, and weights of the whole answer's and the weakest value's sureness.
        value: constant, and weight of a value's sureness.
        spread: standard deviation of what procedures differ by, in nats of log odds.
    """

    whole: tuple[float, float, float]
    value: tuple[float, float]
    spread: float

    def whole_odds(self, signals: Signals) -> float:
        """Log odds that the whole answer is right."""
        constant, of_whole, of_weakest = self.whole
        return constant + of_whole * sureness(signals.whole) + of_weakest * sureness(signals.weakest)

    def value_odds(self, log: float) -> float:
        """Log odds that a value is right."""
        constant, weight = self.value
        return constant + weight * sureness(log)


def sureness(log: float) -> float:
    """How sure a log probability in nats says that something is: minus the logarithm of how far it is below 0.

    The odds of being right fall fast where a model begins to doubt, and slowly where it doubts anyway.
    """
    return -math.log(_CERTAIN - max(min(log, 0.0), LEAST_LOG))


GENERATED = SureMap((-1.64, 1.33, 0.0), (-1.39, 1.25), 0.75)
"""Of answers that were generated."""

COPIED = SureMap((0.49, 0.0, 1.57), (1.08, 1.58), 1.25)
"""Of answers that an extractor copied. Both come from ``benchmarks.sureness_fit``."""


def map_of(signals: Signals) -> SureMap:
    """The map for an answer of that kind."""
    return COPIED if signals.copied else GENERATED


@dataclass(frozen=True, slots=True)
class Sure:
    """The probability that an answer is right, given its route, and its values with theirs."""

    probability: float
    values: tuple[AnswerValue, ...]


def sure_of(signals: Signals, places: Sequence[ValuePlace], text: str, shift: float = 0.0) -> Sure:
    """Probabilities of an answer and of its values; no value is less probable than the whole.

    Args:
        places: of the values, as many as ``signals`` has.
        shift: of the procedure, see ``shift_of``.
    """
    found = map_of(signals)
    of_values = [logistic(found.value_odds(log) + shift) for log in signals.values]
    whole = min([logistic(found.whole_odds(signals) + shift), *of_values])
    values = tuple(
        AnswerValue(place.start, place.end, text[place.start : place.end], probability, place.name, others)
        for place, probability, others in zip(places, of_values, signals.others or [()] * len(places), strict=True)
    )
    return Sure(whole, values)


def generated_signals(trace: Trace, places: Sequence[ValuePlace], decode: Callable[[list[int]], str]) -> Signals:
    """The signals of an answer that was generated.

    Args:
        decode: ids to text, as the answer's text was made.
    """
    ends = token_ends(decode, trace.ids)
    values = tuple(log_within(ends, trace.logs, place.start, place.end) for place in places)
    weighed = [(decode(list(rival.ids)), rival.ended) for rival in trace.rivals[:_RIVALS]]
    return Signals(trace.log, values, others=runners_up(trace.text, places, weighed))


def copied_signals(
    logs: Mapping[str, float], others: Mapping[str, Sequence[str]], places: Sequence[ValuePlace]
) -> Signals:
    """The signals of an answer that an extractor copied.

    Args:
        logs: log probability of each of its slots, by name; also of those that it leaves out.
        others: what each slot may hold instead, by name, as it would stand in the answer.
    """
    values = tuple(logs.get(place.name, 0.0) for place in places)
    runners = tuple(tuple(others.get(place.name, ())[:RUNNERS_UP]) for place in places)
    return Signals(sum(logs.values()), values, copied=True, others=runners)


def runners_up(
    text: str, places: Sequence[ValuePlace], weighed: Sequence[tuple[str, bool]]
) -> tuple[tuple[str, ...], ...]:
    """What other answers have in the place of each value: of the first value in which they differ.

    Args:
        text: the answer.
        weighed: other answers, the likeliest first, and whether they came to their end.
    """
    found: list[dict[str, None]] = [{} for _ in places]
    starts = [*(place.start for place in places[1:]), len(text)]
    for other, ended in weighed:
        same = _common(text, other)
        at = next((i for i, place in enumerate(places) if same <= place.end), None)
        if at is None or same < places[at].start:
            continue  # the fixed words differ
        place = places[at]
        behind = text[place.end : starts[at]]
        end = other.find(behind, same) if behind else len(other) if ended and at == len(places) - 1 else -1
        value = other[place.start : end] if end >= 0 else ""
        if value and value != text[place.start : place.end] and len(found[at]) < RUNNERS_UP:
            found[at][value] = None
    return tuple(map(tuple, found))


def _common(one: str, other: str) -> int:
    """With how many characters both begin."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def token_ends(decode: Callable[[list[int]], str], ids: Sequence[int]) -> tuple[int, ...]:
    """Where each token ends in the decoded text, in characters; a part of a character ends where that begins."""
    return tuple(len(decode(list(ids[:count])).rstrip("\ufffd")) for count in range(1, len(ids) + 1))


def log_within(ends: Sequence[int], logs: Sequence[float], start: int, after: int) -> float:
    """Log probability of the tokens that have a character in [start, after), in nats."""
    total, begin = 0.0, 0
    for end, log in zip(ends, logs, strict=True):
        # A token without a character of its own is part of the next one's.
        if begin < after and (end > start or (end == begin and begin >= start)):
            total += log
        begin = end
    return total


def shift_of(odds: Sequence[float], right: Sequence[bool], spread: float) -> float:
    """What a procedure's answers are more (or less) right than the map says, in nats of log odds.

    The most probable one, given answers that were looked at, if procedures differ by a normal distribution with that
    standard deviation: 0 without answers, and near 0 with few.

    Args:
        odds: log odds of each answer by the map alone.
        right: whether each was right.
    """
    shift = 0.0
    for _ in range(50):  # Newton's method on a concave function
        chances = [logistic(one + shift) for one in odds]
        slope = sum(float(was) - chance for was, chance in zip(right, chances, strict=True)) - shift / spread**2
        step = slope / (sum(chance * (1 - chance) for chance in chances) + 1 / spread**2)
        shift += max(-1.0, min(1.0, step))
        if abs(step) < 1e-6:
            break
    return shift


def shift_in(settings: Mapping[str, Any]) -> float:
    """The shift among a memory's settings; 0 where there is none, or none that can be used."""
    found = settings.get(SHIFT_SETTING)
    usable = isinstance(found, int | float) and not isinstance(found, bool) and math.isfinite(found)
    return float(found) if usable and found is not None else 0.0


def logistic(odds: float) -> float:
    """The probability of log odds."""
    return 1 / (1 + math.exp(-odds)) if odds >= 0 else math.exp(odds) / (1 + math.exp(odds))
