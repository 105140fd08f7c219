"""A consent taken back does not come back with an older file; a plain profile does not take a locked one's place."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

import profiles.encryption.keyring
from profiles.database.connection import Database
from profiles.database.migrations import PROFILE_STEPS, REGISTRY_STEPS
from profiles.encryption.file_encryption import ProfileKey
from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from profiles.store.consents import CHANGED, OLDER, SECRET_NAME, UNKNOWN
from profiles.store.store import DATABASE_NAME, ProfileStore
from tests.undo_log import newest_undo
from tokmem_desk.errors import LockedError, StorageError
from tokmem_desk.procedures import ExamplePair, Procedure

PASSPHRASE = "four words of mine"
SCHEMA = '{"type": "object", "properties": {"what": {"type": "string"}}}'


@pytest.fixture(autouse=True)
def light_derivation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiles.encryption.keyring, "_MEMORY_KIB", 64)
    monkeypatch.setattr(profiles.encryption.keyring, "_ITERATIONS", 1)


@pytest.fixture(params=["plain", "locked"])
def key(request: pytest.FixtureRequest, registry: ProfileRegistry) -> ProfileKey | None:
    """Of the active profile."""
    if request.param == "plain":
        return None
    registry.locks.add("default", PASSPHRASE)
    return registry.locks.key("default", PASSPHRASE)


def teach(store: ProfileStore, *names: str) -> None:
    for name in names:
        store.procedures.add(Procedure(name, (ExamplePair("a", "b"),), output_schema=SCHEMA))
        store.commands.set(name, ["note", "{what}"])


def allow(registry: ProfileRegistry, key: ProfileKey | None) -> None:
    with registry.open(key=key) as store:
        teach(store, "ledger", "book")
        store.commands.allow("ledger", "digest one")
        store.commands.allow("book", "digest two")


def consents(registry: ProfileRegistry, key: ProfileKey | None) -> dict[str, tuple[str | None, str | None]]:
    with registry.open(key=key) as store:
        return {name: (one.allowed, one.withheld) for name, one in store.commands.by_name().items()}


def database(registry: ProfileRegistry, paths: AppPaths) -> Path:
    return paths.profile_folder(registry.active().id) / DATABASE_NAME


def removes_the_command(store: ProfileStore) -> None:
    assert store.commands.remove("ledger")


def removes_the_procedure(store: ProfileStore) -> None:
    store.procedures.remove("ledger")


def asks_again(store: ProfileStore) -> None:
    store.commands.allow("ledger", None)


def sets_another_command(store: ProfileStore) -> None:
    store.commands.set("ledger", ["print", "{what}"])


def takes_an_undo(store: ProfileStore) -> None:
    while newest_undo(store) is not None:
        store.undo.take_back()


def test_consents_hold_from_one_opening_to_the_next(registry, key):
    allow(registry, key)
    for _ in range(2):
        assert consents(registry, key) == {"ledger": ("digest one", None), "book": ("digest two", None)}
    with registry.open(key=key) as one, registry.open(key=key) as other:
        one.commands.allow("ledger", None)
        other.commands.allow("book", "digest three")
        one.procedures.set_description("book", "x")
    assert consents(registry, key) == {"ledger": (None, None), "book": ("digest three", None)}


@pytest.mark.parametrize(
    "revoke", [removes_the_command, removes_the_procedure, asks_again, sets_another_command, takes_an_undo]
)
def test_yesterdays_database_brings_no_consent_back(
    registry: ProfileRegistry,
    paths: AppPaths,
    key: ProfileKey | None,
    tmp_path: Path,
    revoke: Callable[[ProfileStore], None],
) -> None:
    allow(registry, key)
    yesterday = shutil.copy(database(registry, paths), tmp_path / "yesterday")
    with registry.open(key=key) as store:
        revoke(store)
    shutil.copy(yesterday, database(registry, paths))
    # The commands are back, since they are in that file; both ask, and say why.
    assert consents(registry, key) == {"ledger": (None, OLDER), "book": (None, OLDER)}
    assert consents(registry, key)["book"] == (None, OLDER), "also the next time"
    with registry.open(key=key) as store:
        store.commands.allow("book", "digest two")
        store.commands.allow("ledger", None)
    assert consents(registry, key) == {"ledger": (None, None), "book": ("digest two", None)}
    shutil.copy(yesterday, database(registry, paths))
    assert consents(registry, key)["ledger"] == (None, OLDER), "a second time as well"


def test_a_consent_that_stands_in_the_file_alone_does_not_hold(registry, paths):
    with registry.open() as store:
        teach(store, "ledger")
    with sqlite3.connect(database(registry, paths)) as connection:
        connection.execute("UPDATE commands SET allowed = 'planted'")
    assert consents(registry, None) == {"ledger": (None, UNKNOWN)}
    allowed = registry.open()
    allowed.commands.allow("ledger", "digest")
    allowed.close()
    for forged in ("UPDATE commands SET allowed = 'planted'", "UPDATE meta SET value = 99 WHERE key = 'consent_epoch'"):
        with sqlite3.connect(database(registry, paths)) as connection:
            connection.execute(forged)
        assert consents(registry, None) == {"ledger": (None, CHANGED)}
        with registry.open() as store:
            store.commands.allow("ledger", "digest")


def test_yesterdays_list_of_profiles_brings_none_back_either(registry, paths, key, tmp_path):
    allow(registry, key)
    name = registry.active().name
    registry.close()
    yesterday = shutil.copy(paths.registry_file, tmp_path / "yesterday")
    with ProfileRegistry(paths) as again, again.open(name, key=key) as store:
        store.commands.remove("ledger")
    shutil.copy(yesterday, paths.registry_file)
    with ProfileRegistry(paths) as again:
        assert consents(again, key) == {"book": (None, CHANGED)}


def test_without_the_installations_secret_everything_asks(registry, paths):
    allow(registry, None)
    secret = paths.state / SECRET_NAME
    assert secret.stat().st_mode & 0o777 == 0o600 and len(secret.read_bytes()) == 32
    secret.write_bytes(b"x" * 32)
    assert consents(registry, None)["ledger"] == (None, CHANGED)
    with registry.open() as store:
        store.commands.allow("ledger", "digest")
    secret.unlink()
    secret.mkdir()
    allowed, why = consents(registry, None)["ledger"]
    assert allowed is None and str(why).startswith(CHANGED) and SECRET_NAME in str(why)


def test_a_kill_before_the_record_is_written_asks_anew(registry, key, monkeypatch):
    allow(registry, key)
    with monkeypatch.context() as cut:
        cut.setattr("profiles.store.consents.Consents.record", lambda self: None)
        with registry.open(key=key) as store:
            store.commands.remove("ledger")
    assert consents(registry, key) == {"book": (None, CHANGED)}


def test_consents_go_along_when_a_profile_is_locked_and_unlocked(registry):
    allow(registry, None)
    registry.locks.add("default", PASSPHRASE)
    key = registry.locks.key("default", PASSPHRASE)
    assert consents(registry, key)["ledger"] == ("digest one", None)
    registry.locks.remove("default", key)
    assert consents(registry, None)["ledger"] == ("digest one", None)


def test_a_profile_of_before_asks_once_and_keeps_its_commands(paths):
    """The list and the profile as the program wrote them before consents were recorded."""
    folder = paths.profile_folder("old")
    with closing(Database(paths.registry_file, REGISTRY_STEPS[:2], backups=paths.data)) as old, old.writing() as known:
        known.execute("INSERT INTO profiles VALUES ('old', 'mine', '2026-01-01', '2026-01-01', 1, 0)")
    with closing(Database(folder / DATABASE_NAME, PROFILE_STEPS[:7], backups=folder)) as old, old.writing() as known:
        known.execute(
            """
            INSERT INTO procedures (uuid, name, description, source, enabled, version, pairs_digest, created, updated,
                output_schema) VALUES ('u', 'ledger', '', 'test', 1, 1, '', '2026-01-01', '2026-01-01', ?)
            """,
            (SCHEMA,),
        )
        known.execute("""INSERT INTO commands VALUES (1, '["note", "{what}"]', 'digest', '2026-01-01')""")
    with ProfileRegistry(paths) as registry:
        assert not registry.active().locked
        for _ in range(2):
            assert consents(registry, None) == {"ledger": (None, UNKNOWN)}
        with registry.open() as store:
            assert store.damage() == [] and store.commands.by_name()["ledger"].template == ("note", "{what}")
            store.commands.allow("ledger", "digest")
        assert consents(registry, None) == {"ledger": ("digest", None)}


def test_a_plain_profile_in_a_locked_ones_place_is_refused(registry, paths, tmp_path):
    with registry.open() as store:
        teach(store, "ledger")
    plain = shutil.copytree(paths.profile_folder(registry.active().id), tmp_path / "plain")
    registry.locks.add("default", PASSPHRASE)
    folder = paths.profile_folder(registry.active().id)
    locked = shutil.copytree(folder, tmp_path / "locked")
    shutil.rmtree(folder)
    shutil.copytree(plain, folder)
    for wanted in (
        lambda: registry.open(),
        lambda: registry.locks.key("default", PASSPHRASE),
        lambda: registry.locks.key_by_recovery("default", "x"),
        lambda: registry.locks.add("default", PASSPHRASE),
    ):
        with pytest.raises(StorageError, match="is locked, but its folder .* without a lock"):
            wanted()
    info = registry.active()
    assert info.locked and info.procedure_count is None, "nothing in it is looked at"
    shutil.rmtree(folder)
    shutil.copytree(locked, folder)
    registry.open(key=registry.locks.key("default", PASSPHRASE)).close()
    with pytest.raises(LockedError):
        registry.open()


def test_a_replaced_profile_can_be_given_up(registry, paths):
    registry.create("anna")
    registry.locks.add("anna", PASSPHRASE)
    (paths.profile_folder(registry.info("anna").id) / "lock.json").unlink()
    registry.rename("anna", "anne")
    registry.delete("anne")
    assert [one.name for one in registry.list()] == ["default"]


def test_locks_of_before_are_learned(registry, paths):
    registry.create("anna")
    registry.locks.add("anna", PASSPHRASE)
    with sqlite3.connect(paths.registry_file) as connection:
        connection.execute("UPDATE profiles SET locked = NULL")
    ProfileRegistry(paths).close()
    with sqlite3.connect(paths.registry_file) as connection:
        assert connection.execute("SELECT name, locked FROM profiles ORDER BY name").fetchall() == [
            ("anna", 1),
            ("default", 0),
        ]
