"""The form that all answers of a procedure share, as a regular expression of what may be said to one message.

A form is made of parts: text that always stands there, values out of a closed set, values that stand in the message
(as they are, or written another way), runs of digits or letters, and free text. ``induction`` finds it in example
pairs; ``constrained`` holds an answer to it. Where pairs show that a value is always taken from the message, no other
value can be generated.

Plain data and text: no model, no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tokmem_desk.templates.cues import Cues, cues_named
from tokmem_desk.templates.message_values import SPELLINGS, WAYS, escape, spans, spelled_at, stretch, too_long, written
from tokmem_desk.templates.patterns import PatternError, plain_pattern, repeated
from tokmem_desk.templates.programs import Program, program_named
from tokmem_desk.templates.readings import LONGEST_READ
from tokmem_desk.templates.row_chooser import RowChooser
from tokmem_desk.templates.rows import Row, RowChoice, RowRule, after, can_have_rows, rows_of, up_to_certain
from tokmem_desk.templates.slot_chooser import SlotChooser
from tokmem_desk.templates.slot_pointer import Path, SlotPointer
from tokmem_desk.templates.tokens import token_range

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
        kind: ``text``, ``choice``, ``taken`` (from the message), ``computed`` (from values of the message), ``run`` (of
            one class of characters), ``free``, or ``forms`` (one of several sequences of parts).
        values: the text; or the values of a choice; or those that stand beside what is taken; or what stands where
            nothing is computed; or the characters of a run; or those that free text does without.
        ways: how values of the message are written, see ``message_values``; or programs, the first of which that
            computes anything decides, see ``programs``.
        tokens: tokens of the longest stretch that is taken.
        least, most: length of a run; a most of 0 is without end. A free part with a least of 0 may be empty.
        forms: sequences of parts.
        held: of several sequences only those count whose values the message holds, where there are such.
        rows: how the two values of its one sequence stand to each other in a message.
        only: stretches of one message, as places of their first and last tokens, that alone may be taken; empty for
            all. They belong to that message (``slot_places``) and stand in no file.
        chosen: which lines the answer to one message has; None where nothing is known. It stands in no file either.
    """

    kind: str
    values: tuple[str, ...] = ()
    ways: tuple[str, ...] = ()
    tokens: int = 0
    least: int = 1
    most: int = 0
    forms: tuple[tuple[Part, ...], ...] = ()
    held: bool = False
    rows: RowRule | None = None
    only: tuple[tuple[int, int], ...] = ()
    chosen: RowChoice | None = None

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
            if self.rows is not None and (rows := self.row_pattern(message, used)):
                return rows
            return _group(joined(part.pattern(message, used) for part in form) for form in self.possible(message))
        if self.kind == "computed":
            # In a message that is too long to be read, a value can be anything.
            results = self.results(message) if len(message) <= LONGEST_READ else ()
            return _any_of(results) if results else _ANYTHING
        if self._has_too_many(message):
            return _ANYTHING
        sources = self.sources(message, used)
        values = {value for _, value, whole in sources if whole} | set(self.values)
        stretches = dict.fromkeys(pattern for _, pattern, whole in sources if not whole)
        found = [*map(escape, sorted(values, key=lambda v: (-len(v), v))), *stretches]
        return _group(found) if found else _ANYTHING

    def row_pattern(
        self, message: str, used: frozenset[int] = frozenset(), behind: str | None = None, *, next_line: bool = False
    ) -> str:
        """The regular expression of the lines that a rule allows; empty where it names none.

        Args:
            behind: the line in front.
            next_line: the one that comes next, not any that may come later.
        """
        left = self._rows_left(message, used, behind)
        if self.rows is not None and self.chosen is not None and next_line:
            left = up_to_certain(self.rows, left, self.chosen.must)
        texts = dict.fromkeys(row.text for row in left)
        return _any_of(texts) if texts else ""

    def goes_on(self, message: str, used: frozenset[int], behind: str | None) -> bool:
        """Whether a line is certain to follow."""
        return self.chosen is not None and any(
            row.text in self.chosen.must for row in self._rows_left(message, used, behind)
        )

    def _rows_left(self, message: str, used: frozenset[int], behind: str | None) -> list[Row]:
        if self.rows is None:
            return []
        found: Sequence[Row] = rows_of(self.rows, self.forms[0], message)
        if self.chosen is not None:
            found = [row for row in found if row.text in self.chosen.may]
        left = found if behind is None else after(self.rows, found, behind)
        return [row for row in left if used.isdisjoint(row.places)]

    def row_origins(self, message: str, text: str) -> list[tuple[int, ...]]:
        """The tokens of the message that a line can have been taken from, by place."""
        found = () if self.rows is None else rows_of(self.rows, self.forms[0], message)
        return list(dict.fromkeys(row.places for row in found if row.text == text))

    def possible(self, message: str) -> tuple[tuple[Part, ...], ...]:
        """The sequences that may stand here in answer to a message."""
        if not self.held:
            return self.forms
        return tuple(form for form in self.forms if all(part.has_values(message) for part in form)) or self.forms

    def has_values(self, message: str) -> bool:
        """Whether there is anything that may stand here, as far as a message says."""
        if self.kind == "computed":
            return bool(self.results(message))
        if self.kind == "taken":
            return self._has_too_many(message) or bool(self.values or self.sources(message))
        if self.kind == "forms":
            return any(all(part.has_values(message) for part in form) for form in self.forms)
        return True

    def results(self, message: str) -> tuple[str, ...]:
        """What may stand here in answer to a message: what is computed from it, else the values for want of that."""
        return self.computed(message) or self.values

    def computed(self, message: str) -> tuple[str, ...]:
        """What is computed from a message: the results of the first program that has any."""
        program, results = self._deciding(message)
        if not self.only or not isinstance(program, Program):
            return results
        kept = dict.fromkeys(text for stretch, text in _placed(program, message) if stretch in self.only)
        return tuple(kept) or results

    def _deciding(self, message: str) -> tuple[Program | Cues | None, tuple[str, ...]]:
        """The first program that computes anything from a message, and what; None and nothing where none does."""
        for way in self.ways:
            program = _program(way)
            if program is not None and (results := program.results(message)):
                return program, results
        return None, ()

    def placed(self, message: str) -> list[tuple[tuple[int, int], str]]:
        """What is computed from each value of a message where it is open which is meant.

        Returns:
            The value's stretch, as places of its first and last token, and what is computed from it.
        """
        program, _ = self._deciding(message)
        return _placed(program, message) if isinstance(program, Program) else []

    def sources(self, message: str, used: frozenset[int] = frozenset()) -> list[tuple[int, str, bool]]:
        """Where in the message a value that is taken can come from.

        Returns:
            The place of the first token, and a value and True, or an expression of stretches and False. Nothing where
            the message has too many stretches to name them: then a value can be anything.
        """
        if self._has_too_many(message):
            return []
        if self.only and (kept := self._kept(message, used)):
            return kept
        found: list[tuple[int, str, bool]] = []
        for way in self.ways:
            if way in SPELLINGS:
                found += [(place, pattern, False) for place, pattern in spans(message, way, self.tokens, used)]
            else:
                found += [(place, value, True) for place, value in written(message, way) if place not in used]
        return found

    def _kept(self, message: str, used: frozenset[int]) -> list[tuple[int, str, bool]]:
        """The sources among the stretches that alone may be taken; none where all of them are used."""
        found: list[tuple[int, str, bool]] = []
        for first, last in self.only:
            if not used.isdisjoint(range(first, last + 1)):
                continue
            for way in self.ways:
                if way in SPELLINGS:
                    found.append((first, stretch(message, way, first, last), False))
                elif first == last:
                    found += [(first, value, True) for place, value in written(message, way) if place == first]
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
        if self.kind == "computed":
            ways = [cues.describe() if (cues := cues_named(way)) else way for way in self.ways]
            return _some_of([*ways, *(_short(value) for value in self.values)])
        spellings = [way for way in self.ways if way in SPELLINGS]
        words = [way for way in self.ways if way not in SPELLINGS]
        if spellings:
            kinds = "" if spellings == ["as it is"] else f", {' or '.join(spellings)}"
            words.insert(0, f"{'word' if self.tokens == 1 else 'words'} of the message{kinds}")
        others = [_some_of([_short(value) for value in self.values])] if self.values else []
        return "|".join([*words, *others])

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values; fields at their default are left out."""
        if self.kind == "computed":
            # Programs of before, which know no such part, read free text.
            return {"kind": "free", "programs": list(self.ways), "otherwise": list(self.values)}
        found: dict[str, Any] = {"kind": self.kind}
        for name in ("values", "ways", "tokens", "least", "most"):
            value = getattr(self, name)
            if value != _DEFAULTS[name]:
                found[name] = list(value) if isinstance(value, tuple) else value
        if self.forms:
            found["forms"] = [[part.as_dict() for part in form] for form in self.forms]
        if self.held:
            found["held"] = True
        if self.rows is not None:
            found["rows"] = self.rows.as_dict()
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
        if "programs" in data:
            programs, otherwise = _texts(data["programs"]), _texts(data.get("otherwise", ()))
            # Of a later version there may be programs that are not known: then a value can be anything.
            return cls("computed", otherwise, programs) if all(map(_program, programs)) else cls("free")
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
        rows = RowRule.from_dict(data["rows"]) if "rows" in data else None
        if rows is not None and not (len(forms) == 1 and can_have_rows(forms[0])):
            raise ValueError("a rule for rows needs two values of the message")
        return cls(kind, values, ways, tokens, least, most, forms, held=bool(data.get("held", False)), rows=rows)


def _program(way: str) -> Program | Cues | None:
    """What computes values under that name; None where nothing does."""
    return cues_named(way) or program_named(way)


def _placed(program: Program, message: str) -> list[tuple[tuple[int, int], str]]:
    """See ``Part.placed``; nothing where the program says which value is meant."""
    if not program.leaves_open:
        return []
    placed = ((token_range(message, start, end), text) for start, end, text in program.placed(message))
    return [(stretch, text) for stretch, text in placed if stretch is not None]


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


Origin = Literal["fixed", "message", "choice", "new"]
"""Where a piece of an answer comes from: it always stands there, it stands in the message, it is one of a few values,
or the model writes it."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of one answer."""

    text: str
    origin: Origin


@dataclass(frozen=True, slots=True)
class AnswerTemplate:
    """The form of a procedure's answers. In files it is called ``answer_form``.

    Attributes:
        parts: in their order.
        repeated: an answer is one or more lines of that form.
        once: no two values are taken from the same words of a message.
        pointers: which words of a message some values probably are.
        choosers: which values of closed sets a message probably means.
        row_chooser: which lines a message probably has, where they are named by a rule.
    """

    parts: tuple[Part, ...]
    repeated: bool = False
    once: bool = False
    pointers: tuple[SlotPointer, ...] = ()
    choosers: tuple[SlotChooser, ...] = ()
    row_chooser: RowChooser | None = None

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

    def marked(self, message: str, answer: str) -> list[Piece]:
        """An answer cut into its parts, so that people see where each comes from; empty where it has not the form.

        Of an answer of several lines the first one.
        """
        try:
            return _pieces(self.parts, message, answer.split("\n")[0] if self.repeated else answer)
        except PatternError:  # the message would make it larger than can be matched
            return []

    def as_dict(self) -> dict[str, Any]:
        found: dict[str, Any] = {"parts": [part.as_dict() for part in self.parts], "repeated": self.repeated}
        # Only where it says something, so that a form of an earlier version is written as it was read.
        if self.once:
            found["once"] = True
        if self.pointers:
            found["pointers"] = [pointer.as_dict() for pointer in self.pointers]
        if self.choosers:
            found["choosers"] = [chooser.as_dict() for chooser in self.choosers]
        if self.row_chooser is not None:
            found["row_chooser"] = self.row_chooser.as_dict()
        return found

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
            pointers = tuple(SlotPointer.from_dict(one) for one in data.get("pointers", ()))
            choosers = tuple(SlotChooser.from_dict(one) for one in data.get("choosers", ()))
            rows = RowChooser.from_dict(data["row_chooser"]) if "row_chooser" in data else None
            repeated, once = bool(data.get("repeated", False)), bool(data.get("once", False))
            return cls(parts, repeated, once, pointers, choosers, rows)
        except (KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise ValueError(f"no form of answers ({error!r})") from error


def parts_of(parts: Sequence[Part], message: str, text: str, before: Path = ()) -> Iterator[tuple[Path, Part, str]]:
    """What of a text stands in each part, with the part's path; nothing where it is not of these parts.

    A part of several sequences comes first, then the parts of the first of them that fits.

    Raises:
        PatternError: the message makes the expression too large.
    """
    found = plain_pattern(joined(f"({part.pattern(message)})" for part in parts)).fullmatch(text)
    if found is None:
        return
    for place, part in enumerate(parts):
        piece, path = found.group(place + 1), (*before, place)
        yield path, part, piece
        for number, form in enumerate(part.forms):
            if inner := list(parts_of(form, message, piece, (*path, number))):
                yield from inner
                break


def _pieces(parts: Sequence[Part], message: str, text: str) -> list[Piece]:
    """The pieces of a text that parts make up; empty where they do not.

    Raises:
        PatternError: the message makes the expression too large.
    """
    found = parts_of(parts, message, text)
    return [Piece(piece, _origin(part)) for _, part, piece in found if piece and part.kind != "forms"]


def _origin(part: Part) -> Origin:
    """Where what stands in a part comes from."""
    if part.kind == "choice" and len(part.values) == 1:
        return "fixed"
    found: Mapping[str, Origin] = {"text": "fixed", "taken": "message", "choice": "choice"}
    is_closed = part.kind == "computed" and any(map(cues_named, part.ways))
    return "choice" if is_closed else found.get(part.kind, "new")


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
