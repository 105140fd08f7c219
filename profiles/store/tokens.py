"""Digests of the tokens that open this profile for programs; ``profiles.registry.tokens`` makes and checks them."""

from __future__ import annotations

from profiles.store.base import Row, StoreBase


class TokenRows(StoreBase):
    """The part of the store that keeps the digests of its tokens."""

    def token_rows(self) -> list[Row]:
        """All of them, by name."""
        return self._database.rows("SELECT * FROM tokens ORDER BY name")

    def add_token(self, name: str, digest: str, created: str, last_used: str | None = None) -> None:
        """Keep a token; one that is there already stays."""
        with self._database.writing() as connection:
            connection.execute(
                "INSERT INTO tokens (name, digest, created, last_used) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (name, digest, created, last_used),
            )

    def remove_token(self, name: str) -> None:
        """Forget a token."""
        with self._database.writing() as connection:
            connection.execute("DELETE FROM tokens WHERE name = ?", (name,))

    def note_token_use(self, name: str, minute: str) -> None:
        """Note when a token was used last."""
        with self._database.writing() as connection:
            connection.execute("UPDATE tokens SET last_used = ? WHERE name = ?", (minute, name))
