"""Tokens with which other programs on this computer reach one profile.

A token is made once and shown once; what is kept is its SHA-256. That is enough here, without a slow hash: a token is
32 random bytes, not a word that somebody could guess.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import UTC, datetime

from profiles.base import Row, now
from profiles.database import Database
from profiles.records import TokenInfo
from tokmem_desk.errors import ConflictError, NotFoundError, did_you_mean
from tokmem_desk.procedures import check_name

PREFIX = "tokmem-"
"""Tells people, and programs that look for leaked secrets, what a token is for."""

_RANDOM_BYTES = 32


class TokenTable:
    """The tokens of all profiles; made by ``ProfileRegistry.tokens``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, name: str, profile: str) -> str:
        """Make a token for a profile and return it; it cannot be read again.

        Raises:
            UsageError: ``name`` is not allowed.
            ConflictError: there is a token of that name.
            NotFoundError: no such profile.
        """
        check_name(name, "token")
        token = PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
        with self._database.writing() as connection:
            if self._row(name) is not None:
                raise ConflictError(
                    f"There is a token {name!r} already.",
                    next_step="Choose another name, or remove it first: tokmem-desk token remove " + name,
                )
            owner = connection.execute("SELECT id FROM profiles WHERE name = ? AND deleting = 0", (profile,)).fetchone()
            if owner is None:
                raise NotFoundError(f"There is no profile {profile!r}.")
            connection.execute(
                "INSERT INTO tokens (name, profile_id, digest, created) VALUES (?, ?, ?, ?)",
                (name, owner["id"], _digest(token), now()),
            )
        return token

    def list(self) -> list[TokenInfo]:
        """All tokens by name."""
        rows = self._database.rows(f"{_SELECT} ORDER BY tokens.name")
        return [_info(row) for row in rows]

    def remove(self, name: str) -> None:
        """Forget a token; programs that use it are refused from then on.

        Raises:
            NotFoundError: there is none of that name; the nearest one is named.
        """
        with self._database.writing() as connection:
            if self._row(name) is None:
                known = [one.name for one in self.list()]
                raise NotFoundError(
                    f"There is no token {name!r}.{did_you_mean(name, known)}", next_step="See: tokmem-desk token list"
                )
            connection.execute("DELETE FROM tokens WHERE name = ?", (name,))

    def profile_of(self, token: str) -> str | None:
        """The name of the profile that a token opens, None when it opens none. Notes that it was used.

        Every known digest is compared, in constant time each: how long it takes tells nothing about any of them.
        """
        given, found = _digest(token), None
        for row in self._database.rows(_SELECT):
            if hmac.compare_digest(given, str(row["digest"])):
                found = row
        if found is None:
            return None
        self._note_use(found)
        return str(found["profile"])

    def _note_use(self, row: Row) -> None:
        minute = datetime.now(UTC).strftime("%Y-%m-%dT%H:%MZ")
        if row["last_used"] != minute:  # one write a minute, not one a request
            with self._database.writing() as connection:
                connection.execute("UPDATE tokens SET last_used = ? WHERE name = ?", (minute, row["name"]))

    def _row(self, name: str) -> Row | None:
        return self._database.row("SELECT name FROM tokens WHERE name = ?", (name,))


_SELECT = (
    "SELECT tokens.*, profiles.name AS profile FROM tokens JOIN profiles ON profiles.id = tokens.profile_id "
    "WHERE profiles.deleting = 0"
)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def _info(row: Row) -> TokenInfo:
    return TokenInfo(name=row["name"], profile=row["profile"], created=row["created"], last_used=row["last_used"])
