"""A call's arguments as the argument vector of a local program: a template with slots, filled in.

    todo add --list={list?} -- {text}        one argument each, whatever the values hold
    tag {name} -- {tags...}                  one argument for each item of a list

A slot names a property of the procedure's schema. ``{name}`` must have a value; ``{name?}`` lets its whole argument
go when there is none; ``{name...}`` stands alone and becomes as many arguments as the list has items. ``{{`` and
``}}`` are braces. No shell reads the result: quotes, spaces and semicolons in a value mean nothing. A value that
begins with ``-`` would be read as an option by most programs, so it is refused where it would stand at the beginning
of an argument, unless ``--`` stands earlier in the template. No value may become code: ``code_slots`` finds where one
would. Runs nothing.

Answers without a schema are one text. ``{answer}`` is the slot for it, and the only one.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tokmem_desk.errors import BadInputError
from tokmem_desk.templates.code_slots import Argument, code_slot

ANSWER_SLOT = "answer"
"""Stands for the whole answer of a procedure without a schema."""

LONGEST_ARGUMENT = 30_000
"""Characters; a system's own limit on one argument may be as low as 32,767."""

_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*?)(\?|\.\.\.)?\}|[{}]")


def check_template(template: Sequence[str], schema: Mapping[str, Any] | None) -> None:
    """Check a template against the schema whose properties its slots name.

    Args:
        template: the program and its arguments.
        schema: of the answers; None where they are free text.

    Raises:
        BadInputError: no program, a slot in its name, an unknown slot, a stray brace, or a slot whose value would be
            code.
    """
    if not template or not template[0].strip():
        raise BadInputError("The command has no program.", next_step="Write: proc command NAME -- PROGRAM ARGUMENT ...")
    known = {ANSWER_SLOT: {}} if schema is None else schema.get("properties")
    names = list(known) if isinstance(known, dict) else []
    for place, element in enumerate(template):
        slots = _slots(element)
        if "\0" in element:
            raise BadInputError(f"Argument {place} of the command has a NUL character.", next_step="Remove it.")
        if place == 0 and slots:
            raise BadInputError(
                "The program itself cannot be a slot: a value must not choose what runs.",
                next_step="Name the program.",
            )
        for name, mark in slots:
            if name not in names:
                if schema is None:
                    raise BadInputError(
                        f"The command's slot {{{name}}} names a property, and there is no schema.",
                        next_step="Write {answer}, the whole text of the answer; {{ and }} stand for braces.",
                    )
                raise BadInputError(
                    f"The command's slot {{{name}}} is no property of the schema"
                    f" (it has {', '.join(names) or 'none'}).",
                    next_step="Correct the slot; {{ and }} stand for braces.",
                )
            if mark == "..." and element != f"{{{name}...}}":
                raise BadInputError(
                    f"{{{name}...}} becomes several arguments, so it must stand alone, not in {element!r}.",
                    next_step=f"Write it as an argument of its own, or use {{{name}}}.",
                )
    found = code_slot([_argument(element) for element in template])
    if found is not None:
        raise BadInputError(
            found.sentence, next_step="Put the code into a file, name that file, and hand it the values as arguments."
        )


def fill(template: Sequence[str], arguments: Mapping[str, Any]) -> list[str]:
    """The argument vector.

    Args:
        template: checked by ``check_template``.
        arguments: of the call; those that no slot names are left out.

    Raises:
        BadInputError: a value is missing, is no text that a program can be given, or would be read as an option.
    """
    vector: list[str] = []
    free = False
    for element in template:
        spread = re.fullmatch(r"\{([^{}]*)\.\.\.\}", element)
        if spread is not None:
            values = _list(spread.group(1), arguments)
            vector += [_guarded(_text(spread.group(1), value), spread.group(1), free=free) for value in values]
            continue
        filled = _filled(element, arguments, free=free)
        if filled is not None:
            vector.append(filled)
        free = free or element == "--"
    return vector


def consent_digest(template: Sequence[str], program: str, schema: str) -> str:
    """What "always allow" holds for: this template, this very program, answers of this form. Any change asks anew.

    Args:
        template: as stored.
        program: the path that its first element leads to.
        schema: the procedure's.
    """
    return hashlib.sha256(json.dumps([list(template), program, schema]).encode()).hexdigest()


def _slots(element: str) -> list[tuple[str, str]]:
    """Names and marks of the slots of one element."""
    found = []
    for piece in _PIECE.finditer(element):
        if piece.group() in "{}":
            raise BadInputError(
                f"{element!r} has a brace without its partner.", next_step="Write {{ and }} for braces themselves."
            )
        if piece.group(1) is not None:
            found.append((piece.group(1), piece.group(2) or ""))
    return found


def _argument(element: str) -> Argument:
    """An element for those who ask what its value would be."""
    slots = _slots(element)
    head = next((piece.start() for piece in _PIECE.finditer(element) if piece.group(1) is not None), len(element))
    text = element[:head].replace("{{", "{").replace("}}", "}")
    return Argument(element, text, bool(slots), any(mark for _, mark in slots))


def _filled(element: str, arguments: Mapping[str, Any], *, free: bool) -> str | None:
    """One element with its values; None where an optional one is missing."""
    text, end, first = "", 0, ""
    for piece in _PIECE.finditer(element):
        text += element[end : piece.start()]
        end = piece.end()
        name = piece.group(1)
        if name is None:
            text += piece.group()[0]
            continue
        value = arguments.get(name)
        if value is None:
            if piece.group(2) == "?":
                return None
            raise BadInputError(
                f"The call has no value for {name!r}, which the command needs.",
                next_step=f"Ask again, or write {{{name}?}} in the command.",
            )
        # Only a value at the very beginning of an argument decides whether it looks like an option.
        first = first or (name if not text else "")
        text += _text(name, value)
    text += element[end:]
    return _guarded(text, first, free=free) if first else _bounded(text, element)


def _list(name: str, arguments: Mapping[str, Any]) -> list[Any]:
    value = arguments.get(name)
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _text(name: str, value: Any) -> str:
    """A value as text: strings as they are, everything else as JSON."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if "\0" in text:
        raise BadInputError(f"The value of {name!r} has a NUL character.", next_step="Nothing was run. Ask again.")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise BadInputError(
            f"The value of {name!r} has half a character.", next_step="Nothing was run. Ask again."
        ) from None
    return text


def _guarded(text: str, name: str, *, free: bool) -> str:
    """An argument that a value begins, if it cannot be taken for an option."""
    if not free and (text.startswith("-") or (os.name == "nt" and text.startswith("/"))):
        raise BadInputError(
            f"The value of {name!r} begins with {text[0]!r} and would be read as an option.",
            next_step="Nothing was run. Put -- in front of the slot if the program knows it, or write --option={slot}.",
        )
    return _bounded(text, name)


def _bounded(text: str, what: str) -> str:
    if len(text) > LONGEST_ARGUMENT:
        raise BadInputError(f"{what} is too long for a program's argument.", next_step="Nothing was run.")
    return text
