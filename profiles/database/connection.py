"""One SQLite file shared by several processes: opening, migrating, short transactions, errors as sentences.

Knows no table of ours. A ``Database`` belongs to the thread that opened it. With a key the file is encrypted page by
page (SQLCipher; its WAL and backups too), and nothing of it is ever written in plain; without one it is plain SQLite.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from profiles.database.migrations import Step
from profiles.encryption.file_encryption import ProfileKey
from profiles.files.atomic import replacing, storage_error
from profiles.files.paths import private_folder
from tokmem_desk.errors import BusyError, IncompatibleError, LockedError, StorageError, TokmemError

LOCK_SECONDS = 5.0
"""How long a write waits for another process before it gives up with BusyError."""

LONGEST_PATH = 500
"""Bytes of a database's path. SQLite takes 512 with the names of the files that it makes beside it."""

SCRUB_SECONDS = 1.0
"""How long a deletion for good waits for others: somebody sits in front of it, and it is tried again."""

Parameters = Sequence[object] | Mapping[str, object]

_APPLICATION_ID = 0x746F6B6D  # "tokm": tells our files from any other SQLite file
_SYNCHRONOUS = "FULL"
"""Every commit waits for the disk: loss of power must not take what a person has typed, and writes are few."""
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_REFUSED = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "the disk reports an error (it may be full)",
    sqlite3.SQLITE_READONLY: "it is read-only",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened",
    sqlite3.SQLITE_PERM: "there is no permission",
}


class Database:
    """A connection in WAL mode whose errors are ours.

    Args:
        file: made, 0600, when it is not there.
        steps: every migration; the file is brought to ``len(steps)``. Empty steps at the beginning stand for versions
            that this program does not read any more.
        backups: folder for the copy made before a migration.
        expect_data: the caller knows that this file has been in use, so an empty one is damage, not a beginning.
        lock_seconds: how long to wait for another process.
        key: of an encrypted database; None for a plain one.

    Raises:
        LockedError: ``key`` does not open the file.
        IncompatibleError: a newer program wrote the file, or one that is too old.
        StorageError: the file is damaged, or the disk refuses.
        BusyError: another process holds it longer than ``lock_seconds``.
    """

    def __init__(
        self,
        file: Path,
        steps: Sequence[Step],
        *,
        backups: Path,
        expect_data: bool = False,
        lock_seconds: float = LOCK_SECONDS,
        key: ProfileKey | None = None,
    ) -> None:
        length = len(os.fsencode(file.absolute()))
        if length > LONGEST_PATH:
            raise StorageError(
                f"The path of the database is too long: {length} bytes, where {LONGEST_PATH} are possible "
                f"({str(file)[:60]}…).",
                next_step="Choose a shorter place with --home.",
            )
        self.file = file
        self.read_only = file.is_file() and not (os.access(file, os.W_OK) and os.access(file.parent, os.W_OK))
        """True on a disk, or in a folder, that this person cannot write to: then everything can be read."""
        self._key = key
        self._backups = backups
        self._steps = steps
        self._lock_seconds = lock_seconds
        self.closed = False
        self.after_commit: Callable[[], None] | None = None
        """Called after every commit of ``writing``, outside the transaction."""
        private_folder(file.parent)
        try:
            # Made here rather than by SQLite, which would follow the umask; its -wal and -shm copy this mode.
            # Never on a file that is there: closing any descriptor of it drops this process's locks on it.
            if not file.is_file():
                os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            if file.is_dir():
                raise storage_error(f"{file} could not be opened", IsADirectoryError(21, "it is a folder")) from None
        except OSError as caught:
            raise storage_error(f"{file} could not be opened", caught) from caught
        with self._errors():
            self._connection = connect(file, key, lock_seconds, read_only=self.read_only)
        try:
            self._prepare(expect_data)
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Close the connection; a second call does nothing."""
        self.closed = True
        self._connection.close()

    def scrub(self, statements: Sequence[str] = (), *, wait_seconds: float | None = None) -> None:
        """Leave nothing in the file and its log but what is in the tables now.

        Rows that were deleted are overwritten at once (``secure_delete``), but copies of them stay where pages were
        split, and in the log. So the file is written anew and the log cut off.

        Args:
            statements: run first, such as the rebuilding of an index that keeps words of its own.
            wait_seconds: for others that read or write; ``SCRUB_SECONDS`` unless given.

        Raises:
            BusyError: another connection reads an older state, so the log cannot go yet.
            StorageError: the disk refused; no row is lost.
        """
        seconds = SCRUB_SECONDS if wait_seconds is None else wait_seconds
        with self._errors():
            self._connection.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")
            # What VACUUM copies would otherwise go through a plain file in the system's temporary folder.
            self._connection.execute("PRAGMA temp_store = MEMORY")
            try:
                for statement in statements:
                    self._connection.execute(statement)
                self._connection.execute("VACUUM")
                if self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                    raise BusyError(
                        f"{self.file} is being read by another tokmem-desk.", next_step="Try again in a moment."
                    )
            finally:
                self._connection.execute(f"PRAGMA busy_timeout = {int(self._lock_seconds * 1000)}")

    @property
    def backups(self) -> Path:
        """The folder of the copies made before migrations and by ``backup``."""
        return self._backups

    def rows(self, sql: str, parameters: Parameters = ()) -> list[sqlite3.Row]:
        """All rows of one query."""
        with self._errors():
            return self._connection.execute(sql, parameters).fetchall()

    def row(self, sql: str, parameters: Parameters = ()) -> sqlite3.Row | None:
        """The first row of one query, or None."""
        with self._errors():
            found: sqlite3.Row | None = self._connection.execute(sql, parameters).fetchone()
            return found

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Several queries that see one state, whatever other processes write meanwhile."""
        with self._transaction("BEGIN"):
            yield

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, committed at the end of the block and rolled back by any exception in it.

        It takes the write lock at once: what the block reads cannot be changed by others before it writes.

        Raises:
            BusyError: another process kept the lock too long.
            StorageError: the disk is full or read-only, or the file damaged; nothing of the block was kept.
        """
        if self.read_only:
            raise StorageError(
                f"{self.file} could not be changed: it is read-only.",
                next_step="Choose another place with --home, or make this one writable.",
            )
        with self._transaction("BEGIN IMMEDIATE"):
            yield self._connection
        if self.after_commit is not None:
            self.after_commit()

    def backup(self, name: str) -> Path:
        """Copy the committed state to ``backups/name``, whole or not at all, and return that path."""
        with replacing(private_folder(self._backups) / name) as temporary, self._errors():
            source = connect(self.file, self._key, self._lock_seconds)
            target = connect(temporary, self._key, self._lock_seconds)
            try:
                source.backup(target)
            finally:
                target.close()
                source.close()
        return self._backups / name

    def damage(self) -> list[str]:
        """What SQLite's own check finds wrong, one sentence each; an empty list is good. Reads the whole file."""
        try:
            found = [str(row[0]) for row in self.rows("PRAGMA integrity_check(20)") if row[0] != "ok"]
            broken = self.rows("PRAGMA foreign_key_check")
        except StorageError as caught:  # too damaged even for the check
            return [caught.message]
        return found + [f"a row of {row[0]!r} has lost its owner" for row in broken]

    def held_by_others(self) -> bool:
        """True when another connection has this file open. Only for a caller about to delete it."""
        # Leaving WAL mode needs the file for oneself.
        self._connection.execute("PRAGMA busy_timeout = 0")
        try:
            self._connection.execute("PRAGMA journal_mode = DELETE")
        except database_errors():
            return True
        finally:
            self._connection.execute(f"PRAGMA busy_timeout = {int(self._lock_seconds * 1000)}")
        self._enter_wal()
        return False

    def _prepare(self, expect_data: bool) -> None:
        with self._errors():
            self._connection.execute("PRAGMA foreign_keys = ON")
            # Deleted chats and pairs are private: overwrite them in the file.
            if not self.read_only:
                self._connection.execute("PRAGMA secure_delete = ON")
            version, owner = self._version(), self._pragma("application_id")
            if self._pragma("schema_version") == 0:
                if expect_data:
                    raise StorageError(f"{self.file} is empty but was in use.", next_step=self._way_back())
            elif owner != _APPLICATION_ID:
                raise StorageError(
                    f"{self.file} is a database of another program.", next_step="Move it away, then start again."
                )
            if not self.read_only:
                self._connection.execute(f"PRAGMA synchronous = {_SYNCHRONOUS}")
                self._enter_wal()
        self._refuse_unknown(version)
        if version < len(self._steps):
            if self.read_only:
                raise StorageError(
                    f"{self.file} has format {version} and must be brought to {len(self._steps)}, but it is read-only.",
                    next_step="Make it writable once, or choose another place with --home.",
                )
            self._migrate()

    def _migrate(self) -> None:
        with self.writing() as connection:
            version = self._version()  # again, now that nobody else can be migrating
            self._refuse_unknown(version)
            if 0 < version < len(self._steps):
                self.backup(f"{self.file.stem}-before-v{len(self._steps)}-was-v{version}.sqlite")
            for step in self._steps[version:]:
                for statement in step:
                    connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {len(self._steps)}")

    def _refuse_unknown(self, version: int) -> None:
        oldest = next(number for number, step in enumerate(self._steps, start=1) if step)
        if 0 < version < oldest:
            raise IncompatibleError(
                f"{self.file} has format {version}, from before tokmem-desk 0.1.0; this program knows formats from "
                f"{oldest} on.",
                next_step="Open it once with tokmem-desk 0.1.0, then with this version. The file was not touched.",
            )
        if version > len(self._steps):
            raise IncompatibleError(
                f"{self.file} has format {version}; this program knows formats up to {len(self._steps)}.",
                next_step="Update tokmem-desk. The file was not touched.",
            )

    def _enter_wal(self) -> None:
        # SQLite does not wait for this lock by itself when two processes open a new file at once.
        deadline = time.monotonic() + self._lock_seconds
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
                return
            except database_errors() as caught:
                if _code(caught) not in _BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    @contextlib.contextmanager
    def _transaction(self, begin: str) -> Iterator[None]:
        with self._errors():
            self._connection.execute(begin)
            try:
                yield
                self._connection.execute("COMMIT")
            finally:
                # Also after a commit that the disk refused. SQLite itself may have rolled back already.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except database_errors() as caught:
            error = self._as_ours(caught)
            if error is None:
                raise
            raise error from caught

    def _as_ours(self, caught: Exception) -> TokmemError | None:
        """None for a broken constraint or wrong SQL: those are bugs and keep their traceback."""
        code = _code(caught)
        if code in _BUSY:
            return BusyError(
                f"{self.file} is in use by another tokmem-desk for more than {self._lock_seconds:g} seconds.",
                next_step="Try again in a moment.",
            )
        if self._key is not None and code == sqlite3.SQLITE_NOTADB:
            return LockedError(f"The key given does not open {self.file}.", next_step="Give the passphrase again.")
        if code in _DAMAGED:
            return StorageError(f"{self.file} is damaged ({caught}).", next_step=self._way_back())
        if code in _REFUSED:
            return StorageError(
                f"{self.file} could not be used: {_REFUSED[code]} ({caught}).",
                next_step="Check the disk's free space and the file's owner; nothing of this change was kept.",
            )
        if "no such module" in str(caught):
            return StorageError(
                f"This Python's SQLite cannot search text ({caught}).",
                next_step="Use a Python whose SQLite has FTS5, such as the one from python.org.",
            )
        return None

    def _way_back(self) -> str:
        copies = sorted(self._backups.glob(f"{self.file.stem}*.sqlite"), key=lambda copy: copy.stat().st_mtime)
        # A -wal file left beside a restored copy would be replayed into it.
        away = f"Close tokmem-desk, move {self.file.name} and what begins with {self.file.name}- away"
        if not copies:
            return f"{away} to start afresh, or put back your own backup; none was found in {self._backups}."
        return f"{away} and put the backup {copies[-1]} in its place."

    def _version(self) -> int:
        return self._pragma("user_version")

    def _pragma(self, name: str) -> int:
        return int(self._connection.execute(f"PRAGMA {name}").fetchone()[0])


class DatabaseOwner:
    """Something that keeps one database open. Use as a context manager, or call ``close``."""

    _database: Database

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the database; only ``close`` may be called after that."""
        self._database.close()


def connect(file: Path, key: ProfileKey | None, timeout: float, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection in autocommit mode that gives rows by name; SQLCipher's, which looks the same, where there is a key.

    Args:
        file: the database.
        key: of an encrypted one.
        timeout: how long to wait for another process, in seconds.
        read_only: nothing is written, beside the file neither; for disks where nothing can be.

    Raises:
        StorageError: there is a key, and this computer has no SQLCipher.
    """
    if key is None:
        plain = sqlite3.connect(_address(file, read_only), timeout=timeout, isolation_level=None, uri=read_only)
        plain.row_factory = sqlite3.Row
        return plain
    cipher = sqlcipher()
    connection: sqlite3.Connection = cipher.connect(
        _address(file, read_only), timeout=timeout, isolation_level=None, uri=read_only
    )
    connection.row_factory = cipher.Row
    quiet(connection)
    connection.execute(f'PRAGMA key = "{key.database_key()}"')
    return connection


def _address(file: Path, read_only: bool) -> str:
    """What is given to SQLite for a file."""
    if not read_only:
        return os.fspath(file)
    # In WAL mode a reader makes files beside the database, unless it is told that nobody writes. Somebody does, or did
    # and was killed, where there is something in the log; then what is in the log must be read, too.
    log = file.with_name(f"{file.name}-wal")
    in_use = log.is_file() and log.stat().st_size > 0
    return f"{file.absolute().as_uri()}?{'mode=ro' if in_use else 'mode=ro&immutable=1'}"


def sqlcipher() -> Any:
    """The module that speaks SQLCipher; ``sqlite3`` in all but name.

    Raises:
        StorageError: it is not installed, or does not load here.
    """
    try:
        from sqlcipher3 import dbapi2
    except ImportError as caught:
        raise StorageError(
            f"Locked profiles need the package sqlcipher3, which cannot be loaded ({caught}).",
            next_step="Install it: pip install sqlcipher3",
        ) from caught
    return dbapi2


def quiet(connection: Any) -> None:
    """Have SQLCipher write nothing to stderr, which is the person's terminal: its errors come as exceptions too."""
    connection.execute("PRAGMA cipher_log_level = NONE")


def database_errors() -> tuple[type[Exception], ...]:
    """What either library raises; SQLCipher's class only once something has loaded it."""
    cipher = sys.modules.get("sqlcipher3.dbapi2")
    return (sqlite3.DatabaseError,) if cipher is None else (sqlite3.DatabaseError, cipher.DatabaseError)


def _code(caught: Exception) -> int:
    """The primary result code; -1 when the error did not come from SQLite itself."""
    code = getattr(caught, "sqlite_errorcode", None)
    return -1 if code is None else code & 0xFF
