"""Tokens with which other programs on this computer reach one profile.

A token is made once and shown once; what is kept is its SHA-256. That is enough here, without a slow hash: a token is
32 random bytes, not a word that somebody could guess.

The digests lie in the database of the profile that they open, so nobody makes, lists or removes a token of a locked
profile without its key. The list of profiles keeps eight hexadecimal digits of each digest: they tell ``serve`` which
profile to look into, and open nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import secrets
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from profiles.database.connection import Database
from profiles.encryption.file_encryption import ProfileKey
from profiles.registry.folders import ProfileFolders
from profiles.store.base import Row, now
from profiles.store.scopes import ASK, TokenScope
from profiles.store.store import ProfileStore
from tokmem_desk.errors import (
    BusyError,
    ConflictError,
    IncompatibleError,
    LockedError,
    NotFoundError,
    StorageError,
    TokmemError,
    did_you_mean,
)
from tokmem_desk.procedures import check_name

PREFIX = "tokmem-"
"""Tells people, and programs that look for leaked secrets, what a token is for."""

Keys = Mapping[str, ProfileKey]
"""Of locked profiles, by name."""

_RANDOM_BYTES = 32
_HINT_DIGITS = 8


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """A token of ``serve``, without the token."""

    name: str
    profile: str
    created: str
    last_used: str | None
    """To the minute; None: never."""
    scope: TokenScope
    """What its holder may do."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token opens."""

    profile: str
    scope: TokenScope


class TokenTable:
    """The tokens of all profiles; ``ProfileRegistry.tokens``.

    Args:
        database: the list of profiles.
        folders: opens the profiles on it.
    """

    def __init__(self, database: Database, folders: ProfileFolders) -> None:
        self._database = database
        self._folders = folders

    def create(self, name: str, profile: str, *, key: ProfileKey | None = None, scope: TokenScope = ASK) -> str:
        """Make a token for a profile and return it; it cannot be read again.

        Args:
            name: the token's; taken is what any profile has that can be looked into.
            profile: what it opens.
            key: of a locked profile.
            scope: what its holder may do.

        Raises:
            UsageError: ``name`` is not allowed.
            ConflictError: there is a token of that name.
            NotFoundError: no such profile.
            LockedError: the profile is locked, and there is no key or a wrong one.
        """
        check_name(name, "token")
        token = PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
        owner = self._database.row("SELECT * FROM profiles WHERE name = ? AND deleting = 0", (profile,))
        if owner is None:
            raise NotFoundError(f"There is no profile {profile!r}.")
        with self._folders.open(owner["id"], profile, key) as store:  # first: without the key nothing is told
            if name in [one.name for one in self.list({} if key is None else {profile: key})]:
                raise ConflictError(
                    f"There is a token {name!r} already.",
                    next_step="Choose another name, or remove it first: tokmem-desk token remove " + name,
                )
            store.tokens.add(name, _digest(token), now(), scope=scope)
        self._add_hints(owner["id"], [_digest(token)])
        return token

    def list(self, keys: Keys | None = None) -> list[TokenInfo]:
        """Tokens by name: of profiles without a lock, and of those whose key is given."""
        return sorted((info for _, info in self._found(keys or {})), key=lambda info: info.name)

    def unseen(self, keys: Keys | None = None) -> Sequence[str]:
        """Names of locked profiles that have tokens and whose key is not given."""
        return [
            row["name"] for row in self._owners() if self._folders.is_locked(row) and row["name"] not in (keys or {})
        ]

    def remove(self, name: str, keys: Keys | None = None) -> None:
        """Forget a token; programs that use it are refused from then on.

        Raises:
            NotFoundError: there is none of that name in the profiles that can be looked into; the nearest one is named.
        """
        keys = keys or {}
        found = [(row, info) for row, info in self._found(keys) if info.name == name]
        if not found:
            known = [one.name for one in self.list(keys)]
            unseen = self.unseen(keys)
            raise NotFoundError(
                f"There is no token {name!r}.{did_you_mean(name, known)}",
                next_step="See: tokmem-desk token list"
                + (f". Tokens of a locked profile need it: --profile {shlex.quote(unseen[0])}" if unseen else ""),
            )
        # A name may be taken twice, where the other profile was locked: the given key says which one is meant.
        row, info = max(found, key=lambda one: one[1].profile in keys)
        with self._folders.open(row["id"], row["name"], keys.get(row["name"])) as store:
            [digest] = [one["digest"] for one in store.tokens.rows() if one["name"] == info.name]
            store.tokens.remove(name)
        with self._database.writing() as connection:
            connection.execute(
                "DELETE FROM token_hints WHERE profile_id = ? AND hint = ?", (row["id"], digest[:_HINT_DIGITS])
            )

    def exist(self) -> bool:
        """Whether there is a token for anybody."""
        self._move_in()
        return self._database.row("SELECT 1 FROM token_hints") is not None

    def profile_of(self, token: str, keys: Keys | None = None) -> str | None:
        """The name of the profile that a token opens, None when it opens none; see ``grant_of``."""
        found = self.grant_of(token, keys)
        return None if found is None else found.profile

    def grant_of(self, token: str, keys: Keys | None = None) -> Grant | None:
        """The profile that a token opens, and for what; None when it opens none. Notes that it was used.

        Every known digest is compared, in constant time each: how long it takes tells nothing about any of them.

        Raises:
            LockedError: it seems to open a locked profile whose key is not given.
        """
        self._move_in()
        given, keys, locked = _digest(token), keys or {}, False
        hints = self._database.rows("SELECT * FROM token_hints")
        hinted = {row["profile_id"] for row in hints if hmac.compare_digest(row["hint"], given[:_HINT_DIGITS])}
        for owner in self._owners():
            if owner["id"] not in hinted:
                continue
            key = keys.get(owner["name"])
            if key is None and self._folders.is_locked(owner):
                locked = True
                continue
            with self._folders.open(owner["id"], owner["name"], key) as store:
                found = None
                for row in store.tokens.rows():
                    if hmac.compare_digest(given, str(row["digest"])):
                        found = row
                if found is not None:
                    _note_use(store, found)
                    return Grant(str(owner["name"]), found["scope"])
        if locked:
            raise LockedError(
                "The profile of this token is locked.",
                next_step="Start serve with that profile and its passphrase: tokmem-desk serve --profile NAME",
            )
        return None

    def _found(self, keys: Keys) -> Sequence[tuple[Row, TokenInfo]]:
        self._move_in()
        found: Sequence[tuple[Row, TokenInfo]] = []
        for owner in self._owners():
            key = keys.get(owner["name"])
            if key is None and self._folders.is_locked(owner):
                continue
            # A profile that is damaged, or just being locked, must not keep others from theirs.
            with (
                contextlib.suppress(StorageError, IncompatibleError, BusyError),
                self._folders.open(owner["id"], owner["name"], key) as store,
            ):
                found = [*found, *((owner, _info(row, owner["name"])) for row in store.tokens.rows())]
        return found

    def _owners(self) -> Sequence[Row]:
        """Profiles with tokens."""
        return self._database.rows(
            "SELECT * FROM profiles WHERE deleting = 0 AND id IN (SELECT profile_id FROM token_hints) ORDER BY name"
        )

    def _add_hints(self, profile_id: str, digests: Sequence[str]) -> None:
        with self._database.writing() as connection:
            connection.executemany(
                "INSERT INTO token_hints (hint, profile_id) VALUES (?, ?) ON CONFLICT DO NOTHING",
                [(digest[:_HINT_DIGITS], profile_id) for digest in digests],
            )

    def _move_in(self) -> None:
        """Move digests that the list of profiles kept before into the profiles; again where it was cut off.

        Those of locked profiles open nothing any more: anybody could have made them, without the passphrase.
        """
        rows = self._database.rows("SELECT t.*, p.name AS profile FROM tokens t JOIN profiles p ON p.id = t.profile_id")
        for profile_id in dict.fromkeys(row["profile_id"] for row in rows):
            mine = [row for row in rows if row["profile_id"] == profile_id]
            owner = self._database.row("SELECT * FROM profiles WHERE id = ?", (profile_id,))
            if owner is not None and not self._folders.is_locked(owner):
                try:
                    with self._folders.open(profile_id, owner["name"], None) as store:
                        for row in mine:
                            store.tokens.add(row["name"], row["digest"], row["created"], row["last_used"])
                except TokmemError:  # it cannot be used now; it is tried again
                    continue
                self._add_hints(profile_id, [row["digest"] for row in mine])
            with self._database.writing() as connection:
                connection.executemany("DELETE FROM tokens WHERE name = ?", [(row["name"],) for row in mine])


def _note_use(store: ProfileStore, row: Row) -> None:
    minute = datetime.now(UTC).strftime("%Y-%m-%dT%H:%MZ")
    if row["last_used"] != minute:  # one write a minute, not one a request
        store.tokens.note_use(row["name"], minute)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def _info(row: Row, profile: str) -> TokenInfo:
    return TokenInfo(
        name=row["name"], profile=profile, created=row["created"], last_used=row["last_used"], scope=row["scope"]
    )
