"""What a JSON value in a row is: its kind in words, whether it is text, whether it is marked as not to be learned."""

from __future__ import annotations

from collections.abc import Mapping

_MARKS = ("weight", "loss_weight", "train", "loss")
"""Keys by which files for training mark what must not be learned, with 0 or false; a rejected answer has a false
``label``."""


def is_left_out(thing: object) -> bool:
    """Whether a row, or a message of a conversation, is marked as not to be learned.

    Only 0 and false count, and of a label only false: a label that is a number or a text may be the answer itself.
    """
    if not isinstance(thing, Mapping):
        return False
    return thing.get("label") is False or any(thing.get(mark) in (0, 0.0) for mark in _MARKS)


def is_text(value: object) -> bool:
    """Whether a value is text and more than blanks."""
    return isinstance(value, str) and bool(value.strip())


def kind(value: object) -> str:
    """What a JSON value is, in words."""
    if value is None:
        return "null"
    kinds = ((bool, "true or false"), (int | float, "a number"), (str, "text"), (list, "a list"), (dict, "an object"))
    return next((words for types, words in kinds if isinstance(value, types)), "something else")
