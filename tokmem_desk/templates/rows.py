"""Two values of one line that stand beside each other in the message: a thing and how much of it.

Lists are told so in any language: "200 g flour, 3 eggs". Which values stand together, what stands between them, with
what sort of word each begins, and whether lines are sorted is found in the pairs; so a line cannot have the one thing
with the other's amount.

Plain data and text: no model, no torch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any, Protocol

from tokmem_desk.templates.message_values import ANY_CAPITALS, SPELLINGS
from tokmem_desk.templates.tokens import tokens_of

_MOST_ROWS = 4_000
"""Rows of a message that are named; with more of them a line can be anything that its parts can be."""

_LONGEST_GAP = 3
"""Tokens between the two values."""

_RARE = 0.1
"""Share of lines whose gap or first word is listed although no other line has it, at most."""

_BY_CHANCE = 0.05
"""Largest probability that a word would be left out of every answer by chance."""

_TWICE = 2
_FEWEST = 8
"""Lines that show a rule."""

ORDERS = ("", "text", "message")
"""How lines of an answer follow each other: anyhow, sorted, or as they stand in the message."""

_SIGNS = "a0."
"""Classes of a first token: words, numbers, signs."""


class RowPart(Protocol):
    """What is asked of a part of a form (``template.Part``)."""

    @property
    def kind(self) -> str: ...

    @property
    def values(self) -> tuple[str, ...]: ...

    @property
    def ways(self) -> tuple[str, ...]: ...

    @property
    def tokens(self) -> int: ...

    def origins(self, message: str, value: str) -> list[tuple[int, ...]]:
        """The stretches of the message, as places of tokens, that a value can have been taken from."""
        ...


@dataclass(frozen=True, slots=True)
class Row:
    """What a line may have.

    Attributes:
        text: of both values and what is between them.
        places: of the message's tokens that it is taken from.
        first: places of the first and the last token of the first value.
        last: the same of the last value; None where the message has none there.
    """

    text: str
    places: tuple[int, ...]
    first: tuple[int, int]
    last: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class RowChoice:
    """Which lines the answer to one message has, as far as its states say. It stands in no file.

    Attributes:
        may: texts of all that it may have.
        must: texts of those that it has for certain; empty where lines have no order.
    """

    may: frozenset[str]
    must: frozenset[str]


@dataclass(frozen=True, slots=True)
class RowRule:
    """How the first and the last part of a sequence stand to each other in a message.

    Attributes:
        behind: the last one's value stands behind the first one's, else in front of it.
        gaps: what stands between them.
        starts: of the first and of the last value, the classes of the token that it begins with, or the tokens.
        signs: of both, the signs that they have in them.
        defaults: what stands for the last value where the message has none there.
        never: what no first value begins with, although messages offer it again and again: "salt", "kg".
        order: one of ``ORDERS``.
    """

    behind: bool
    gaps: tuple[str, ...]
    starts: tuple[tuple[str, ...], tuple[str, ...]]
    signs: tuple[tuple[str, ...], tuple[str, ...]]
    defaults: tuple[str, ...] = ()
    never: frozenset[str] = frozenset()
    order: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        starts, signs = ([list(some) for some in pair] for pair in (self.starts, self.signs))
        found = {"behind": self.behind, "gaps": list(self.gaps), "starts": starts, "signs": signs}
        return {**found, "defaults": list(self.defaults), "never": sorted(self.never), "order": self.order}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RowRule:
        """Rebuild a rule from ``as_dict``.

        Raises:
            ValueError, KeyError, TypeError: the value has another shape.
        """
        (first, last), (of_first, of_last) = (
            [tuple(map(str, some)) for some in data[name]] for name in ("starts", "signs")
        )
        if data["order"] not in ORDERS:
            raise ValueError("no such order of lines")
        gaps = tuple(map(str, data["gaps"]))
        defaults, never = (tuple(map(str, data[name])) for name in ("defaults", "never"))
        return cls(
            bool(data["behind"]),
            gaps,
            (first, last),
            (of_first, of_last),
            defaults,
            frozenset(never),
            str(data["order"]),
        )


def can_have_rows(parts: Sequence[RowPart]) -> bool:
    """Whether a sequence is two values of the message with text between them."""
    ends = (parts[0], parts[-1]) if len(parts) > 1 else ()
    spelled = all(
        part.kind == "taken" and all(way in SPELLINGS and way != ANY_CAPITALS for way in part.ways) for part in ends
    )
    # What joins the words of a slug is not what stands in the message.
    plain = all(SPELLINGS[way][1] is None for part in ends for way in part.ways if way in SPELLINGS)
    return bool(ends) and spelled and plain and all(part.kind == "text" for part in parts[1:-1])


@lru_cache(maxsize=256)
def rows_of(rule: RowRule, parts: tuple[RowPart, ...], message: str) -> tuple[Row, ...]:
    """What a line may have in answer to a message; nothing where that is too much to name."""
    tokens = tokens_of(message)
    first, last = parts[0], parts[-1]
    between = "".join(part.values[0] for part in parts[1:-1])
    ends = list(_stretches(tokens, last, rule.starts[1], rule.signs[1]))
    by_edge: dict[int, list[tuple[int, int, str]]] = {}
    for start, end, text in ends:
        by_edge.setdefault(start if rule.behind else end, []).append((start, end, text))
    found: list[Row] = []
    for start, end, text in _stretches(tokens, first, rule.starts[0], rule.signs[0]):
        if tokens[start].casefold() in rule.never:
            continue
        beside = [one for edge in _edges(rule, tokens, start, end) for one in by_edge.get(edge, ())]
        places = tuple(range(start, end + 1))
        for other_start, other_end, other in beside:
            whole = (*places, *range(other_start, other_end + 1))
            found.append(Row(text + between + other, whole, (start, end), (other_start, other_end)))
        if not beside:
            found += [Row(text + between + value, places, (start, end)) for value in rule.defaults]
        if len(found) > _MOST_ROWS:
            return ()
    return tuple(found)


def _edges(rule: RowRule, tokens: Sequence[str], start: int, end: int) -> Iterator[int]:
    """Where the other value begins (or ends, where it stands in front)."""
    for gap in rule.gaps:
        count = len(tokens_of(gap))
        if rule.behind and "".join(tokens[end + 1 : end + 1 + count]) == gap:
            yield end + 1 + count
        elif not rule.behind and start >= count and "".join(tokens[start - count : start]) == gap:
            yield start - count - 1


def _stretches(
    tokens: Sequence[str], part: RowPart, starts: Sequence[str], signs: Sequence[str]
) -> Iterator[tuple[int, int, str]]:
    for start, token in enumerate(tokens):
        if token.isspace() or not (class_of(token) in starts or token.casefold() in starts):
            continue
        text = ""
        for end in range(start, min(len(tokens), start + part.tokens)):
            if class_of(tokens[end]) == "." and not tokens[end].isspace() and tokens[end] not in signs:
                break
            text += tokens[end]
            if tokens[end].isspace() or (part.tokens == 1 and not tokens[end].isalnum()):
                continue
            for spelled in dict.fromkeys(SPELLINGS[way][0](text) for way in part.ways):
                yield start, end, spelled


def class_of(token: str) -> str:
    """The class of a value's first token."""
    return "0" if token.isdecimal() else "a" if token.isalnum() else "."


def after(rule: RowRule, rows: Sequence[Row], text: str) -> list[Row]:
    """The rows that may follow a line with that text."""
    if rule.order == "text":
        return [row for row in rows if row.text.casefold() > text.casefold()]
    if rule.order == "message":
        first = min((row.places[0] for row in rows if row.text == text), default=-1)
        return [row for row in rows if row.places[0] > first]
    return list(rows)


def up_to_certain(rule: RowRule, rows: Sequence[Row], must: frozenset[str]) -> list[Row]:
    """The rows that may come next where some are certain to come: none that would leave one of those out.

    Args:
        rows: those that may follow.
        must: texts of those that are certain.
    """
    certain = [_key(rule, row) for row in rows if row.text in must]
    return [row for row in rows if not certain or _key(rule, row) <= min(certain)]


def _key(rule: RowRule, row: Row) -> tuple[str, int]:
    """By what lines follow each other; alike for all where they have no order."""
    return (row.text.casefold() if rule.order == "text" else "", row.places[0] if rule.order == "message" else 0)


def find_rule(parts: tuple[RowPart, ...], answers: Sequence[tuple[str, Sequence[tuple[str, str]]]]) -> RowRule | None:
    """The rule that holds for every line, or None.

    Args:
        parts: see ``can_have_rows``.
        answers: messages, and of each line the two values.
    """
    first, last = parts[0], parts[-1]
    lines = [(message, one, other) for message, values in answers for one, other in values]
    beside = [
        _beside(tokens_of(message), first.origins(message, one), last.origins(message, other))
        for message, one, other in lines
    ]
    if any(not found and other not in last.values for found, (_, _, other) in zip(beside, lines, strict=True)):
        return None
    # Where several things have the same amount it also stands beside another one: what most lines say is meant.
    often = Counter(one for found in beside for one in found)
    behind = sum(count for (side, _), count in often.items() if side) > sum(often.values()) / 2
    gaps: Counter[str] = Counter()
    for found in beside:
        if here := [gap for side, gap in found if side == behind]:
            gaps[max(here, key=lambda gap: (often[behind, gap], gap))] += 1
    has = [any(side == behind for side, _ in found) for found in beside]
    defaults = {other for one, (_, _, other) in zip(has, lines, strict=True) if not one}
    rare = sum(count for count in gaps.values() if count < _TWICE)
    if sum(has) < _FEWEST or rare > _RARE * sum(has) or not defaults <= set(last.values):
        return None
    starts: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    words: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    signs: tuple[set[str], set[str]] = (set(), set())
    for one, (_, thing, much) in zip(has, lines, strict=True):
        for place, value in enumerate((thing, much) if one else (thing,)):
            tokens = tokens_of(value)
            signs[place].update(token for token in tokens if not token.isspace() and class_of(token) == ".")
            starts[place][class_of(tokens[0])] += 1
            words[place][tokens[0].casefold()] += 1
    rule = RowRule(
        behind,
        tuple(sorted(gaps)),
        (_allowed(starts[0], words[0]), _allowed(starts[1], words[1])),
        (tuple(sorted(signs[0])), tuple(sorted(signs[1]))),
        tuple(sorted(defaults)),
    )
    between = "".join(part.values[0] for part in parts[1:-1])
    for message, values in answers:
        named = {row.text for row in rows_of(rule, parts, message)}
        if any(one + between + other not in named for one, other in values):
            return None
    texts = [(message, [one + between + other for one, other in values]) for message, values in answers]
    rule = replace(rule, never=_never(rule, parts, answers))
    return replace(rule, order=_order(rule, parts, texts))


def _beside(
    tokens: Sequence[str], firsts: Sequence[tuple[int, ...]], lasts: Sequence[tuple[int, ...]]
) -> set[tuple[bool, str]]:
    """On which side of the first value the last one stands, and what is between them, wherever they are near."""
    found: set[tuple[bool, str]] = set()
    for one in firsts:
        for other in lasts:
            behind = other[0] > one[-1]
            low, high = (one[-1], other[0]) if behind else (other[-1], one[0])
            if low < high <= low + _LONGEST_GAP + 1:
                found.add((behind, "".join(tokens[low + 1 : high])))
    return found


def _allowed(classes: Counter[str], words: Counter[str]) -> tuple[str, ...]:
    """The classes that values begin with, and single words of a class that is rare."""
    total = sum(classes.values())
    often = [one for one in _SIGNS if classes[one] > _RARE * total]
    return (*often, *sorted(word for word in words if class_of(word) not in often))


def _never(
    rule: RowRule, parts: tuple[RowPart, ...], answers: Sequence[tuple[str, Sequence[tuple[str, str]]]]
) -> frozenset[str]:
    """What messages offer as the beginning of a first value too often for chance without any line that has it."""
    offered: Counter[str] = Counter()
    taken: Counter[str] = Counter()
    for message, values in answers:
        tokens = tokens_of(message)
        begun = {tokens[row.places[0]].casefold() for row in rows_of(rule, parts, message)}
        offered.update(begun)
        taken.update(begun & {tokens_of(one)[0].casefold() for one, _ in values})
    share = sum(taken.values()) / max(1, sum(offered.values()))
    return frozenset(word for word, count in offered.items() if not taken[word] and (1 - share) ** count <= _BY_CHANCE)


def _order(rule: RowRule, parts: tuple[RowPart, ...], answers: Sequence[tuple[str, Sequence[str]]]) -> str:
    for order in ORDERS[1:]:
        ordered = replace(rule, order=order)
        several = [(message, lines) for message, lines in answers if len(lines) > 1]
        if len(several) >= _FEWEST and all(
            any(row.text == line for row in after(ordered, rows_of(ordered, parts, message), before))
            for message, lines in several
            for before, line in pairwise(lines)
        ):
            return order
    return ""
