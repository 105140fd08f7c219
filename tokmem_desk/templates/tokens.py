"""The tokens that forms of answers are made of."""

from __future__ import annotations

import re

TOKEN = re.compile(r"[^\W\d_]+|\d+|\s|[^\w\s]|_")
"""A word, a run of digits, or one other character."""


def tokens_of(text: str) -> list[str]:
    return TOKEN.findall(text)


def token_range(text: str, start: int, end: int) -> tuple[int, int] | None:
    """Places of the first and the last token that lie in [start, end) of a text; None where none does."""
    inside = [place for place, match in enumerate(TOKEN.finditer(text)) if start <= match.start() < end]
    return (inside[0], inside[-1]) if inside else None
