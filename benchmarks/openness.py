"""How much a form leaves open in answer to one message: what each of its fields could be besides what is right."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tokmem_desk.templates.patterns import PatternError, plain_pattern
from tokmem_desk.templates.rows import rows_of
from tokmem_desk.templates.single_use import sequences
from tokmem_desk.templates.template import AnswerTemplate, Part

_LETTERS = {"[0-9]": 10, "[a-z]": 26, "[A-Z]": 26, "[A-Za-z]": 52}


@dataclass(frozen=True, slots=True)
class Openness:
    """What a form leaves open in a right answer; constant text is no field.

    Attributes:
        fields, fixed: how many fields it has, and how many of them can be nothing else.
        characters, free: of all fields, and of those that are free text.
        bits: log2 of the number of values, summed over fields that are not free text.
        only: whether the form accepts this answer alone.
    """

    fields: int
    fixed: int
    characters: int
    free: int
    bits: float
    only: bool


def openness(form: AnswerTemplate, message: str, answer: str) -> Openness | None:
    """What a form leaves open; None where the answer has not the form, or that has too many alternatives to look."""
    fields = fixed = characters = free = 0
    bits = 0.0
    several = len(sequences(form, message)) > 1
    for line in answer.split("\n") if form.repeated else [answer]:
        found = _read(form, message, line)
        if found is None:
            return None
        for part, text in found:
            if part.kind == "text":
                continue
            count = values_of(part, message)
            fields, fixed, characters = fields + 1, fixed + (count == 1), characters + len(text)
            free += len(text) * (count is None)
            bits += 0.0 if count is None else math.log2(count)
    return Openness(fields, fixed, characters, free, bits, not several and not form.repeated and fixed == fields)


def _read(form: AnswerTemplate, message: str, line: str) -> list[tuple[Part, str]] | None:
    """The parts of a line, each with its text."""
    for parts in sequences(form, message):
        try:
            whole = plain_pattern("".join(f"({part.pattern(message)})" for part in parts))
        except PatternError:
            continue
        if match := whole.fullmatch(line):
            return [(part, match[place] or "") for place, part in enumerate(parts, start=1)]
    return None


def values_of(part: Part, message: str) -> int | None:
    """How many values a part can have in answer to a message; None where they are not counted: free text."""
    if part.kind == "choice":
        return len(part.values)
    if part.kind == "computed":
        return len(part.results(message)) or None
    if part.kind == "run":
        return _LETTERS[part.values[0]] ** max(part.least, part.most)
    if part.rows is not None:
        # Lines of a list: each is a whole.
        return len({row.text for row in rows_of(part.rows, part.forms[0], message)}) or None
    if part.kind == "taken":
        sources = part.sources(message)
        stretches = sum(one.count(")?") + 1 for one in {pattern for _, pattern, whole in sources if not whole})
        count = len({value for _, value, whole in sources if whole} | set(part.values)) + stretches
        return count or None
    return None if part.kind != "text" else 1
