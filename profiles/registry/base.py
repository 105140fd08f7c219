"""What the list of profiles and their locks share: rows of the list, folders, opening, erasing."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from filelock import FileLock, Timeout

from profiles.database.connection import DatabaseOwner
from profiles.encryption.file_encryption import ProfileKey
from profiles.encryption.keyring import LOCK_NAME, Keyring
from profiles.files.atomic import storage_error
from profiles.files.erasing import erase_tree
from profiles.files.paths import AppPaths
from profiles.store.base import Row
from profiles.store.consents import ConsentBook, Record
from profiles.store.store import DATABASE_NAME, ProfileStore
from tokmem_desk.errors import LockedError, NotFoundError, StorageError, did_you_mean

_GLANCES, _GLANCE_SECONDS = 8, 0.1


class ProfileFolders(DatabaseOwner):
    """The base of ``profiles.registry.registry.ProfileRegistry``."""

    _paths: AppPaths
    _lock_seconds: float

    def _named(self, name: str) -> Row:
        row = self._database.row("SELECT * FROM profiles WHERE name = ? AND deleting = 0", (name,))
        if row is None:
            others = self._database.rows("SELECT name FROM profiles WHERE deleting = 0 ORDER BY name")
            known = [str(other["name"]) for other in others]
            raise NotFoundError(
                f"There is no profile {name!r}.{did_you_mean(name, known)}",
                next_step=f"There are: {', '.join(known)}.",
            )
        return row

    def _open(
        self, profile_id: str, name: str, key: ProfileKey | None = None, *, trusted: bool = False
    ) -> ProfileStore:
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
        record = self._refuse_replaced(profile_id, name)
        try:
            store = ProfileStore(self._paths.profile_folder(profile_id), lock_seconds=self._lock_seconds, key=key)
        except LockedError as caught:
            raise LockedError(f"The profile {name!r} is locked.", next_step=caught.next_step) from caught
        try:
            if store.profile_name != name and not store.read_only:
                store.set_profile_name(name)
            store.check_consents(ConsentBook(self._paths, profile_id, store.vault.key), record, trusted=trusted)
        except BaseException:
            store.close()
            raise
        return store

    def _locked(self, row: Row) -> bool:
        """Whether a profile is locked, by the list or by its folder."""
        return bool(row["locked"]) or self._keyring(row["id"]).exists

    def _refuse_replaced(self, profile_id: str, name: str) -> Record:
        """Refuse a plain profile in the place of a locked one: what is in it was not written with the passphrase.

        Returns:
            What the list says about the profile's consents.
        """
        row = self._database.row("SELECT locked, consent_epoch, consent_seal FROM profiles WHERE id = ?", (profile_id,))
        if row is None:
            return Record(0, None)
        if not row["locked"] or self._keyring(profile_id).exists:
            return Record(row["consent_epoch"], row["consent_seal"])
        folder = self._paths.profile_folder(profile_id)
        raise StorageError(
            f"The profile {name!r} is locked, but its folder {folder} holds one without a lock (there is no "
            f"{LOCK_NAME}): something was put in its place, so it is not opened.",
            next_step="Put the folder back from a copy made since it was locked. To give it up: "
            f"tokmem-desk profile delete {name}",
        )

    def _keyring(self, profile_id: str) -> Keyring:
        return Keyring(self._paths.profile_folder(profile_id))

    def _is_open(self, row: Row) -> bool:
        """Whether a profile is in use. Without its key a locked one can only be looked at from outside."""
        if self._locked(row):
            # The file is there as long as a connection is; one that was killed leaves it until the next opening.
            return (self._paths.profile_folder(row["id"]) / f"{DATABASE_NAME}-wal").exists()
        with self._open(row["id"], row["name"]) as store:
            # A program that only counts what is in it has it open for a moment.
            for _ in range(_GLANCES):
                if not store.held_by_others():
                    return False
                time.sleep(_GLANCE_SECONDS)
            return True

    @contextlib.contextmanager
    def _removals(self, *, wait: bool) -> Iterator[bool]:
        """Whether this process alone may remove profiles that are on the list for it."""
        guard = FileLock(self._paths.data / "removals.guard", timeout=self._lock_seconds if wait else 0, mode=0o600)
        try:
            guard.acquire()
        except (Timeout, OSError):
            yield False
            return
        try:
            yield True
        finally:
            guard.release()

    def _erase(self, profile_id: str) -> None:
        for folder in (self._paths.profile_folder(profile_id), self._paths.checkpoints / profile_id):
            try:
                erase_tree(folder)
            except OSError as caught:
                raise storage_error(f"The profile's folder {folder} could not be erased", caught) from caught
        with self._database.writing() as connection:
            connection.execute("DELETE FROM profiles WHERE id = ?", (profile_id,))
