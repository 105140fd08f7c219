"""The words of the app as data: example pairs and procedures.

Frozen dataclasses only: no storage, no tensors.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tokmem_desk.errors import UsageError

NONE_ROUTE = "none"
"""The route of a message that no procedure answers."""

AUTO_ROUTE = "auto"
"""What a caller passes to let the router choose."""

_NAME = re.compile(r"[a-z0-9_-]{1,40}")
_RESERVED = frozenset({NONE_ROUTE, AUTO_ROUTE})
_ENCODER = json.JSONEncoder(ensure_ascii=False)


MAX_CHAIN = 8
"""Procedures of one chain at most: each is an answer that somebody waits for."""

MAX_GROUP_CHARACTERS = 40
"""Longest name of a group; it stands in a column of the list."""


def may_name_group(name: str) -> bool:
    """Whether a group may be called so: short, single spaces, nothing that a terminal would obey; empty is no group."""
    plain = name == " ".join(name.split()) and len(name) <= MAX_GROUP_CHARACTERS
    return plain and not any(unicodedata.category(character) in ("Cc", "Cs") for character in name)


def check_name(name: str, what: str = "procedure") -> str:
    """Return ``name`` when it may name a procedure or a profile.

    Raises:
        UsageError: not ``[a-z0-9_-]{1,40}``, or one of the reserved words ``none`` and ``auto``.
    """
    if name in _RESERVED:
        raise UsageError(f"{name!r} is a reserved word and cannot name a {what}.", next_step="Choose another name.")
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot name a {what}.",
            next_step="Use 1 to 40 characters of a-z, 0-9, '-' and '_'.",
        )
    return name


@dataclass(frozen=True, slots=True)
class ExamplePair:
    """What a person types and what they want back.

    ``references`` are further right answers; the first of a data file's references is ``response`` itself.
    """

    input: str
    response: str
    references: tuple[str, ...] = ()

    @property
    def accepted(self) -> tuple[str, ...]:
        """Every answer that counts as right, ``response`` first."""
        return (self.response, *(text for text in self.references if text != self.response))


@dataclass(frozen=True, slots=True)
class AnswerVerdict:
    """What a person said of one answer of a procedure: that it was wrong, what would have been right, or both.

    ``rejected`` is the answer that was wrong, ``accepted`` the right one; at least one of them is there.
    """

    input: str
    rejected: str | None = None
    accepted: str | None = None

    @property
    def digest(self) -> str:
        """By which it is known again."""
        return texts_digest([(self.input, json.dumps([self.rejected, self.accepted], ensure_ascii=False))])


@dataclass(frozen=True, slots=True)
class Procedure:
    """A named skill: ``pairs`` are trained on, ``held_out`` only ever measure.

    ``pattern`` is a regular expression that every right answer matches in full, or None. ``output_schema`` is a
    JSON schema (see ``templates.json_schema``) that answers are held to, or None. A procedure that
    ``reads_conversation`` sees what was said before, others the message alone.
    """

    name: str
    pairs: tuple[ExamplePair, ...]
    held_out: tuple[ExamplePair, ...] = ()
    description: str = ""
    pattern: str | None = None
    output_schema: str | None = None
    reads_conversation: bool = False


def pairs_digest(pairs: Sequence[ExamplePair]) -> str:
    """SHA-256 over a set of pairs; the order in which they stand does not matter."""
    return texts_digest((pair.input, pair.response) for pair in pairs)


def texts_digest(texts: Iterable[tuple[str, str]]) -> str:
    """``pairs_digest`` of pairs that are there as input and response alone."""
    quoted = _ENCODER.encode  # as json.dumps would write the list of both, at a third of the time
    lines = sorted(f"[{quoted(text)}, {quoted(response)}]" for text, response in texts)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
