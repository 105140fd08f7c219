"""The database file: several processes, kill -9, migrations, damage, a full disk."""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
import stat
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

import profiles.database.connection
from profiles.database import migrations
from profiles.database.connection import Database
from profiles.database.migrations import PROFILE_STEPS, REGISTRY_STEPS
from profiles.store.store import ProfileStore
from tokmem_desk.errors import BusyError, IncompatibleError, StorageError
from tokmem_desk.procedures import ExamplePair, Procedure

Start = Callable[..., "subprocess.Popen[str]"]

WRITER = """
import sys
from pathlib import Path
from profiles.store.store import ProfileStore
from tokmem_desk.procedures import ExamplePair, Procedure

folder, me, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
input()
with ProfileStore(folder) as store:
    store.procedures.add(Procedure(me, ()))
    conversation = store.chats.create(me)
    for step in range(count):
        store.pairs.add("shared", [ExamplePair(f"{me} {step}", "x"), ExamplePair(f"{me} {step}", "y")])
        store.messages.add(conversation, "user", f"{me} {step}")
"""

HOLDER = """
import sys, time
from pathlib import Path
from profiles.store.store import ProfileStore

with ProfileStore(Path(sys.argv[1])) as store, store._database.writing() as connection:
    connection.execute("DELETE FROM pairs")
    connection.execute("INSERT INTO conversations (title, created, updated) VALUES ('half', '', '')")
    print("holding", flush=True)
    time.sleep(60)
"""

APPENDER = """
import sys
from pathlib import Path
from profiles.store.store import ProfileStore
from tokmem_desk.procedures import ExamplePair

with ProfileStore(Path(sys.argv[1])) as store:
    for step in range(10_000):
        pairs = [ExamplePair(f"{step} {row}", "x") for row in range(20)]
        store.pairs.add_parts("shared", {"train": pairs}, replace=True)
        print(step, flush=True)
"""


def shared(folder: Path) -> None:
    with ProfileStore(folder) as store:
        store.procedures.add(Procedure("shared", (ExamplePair("kept", "x"),)))


def test_commits_wait_for_the_disk_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    with ProfileStore(tmp_path / "profile") as store:
        assert [tuple(row) for row in store._database.rows("PRAGMA synchronous")] == [(2,)]


def test_two_processes_write_at_once_and_nothing_is_lost(tmp_path: Path, python: Start) -> None:
    folder = tmp_path / "profile"
    shared(folder)
    writers = [python(WRITER, folder, name, 25) for name in ("ann", "bob")]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        _, errors = writer.communicate(timeout=60)
        assert writer.returncode == 0, errors
    with ProfileStore(folder) as store:
        inputs = [pair.input for pair in store.pairs.list("shared")]
        assert sorted(inputs) == sorted(
            ["kept", *(f"{name} {step}" for name in ("ann", "bob") for step in range(25) for _ in "xy")]
        )
        # Pairs added in one call stand together, whoever else was writing.
        assert inputs[1::2] == inputs[2::2]
        assert [row.message_count for row in store.chats.list()] == [25, 25]
        assert {record.name for record in store.procedures.list()} == {"shared", "ann", "bob"}
        assert store.damage() == []


def test_two_processes_make_the_same_new_profile(tmp_path: Path, python: Start) -> None:
    folder = tmp_path / "new"
    code = """
import sys
from pathlib import Path
from profiles.store.store import ProfileStore
input()
with ProfileStore(Path(sys.argv[1])) as store:
    store.chats.create(sys.argv[2])
"""
    starters = [python(code, folder, number) for number in range(3)]
    for starter in starters:
        assert starter.stdin is not None
        starter.stdin.write("go\n")
        starter.stdin.flush()
    for starter in starters:
        _, errors = starter.communicate(timeout=60)
        assert starter.returncode == 0, errors
    with ProfileStore(folder) as store:
        assert {row.title for row in store.chats.list()} == {"0", "1", "2"}


def test_a_held_lock_is_busy_for_writers_and_no_matter_to_readers(tmp_path: Path, python: Start) -> None:
    folder = tmp_path / "profile"
    shared(folder)
    holder = python(HOLDER, folder)
    assert holder.stdout is not None and holder.stdout.readline() == "holding\n"
    with ProfileStore(folder, lock_seconds=0.2) as store:
        assert [pair.input for pair in store.pairs.list("shared")] == ["kept"]
        with pytest.raises(BusyError, match=r"in use by another tokmem-desk for more than 0\.2 seconds") as caught:
            store.chats.create("x")
        assert caught.value.exit_code == 3
        holder.kill()
        holder.wait()
        store.chats.create("after")
        assert [row.title for row in store.chats.list()] == ["after"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_kill_in_the_middle_of_a_transaction_loses_nothing(tmp_path: Path, python: Start) -> None:
    folder = tmp_path / "profile"
    shared(folder)
    holder = python(HOLDER, folder)
    assert holder.stdout is not None and holder.stdout.readline() == "holding\n"
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with ProfileStore(folder) as store:
        assert [pair.input for pair in store.pairs.list("shared")] == ["kept"]
        assert store.chats.list() == []
        assert store.damage() == []


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_kill_among_many_writes_keeps_every_finished_one(tmp_path: Path, python: Start) -> None:
    folder = tmp_path / "profile"
    shared(folder)
    for stop_after in (3, 7, 12):
        appender = python(APPENDER, folder)
        assert appender.stdout is not None
        for _ in range(stop_after):
            appender.stdout.readline()
        os.kill(appender.pid, signal.SIGKILL)
        finished = stop_after + len(appender.stdout.read().splitlines())
        appender.wait()
        with ProfileStore(folder) as store:
            inputs = [pair.input for pair in store.pairs.list("shared")]
            last = int(inputs[0].split()[0])
            assert inputs == [f"{last} {row}" for row in range(20)]
            # Finished writes are there; the one under way may be, wholly.
            assert last in (finished - 1, finished)
            assert store.damage() == []


def test_files_and_folders_are_private(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        with ProfileStore(tmp_path / "a" / "b") as store:
            store.chats.create("x")
            store.memories.new_file()
            copy = store.backup()
            modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "a").rglob("*")}
            folders = {path for path in modes if path.is_dir()}
    finally:
        os.umask(before)
    assert {path.name for path in modes.keys() - folders} == {
        "profile.sqlite",
        "profile.sqlite-wal",
        "profile.sqlite-shm",
        copy.name,
    }
    assert {modes[path] for path in modes.keys() - folders} == {0o600}
    assert {modes[path] for path in folders} == {0o700}


OLD = (
    ("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT)", "INSERT INTO notes VALUES (1, 'kept')"),
    ("ALTER TABLE notes ADD COLUMN stars INTEGER NOT NULL DEFAULT 3",),
    ("CREATE TABLE tags (name TEXT)", "INSERT INTO tags SELECT text FROM notes"),
)


def database(folder: Path, steps: tuple[tuple[str, ...], ...]) -> Database:
    return Database(folder / "notes.sqlite", steps, backups=folder / "backups", lock_seconds=0.3)


def test_migrations_run_once_in_order_after_a_backup(tmp_path: Path) -> None:
    with closing(database(tmp_path, OLD[:1])) as first:
        assert first.rows("PRAGMA user_version")[0][0] == 1
    assert not (tmp_path / "backups").exists()
    with closing(database(tmp_path, OLD)) as migrated:
        assert [tuple(row) for row in migrated.rows("SELECT * FROM notes")] == [(1, "kept", 3)]
        assert migrated.rows("SELECT name FROM tags")[0][0] == "kept"
        assert migrated.rows("PRAGMA user_version")[0][0] == 3
    (backup,) = (tmp_path / "backups").iterdir()
    assert backup.name == "notes-before-v3-was-v1.sqlite"
    with closing(sqlite3.connect(backup)) as copy:
        assert copy.execute("SELECT * FROM notes").fetchall() == [(1, "kept")]
    with closing(database(tmp_path, OLD)) as again:
        assert len(again.rows("SELECT * FROM tags")) == 1
    # A backup is a database of ours and opens as one.
    backup.rename(tmp_path / "notes.sqlite")
    with closing(database(tmp_path, OLD[:1])) as restored:
        assert [tuple(row) for row in restored.rows("SELECT * FROM notes")] == [(1, "kept")]


def test_a_migration_that_fails_leaves_the_old_form(tmp_path: Path) -> None:
    database(tmp_path, OLD[:1]).close()
    with pytest.raises(sqlite3.OperationalError, match="no such table: nowhere"):
        database(tmp_path, (*OLD[:2], ("INSERT INTO nowhere VALUES (1)",)))
    with closing(database(tmp_path, OLD[:1])) as old:
        assert [tuple(row) for row in old.rows("SELECT * FROM notes")] == [(1, "kept")]


def test_a_newer_database_is_refused_untouched(tmp_path: Path) -> None:
    database(tmp_path, OLD).close()
    before = (tmp_path / "notes.sqlite").read_bytes()
    with pytest.raises(IncompatibleError, match="has format 3; this program knows formats up to 1. Update") as caught:
        database(tmp_path, OLD[:1])
    assert caught.value.exit_code == 4
    assert (tmp_path / "notes.sqlite").read_bytes() == before


def test_every_released_step_makes_a_sound_database(tmp_path: Path) -> None:
    for name, steps in (("profile", PROFILE_STEPS), ("registry", REGISTRY_STEPS)):
        oldest = next(number for number, step in enumerate(steps, start=1) if step)
        for count in range(oldest, len(steps) + 1):
            with closing(Database(tmp_path / f"{name}{count}.sqlite", steps[:count], backups=tmp_path)) as made:
                assert made.damage() == []


def test_a_database_from_before_the_first_release_is_refused_untouched(tmp_path: Path) -> None:
    database(tmp_path, OLD[:1]).close()
    before = (tmp_path / "notes.sqlite").read_bytes()
    with pytest.raises(IncompatibleError, match=r"has format 1, from before .* formats from 2 on. Open it once"):
        database(tmp_path, ((), *OLD[1:]))
    assert (tmp_path / "notes.sqlite").read_bytes() == before


def test_a_step_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (2, 4):
        (tmp_path / f"notes_{number:04d}.py").write_text(f"STATEMENTS = ('CREATE TABLE t{number} (x)',)\n")
    monkeypatch.setattr(migrations, "__path__", [str(tmp_path)])
    with pytest.raises(StorageError, match="notes_0003 is missing from this installation"):
        migrations.discover("notes")
    (tmp_path / "notes_0003.py").write_text("STATEMENTS = ('CREATE TABLE t3 (x)',)\n")
    assert [len(step) for step in migrations.discover("notes")] == [0, 1, 1, 1]
    with pytest.raises(StorageError, match="other_0001 is missing"):
        migrations.discover("other")


def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "notes.sqlite")) as other:
        other.execute("CREATE TABLE theirs (x)")
    before = (tmp_path / "notes.sqlite").read_bytes()
    with pytest.raises(StorageError, match="is a database of another program. Move it away"):
        database(tmp_path, OLD)
    assert (tmp_path / "notes.sqlite").read_bytes() == before


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "notes.sqlite").write_bytes(b"not a database at all " * 100)
    with pytest.raises(StorageError, match=r"notes\.sqlite is damaged .*none was found in"):
        database(tmp_path, OLD)


def test_damage_inside_names_the_file_and_the_backup(tmp_path: Path, ledger: Procedure) -> None:
    with ProfileStore(tmp_path) as store:
        store.procedures.add(ledger)
        store.pairs.add_parts(
            "ledger", {"train": [ExamplePair(f"{row} " * 200, "x") for row in range(200)]}, replace=True
        )
        copy = store.backup()
    size = store.database_file.stat().st_size
    with store.database_file.open("r+b") as file:  # the first half stays, so that it still opens
        file.seek(size // 2)
        file.write(b"\xa5" * (size - size // 2))
    with ProfileStore(tmp_path) as broken:
        with pytest.raises(StorageError) as caught:
            broken.procedures.with_pairs("ledger")
        assert f"{store.database_file} is damaged" in caught.value.message and str(copy) in caught.value.next_step
        assert broken.damage() != []
    copy.rename(store.database_file)
    for leftover in tmp_path.glob("profile.sqlite-*"):
        leftover.unlink()
    with ProfileStore(tmp_path) as restored:
        assert restored.procedures.get("ledger").pair_count == 200 and restored.damage() == []


def test_a_lost_database_does_not_look_like_a_new_profile(tmp_path: Path) -> None:
    with ProfileStore(tmp_path) as store:
        store.memories.new_file().write_bytes(b"x")
    store.database_file.unlink()
    with pytest.raises(StorageError, match="is empty but was in use"):
        ProfileStore(tmp_path)
    store.database_file.write_bytes(b"")
    with pytest.raises(StorageError, match="is empty but was in use"):
        ProfileStore(tmp_path)


def test_a_full_disk_keeps_what_was_there(tmp_path: Path, ledger: Procedure) -> None:
    with ProfileStore(tmp_path) as store:
        store.procedures.add(ledger)
        pages = store._database.row("PRAGMA page_count")
        assert pages is not None
        store._database.row(f"PRAGMA max_page_count = {pages[0] + 1}")
        revision = store.revision
        with pytest.raises(StorageError, match="the disk is full .*nothing of this change was kept"):
            store.pairs.add("ledger", [ExamplePair("x" * 50_000, "y")])
        assert store.procedures.with_pairs("ledger") == ledger and store.revision == revision
        store.procedures.set_enabled("ledger", False)  # the connection is usable afterwards
        assert store.damage() == []


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(profiles.database.connection.os, "open", refuse)


@pytest.mark.usefixtures("full_disk")
def test_no_space_for_a_new_database(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"profile\.sqlite could not be opened: the disk is full"):
        ProfileStore(tmp_path)


def test_a_folder_where_the_database_should_be(tmp_path: Path) -> None:
    (tmp_path / "profile.sqlite").mkdir()
    with pytest.raises(StorageError, match=r"profile\.sqlite could not be opened"):
        ProfileStore(tmp_path)


def test_interrupted_writes_are_rolled_back(store: ProfileStore) -> None:
    with pytest.raises(KeyboardInterrupt), store._database.writing() as connection:
        connection.execute("INSERT INTO conversations (title, created, updated) VALUES ('half', '', '')")
        raise KeyboardInterrupt
    assert store.chats.list() == []
    store.chats.create("whole")


def test_a_bug_keeps_its_traceback(store: ProfileStore) -> None:
    with pytest.raises(sqlite3.OperationalError, match="no such column"):
        store._database.rows("SELECT colour FROM pairs")
    with pytest.raises(sqlite3.IntegrityError), store._database.writing() as connection:
        connection.execute("INSERT INTO meta VALUES ('revision', 0)")
