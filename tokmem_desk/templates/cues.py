"""Values out of a closed set that a word of the message decides, in any language: ``wtorek`` says ``wt``.

A *cue* is a word, a beginning of words, or a sign that stands only in messages whose answers have one value. With two
dozen pairs many words do so by chance, so a cue counts where chance is an unlikely reason (Fisher's exact test of one
side), and all cues together count where cues found without a pair rarely mislead about that pair. Where cues of two
values stand in a message, both stay possible; where none does, all values do.

Plain data and text: no model, no torch.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import comb

from tokmem_desk.templates.tokens import tokens_of

Values = Sequence[tuple[str, str]]
"""Messages, and what stands in a field of their answers."""

_BY_CHANCE = 0.012
"""Largest probability that pairs drawn at random would all have the one value."""

_TWICE = 2
_SHORTEST, _ENDING = 4, 4
"""Letters of the shortest beginning that stands for several words, and most letters behind it in a word."""

_LONGEST_RUN = 3
"""Signs of a stretch of a script that is written without blanks."""

_MISLEADING = 1 / 20
"""Share of left-out pairs about which the others' cues may mislead, of those about which they say anything."""

_SAYING = 1 / 3
"""Share of left-out pairs about which the others' cues must say something."""

_MOST_CUES = 200
_PREFIX = "by cue "
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")


@dataclass(frozen=True, slots=True)
class Cues:
    """The values that words of a message stand for; ``str`` gives its name in files.

    Attributes:
        by_value: cues of each value; a beginning of words ends in ``*``.
    """

    by_value: Mapping[str, tuple[str, ...]]

    def __str__(self) -> str:
        table = {value: list(cues) for value, cues in self.by_value.items()}
        return _PREFIX + json.dumps(table, ensure_ascii=False)

    def results(self, message: str) -> tuple[str, ...]:
        """The values of which a cue stands in the message."""
        present = cues_in(message)
        return tuple(value for value, cues in self.by_value.items() if not present.isdisjoint(cues))

    def describe(self) -> str:
        """In words for people, one cue a value."""
        return ", ".join(f"{value} for {cues[0].replace('*', '…')}" for value, cues in self.by_value.items() if cues)


@lru_cache(maxsize=1024)
def cues_named(name: str) -> Cues | None:
    """The inverse of ``str``; None where it is the name of none."""
    if not name.startswith(_PREFIX):
        return None
    try:
        table = json.loads(name.removeprefix(_PREFIX))
        found = {str(value): tuple(map(str, cues)) for value, cues in table.items()}
    except (ValueError, AttributeError, TypeError, RecursionError):
        return None
    return Cues(found) if found and sum(map(len, found.values())) <= _MOST_CUES else None


@lru_cache(maxsize=4096)
def cues_in(message: str) -> frozenset[str]:
    """Every cue that a message has: its words and signs, beginnings of its words, and stretches without blanks."""
    found: set[str] = set()
    for token in tokens_of(message.casefold()):
        if token.isspace():
            continue
        found.add(token)
        if not token.isalpha():
            continue
        if _UNSPACED.search(token):
            found |= {
                token[start : start + length]
                for length in range(1, _LONGEST_RUN + 1)
                for start in range(len(token) - length + 1)
            }
        else:
            shortest = max(_SHORTEST, len(token) - _ENDING)
            found |= {f"{token[:length]}*" for length in range(shortest, len(token) + 1)}
    return frozenset(found)


def find_cues(column: Values) -> Cues | None:
    """The cues of a field whose values are a closed set, or None where words decide too little."""
    present = [cues_in(message) for message, _ in column]
    texts = [text for _, text in column]
    if len(set(texts)) < _TWICE:
        return None
    wrong = said = 0
    rows = range(len(column))
    for left_out in rows:
        rest = [row for row in rows if row != left_out]
        cues = _pure(present, texts, rest, present[left_out])
        values = set(cues.values())
        if len(values) == 1:
            said += 1
            wrong += texts[left_out] not in values
        elif values and texts[left_out] not in values:
            said += 1
            wrong += 1
    if said < _SAYING * len(column) or wrong > _MISLEADING * said:
        return None
    pure = _pure(present, texts, rows, frozenset().union(*present))
    by_value: dict[str, list[str]] = defaultdict(list)
    for cue in _fewest(pure, present):
        by_value[pure[cue]].append(cue)
    return Cues({value: tuple(cues) for value, cues in sorted(by_value.items())}) if by_value else None


def _pure(
    present: Sequence[frozenset[str]], texts: Sequence[str], rows: Sequence[int], wanted: frozenset[str]
) -> dict[str, str]:
    """The value of each wanted cue that stands in messages of one value alone, too often for chance."""
    sizes = Counter(texts[row] for row in rows)
    counts: Counter[str] = Counter()
    values: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        for cue in present[row] & wanted:
            counts[cue] += 1
            values[cue].add(texts[row])
    pure: dict[str, str] = {}
    for cue, count in counts.items():
        if count < _TWICE or len(values[cue]) > 1:
            continue
        (value,) = values[cue]
        if comb(sizes[value], count) <= _BY_CHANCE * comb(len(rows), count):
            pure[cue] = value
    return pure


def _fewest(pure: Mapping[str, str], present: Sequence[frozenset[str]]) -> list[str]:
    """Of beginnings of one word that stand in the same messages the shortest, which reaches furthest, and all else."""
    kept: dict[tuple[object, ...], str] = {}
    for cue in sorted(pure, key=lambda cue: (len(cue), cue)):
        rows = tuple(row for row, some in enumerate(present) if cue in some)
        is_word = cue[:_SHORTEST].isalpha() and len(cue) > _SHORTEST
        kept.setdefault((rows, cue[:_SHORTEST]) if is_word else (rows, cue), cue)
    return list(kept.values())
