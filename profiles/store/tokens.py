"""Digests of the tokens that open this profile for programs; ``profiles.registry.tokens`` makes and checks them."""

from __future__ import annotations

from profiles.database.connection import Database
from profiles.store.base import Row
from profiles.store.scopes import ASK, TokenScope


class TokenDigests:
    """Keeps the digests of the tokens that open this profile.

    Args:
        database: the profile's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def rows(self) -> list[Row]:
        """All of them, by name."""
        return self._database.rows("SELECT * FROM tokens ORDER BY name")

    def add(self, name: str, digest: str, created: str, last_used: str | None = None, scope: TokenScope = ASK) -> None:
        """Keep a token; one that is there already stays."""
        with self._database.writing() as connection:
            connection.execute(
                "INSERT INTO tokens (name, digest, created, last_used, scope) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT DO NOTHING",
                (name, digest, created, last_used, scope),
            )

    def remove(self, name: str) -> None:
        """Forget a token."""
        with self._database.writing() as connection:
            connection.execute("DELETE FROM tokens WHERE name = ?", (name,))

    def note_use(self, name: str, minute: str) -> None:
        """Note when a token was used last."""
        with self._database.writing() as connection:
            connection.execute("UPDATE tokens SET last_used = ? WHERE name = ?", (minute, name))
