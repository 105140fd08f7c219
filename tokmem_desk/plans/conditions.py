"""Conditions of plans: read, written, and evaluated over values by the program, never by the model.

A condition is one or more tests, joined by ``and`` or by ``or``::

    {expense.amount} > 50
    {trip.day} < today and {trip.city} not in Bern, Basel
    {contact.phone} is missing

What a test compares with says how both are read: as numbers, as dates, as times of day, else as words, whose capitals
make no difference.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from tokmem_desk.errors import BadInputError
from tokmem_desk.plans.values import Comparable, as_kind, kind_of, shown

REFERENCE = re.compile(r"\{([a-z0-9_-]{1,40}(?:\.[^{}.\s]{1,60}){0,4})\}")
"""A value: ``{step}``, ``{step.key}``, ``{step.key.key}``, or ``{message.number}``."""

_TEST = re.compile(
    r"\{(?P<left>[^{}]+)\} (?:(?P<sign>is missing|is there)|(?P<operator><=|>=|!=|=|<|>|not in|in) (?P<right>.+))"
)
_ORDER: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": lambda a, b: bool(a < b),
    "<=": lambda a, b: bool(a <= b),
    ">": lambda a, b: bool(a > b),
    ">=": lambda a, b: bool(a >= b),
    "=": lambda a, b: bool(a == b),
    "!=": lambda a, b: bool(a != b),
}

Lookup = Callable[[str], Any]
"""The value of a reference, as JSON has it; None where there is none."""


class MissingValue(BadInputError):
    """A condition or a step needs a value that is not there, or that is not of its kind."""

    title = "A value is missing"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One comparison; ``right`` as it was written, empty for ``is missing`` and ``is there``."""

    left: str
    operator: str
    right: str = ""

    def __str__(self) -> str:
        return f"{{{self.left}}} {self.operator}{f' {self.right}' if self.right else ''}"

    def holds(self, lookup: Lookup, today: str) -> tuple[bool, str]:
        """Whether it holds, and the comparison in words, with the values in it.

        Raises:
            MissingValue: a value is not there, or cannot be compared so.
        """
        value = lookup(self.left)
        gone = value is None or value == "" or value == []
        if self.operator in ("is missing", "is there"):
            return gone == (self.operator == "is missing"), f"{{{self.left}}} is {'missing' if gone else 'there'}"
        if gone:
            raise MissingValue(f"{{{self.left}}} is not there.")
        if self.operator in ("in", "not in"):
            options = [part.strip().strip('"') for part in self.right.split(",")]
            inside = any(self._compare(value, option, "=", today) for option in options)
            return inside == (self.operator == "in"), f"{shown(value)} {self.operator} {self.right}"
        right: Any = self.right.strip('"')
        if reference := REFERENCE.fullmatch(self.right):
            right = lookup(reference[1])
            if right is None or right == "":
                raise MissingValue(f"{self.right} is not there.")
        return self._compare(value, right, self.operator, today), f"{shown(value)} {self.operator} {shown(right)}"

    def _compare(self, value: Any, right: Any, operator: str, today: str) -> bool:
        kind = kind_of(right)
        a: Comparable | None = as_kind(value, kind, today)
        b: Comparable | None = as_kind(right, kind, today)
        if a is None or b is None:
            raise MissingValue(f"{shown(value)} in {{{self.left}}} cannot be compared with {shown(right)} as a {kind}.")
        if kind == "word" and operator not in ("=", "!="):
            raise MissingValue(f"{shown(value)} and {shown(right)} are words, and neither is greater.")
        return _ORDER[operator](a, b)


@dataclass(frozen=True, slots=True)
class Condition:
    """Tests, of which all (``and``) or one (``or``) must hold."""

    tests: tuple[Comparison, ...]
    joint: str = "and"

    def __str__(self) -> str:
        return f" {self.joint} ".join(map(str, self.tests))

    @property
    def references(self) -> list[str]:
        """What it refers to."""
        return list(chain(*([test.left, *check_references(test.right)] for test in self.tests)))

    def holds(self, lookup: Lookup, today: str) -> tuple[bool, str]:
        """Whether it holds, and its tests in words, as far as they were looked at.

        Raises:
            MissingValue: a value that decides it is not there, or cannot be compared so.
        """
        words = []
        for test in self.tests:
            one, said = test.holds(lookup, today)
            words.append(said)
            if one == (self.joint == "or"):
                return one, f" {self.joint} ".join(words)
        return self.joint == "and", f" {self.joint} ".join(words)


def read_condition(text: str) -> Condition:
    """The condition that a text is.

    Raises:
        BadInputError: it is none.
    """
    joints = {word for word in ("and", "or") if re.search(rf" {word} (?=\{{)", text)}
    if len(joints) > 1:
        raise BadInputError("'and' and 'or' do not go together; put one 'if' into the other.")
    joint = joints.pop() if joints else "and"
    tests = []
    for part in re.split(rf" {joint} (?=\{{)", text.strip().rstrip(":")):
        found = _TEST.fullmatch(part.strip())
        if found is None:
            raise BadInputError(f"{part.strip()[:60]!r} is no test; one is as: {{expense.amount}} > 50.")
        check_references(f"{{{found['left']}}}")
        check_references(found["right"] or "")
        tests.append(Comparison(found["left"], found["sign"] or found["operator"], (found["right"] or "").strip()))
    return Condition(tuple(tests), joint)


def check_references(text: str) -> list[str]:
    """What a text refers to, in its order.

    Raises:
        BadInputError: what stands in braces is no reference.
    """
    for braced in re.findall(r"\{[^{}]*\}?|\}", REFERENCE.sub("", text)):
        raise BadInputError(
            f"{braced!r} is no value: one is as {{expense}}, {{expense.amount}} or {{message.number}}.",
            next_step="Braces are for values alone.",
        )
    return REFERENCE.findall(text)


def filled(text: str, lookup: Lookup) -> str:
    """A step's text with its values in it.

    Raises:
        MissingValue: one is not there.
    """

    def put(found: re.Match[str]) -> str:
        value = lookup(found[1])
        if value is None or value == "":
            raise MissingValue(f"{found[0]} is not there.")
        return shown(value)

    return REFERENCE.sub(put, text)
