"""Turn a plain profile into an encrypted one, or back: a whole new copy, checked, and only then the old one goes.

The copy lies under another id. While it is made the old database is held exclusively, so that no process reads or
writes it; nothing of the old profile is changed. Which copy counts, and the removal of the other, is the registry's
business: one transaction there is the moment of the change.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from profiles.database.connection import connect, database_errors, quiet, sqlcipher
from profiles.encryption.file_encryption import ProfileKey
from profiles.encryption.keyring import ATTEMPTS_NAME, LOCK_NAME
from profiles.encryption.profile_files import ProfileFiles
from profiles.files.atomic import storage_error
from profiles.files.erasing import refuse_links
from profiles.files.paths import AppPaths, private_folder
from profiles.files.process_locks import SUFFIX
from profiles.settings.settings import PROFILE_FILE_NAME
from profiles.store.banks import QUARANTINE_FOLDER_NAME
from profiles.store.store import BACKUP_FOLDER_NAME, DATABASE_NAME, MEMORY_FOLDER_NAME
from tokmem_desk.errors import BusyError, StorageError
from tokmem_desk.system.disk import sync

_LEFT_BEHIND = frozenset(
    {
        LOCK_NAME,
        ATTEMPTS_NAME,
        BACKUP_FOLDER_NAME,
        QUARANTINE_FOLDER_NAME,
        *(f"{DATABASE_NAME}{ending}" for ending in ("-wal", "-shm", "-journal")),
    }
)
"""What has no place in the copy: backups are of the other kind, quarantines hold nothing of worth, the lock is written
anew, SQLite makes its own."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two copies: its id, and its key where it is encrypted."""

    profile_id: str
    key: ProfileKey | None


@contextlib.contextmanager
def copied(paths: AppPaths, old: Side, new: Side, progress: Callable[[float], None] | None) -> Iterator[None]:
    """Make the copy, and hold the old database until the block has ended.

    Args:
        paths: where profiles and checkpoints are.
        old: what is there; its folder must have a database.
        new: what is to be; its folder holds nothing but a lock.
        progress: told the share of files done, 0 to 1; None for nobody.

    Raises:
        BusyError: the profile is open in another process. In this one it must be closed: SQLite and SQLCipher are two
            libraries, which do not see each other's locks within a process.
        StorageError: the disk refused, or the copy is not whole; the old profile is as it was.
    """
    source, target = paths.profile_folder(old.profile_id), private_folder(paths.profile_folder(new.profile_id))
    refuse_strange(paths, old.profile_id, encrypting=new.key is not None)
    connection = _held(source / DATABASE_NAME, old.key)
    try:
        try:
            _copy_database(connection, target / DATABASE_NAME, new.key)
            _compare(connection, target / DATABASE_NAME, new.key)
            _copy_files(paths, old, new, progress)
        except database_errors() as caught:
            raise StorageError(f"The profile could not be copied ({caught}).", next_step=_UNCHANGED) from caught
        except OSError as caught:
            raise storage_error(f"The profile could not be copied to {target}", caught) from caught
        yield
    finally:
        connection.close()


_UNCHANGED = "Nothing was changed; check the disk's free space and try again."


def _held(file: Path, key: ProfileKey | None) -> Any:
    """A connection that nobody else can read or write beside."""
    # SQLCipher's library also opens plain files, and only it can copy from one kind to the other.
    connection = sqlcipher().connect(file, timeout=1.0, isolation_level=None)
    try:
        quiet(connection)
        if key is not None:
            connection.execute(f'PRAGMA key = "{key.database_key()}"')
        # Leaving WAL mode needs the file for oneself, and writes its WAL back into it.
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE")
        connection.execute("COMMIT")
    except database_errors() as caught:
        connection.close()
        if "locked" in str(caught):
            raise BusyError(
                "The profile is open in a tokmem-desk.", next_step="Close it there, then try again."
            ) from caught
        raise StorageError(f"{file} could not be read ({caught}).", next_step="See: tokmem-desk doctor") from caught
    except BaseException:
        connection.close()
        raise
    return connection


def _copy_database(connection: Any, target: Path, key: ProfileKey | None) -> None:
    form = key.database_key() if key is not None else ""
    connection.execute("ATTACH DATABASE ? AS copy KEY ?", (str(target), form))
    connection.execute("PRAGMA copy.journal_mode = DELETE")
    # The export commits each statement. One wait for the disk at the end is enough: an unfinished copy is thrown away.
    connection.execute("PRAGMA copy.synchronous = OFF")
    connection.execute("SELECT sqlcipher_export('copy')")
    for name in ("user_version", "application_id"):
        value = int(connection.execute(f"PRAGMA main.{name}").fetchone()[0])
        connection.execute(f"PRAGMA copy.{name} = {value}")
    connection.execute("DETACH DATABASE copy")
    target.chmod(0o600)
    sync(target)


def _copy_files(paths: AppPaths, old: Side, new: Side, progress: Callable[[float], None] | None) -> None:
    source, target = paths.profile_folder(old.profile_id), paths.profile_folder(new.profile_id)
    moves = [(file, target / MEMORY_FOLDER_NAME / file.name) for file in _files(source / MEMORY_FOLDER_NAME)]
    checkpoints = paths.checkpoints / old.profile_id
    moves += [(file, paths.checkpoints / new.profile_id / file.name) for file in _files(checkpoints)]
    reader, writer = ProfileFiles(old.key), ProfileFiles(new.key)
    for at, (file, place) in enumerate(moves):
        private_folder(place.parent)
        writer.write(place, reader.read(file))
        if progress is not None:
            progress((at + 1) / len(moves))
    settings = source / PROFILE_FILE_NAME
    if settings.is_file():
        shutil.copyfile(settings, target / PROFILE_FILE_NAME)
        (target / PROFILE_FILE_NAME).chmod(0o600)
        sync(target / PROFILE_FILE_NAME)
    sync(target)


def _files(folder: Path) -> list[Path]:
    """The files of a folder, without what a write that was cut off has left."""
    if not folder.is_dir():
        return []
    return sorted(file for file in folder.iterdir() if file.is_file() and not file.name.endswith(".part"))


def refuse_strange(paths: AppPaths, profile_id: str, *, encrypting: bool) -> None:
    """Refuse a profile in whose folders is what would be neither copied nor erased.

    Raises:
        StorageError: there is such a thing; nothing was changed.
    """
    folder, checkpoints = paths.profile_folder(profile_id), paths.checkpoints / profile_id
    for place in (folder, checkpoints):
        refuse_links(place, second_names=encrypting)
    known = {DATABASE_NAME, MEMORY_FOLDER_NAME, PROFILE_FILE_NAME} | _LEFT_BEHIND
    strange = [entry for entry in folder.iterdir() if entry.name not in known and not entry.name.endswith(SUFFIX)]
    for place in (folder / MEMORY_FOLDER_NAME, checkpoints):
        if place.is_dir():
            strange += [entry for entry in place.iterdir() if not entry.is_file()]
    strange = [entry for entry in strange if entry.name != ".DS_Store" and not entry.name.endswith(".part")]
    if strange:
        found = min(strange)
        raise StorageError(
            f"The profile's folder {found.parent} holds {found.name!r}, which tokmem-desk did not put there.",
            next_step="Move it away: it would be neither encrypted nor kept.",
        )


def _compare(connection: Any, target: Path, key: ProfileKey | None) -> None:
    """Read the copy as it will be read from now on."""
    with contextlib.closing(connect(target, key, timeout=0.0)) as copy:
        found = [str(row[0]) for row in copy.execute("PRAGMA integrity_check(1)")]
        faults = [fault for fault in found if fault != "ok"]
        tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        for (table,) in connection.execute(tables).fetchall():
            here, there = (int(c.execute(f"SELECT count(*) FROM {table}").fetchone()[0]) for c in (connection, copy))
            if here != there:
                faults.append(f"{table} has {there} rows instead of {here}")
    if faults:
        raise StorageError(f"The copy of the profile is not whole ({faults[0]}).", next_step=_UNCHANGED)
