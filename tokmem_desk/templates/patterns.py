"""Regular expressions that come out of a file, matched in time that grows with the text and no faster.

Python's own matcher goes back and tries again: ``(a+)+b`` on 27 letters takes minutes, and whoever writes a bank could
hang the program with it. RE2 never goes back. It knows no look ahead, no look behind and no back-reference, so
expressions with those are refused where they come in. The program's own constant expressions stay with ``re``.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import re2

MAX_PATTERN_CHARACTERS = 10_000
"""Longest expression out of a file; real ones have tens of characters."""

_MOST_REPEATED = 1000
"""RE2 repeats nothing more often than that; longer runs of one character are written as several in a row."""

_MEMORY = 32 * 2**20
"""Bytes that one expression may take while it matches; beyond them RE2 gets slower, never wrong."""

_SPACES = r"\s\v\x1c-\x1f\x{85}\p{Z}"
_LETTERS = r"\p{L}\p{N}_"
_NO_LETTERS = (
    r"\p{M}\p{Pd}\p{Ps}\p{Pe}\p{Pi}\p{Pf}\p{Po}\p{S}\p{Z}\p{C}"
    r"\x{203F}\x{2040}\x{2054}\x{FE33}\x{FE34}\x{FE4D}-\x{FE4F}\x{FF3F}"
)
_NO_SPACES = r"\p{L}\p{M}\p{N}\p{P}\p{S}\x00-\x08\x0e-\x1b\x7f-\x{84}\x{86}-\x{9f}\p{Cf}\p{Co}"
_CLASSES = {
    "d": (r"\p{Nd}", r"\p{Nd}"),
    "D": (r"\P{Nd}", r"\P{Nd}"),
    "w": (f"[{_LETTERS}]", _LETTERS),
    "W": (f"[^{_LETTERS}]", _NO_LETTERS),
    "s": (f"[{_SPACES}]", _SPACES),
    "S": (f"[^{_SPACES}]", _NO_SPACES),
}
"""Python's classes of Unicode characters in RE2, whose own know ASCII only: alone, and inside brackets."""

_CODES = {"x": 2, "u": 4, "U": 8}
_COUNTED = re.compile(r"\{(\d*)(?:(,)(\d*))?\}")
_WORDS = (
    ("invalid perl operator", "it looks ahead or behind, or uses another sign that needs trial and error"),
    ("invalid escape sequence", "it refers back to what it has matched, or uses an unknown escape"),
    ("invalid repetition size", f"it repeats something more than {_MOST_REPEATED:,} times"),
    ("bad repetition operator", "it repeats what cannot be repeated"),
    ("pattern too large", "it is too large when its repetitions are written out"),
)


class PatternError(ValueError):
    """An expression that cannot be used; the text is the rest of a sentence that begins with what it is."""


class Pattern:
    """An expression that is matched without going back. Make one with ``read_pattern`` or ``plain_pattern``."""

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled

    def fullmatch(self, text: str) -> Any | None:
        """The match of the whole text, with its groups as Python's own has them; None where it does not match."""
        return self._compiled.fullmatch(_encodable(text))

    def match(self, text: str) -> Any | None:
        """The match at the beginning of the text; None where there is none."""
        return self._compiled.match(_encodable(text))

    def search(self, text: str) -> Any | None:
        """The first match anywhere in the text; None where there is none."""
        return self._compiled.search(_encodable(text))


@lru_cache(maxsize=256)
def read_pattern(text: str) -> Pattern:
    """An expression out of a file, in Python's syntax.

    Raises:
        PatternError: it is none, or it asks for more than a matcher without trial and error can do.
    """
    if len(text) > MAX_PATTERN_CHARACTERS:
        raise PatternError(f"has {len(text):,} characters, and {MAX_PATTERN_CHARACTERS:,} are allowed")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # syntax that a later version of re may read otherwise
            re.compile(text)
    except (re.error, RecursionError, OverflowError) as caught:
        raise PatternError(f"is not a regular expression ({str(caught)[:100]})") from None
    return plain_pattern("".join(_translated(text)))


def known_pattern(text: str | None) -> Pattern | None:
    """An expression that was kept before such were refused; None where there is none, or it cannot be used."""
    try:
        return read_pattern(text) if text else None
    except PatternError:
        return None


def plain_pattern(text: str) -> Pattern:
    """An expression in RE2's own syntax, as the forms of answers write theirs.

    Raises:
        PatternError: it cannot be used.
    """
    options = re2.Options()
    options.log_errors, options.max_mem = False, _MEMORY
    try:
        return Pattern(re2.compile(text, options))
    except (re2.error, ValueError, OverflowError) as caught:
        reason = caught.args[0] if caught.args else ""
        explanation = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        words = next((words for begin, words in _WORDS if explanation.startswith(begin)), explanation[:100])
        raise PatternError(f"cannot be matched safely: {words}") from None


def repeated(atom: str, least: int, most: int | None) -> str:
    """An expression for one character, repeated; written as several in a row beyond what RE2 repeats at once.

    Args:
        most: None is without end.
    """
    if max(least, most or 0) <= _MOST_REPEATED:
        return f"{atom}{{{least},{'' if most is None else most}}}"
    parts = [f"{atom}{{{count}}}" for count in _shares(least)]
    if most is None:
        return "".join([*parts, f"{atom}*"])
    return "".join([*parts, *(f"{atom}{{0,{count}}}" for count in _shares(most - least))])


def _shares(count: int) -> list[int]:
    whole, rest = divmod(count, _MOST_REPEATED)
    return [_MOST_REPEATED] * whole + [rest] * (rest > 0)


def _translated(text: str) -> Iterator[str]:
    """Python's syntax in RE2's: classes of Unicode characters, codes, and long runs of one character."""
    at, atom = 0, ""
    while at < len(text):
        counted = _COUNTED.match(text, at)
        if counted is not None and (counted[1] or counted[2]):
            least = int(counted[1] or 0)
            most = least if not counted[2] else int(counted[3]) if counted[3] else None
            if atom and max(least, most or 0) > MAX_PATTERN_CHARACTERS * 10:
                raise PatternError(f"repeats something {max(least, most or 0):,} times")
            lazy = text[counted.end() : counted.end() + 1] in ("?", "+")
            if atom and not lazy:
                yield repeated(atom, least, most)
            else:
                yield f"{atom}{{{least}{'' if most == least else f',{most}' if most is not None else ','}}}"
            at, atom = counted.end(), ""
            continue
        yield atom
        atom = ""
        if text[at] == "\\":
            atom, at = _escape(text, at, inside=False)
        elif text[at] == "[":
            atom, at = _brackets(text, at)
        elif text[at] in "()|*+?^$":
            yield text[at]
            at += 1
        else:
            atom, at = (r"\{" if text[at] == "{" else text[at]), at + 1
    yield atom


def _escape(text: str, at: int, *, inside: bool) -> tuple[str, int]:
    """What a backslash and what follows are in RE2, and the place behind."""
    sign = text[at + 1]
    if sign in _CLASSES:
        return _CLASSES[sign][inside], at + 2
    if sign in _CODES:
        digits = text[at + 2 : at + 2 + _CODES[sign]]
        return f"\\x{{{int(digits, 16):X}}}", at + 2 + _CODES[sign]
    if sign == "0":
        octal = re.match("[0-7]{1,3}", text[at + 1 :])
        assert octal is not None
        return f"\\x{{{int(octal[0], 8):X}}}", at + 1 + len(octal[0])
    if sign == "Z":
        return r"\z", at + 2
    if sign == "b" and inside:
        return r"\x08", at + 2
    if sign.isalnum() or sign == "_" or not sign.isascii() or sign.isspace():
        return (text[at : at + 2] if sign.isalnum() and sign.isascii() else sign), at + 2
    return text[at : at + 2], at + 2


def _brackets(text: str, at: int) -> tuple[str, int]:
    """A class in brackets, and the place behind."""
    made, at = "[", at + 1
    if text[at] == "^":
        made, at = "[^", at + 1
    first = True
    while first or text[at] != "]":
        if text[at] == "\\":
            piece, at = _escape(text, at, inside=True)
        else:
            piece, at = ("\\" * (text[at] in "[]") + text[at]), at + 1
        made, first = made + piece, False
    return made + "]", at + 1


def _encodable(text: str) -> str:
    """The text without halves of surrogate pairs, which have no bytes; no expression means them."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode("utf-8")
    return text
