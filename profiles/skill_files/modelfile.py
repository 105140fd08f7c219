"""Ollama's Modelfiles: instructions with a value each, which may stand in quotes over several lines.

The format has no escapes: a text is written as one line, or between three quotes where none stands in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_WORDS = "FROM|PARAMETER|TEMPLATE|SYSTEM|ADAPTER|LICENSE|MESSAGE|RENDERER|PARSER|REQUIRES"
_COMMAND = re.compile(
    rf"^[ \t]*(?P<word>{_WORDS})[ \t]+(?P<role>(?<=[ \t])(?:user|assistant|system)[ \t]+)?", re.I | re.M
)
_LINE = re.compile(r"[^\r\n]*")


def is_modelfile(text: str) -> bool:
    """Whether a text begins as a Modelfile and names a model."""
    commands = [word for word, _, _ in commands_of(text)]
    return "FROM" in commands and any(word in ("SYSTEM", "MESSAGE", "TEMPLATE", "PARAMETER") for word in commands)


def commands_of(text: str) -> Iterator[tuple[str, str, str]]:
    """Word, role (of messages) and value of each instruction, in their order."""
    at = 0
    while (match := _COMMAND.search(text, at)) is not None:
        word = match["word"].upper()
        role = (match["role"] or "").strip().lower() if word == "MESSAGE" else ""
        begin = match.end() if role or not match["role"] else match.start("role")
        value, at = _value(text, begin)
        yield word, role, value


def _value(text: str, begin: int) -> tuple[str, int]:
    for quote in ('"""', '"'):
        if text.startswith(quote, begin):
            end = text.find(quote, begin + len(quote))
            if end >= 0:
                return text[begin + len(quote) : end], end + len(quote)
    match = _LINE.match(text, begin)
    line = match[0] if match is not None else ""
    return line.strip(), begin + len(line)


def quoted_value(text: str) -> str | None:
    """A text as the value of an instruction; None where the format cannot hold it."""
    if text and "\n" not in text and "\r" not in text and text == text.strip() and not text.startswith('"'):
        return text
    return f'"""{text}"""' if '"""' not in text and not text.endswith('"') and not text.startswith('"') else None
