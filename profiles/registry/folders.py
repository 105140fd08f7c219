"""The folders of profiles: find one on the list, open it, erase it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from filelock import FileLock, Timeout

from profiles.database.connection import Database
from profiles.encryption.file_encryption import ProfileKey
from profiles.encryption.keyring import LOCK_NAME, Keyring
from profiles.files.atomic import storage_error
from profiles.files.erasing import erase_tree
from profiles.files.paths import AppPaths
from profiles.registry.names import plain_name
from profiles.store.base import Row
from profiles.store.consents import ConsentBook, Record
from profiles.store.store import DATABASE_NAME, ProfileStore
from tokmem_desk.errors import LockedError, NotFoundError, StorageError, did_you_mean

_GLANCES, _GLANCE_SECONDS = 8, 0.1


class ProfileFolders:
    """Finds, opens and erases the profiles on the list.

    Args:
        database: the list of profiles.
        paths: where their folders are.
        lock_seconds: how long to wait for another process.
    """

    def __init__(self, database: Database, paths: AppPaths, lock_seconds: float) -> None:
        self._database = database
        self._paths = paths
        self._lock_seconds = lock_seconds

    def named(self, name: str) -> Row:
        """The row of a profile on the list.

        Raises:
            NotFoundError: there is none of that name; the nearest one is named.
        """
        row = self._database.row("SELECT * FROM profiles WHERE name = ? AND deleting = 0", (plain_name(name),))
        if row is None:
            others = self._database.rows("SELECT name FROM profiles WHERE deleting = 0 ORDER BY name")
            known = [str(other["name"]) for other in others]
            raise NotFoundError(
                f"There is no profile {name!r}.{did_you_mean(name, known)}",
                next_step=f"There are: {', '.join(known)}.",
            )
        return row

    def open(self, profile_id: str, name: str, key: ProfileKey | None = None, *, trusted: bool = False) -> ProfileStore:
        """Open a profile.

        Args:
            profile_id: its folder's name.
            name: as in the list.
            key: of a locked one.
            trusted: its consents were held against their record a moment ago, under another key.

        Raises:
            LockedError: it is locked and there is no key, or a wrong one.
            StorageError: the list knows it as locked, and what lies in its folder is not.
        """
        record = self.refuse_replaced(profile_id, name)
        try:
            store = ProfileStore(self._paths.profile_folder(profile_id), lock_seconds=self._lock_seconds, key=key)
        except LockedError as caught:
            raise LockedError(f"The profile {name!r} is locked.", next_step=caught.next_step) from caught
        try:
            if store.name != name and not store.read_only:
                store.set_name(name)
            store.consents.check(ConsentBook(self._paths, profile_id, store.files.key), record, trusted=trusted)
        except BaseException:
            store.close()
            raise
        return store

    def is_locked(self, row: Row) -> bool:
        """Whether a profile is locked, by the list or by its folder."""
        return bool(row["locked"]) or self.keyring(row["id"]).exists

    def refuse_replaced(self, profile_id: str, name: str) -> Record:
        """Refuse a plain profile in the place of a locked one: what is in it was not written with the passphrase.

        Returns:
            What the list says about the profile's consents.
        """
        row = self._database.row("SELECT locked, consent_epoch, consent_seal FROM profiles WHERE id = ?", (profile_id,))
        if row is None:
            return Record(0, None)
        if not row["locked"] or self.keyring(profile_id).exists:
            return Record(row["consent_epoch"], row["consent_seal"])
        folder = self._paths.profile_folder(profile_id)
        raise StorageError(
            f"The profile {name!r} is locked, but its folder {folder} holds one without a lock (there is no "
            f"{LOCK_NAME}): something was put in its place, so it is not opened.",
            next_step="Put the folder back from a copy made since it was locked. To give it up: "
            f"tokmem-desk profile delete {name}",
        )

    def keyring(self, profile_id: str) -> Keyring:
        """The lock in a profile's folder, whether there is one or not."""
        return Keyring(self._paths.profile_folder(profile_id))

    def is_open(self, row: Row) -> bool:
        """Whether a profile is in use. Without its key a locked one can only be looked at from outside."""
        if self.is_locked(row):
            # The file is there as long as a connection is; one that was killed leaves it until the next opening.
            return (self._paths.profile_folder(row["id"]) / f"{DATABASE_NAME}-wal").exists()
        with self.open(row["id"], row["name"]) as store:
            # A program that only counts what is in it has it open for a moment.
            for _ in range(_GLANCES):
                if not store.held_by_others():
                    return False
                time.sleep(_GLANCE_SECONDS)
            return True

    @contextlib.contextmanager
    def removals(self, *, wait: bool) -> Iterator[bool]:
        """Whether this process alone may remove profiles that are on the list for it."""
        lock = FileLock(self._paths.data / "removals.guard", timeout=self._lock_seconds if wait else 0, mode=0o600)
        try:
            lock.acquire()
        except (Timeout, OSError):
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def erase(self, profile_id: str) -> None:
        """Erase a profile's files and take it off the list.

        Raises:
            StorageError: a file could not be erased; it stays on the list.
        """
        for folder in (self._paths.profile_folder(profile_id), self._paths.checkpoints / profile_id):
            try:
                erase_tree(folder)
            except OSError as caught:
                raise storage_error(f"The profile's folder {folder} could not be erased", caught) from caught
        with self._database.writing() as connection:
            connection.execute("DELETE FROM profiles WHERE id = ?", (profile_id,))
