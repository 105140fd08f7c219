"""The profiles of this machine: list, create, switch, rename, delete, open.

The list is a small SQLite file, so that two programs can change it at once. Each profile also keeps its own name
(``ProfileStore.name``): when the list is lost, it is rebuilt from the folders.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import uuid
from dataclasses import dataclass
from pathlib import Path

from profiles.database.connection import LOCK_SECONDS, Database, DatabaseOwner, connect
from profiles.database.migrations import REGISTRY_STEPS
from profiles.encryption.file_encryption import ProfileKey
from profiles.files.erasing import erase_file, refuse_links
from profiles.files.paths import AppPaths
from profiles.registry.folders import ProfileFolders
from profiles.registry.locks import ProfileLocks
from profiles.registry.names import check_profile_name, is_same_name
from profiles.registry.tokens import TokenTable
from profiles.store.base import Row, now
from profiles.store.store import DATABASE_NAME, ProfileStore
from tokmem_desk.errors import BusyError, ConflictError, TokmemError

DEFAULT_PROFILE = "default"


@dataclass(frozen=True, slots=True)
class ProfileInfo:
    """One line of the list of profiles."""

    id: str
    name: str
    created: str
    last_used: str
    procedure_count: int | None
    """None when the profile is locked, or its database cannot be read."""
    bytes: int
    """Everything in the profile's folder."""
    active: bool
    locked: bool = False
    """True when everything in it is encrypted, and a passphrase opens it."""


class ProfileRegistry(DatabaseOwner):
    """The list of profiles. There is always at least one, and exactly one is active.

    Profiles opened from it stay open when it is closed. ``locks`` and ``tokens`` are usable until then.

    Raises:
        StorageError: the list is damaged or the disk refuses.
        IncompatibleError: a newer tokmem-desk wrote the list.
        BusyError: another process holds it.
    """

    def __init__(self, paths: AppPaths, *, lock_seconds: float = LOCK_SECONDS) -> None:
        self._paths = paths
        self._database = Database(
            paths.registry_file, REGISTRY_STEPS, backups=paths.data / "backups", lock_seconds=lock_seconds
        )
        self._folders = ProfileFolders(self._database, paths, lock_seconds)
        self.locks = ProfileLocks(self._database, paths, self._folders)
        self.tokens = TokenTable(self._database, self._folders)
        try:
            self._finish_deletions()
            self._ensure_one()
            self._note_locks()
        except BaseException:
            self._database.close()
            raise

    def list(self) -> list[ProfileInfo]:
        """All profiles by name."""
        rows = self._database.rows("SELECT * FROM profiles WHERE deleting = 0 ORDER BY name")
        return [self._info(row) for row in rows]

    def active(self) -> ProfileInfo:
        """The profile that is used when none is named."""
        return self._info(self._active_row())

    def info(self, name: str) -> ProfileInfo:
        """One profile.

        Raises:
            NotFoundError: there is none of that name; the nearest one is named.
        """
        return self._info(self._folders.named(name))

    def create(self, name: str) -> ProfileInfo:
        """Make an empty profile; the active one stays active.

        Raises:
            UsageError: the name is not allowed.
            ConflictError: the name is taken.
        """
        name = check_profile_name(name)
        with self._database.writing() as connection:
            self._refuse_taken(name)
            profile_id = _insert(connection, name)
        with self._folders.open(profile_id, name):
            return self.info(name)

    def switch(self, name: str) -> ProfileInfo:
        """Make a profile the active one.

        Raises:
            NotFoundError: there is none of that name.
        """
        with self._database.writing() as connection:
            _activate(connection, self._folders.named(name)["id"])
        return self.info(name)

    def rename(self, old: str, new: str) -> ProfileInfo:
        """Give a profile another name; its data stay where they are.

        Raises:
            NotFoundError: no profile ``old``.
            UsageError: ``new`` is not allowed.
            ConflictError: ``new`` is taken.
        """
        new = check_profile_name(new)
        with self._database.writing() as connection:
            row = self._folders.named(old)
            if new != row["name"]:
                self._refuse_taken(new, but=str(row["name"]))
                connection.execute("UPDATE profiles SET name = ? WHERE id = ?", (new, row["id"]))
        # A locked profile learns its new name when it is opened next.
        if not self._folders.is_locked(row):
            self._folders.open(row["id"], new).close()
        return self.info(new)

    def delete(self, name: str, *, force: bool = False) -> None:
        """Erase a profile with everything in it, for good. Deleting the last one leaves a new, empty default.

        A crash on the way is finished the next time the list is opened.

        Args:
            name: the profile.
            force: also when it is open elsewhere, or cannot be opened because it is damaged.

        Raises:
            NotFoundError: there is none of that name.
            BusyError: the profile is open in another process.
            StorageError: the profile is damaged or links to files elsewhere (use ``force``), or a file could not be
                deleted.
        """
        row = self._folders.named(name)
        if not force and self._folders.is_open(row):
            raise BusyError(
                f"The profile {name!r} is open in another tokmem-desk.",
                next_step="Close it there, or wait until its job is done.",
            )
        if not force:
            for folder in (self._paths.profile_folder(row["id"]), self._paths.checkpoints / row["id"]):
                refuse_links(folder)
        with self._database.writing() as connection:
            connection.execute("UPDATE profiles SET deleting = 1, active = 0 WHERE id = ?", (row["id"],))
        try:
            self._folders.erase(row["id"])
        finally:
            self._ensure_one()
        # Of the list: names and dates, also in its copies from before updates. Its rows are overwritten in any case.
        with contextlib.suppress(TokmemError, OSError):
            self._database.scrub()
            for copy in self._database.backups.glob("registry*.sqlite"):
                erase_file(copy)

    def open(self, name: str | None = None, *, key: ProfileKey | None = None) -> ProfileStore:
        """Open a profile, the active one unless named, and note that it was used. The caller closes it.

        Args:
            name: the profile.
            key: of a locked one, see ``ProfileLocks.key``; of no use to another.

        Raises:
            NotFoundError: there is none of that name.
            LockedError: it is locked, and there is no key or a wrong one.
            StorageError, IncompatibleError, BusyError: as ``ProfileStore`` says.
        """
        while True:
            row = self._active_row() if name is None else self._folders.named(name)
            store = self._folders.open(row["id"], row["name"], key)
            if self._database.read_only:
                return store
            try:
                with self._database.writing() as connection:
                    used = connection.execute(
                        "UPDATE profiles SET last_used = ?, locked = ? WHERE id = ? AND deleting = 0",
                        (now(), store.locked, row["id"]),
                    )
                if used.rowcount:
                    return store
            except BaseException:
                store.close()
                raise
            # Between the two steps another process has locked or erased the profile: these files are the old ones.
            store.close()
            if self._database.row("SELECT 1 FROM profiles WHERE id = ?", (row["id"],)) is None:
                self._folders.erase(row["id"])

    def _active_row(self) -> Row:
        row = self._database.row("SELECT * FROM profiles WHERE active = 1 AND deleting = 0")
        if row is None:  # another process has deleted the last one and not yet made the next
            self._ensure_one()
            return self._active_row()
        return row

    def _refuse_taken(self, name: str, but: str = "") -> None:
        """Refuse a name that another profile has, or one that would be taken for it; ``but`` is the profile's own."""
        for row in self._database.rows("SELECT name, deleting FROM profiles"):
            other = str(row["name"])
            if other == but or not is_same_name(other, name):
                continue
            if row["deleting"]:
                raise ConflictError(f"The profile {other!r} is just being deleted.", next_step="Try again in a moment.")
            raise ConflictError(f"There is a profile {other!r} already.", next_step="Choose another name.")

    def _ensure_one(self) -> None:
        """Make sure that a profile exists and one is active: the first start, or a lost list."""
        if self._database.row("SELECT 1 FROM profiles WHERE active = 1 AND deleting = 0") is not None:
            return
        with self._database.writing() as connection:
            if self._database.row("SELECT 1 FROM profiles") is None:
                self._adopt_folders(connection)
            newest = "SELECT id FROM profiles WHERE deleting = 0 ORDER BY active DESC, last_used DESC LIMIT 1"
            row = connection.execute(newest).fetchone()
            _activate(connection, row["id"] if row is not None else _insert(connection, self._free(DEFAULT_PROFILE)))

    def _adopt_folders(self, connection: sqlite3.Connection) -> None:
        """Put folders of profiles that no list knows on the list, under the names that they keep themselves."""
        for file in sorted(self._paths.profiles.glob(f"*/{DATABASE_NAME}")):
            name = ""
            # A locked one keeps its name inside, and gets it back with the next renaming.
            with contextlib.suppress(TokmemError), ProfileStore(file.parent, lock_seconds=0.1) as store:
                name = check_profile_name(store.name)
            moment = now()
            connection.execute(
                "INSERT INTO profiles (id, name, created, last_used) VALUES (?, ?, ?, ?)",
                (file.parent.name, self._free(name or "recovered"), moment, moment),
            )

    def _free(self, name: str) -> str:
        """``name``, or with a number behind it when it is taken."""
        taken = {str(row["name"]) for row in self._database.rows("SELECT name FROM profiles")}
        free, number = name, 2
        while free in taken:
            free, number = f"{name[:36]}-{number}", number + 1
        return free

    def _note_locks(self) -> None:
        """Learn which profiles are locked, once for each: from then on a folder without its lock is not believed."""
        rows = self._database.rows("SELECT id FROM profiles WHERE locked IS NULL AND deleting = 0")
        if not rows:
            return
        known = [(self._folders.keyring(row["id"]).exists, row["id"]) for row in rows]
        with self._database.writing() as connection:
            connection.executemany("UPDATE profiles SET locked = ? WHERE id = ? AND locked IS NULL", known)

    def _finish_deletions(self) -> None:
        left = self._database.rows("SELECT id FROM profiles WHERE deleting = 1")
        if not left or self._database.read_only:
            return
        with self._folders.removals(wait=False) as free:
            # A copy that is being made is on the list too, and belongs to whoever makes it.
            for row in left if free else ():
                # What cannot be erased now (a file still open on Windows) is tried again at the next start.
                with contextlib.suppress(TokmemError):
                    self._folders.erase(row["id"])

    def _info(self, row: Row) -> ProfileInfo:
        folder = self._paths.profile_folder(row["id"])
        locked = self._folders.is_locked(row)
        return ProfileInfo(
            id=row["id"],
            name=row["name"],
            created=row["created"],
            last_used=row["last_used"],
            procedure_count=None if locked else _procedure_count(folder / DATABASE_NAME),
            bytes=_bytes_below(folder),
            active=bool(row["active"]),
            locked=locked,
        )


def _insert(connection: sqlite3.Connection, name: str) -> str:
    profile_id, moment = uuid.uuid4().hex, now()
    connection.execute(
        "INSERT INTO profiles (id, name, created, last_used, locked) VALUES (?, ?, ?, ?, 0)",
        (profile_id, name, moment, moment),
    )
    return profile_id


def _activate(connection: sqlite3.Connection, profile_id: str) -> None:
    connection.execute("UPDATE profiles SET active = 0 WHERE active = 1")
    connection.execute("UPDATE profiles SET active = 1 WHERE id = ?", (profile_id,))


def _procedure_count(file: Path) -> int | None:
    """None when the database cannot be read; 0 when the profile was never opened."""
    if not file.exists():
        return 0
    try:
        read_only = not os.access(file.parent, os.W_OK)
        address = f"{file.absolute().as_uri()}?mode=ro"
        with contextlib.closing(
            connect(file, None, 0.5, read_only=True) if read_only else sqlite3.connect(address, uri=True, timeout=0.5)
        ) as connection:
            return int(connection.execute("SELECT count(*) FROM procedures").fetchone()[0])
    except sqlite3.Error:
        return None


def _bytes_below(folder: Path) -> int:
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # a -wal file may go while we count
                total += os.lstat(os.path.join(root, name)).st_size
    return total
