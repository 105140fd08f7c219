"""The form that all answers of a procedure share, as a regular expression of what may be said to one message.

A form is made of parts: text that always stands there, values out of a closed set, values that stand in the message
(as they are, or written another way), runs of digits or letters, and free text. ``induction`` finds it in example
pairs; ``constrained`` holds an answer to it. Where pairs show that a value is always taken from the message, no other
value can be generated.

Plain data and text: no model, no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tokmem_desk.templates.message_values import SPELLINGS, WAYS, escape, spans, spelled_at, too_long, written
from tokmem_desk.templates.patterns import PatternError, plain_pattern, repeated

TEMPLATE_SETTING = "answer_form"
"""The setting of a memory that holds its form."""

_SHOWN = 6
"""Values of a closed set that ``describe`` names, and sequences of parts."""

_SHOWN_LENGTH = 24
"""Characters of such a value."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a form.

    Attributes:
        kind: ``text``, ``choice``, ``taken`` (from the message), ``run`` (of one class of characters), ``free``, or
            ``forms`` (one of several sequences of parts).
        values: the text; or the values of a choice; or those that stand beside what is taken; or the characters of a
            run; or those that free text does without.
        ways: how values of the message are written, see ``message_values``.
        tokens: tokens of the longest stretch that is taken.
        least, most: length of a run; a most of 0 is without end. A free part with a least of 0 may be empty.
        forms: sequences of parts.
    """

    kind: str
    values: tuple[str, ...] = ()
    ways: tuple[str, ...] = ()
    tokens: int = 0
    least: int = 1
    most: int = 0
    forms: tuple[tuple[Part, ...], ...] = ()

    def pattern(self, message: str, used: frozenset[int] = frozenset()) -> str:
        """The regular expression of what may stand here in answer to a message.

        Args:
            used: places of the message's tokens that nothing more may be taken from.
        """
        if self.kind == "text":
            return escape(self.values[0])
        if self.kind == "choice":
            return _any_of(self.values)
        if self.kind == "run":
            return repeated(self.values[0], self.least, self.most or None)
        if self.kind == "free":
            return f"[^\\n{''.join(map(escape, self.values))}]{'+' if self.least else '*'}"
        if self.kind == "forms":
            return _group(joined(part.pattern(message, used) for part in form) for form in self.forms)
        if self._has_too_many(message):
            return _ANYTHING
        sources = self.sources(message, used)
        values = {value for _, value, whole in sources if whole} | set(self.values)
        stretches = dict.fromkeys(pattern for _, pattern, whole in sources if not whole)
        found = [*map(escape, sorted(values, key=lambda v: (-len(v), v))), *stretches]
        return _group(found) if found else _ANYTHING

    def sources(self, message: str, used: frozenset[int] = frozenset()) -> list[tuple[int, str, bool]]:
        """Where in the message a value that is taken can come from.

        Returns:
            The place of the first token, and a value and True, or an expression of stretches and False. Nothing where
            the message has too many stretches to name them: then a value can be anything.
        """
        if self._has_too_many(message):
            return []
        found: list[tuple[int, str, bool]] = []
        for way in self.ways:
            if way in SPELLINGS:
                found += [(place, pattern, False) for place, pattern in spans(message, way, self.tokens, used)]
            else:
                found += [(place, value, True) for place, value in written(message, way) if place not in used]
        return found

    def _has_too_many(self, message: str) -> bool:
        """Whether a message has more stretches than can be named; some of them alone would forbid the right one."""
        return any(way in SPELLINGS for way in self.ways) and too_long(message, self.tokens)

    def origins(self, message: str, value: str) -> list[tuple[int, ...]]:
        """The stretches of the message, as places of tokens, that a value can have been taken from."""
        found: dict[tuple[int, ...], None] = {}
        for way in self.ways:
            if way in SPELLINGS:
                found |= dict.fromkeys(spelled_at(message, value, way))
            else:
                found |= dict.fromkeys((place,) for place, one in written(message, way) if one == value)
        return list(found)

    def describe(self) -> str:
        """The part in words for people: text as it stands, everything else between ‹ and ›, free text as …."""
        if self.kind == "text" or (self.kind == "choice" and len(self.values) == 1):
            return _on_one_line(self.values[0])
        if self.kind == "forms" and len(self.forms) == 1:
            return "".join(part.describe() for part in self.forms[0])
        return "…" if self.kind == "free" else f"‹{self._inner()}›"

    def _inner(self) -> str:
        if self.kind == "choice":
            return _some_of([_short(value) for value in self.values])
        if self.kind == "run":
            return _run_words(self.values[0], self.least, self.most)
        if self.kind == "forms":
            return _some_of([_sequence_words(form) for form in self.forms])
        spellings = [way for way in self.ways if way in SPELLINGS]
        words = [way for way in self.ways if way not in SPELLINGS]
        if spellings:
            kinds = "" if spellings == ["as it is"] else f", {' or '.join(spellings)}"
            words.insert(0, f"{'word' if self.tokens == 1 else 'words'} of the message{kinds}")
        others = [_some_of([_short(value) for value in self.values])] if self.values else []
        return "|".join([*words, *others])

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values; fields at their default are left out."""
        found: dict[str, Any] = {"kind": self.kind}
        for name in ("values", "ways", "tokens", "least", "most"):
            value = getattr(self, name)
            if value != _DEFAULTS[name]:
                found[name] = list(value) if isinstance(value, tuple) else value
        if self.forms:
            found["forms"] = [[part.as_dict() for part in form] for form in self.forms]
        return found

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Part:
        """Rebuild a part from ``as_dict``.

        Raises:
            ValueError: the value has another shape.
        """
        kind = data["kind"]
        if kind not in _KINDS:
            raise ValueError(f"no such part: {kind!r}")
        values, ways = _texts(data.get("values", ())), _texts(data.get("ways", ()))
        needs_one = kind in ("text", "run")
        if (needs_one and len(values) != 1) or (kind == "run" and values[0] not in CLASSES):
            raise ValueError(f"a part of kind {kind!r} needs one value of its own")
        if not set(ways) <= {*SPELLINGS, *WAYS}:
            raise ValueError("no such way to write a value")
        forms = tuple(tuple(cls.from_dict(part) for part in form) for form in data.get("forms", ()))
        tokens, least, most = (int(data.get(name, _DEFAULTS[name])) for name in ("tokens", "least", "most"))
        if not (0 <= tokens <= LONGEST and 0 <= least <= LONGEST and 0 <= most <= LONGEST):
            raise ValueError("a length that cannot be")
        return cls(kind, values, ways, tokens, least, most, forms)


_ANYTHING = "[^\\n]+"
"""Where a message holds nothing of what is usually taken from it, or too much to name all of it."""

_KINDS = ("text", "choice", "taken", "run", "free", "forms")
_DEFAULTS: Mapping[str, Any] = {"values": (), "ways": (), "tokens": 0, "least": 1, "most": 0}
_CLASS_NAMES = {"[0-9]": "digit", "[a-z]": "small letter", "[A-Z]": "capital letter", "[A-Za-z]": "letter"}
CLASSES = tuple(_CLASS_NAMES)
"""What a run may be made of."""
LONGEST = 10_000
"""Largest number that a part may hold."""
MOST_PARTS = 500
"""Parts of a form, those within parts included; real ones have tens."""
MOST_LEVELS = 8
"""How deep parts stand within parts; real ones reach the second level."""
_LARGEST_EXPRESSION = 4_000_000
"""Characters; those of the longest messages that are looked into have some hundred thousand."""


@dataclass(frozen=True, slots=True)
class AnswerTemplate:
    """The form of a procedure's answers. In files it is called ``answer_form``.

    Attributes:
        parts: in their order.
        repeated: an answer is one or more lines of that form.
        once: no two values are taken from the same words of a message.
    """

    parts: tuple[Part, ...]
    repeated: bool = False
    once: bool = False

    def pattern(self, message: str) -> str:
        """The regular expression that every answer to this message matches in full.

        Raises:
            PatternError: the message makes it larger than is of use.
        """
        line = joined(part.pattern(message) for part in self.parts)
        return joined((line, "(?:\\n", line, ")*")) if self.repeated else line

    def describe(self) -> str:
        """One line for people, such as ``2025-‹month, two digits›;‹food|fun|home›;…``; ⏎ is a new line."""
        line = "".join(part.describe() for part in self.parts)
        notes = ["one or more such lines"] * self.repeated + ["nothing of the message twice"] * self.once
        return f"{line} ({', '.join(notes)})" if notes else line

    def accepts(self, message: str, answer: str) -> bool:
        """Whether an answer has the form."""
        try:
            return plain_pattern(self.pattern(message)).fullmatch(answer) is not None
        except PatternError:  # the message would make it larger than can be matched
            return False

    def as_dict(self) -> dict[str, Any]:
        found = {"parts": [part.as_dict() for part in self.parts], "repeated": self.repeated}
        # Only where it says something, so that a form of an earlier version is written as it was read.
        return {**found, "once": True} if self.once else found

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> AnswerTemplate:
        """Rebuild a template from ``as_dict``.

        Raises:
            ValueError: the value has another shape.
        """
        try:
            if _parts_in(data["parts"]) > MOST_PARTS:
                raise ValueError("more parts than any form has")
            parts = tuple(Part.from_dict(part) for part in data["parts"])
            return cls(parts, bool(data.get("repeated", False)), bool(data.get("once", False)))
        except (KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise ValueError(f"no form of answers ({error!r})") from error


def template_in(settings: Mapping[str, object]) -> AnswerTemplate | None:
    """The form among a memory's settings; None where there is none, or it cannot be read."""
    found = settings.get(TEMPLATE_SETTING)
    try:
        return AnswerTemplate.from_dict(found) if isinstance(found, dict) else None
    except ValueError:
        return None


def joined(pieces: Iterable[str]) -> str:
    """One expression out of several.

    Raises:
        PatternError: it becomes larger than is of use; what is beyond that is not looked at.
    """
    found, size = [], 0
    for piece in pieces:
        found.append(piece)
        size += len(piece)
        if size > _LARGEST_EXPRESSION:
            raise PatternError("is too large for this message")
    return "".join(found)


def _on_one_line(text: str) -> str:
    return text.replace("\n", "⏎").replace("\t", "⇥")


def _short(value: str) -> str:
    line = _on_one_line(value)
    return line if len(line) <= _SHOWN_LENGTH else f"{line[: _SHOWN_LENGTH - 1]}…"


def _some_of(words: Sequence[str]) -> str:
    more = len(words) - _SHOWN
    return "|".join([*words[:_SHOWN], f"{more} more"] if more > 0 else words)


def _sequence_words(form: Sequence[Part]) -> str:
    """One of several sequences; the signs around a part that stands alone would stand twice."""
    words = "".join(part.describe() for part in form)
    alone = len(form) == 1 and words.startswith("‹") and words.endswith("›")
    return words[1:-1] if alone and form[0].kind != "forms" else words or "nothing"


def _run_words(kind: str, least: int, most: int) -> str:
    name = _CLASS_NAMES[kind]
    if least == most:
        return f"{least} {name}{'' if least == 1 else 's'}"
    if not most:
        return f"{name}s" if least <= 1 else f"{least} or more {name}s"
    return f"{least} to {most} {name}s"


def _any_of(values: Iterable[str]) -> str:
    return _group(escape(value) for value in sorted(values, key=lambda v: (-len(v), v)))


def _group(patterns: Iterable[str]) -> str:
    return f"(?:{joined(piece for pattern in patterns for piece in ('|', pattern))[1:]})"


def _parts_in(parts: Sequence[Mapping[str, Any]], level: int = 1) -> int:
    """How many parts there are, those within parts included.

    Raises:
        ValueError: they are nested too deeply.
    """
    if level > MOST_LEVELS:
        raise ValueError("parts nested too deeply")
    return len(parts) + sum(_parts_in(form, level + 1) for part in parts for form in part.get("forms", ()))


def _texts(values: Sequence[Any]) -> tuple[str, ...]:
    if not isinstance(values, (list, tuple)) or not all(isinstance(value, str) for value in values):
        raise ValueError("texts were expected")
    return tuple(values)
