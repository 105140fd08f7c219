"""The locks of profiles: add, open, change, remove. The part of the list of profiles that knows keys."""

from __future__ import annotations

import contextlib
import sqlite3
import uuid
from collections.abc import Callable
from pathlib import Path

from profiles.database.connection import Database
from profiles.encryption.file_encryption import ProfileKey
from profiles.encryption.keyring import Keyring, checked_passphrase
from profiles.files.paths import AppPaths, private_folder
from profiles.registry.encrypt_profile import Side, copied, refuse_strange
from profiles.registry.folders import ProfileFolders
from profiles.store.base import Row, now
from tokmem_desk.errors import BusyError, ConflictError, LockedError, NotFoundError, StorageError, TokmemError

Progress = Callable[[float], None]
"""Told the share of the work done, 0 to 1."""

Show = Callable[[str], None]
"""Told the recovery key."""


class ProfileLocks:
    """Adds, opens, changes and removes the locks of profiles.

    Args:
        database: the list of profiles.
        paths: where their folders are.
        folders: opens and erases them.
    """

    def __init__(self, database: Database, paths: AppPaths, folders: ProfileFolders) -> None:
        self._database = database
        self._paths = paths
        self._folders = folders
        self.not_erased: StorageError | None = None
        """Why the copy from before the last ``add`` or ``remove`` is still there; None where it is erased. The change
        holds all the same, and every start tries again; whoever asked for it tells the person."""

    def key(self, name: str, passphrase: str) -> ProfileKey:
        """The key that opens a locked profile.

        Raises:
            NotFoundError: there is none of that name.
            LockedError: the passphrase is wrong, or the profile is not locked.
            BusyError: too many wrong ones came before; the text says how long to wait.
            StorageError, IncompatibleError: the lock cannot be used.
        """
        row = self._folders.named(name)
        self._folders.refuse_replaced(row["id"], name)
        return self._folders.keyring(row["id"]).open(passphrase)

    def key_by_recovery(self, name: str, recovery_key: str) -> ProfileKey:
        """The key that opens a locked profile, by the recovery key. Errors as for ``key``, but nothing makes it wait.

        Raises:
            BadInputError: it has not the form of a recovery key.
        """
        row = self._folders.named(name)
        self._folders.refuse_replaced(row["id"], name)
        return self._folders.keyring(row["id"]).open_with_recovery(recovery_key)

    def seconds_to_wait(self, name: str) -> float:
        """How long until the next passphrase may be tried; 0 for now."""
        return self._folders.keyring(self._folders.named(name)["id"]).seconds_to_wait()

    def change_passphrase(
        self, name: str, key: ProfileKey, passphrase: str | None = None, *, new_recovery: bool = False
    ) -> str | None:
        """Give a locked profile another passphrase, another recovery key, or both; no data is rewritten.

        Returns:
            The new recovery key where one was asked for.

        Raises:
            BadInputError: the passphrase is too short.
            LockedError: the profile is not locked, or ``key`` is not its key.
            StorageError: the disk refused; the old ones hold.
        """
        row = self._folders.named(name)
        self._folders.open(row["id"], row["name"], key).close()  # wrapping a wrong key would close the profile for good
        return self._folders.keyring(row["id"]).change(key, passphrase=passphrase, new_recovery=new_recovery)

    def add(self, name: str, passphrase: str, progress: Progress | None = None, *, show: Show | None = None) -> str:
        """Encrypt a profile with everything in it and return its recovery key, which is kept nowhere else.

        The profile must not be open, in this process either. It gets a new folder; after a crash the next start removes
        whichever of the two copies does not count. What of the plain copy cannot be erased is in ``not_erased``.

        Args:
            name: the profile.
            passphrase: at least 8 characters.
            progress: told the share of files done, 0 to 1.
            show: told the recovery key as soon as it counts, before the plain copy is erased: that takes a while, and
                may be interrupted.

        Raises:
            BadInputError: the passphrase is too short.
            ConflictError: it is locked already.
            BusyError: it is open somewhere.
            StorageError: the disk refused, or there are links in the profile's folder; the profile is as it was.
        """
        checked_passphrase(passphrase)
        row = self._folders.named(name)
        self._folders.refuse_replaced(row["id"], name)
        if self._folders.keyring(row["id"]).exists:
            raise ConflictError(
                f"The profile {name!r} is locked already.",
                next_step=f"To change its passphrase: tokmem-desk profile passphrase {name}",
            )
        self._refuse_open(row)
        refuse_strange(self._paths, row["id"], encrypting=True)
        key = ProfileKey.new()
        recovery: list[str] = []
        self._convert(
            row,
            None,
            key,
            lambda folder: recovery.append(Keyring(folder).create(key, passphrase)),
            progress,
            lambda: None if show is None else show(recovery[0]),
        )
        key.forget()
        return recovery[0]

    def remove(self, name: str, key: ProfileKey, progress: Progress | None = None) -> None:
        """Decrypt a profile with everything in it; from then on anybody at this account can read it.

        Raises:
            LockedError: it is not locked, or ``key`` is not its key.
            BusyError: it is open somewhere.
            StorageError: the disk refused; the profile is as it was.
        """
        row = self._folders.named(name)
        if not self._folders.keyring(row["id"]).exists:
            raise LockedError(f"The profile {name!r} is not locked.")
        self._folders.open(row["id"], row["name"], key).close()
        self._convert(row, key, None, None, progress, lambda: None)

    def _convert(
        self,
        row: Row,
        old_key: ProfileKey | None,
        new_key: ProfileKey | None,
        prepare: Callable[[Path], None] | None,
        progress: Progress | None,
        changed: Callable[[], None],
    ) -> None:
        """Copy a profile under a new id; one transaction puts the copy in its place, and ``changed`` is told."""
        self.not_erased = None
        old, new = Side(row["id"], old_key), Side(uuid.uuid4().hex, new_key)
        with self._folders.removals(wait=True) as free:
            if not free:
                raise BusyError("Another tokmem-desk is locking or erasing a profile.", next_step="Try again.")
            # On the list as one to be removed: after a crash the next start does so.
            with self._database.writing() as connection:
                _insert_removed(connection, new.profile_id)
            try:
                folder = private_folder(self._paths.profile_folder(new.profile_id))
                if prepare is not None:
                    prepare(folder)
                with copied(self._paths, old, new, progress), self._database.writing() as connection:
                    connection.execute("DELETE FROM profiles WHERE id = ?", (new.profile_id,))
                    moved = connection.execute(
                        "UPDATE profiles SET id = ?, locked = ? WHERE id = ? AND deleting = 0",
                        (new.profile_id, new.key is not None, old.profile_id),
                    )
                    if not moved.rowcount:
                        raise NotFoundError(f"The profile {row['name']!r} was erased meanwhile.")
                    _insert_removed(connection, old.profile_id)
            except BaseException:
                self._folders.erase(new.profile_id)
                raise
            changed()
            # Consents are recorded anew, under the new key. Cut off here, each command asks once more.
            with contextlib.suppress(TokmemError):
                self._folders.open(new.profile_id, row["name"], new_key, trusted=True).close()
            try:
                self._folders.erase(old.profile_id)
            except TokmemError as caught:
                self.not_erased = StorageError(_left(caught, encrypted=new_key is not None), next_step=_LATER)

    def _refuse_open(self, row: Row) -> None:
        if self._folders.is_open(row):
            raise BusyError(f"The profile {row['name']!r} is open in a tokmem-desk.", next_step="Close it there.")


_LATER = "The next start tries again; see that nothing holds these files and that they may be removed."


def _left(error: TokmemError, *, encrypted: bool) -> str:
    done = "encrypted, but what lay there in plain" if encrypted else "decrypted, but the encrypted copy"
    return f"The profile is {done} could not be erased. {error.message}"


def _insert_removed(connection: sqlite3.Connection, profile_id: str) -> None:
    """Put files on the list of those to be removed, under a name that no profile can have."""
    moment = now()
    connection.execute(
        "INSERT INTO profiles (id, name, created, last_used, deleting) VALUES (?, ?, ?, ?, 1)",
        (profile_id, f".{profile_id}", moment, moment),
    )
