"""What a text must be to count as part of an example pair; shared by the store and by file import."""

from __future__ import annotations

from collections.abc import Iterable

from tokmem_desk.procedures import ExamplePair

MAX_TEXT_CHARACTERS = 100_000
"""Longest input or response that is kept. Far beyond any context: it stops files that are no pairs at all."""


def text_fault(text: str) -> str | None:
    """Why ``text`` can be stored nowhere, or None: NUL bytes and halves of surrogate pairs."""
    if "\0" in text:
        return "holds a NUL byte"
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        return "holds a character that is not valid Unicode"
    if len(text) > MAX_TEXT_CHARACTERS:
        return f"is {len(text):,} characters long (at most {MAX_TEXT_CHARACTERS:,})"
    return None


def pair_fault(pair: ExamplePair) -> str | None:
    """Why ``pair`` cannot be kept, as the rest of a sentence, or None when it can."""
    for what, text in _texts(pair):
        if not text.strip():
            return f"the {what} is empty"
        fault = text_fault(text)
        if fault is not None:
            return f"the {what} {fault}"
    return None


def _texts(pair: ExamplePair) -> Iterable[tuple[str, str]]:
    yield "input", pair.input
    yield "response", pair.response
    for reference in pair.references:
        yield "reference", reference
