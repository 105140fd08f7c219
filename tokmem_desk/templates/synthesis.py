"""Find programs that compute the values of a field of answers from their messages (program synthesis over examples).

A field becomes a short list of programs: the first one that computes anything from a message decides. A program is
taken only where it explains every pair that it decides, and at least two. The list as a whole must also have been
found without any quarter of the pairs and explain those too.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import comb

from tokmem_desk.templates.languages import likely_languages
from tokmem_desk.templates.programs import (
    OPERATIONS,
    ORDINALS,
    WRITTEN,
    Operand,
    Program,
    program_named,
    result_kind,
    write_all,
    writes_letters,
)
from tokmem_desk.templates.readings import readings

Values = Sequence[tuple[str, str]]
"""Messages, and what stands in a field of their answers."""

_TWICE = 2
_MOST_PROGRAMS = 4
_FEWEST = 6
_FEWEST_VALUES = 3
_ENOUGH = 16
"""A field is computed where it has so many pairs, and so many values; with more pairs two values are enough."""
_DEEP = 3
"""Pairs that a program of two operands must explain."""
_YEARS = range(2015, 2036)
"""Years that dates without one may have, where an answer tells a weekday of them."""
_QUARTERS = 4
_MISSED = 1 / 20
"""Share of pairs that a list may miss which was made without them."""
_DIFFERENT = 1 / 2
"""Share of pairs whose values must differ for a program that only leaves open which value is meant."""
_MOST_OPEN = 4
"""Values that it may leave open in a message, on average."""
_MOST_DEFAULTS = 3 / 4
"""Share of pairs whose value is the one that stands there when none is computed, at most, unless …"""
_NOT_BY_CHANCE = 100
"""… there are so many ways to draw those that are computed: then chance did not choose just the right ones."""
_LONGEST_VALUE = 40
_COST_OF_TWO = 5.0
_OPERANDS = {
    "number": ("first", "second", "last"),
    "money": ("first",),
    "duration": ("first",),
    "span": ("first",),
    "date": ("first", "last"),
    "time": ("first", "last"),
}
"""What is computed with."""
_CONSTANTS = (5, 7, 10, 14, 15, 20, 21, 25, 28, 30, 40, 45, 60, 90)
"""Numbers that are added where a message says none."""


@dataclass(frozen=True, slots=True)
class Computed:
    """Programs in their order, and what stands there when none computes anything."""

    programs: tuple[str, ...]
    default: tuple[str, ...] = ()


@dataclass(slots=True)
class _Candidate:
    """A program and what it makes of each pair's message."""

    name: str
    results: list[tuple[str, ...]]
    cost: float

    def applies(self, rows: Sequence[int]) -> list[int]:
        return [row for row in rows if self.results[row]]


def computed(column: Values) -> Computed | None:
    """The programs that explain a field, or None."""
    texts = [text for _, text in column]
    fewest = _TWICE if len(column) >= _ENOUGH else _FEWEST_VALUES
    if len(column) < _FEWEST or len(set(texts)) < fewest or max(map(len, texts)) > _LONGEST_VALUE:
        return None
    languages = likely_languages(tuple(message for message, _ in column)) or ("en",)
    known: dict[tuple[tuple[str, ...], ...], _Candidate] = {}
    for search in (_candidates, _deeper):
        for language in languages:
            for one in search(column, language):
                # Of programs that do the same here, the plainest is enough.
                same = known.setdefault(tuple(one.results), one)
                if (one.cost, one.name) < (same.cost, same.name):
                    known[tuple(one.results)] = one
        candidates = list(known.values())
        found = _list(candidates, texts, range(len(column)))
        if found is not None and (_is_proved(candidates, texts) or _is_sure(found, candidates, texts)):
            return found
    return None


def constant_of(column: Values) -> str | None:
    """The plainest program that explains a number which is the same in all pairs, or None.

    Such a number may be a value all the same: eight appointments of one month have one.
    """
    texts = [text for _, text in column]
    explaining = [
        one
        for language in likely_languages(tuple(message for message, _ in column)) or ("en",)
        for one in _candidates(column, language)
        if all(results == (text,) for results, text in zip(one.results, texts, strict=True))
    ]
    return min(explaining, key=lambda one: (one.cost, one.name)).name if explaining else None


def _is_sure(found: Computed, candidates: Sequence[_Candidate], texts: Sequence[str]) -> bool:
    """Whether a list is a single program that explains many different values and leaves open which one is meant.

    Without some pairs a program that says which one would have been taken, and would have failed at those. That says
    nothing against the one that leaves it open, which explains too many values for chance.
    """
    if len(found.programs) > 1 or found.default or len(set(texts)) < _DIFFERENT * len(texts):
        return False
    results = next(one.results for one in candidates if one.name == found.programs[0])
    program = program_named(found.programs[0])
    return program is not None and program.leaves_open and sum(map(len, results)) <= _MOST_OPEN * len(texts)


def _is_proved(candidates: Sequence[_Candidate], texts: Sequence[str]) -> bool:
    missed = 0
    # At random: pairs that somebody wrote in turns would be left out by kind.
    rows = list(range(len(texts)))
    random.Random(len(texts)).shuffle(rows)
    results = {one.name: one.results for one in candidates}
    for quarter in range(_QUARTERS):
        unseen = rows[quarter::_QUARTERS]
        seen = [row for row in rows if row not in unseen]
        found = _list(candidates, texts, seen)
        for row in unseen:
            if found is None:
                missed += 1
                continue
            made = next((results[name][row] for name in found.programs if results[name][row]), found.default)
            missed += texts[row] not in made
    return missed <= _MISSED * len(texts)


def _list(candidates: Sequence[_Candidate], texts: Sequence[str], rows: Sequence[int]) -> Computed | None:
    """Programs that explain these rows: always the one next that says most about those that are left."""
    left, names = list(rows), list[str]()
    while left and len(names) < _MOST_PROGRAMS:
        best: tuple[float, float, str] | None = None
        chosen: _Candidate | None = None
        for one in candidates:
            said = one.applies(left)
            if len(said) < (_DEEP if one.cost >= _COST_OF_TWO else _TWICE) or not all(
                texts[row] in one.results[row] for row in said
            ):
                continue
            # Bits that it leaves open, over rows that it decides; what it does not decide is open altogether.
            surely = sum(1 / len(one.results[row]) for row in said)
            key = (-surely, one.cost, one.name)
            if best is None or key < best:
                best, chosen = key, one
        if chosen is None:
            break
        names.append(chosen.name)
        left = [row for row in left if not chosen.results[row]]
    others = Counter(texts[row] for row in left)
    if (
        not names
        or (len(left) > _MOST_DEFAULTS * len(rows) and comb(len(rows), len(left)) < _NOT_BY_CHANCE)
        or any(count < _TWICE for count in others.values())
        or len(others) > 1
    ):
        return None
    return Computed(tuple(names), tuple(others))


def _writers(column: Values, kind: str) -> list[str]:
    """The writers of a kind that can have written such texts."""
    digits = all(text.isdecimal() for _, text in column)
    if not digits and any(text.isdecimal() for _, text in column):
        return list(WRITTEN[kind])
    return [writer for writer in WRITTEN[kind] if writes_letters(writer) != digits]


def _candidates(column: Values, language: str) -> Iterator[_Candidate]:
    """Programs of one operand that explain two pairs or more."""
    for rank, kind in enumerate(WRITTEN):
        # Of two that say the same, the more particular kind is meant.
        less = rank / len(WRITTEN)
        every = [Program("", Operand(kind), language).values(message) for message, _ in column]
        if sum(map(bool, every)) < _TWICE:
            continue
        for writer in _writers(column, kind):
            written = [write_all(writer, values, language) for values in every]
            right = [row for row, (_, text) in enumerate(column) if text in written[row]]
            if len(right) < _TWICE:
                continue
            yield _Candidate(str(Program(writer, Operand(kind), language)), written, 3 + less)
            for operand, cost in _operands(column, language, kind, right):
                program = Program(writer, operand, language)
                results = [program.results(message) for message, _ in column]
                if sum(text in one for one, (_, text) in zip(results, column, strict=True)) >= _TWICE:
                    yield _Candidate(str(program), results, cost + less)


def _operands(column: Values, language: str, kind: str, right: Sequence[int]) -> Iterator[tuple[Operand, int]]:
    for name in ORDINALS:
        yield Operand(kind, name), 1 + (name in ("third", "fourth"))
    beside: Counter[tuple[str, str]] = Counter()
    for row in right:
        for one in readings(column[row][0], language).get(kind, ()):
            for which, word in (("after", one.before), ("before", one.after)):
                if word and word.isalpha():
                    beside[which, word] += 1
    for (which, word), count in beside.items():
        if count >= _TWICE:
            yield Operand(kind, which, word), 2


def _deeper(column: Values, language: str) -> Iterator[_Candidate]:
    """Programs of two operands that explain some pairs."""
    kinds = Counter(kind for message, _ in column for kind in readings(message, language))
    operands = [Operand(kind, which) for kind, some in _OPERANDS.items() if kinds[kind] >= _DEEP for which in some]
    for one, other in product(operands, operands):
        for operation in OPERATIONS:
            result = result_kind(operation, one.kind, other.kind)
            # Sums and products are the same in both orders.
            ordered = operation == "minus" or result in ("date", "time") or str(one) < str(other)
            if result is not None and one != other and ordered:
                yield from _written(column, language, result, one, operation, other)
    for one in operands:
        if one.kind in ("date", "time"):
            for number in (0, *_CONSTANTS):
                yield from _written(column, language, one.kind, one, "plus", Operand("number", "constant", str(number)))


def _written(
    column: Values, language: str, kind: str, operand: Operand, operation: str, other: Operand
) -> Iterator[_Candidate]:
    writers = _writers(column, kind)
    if not writers:
        return
    days = [writer for writer in writers if writer.startswith("weekday")] if kind == "date" else []
    for year in (None, *(_YEARS if days and _are_weekdays(column, language, days) else ())):
        program = Program("", operand, language, operation, other, year)
        values = [program.values(message) for message, _ in column]
        if sum(map(bool, values)) < _DEEP:
            continue
        for writer in writers if year is None else days:
            written = [write_all(writer, one, language) if one else () for one in values]
            if sum(text in one for one, (_, text) in zip(written, column, strict=True)) >= _DEEP:
                # The date itself in a year is the plainest of all that give the same weekday.
                less = other.which == "constant" and other.word == "0"
                yield _Candidate(str(replace(program, writer=writer)), written, _COST_OF_TWO + 1 - less)


def _are_weekdays(column: Values, language: str, writers: Sequence[str]) -> bool:
    texts = {text for _, text in column}
    return any(texts <= set(write_all(writer, range(7), language)) for writer in writers)
