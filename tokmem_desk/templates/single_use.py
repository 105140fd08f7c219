"""Track an answer in a template whose values are taken from the message at most once each.

A regular expression cannot say that, so the answer is read as it grows: what it has taken so far is left out
of the expression for the rest. A sequence of parts that needs more values than the message has left cannot be entered.

Plain data and text: no model, no torch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from itertools import product
from typing import Any

from tokmem_desk.templates.message_values import escape
from tokmem_desk.templates.patterns import Pattern, PatternError, plain_pattern
from tokmem_desk.templates.template import AnswerTemplate, Part, joined

_MOST_SEQUENCES = 64
"""With more combinations of alternatives the template is used without this rule."""

_MOST_TRIED = 2_000
"""Ways to give values a stretch of their own that are tried."""

Taken = tuple[tuple[tuple[int, ...], ...], ...]
"""Of each value, the stretches of the message that it can be, as places of tokens; without values that need none."""

Used = frozenset[int]
"""Places of tokens that nothing more may be taken from."""


def sequences(form: AnswerTemplate, message: str | None = None) -> list[tuple[Part, ...]]:
    """The form without alternatives: every sequence of parts that a line of it can be; none when there are too many.

    Args:
        message: that an answer is to; without one every sequence counts.
    """
    choices: list[tuple[tuple[Part, ...], ...]] = []
    for part in form.parts:
        # A line that a rule names is one part: what stands in it belongs together.
        if part.kind == "forms" and (message is None or part.rows is None):
            inner = part.forms if message is None else part.possible(message)
        else:
            inner = ((part,),)
        if any(one.kind == "forms" and one.rows is None for sequence in inner for one in sequence):
            return []
        choices.append(inner)
    count = 1
    for inner in choices:
        count *= len(inner)
    if count > _MOST_SEQUENCES:
        return []
    return [tuple(part for inner in chosen for part in inner) for chosen in product(*choices)]


class FormWalk:
    """What an answer to one message may still contain, given its beginning."""

    def __init__(self, form: AnswerTemplate, message: str) -> None:
        self._message = message
        self._repeated = form.repeated
        self._lines = sequences(form, message)
        # Asked for at every token and sequence, mostly with the same arguments.
        self._prefixes, self._line = cache(self._prefix), cache(self._line_without)
        self._pattern, self._starts = cache(self._pattern_of), cache(self._starts_of)
        self._origins = cache(self._origins_of)
        self._told: tuple[object, ...] = ()

    def begin(self) -> str | None:
        """The expression of all answers; None where the message has too few values for any.

        Raises:
            PatternError: the message makes it larger than is of use.
        """
        line = self._line(frozenset())
        if not line or not self._repeated:
            return line
        return joined((self._line(frozenset(), next_line=True) or line, "(?:\\n", line, ")*"))

    def narrow(self, text: str) -> str | None:
        """The expression of all answers that begin with ``text``; None where nothing more is known than before."""
        taken: Taken = ()
        last: str | None = None
        done, line = "", text
        if self._repeated and "\n" in text:
            done, line = text[: text.rindex("\n") + 1], text[text.rindex("\n") + 1 :]
            taken = self.taken(done[:-1].split("\n")) or ()
            last = self._row_in(done[:-1].split("\n")[-1])
        found = [(place, *self._progress(place, line)) for place in range(len(self._lines))]
        whole = self.taken([line]) if self._repeated and line else None
        # A line may grow, but it will never take less than it does now.
        here = last if whole is None else self._row_in(line)
        ends = not self._repeated or self._line(_used((*taken, *(whole or ()))), here) is None
        goes_on = whole is not None and self._goes_on(_used((*taken, *whole)), here)
        told = (done, ends, goes_on, *((place, count) for place, count, _, _ in found))
        if told == self._told:
            return None
        self._told = told
        ways = []
        for place, count, head, more in found:
            rest = self._rest(self._lines[place][count:], _used((*taken, *more)), last, next_line=True)
            ways += [escape(head) + rest] if rest is not None else []
        if not ways:
            return None
        # Which words later lines may take is known when this one is done.
        more_lines = None if ends else self._line(_used(taken), last)
        later = "" if more_lines is None else f"(?:\\n{more_lines}){'+' if goes_on else '*'}"
        return joined((escape(done), "(?:", ways[0], *(f"|{way}" for way in ways[1:]), ")", later))

    def taken(self, lines: Sequence[str]) -> Taken | None:
        """What whole lines take from the message; None when one of them has not the form."""
        taken: Taken = ()
        for line in lines:
            for place, parts in enumerate(self._lines):
                prefix = self._prefixes(place, len(parts))
                if prefix is not None and (found := prefix.fullmatch(line)):
                    taken += self._taken(parts, found)
                    break
            else:
                return None
        return taken

    def _row_in(self, line: str) -> str | None:
        """What stands in a line in the place of the part that a rule names; None where it has none."""
        for place, parts in enumerate(self._lines):
            prefix = self._prefixes(place, len(parts))
            if prefix is not None and (found := prefix.fullmatch(line)):
                return next((found[number] for number, part in enumerate(parts, 1) if part.rows is not None), None)
        return None

    def _goes_on(self, used: Used, last: str | None) -> bool:
        """Whether a further line is certain."""
        return any(part.goes_on(self._message, used, last) for parts in self._lines for part in parts)

    def _line_without(self, used: Used, last: str | None = None, *, next_line: bool = False) -> str | None:
        """The expression of a line that takes nothing used; None when too little is left for any.

        Args:
            last: what the line in front has in the place of the part that a rule names.
            next_line: see ``Part.row_pattern``.
        """
        ways = [
            rest for parts in self._lines if (rest := self._rest(parts, used, last, next_line=next_line)) is not None
        ]
        return joined(("(?:", ways[0], *(f"|{way}" for way in ways[1:]), ")")) if ways else None

    def _prefix(self, place: int, count: int) -> Pattern | None:
        """The first parts of a sequence, a group for each; None where the message makes them too large."""
        try:
            return plain_pattern(joined(f"({self._pattern(part)})" for part in self._lines[place][:count]))
        except PatternError:
            return None

    def _progress(self, place: int, line: str) -> tuple[int, str, Taken]:
        """How many parts of a sequence a line has behind it, up to a text; their text, and what they take."""
        parts = self._lines[place]
        for count in range(len(parts), 0, -1):
            last = parts[count - 1]
            # An expression that cannot match need not be compiled.
            if last.kind != "text" or last.values[0] not in line:
                continue
            prefix = self._prefixes(place, count)
            if prefix is not None and (found := prefix.match(line)):
                return count, found[0], self._taken(parts[:count], found)
        return 0, "", ()

    def _taken(self, parts: Sequence[Part], found: Any) -> Taken:
        return tuple(
            origins
            for place, part in enumerate(parts, start=1)
            if (part.kind == "taken" or part.rows is not None) and (origins := self._origins(part, found[place]))
        )

    def _rest(
        self, parts: Sequence[Part], used: Used, last: str | None = None, *, next_line: bool = False
    ) -> str | None:
        """The expression of parts that take nothing used; None when too little is left for them."""
        needs = [
            self._starts(part, used)
            for part in parts
            if part.kind == "taken" and not part.values and self._starts(part)
        ]
        if not _each_has_one(needs):
            return None
        found = [self._pattern(part, used, last, next_line) for part in parts]
        return joined(found) if all(one or not part.rows for one, part in zip(found, parts, strict=True)) else None

    def _pattern_of(
        self, part: Part, used: Used = frozenset(), last: str | None = None, next_line: bool = False
    ) -> str:
        """The expression of a part; empty where a rule names nothing more."""
        if part.rows is not None and self._has_rows(part):
            return part.row_pattern(self._message, used, last, next_line=next_line)
        return part.pattern(self._message, used)

    def _has_rows(self, part: Part) -> bool:
        return bool(part.row_pattern(self._message))

    def _origins_of(self, part: Part, value: str) -> tuple[tuple[int, ...], ...]:
        if part.rows is not None:
            return tuple(part.row_origins(self._message, value))
        return tuple(part.origins(self._message, value))

    def _starts_of(self, part: Part, used: Used = frozenset()) -> Used:
        """Places of the tokens with which a value of a part can begin."""
        return frozenset(place for place, _, _ in part.sources(self._message, used))


def _used(taken: Taken) -> Used:
    """Tokens that certainly belong to a value: a value that stands in the message twice may be either."""
    counts = Counter(taken)
    return frozenset(
        token for origins, count in counts.items() if count >= len(origins) for one in origins for token in one
    )


def _each_has_one(needs: Sequence[frozenset[int]]) -> bool:
    """Whether each value can have a stretch of its own (augmenting paths, Kuhn 1955)."""
    owner: dict[int, int] = {}

    def find(who: int, seen: set[int]) -> bool:
        for one in needs[who]:
            if one in seen:
                continue
            seen.add(one)
            if one not in owner or find(owner[one], seen):
                owner[one] = who
                return True
        return False

    return all(find(who, set()) for who in range(len(needs)))


def takes_once(form: AnswerTemplate, message: str, answer: str) -> bool:
    """Whether every value of an answer of this form can have come from words of its own."""
    taken = FormWalk(form, message).taken(answer.split("\n") if form.repeated else [answer])
    if taken is None:
        return False
    tried = 0

    def place(values: Taken, used: Used) -> bool:
        nonlocal tried
        tried += 1
        if not values or tried > _MOST_TRIED:
            return not values
        return any(used.isdisjoint(one) and place(values[1:], used.union(one)) for one in values[0])

    # Values with the fewest origins first.
    return place(tuple(sorted(taken, key=len)), frozenset())
