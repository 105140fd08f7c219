"""Names of profiles: what people call them. Folders are named by ids, so a name may be almost any text."""

from __future__ import annotations

import unicodedata

from tokmem_desk.errors import UsageError

MAX_CHARACTERS = 40
"""Longest name; it stands in the top line of every screen."""

_RESERVED = frozenset({"none", "auto"})


def plain_name(name: str) -> str:
    """A name as it is kept: composed letters, so that the same name typed on another keyboard is the same text."""
    return unicodedata.normalize("NFC", name.strip())


def check_profile_name(name: str) -> str:
    """Return ``name`` as it is kept, when it may name a profile.

    Raises:
        UsageError: it is empty or too long, has a character that cannot be seen, or would be taken for something else
            on a command line or in a path.
    """
    plain = plain_name(name)
    if plain.lower() in _RESERVED:
        raise UsageError(f"{name!r} is a reserved word and cannot name a profile.", next_step="Choose another name.")
    is_seen = plain.isprintable() and plain == " ".join(plain.split())
    if not 1 <= len(plain) <= MAX_CHARACTERS or not is_seen or plain[0] in "-." or set(plain) & set("/\\"):
        raise UsageError(
            f"{name!r} cannot name a profile.",
            next_step="Use 1 to 40 letters, digits, signs and single spaces, no / or \\, and no - or . in front.",
        )
    return plain


def is_same_name(one: str, other: str) -> bool:
    """Whether two names would be taken for each other."""
    return _folded(one) == _folded(other)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()
