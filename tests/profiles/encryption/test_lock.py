"""A locked profile: nothing readable on the disk, one key, two ways to it, and no moment at which it could be lost."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import profiles.encryption.keyring
import profiles.registry.encrypt_profile
import profiles.registry.folders
from profiles.encryption.file_encryption import ProfileKey
from profiles.encryption.keyring import LONGEST_WAIT, Keyring, passphrase_key
from profiles.files.paths import AppPaths, private_folder
from profiles.registry.registry import ProfileRegistry
from profiles.store.store import ProfileStore
from tests.undo_log import newest_undo
from tokmem_desk.errors import (
    BadInputError,
    BusyError,
    ConflictError,
    IncompatibleError,
    LockedError,
    NotFoundError,
    StorageError,
)
from tokmem_desk.procedures import ExamplePair, Procedure

PASSPHRASE = "four words of mine"
MARK = b"quetzal"
"""Stands in everything personal of the filled profile."""


def fill(paths: AppPaths, registry: ProfileRegistry, name: str = "default") -> None:
    """One of everything that a profile can hold, with ``MARK`` in it."""
    word = MARK.decode()
    with registry.open(name) as store:
        added = store.procedures.add(
            Procedure("birds", (ExamplePair(f"{word} in", f"{word} out"),), description=f"about {word}")
        )
        store.pairs.add("birds", [ExamplePair(f"{word} removed", "x")])
        store.pairs.delete(store.pairs.list("birds")[-1].id)
        file = store.memories.write(MARK * 100)
        memory = store.memories.add(
            added.id, "f" * 64, file, store.procedures.with_pairs("birds").pairs, {}, {"note": word}
        )
        store.memories.activate(memory.id)
        conversation = store.chats.create(word)
        message = store.messages.add(conversation, "user", f"the {word} sings")
        store.corrections.add(f"{word}!", "none", "birds", message_id=message)
        store.jobs.queue(["birds"], {"preset": word})
        store.backup()
        checkpoint = private_folder(paths.checkpoints / store.folder.name) / f"{added.uuid}.safetensors"
        store.files.write(checkpoint, MARK * 50)


def check_filled(paths: AppPaths, store: ProfileStore) -> None:
    assert store.damage() == []
    (procedure,) = store.procedures.list()
    assert [pair.input for pair in store.pairs.list("birds")] == [
        "quetzal in"
    ] and procedure.description == "about quetzal"
    (memory,) = store.memories.all_active("f" * 64)
    assert store.memories.read(memory.file) == MARK * 100
    (found,) = store.chats.list(search="quetz")
    assert [message.content for message in store.messages.list(found.id)] == ["the quetzal sings"]
    assert [c.text for c in store.corrections.list()] == ["quetzal!"] and len(store.jobs.list()) == 1
    assert newest_undo(store) is not None
    (checkpoint,) = (paths.checkpoints / store.folder.name).iterdir()
    assert store.files.read(checkpoint) == MARK * 50


def readable(paths: AppPaths) -> list[str]:
    """Files below the home in which ``MARK`` can be read."""
    home = paths.config_file.parent
    return [str(file.relative_to(home)) for file in home.rglob("*") if file.is_file() and MARK in file.read_bytes()]


def test_nothing_of_a_locked_profile_can_be_read_on_the_disk(registry: ProfileRegistry, paths: AppPaths) -> None:
    fill(paths, registry)
    assert readable(paths), "the mark is where this test looks"
    shares: list[float] = []
    registry.locks.add("default", PASSPHRASE, shares.append)
    assert readable(paths) == [] and shares == [0.5, 1.0]
    (info,) = registry.list()
    assert (info.locked, info.active, info.procedure_count) == (True, True, None)
    assert [folder.name for folder in paths.profiles.iterdir()] == [info.id]
    with registry.open(key=registry.locks.key("default", PASSPHRASE)) as store:
        assert store.locked
        check_filled(paths, store)
        # Written while open: rows in the WAL, a backup, a memory.
        store.pairs.add("birds", [ExamplePair("quetzal again", "quetzal")])
        store.backup()
        store.memories.write(MARK * 10)
        assert readable(paths) == []
    assert readable(paths) == []


def test_taking_the_lock_off_gives_everything_back(registry: ProfileRegistry, paths: AppPaths) -> None:
    fill(paths, registry)
    registry.locks.add("default", PASSPHRASE)
    registry.locks.remove("default", registry.locks.key("default", PASSPHRASE))
    assert registry.active().locked is False and registry.active().procedure_count == 1
    with registry.open() as store:
        check_filled(paths, store)
    with pytest.raises(LockedError, match="is not locked"):
        registry.locks.key("default", PASSPHRASE)
    with pytest.raises(LockedError, match="is not locked"):
        registry.locks.remove("default", ProfileKey.new())


def test_without_the_key_nothing_opens(registry: ProfileRegistry, paths: AppPaths) -> None:
    registry.create("ann")
    fill(paths, registry, "ann")
    registry.locks.add("ann", PASSPHRASE)
    with pytest.raises(LockedError, match="'ann' is locked"):
        registry.open("ann")
    with pytest.raises(LockedError, match="does not open|is locked"):
        registry.open("ann", key=ProfileKey.new())
    with pytest.raises(LockedError):
        registry.locks.change_passphrase("ann", ProfileKey.new(), "another passphrase")
    with pytest.raises(ConflictError, match="is locked already"):
        registry.locks.add("ann", PASSPHRASE)
    # A key of no use does no harm, and the list, switching and renaming need none.
    registry.open("default", key=ProfileKey.new()).close()
    assert registry.switch("ann").locked and registry.rename("ann", "anna").name == "anna"
    with registry.open("anna", key=registry.locks.key("anna", PASSPHRASE)) as store:
        assert store.name == "anna"


def test_a_lost_list_finds_locked_profiles_again(registry: ProfileRegistry, paths: AppPaths) -> None:
    fill(paths, registry)
    registry.locks.add("default", PASSPHRASE)
    registry.close()
    for file in paths.data.glob("registry.sqlite*"):
        file.unlink()
    with ProfileRegistry(paths) as again:
        (info,) = again.list()
        assert (info.name, info.locked) == ("recovered", True)
        with again.open(key=again.locks.key("recovered", PASSPHRASE)) as store:
            check_filled(paths, store)


def test_a_new_passphrase_rewrites_the_lock_alone(registry: ProfileRegistry, paths: AppPaths) -> None:
    fill(paths, registry)
    recovery = registry.locks.add("default", PASSPHRASE)
    registry.open(key=registry.locks.key("default", PASSPHRASE)).close()  # the first opening notes the journal's kind
    folder = paths.profile_folder(registry.active().id)
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file() and "lock" not in file.name}
    key = registry.locks.key_by_recovery("default", recovery.lower().replace("-", " "))
    assert registry.locks.change_passphrase("default", key, "another passphrase") is None
    assert {file: file.read_bytes() for file in before} == before
    with pytest.raises(LockedError, match="not the passphrase"):
        registry.locks.key("default", PASSPHRASE)
    assert registry.locks.key("default", "another passphrase").raw() == key.raw()
    newer = registry.locks.change_passphrase("default", key, new_recovery=True)
    assert newer is not None and registry.locks.key_by_recovery("default", newer).raw() == key.raw()
    with pytest.raises(LockedError, match="not the recovery key"):
        registry.locks.key_by_recovery("default", recovery)
    with pytest.raises(BadInputError, match="eight groups"):
        registry.locks.key_by_recovery("default", recovery[:-1])
    assert registry.locks.key("default", "another passphrase").raw() == key.raw(), (
        "it stays when only the recovery key changes"
    )


@pytest.mark.parametrize("passphrase", ["", "seven77"])
def test_short_passphrases_are_refused_before_anything_happens(registry: ProfileRegistry, passphrase: str) -> None:
    with pytest.raises(BadInputError, match="at least 8 characters"):
        registry.locks.add("default", passphrase)
    assert not registry.active().locked


def test_wrong_passphrases_wait_longer_and_longer_also_after_a_restart(tmp_path: Path) -> None:
    now = [1_000_000.0]
    Keyring(tmp_path).create(ProfileKey.new(), PASSPHRASE)

    def ring() -> Keyring:
        return Keyring(tmp_path, lambda: now[0])  # each time as after a restart

    waits = []
    for _ in range(14):
        with pytest.raises(LockedError, match="not the passphrase"):
            ring().open("not this one")
        waits.append(ring().seconds_to_wait())
        if waits[-1]:
            with pytest.raises(BusyError, match="Too many wrong passphrases.*Try again in"):
                ring().open(PASSPHRASE)
        now[0] += waits[-1]
    assert waits[:6] == [0, 0, 2, 4, 8, 16] and waits == sorted(waits) and waits[-1] == LONGEST_WAIT
    with pytest.raises(LockedError):
        ring().open("not this one")
    now[0] -= 500_000  # the clock was set back: no longer wait than the rule says
    assert ring().seconds_to_wait() == LONGEST_WAIT
    now[0] += 500_000 + LONGEST_WAIT
    ring().open(PASSPHRASE)
    assert ring().seconds_to_wait() == 0


def test_a_trial_counts_before_it_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killing the program in the middle of a trial must not make it free; an error of ours must not count."""
    ring = Keyring(tmp_path)
    ring.create(ProfileKey.new(), PASSPHRASE)
    counts = []

    def spy(*_: object, **__: object) -> bytes:
        counts.append(json.loads((tmp_path / "lock.json").read_text())["attempts"]["failures"])
        raise MemoryError

    monkeypatch.setattr(profiles.encryption.keyring, "passphrase_key", spy)
    with pytest.raises(MemoryError):
        ring.open(PASSPHRASE)
    assert counts == [1] and json.loads((tmp_path / "lock.json").read_text())["attempts"]["failures"] == 0


@pytest.mark.parametrize(
    "count",
    ['"rubbish"', '{"failures": -1, "last": 0}', '{"failures": 1e400, "last": 0}', '{"failures": 1, "last": 1e400}'],
)
def test_damaging_the_count_gains_nothing_and_loses_nothing(tmp_path: Path, count: str) -> None:
    now = [0.0]
    ring = Keyring(tmp_path, lambda: now[0])
    ring.create(ProfileKey.new(), PASSPHRASE)
    file = tmp_path / "lock.json"
    file.write_text(file.read_text().replace("{", f'{{"attempts": {count},', 1))
    now[0] = file.stat().st_mtime
    with pytest.raises(BusyError, match="Too many"):
        ring.open(PASSPHRASE)
    now[0] += 2
    ring.open(PASSPHRASE)


def test_the_count_goes_only_with_the_lock(tmp_path: Path) -> None:
    """No file beside the lock, whose removal would leave the way in and take the wait away."""
    now = [1_000_000.0]
    ring = Keyring(tmp_path, lambda: now[0])
    ring.create(ProfileKey.new(), PASSPHRASE)
    for _ in range(3):
        with pytest.raises(LockedError):
            ring.open("not this one")
    for file in tmp_path.iterdir():
        if file.name != "lock.json":
            file.unlink()
    with pytest.raises(BusyError, match="Too many"):
        ring.open(PASSPHRASE)


@pytest.mark.parametrize("older", ['{"failures": 5, "last": 1000000.0}', "rubbish"])
def test_the_count_of_an_older_version_still_counts(tmp_path: Path, older: str) -> None:
    now = [1_000_000.0]
    ring = Keyring(tmp_path, lambda: now[0])
    ring.create(ProfileKey.new(), PASSPHRASE)
    file = tmp_path / "lock-attempts.json"
    file.write_text(older)
    if older == "rubbish":
        now[0] = file.stat().st_mtime
    assert ring.seconds_to_wait() > 0
    now[0] += LONGEST_WAIT
    ring.open(PASSPHRASE)
    assert not file.exists() and ring.seconds_to_wait() == 0


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (lambda f: f.update(format="other"), StorageError, "damaged"),
        (lambda f: f.update(version=2), IncompatibleError, "newer version"),
        (lambda f: f["passphrase"].pop("salt"), StorageError, "damaged"),
        (lambda f: f["passphrase"].update(memory_kib=2**30), StorageError, "damaged"),
        (lambda f: f["passphrase"].update(iterations="many"), StorageError, "damaged"),
        (lambda f: f["passphrase"].update(kdf="none"), StorageError, "damaged"),
        (lambda f: f["passphrase"].update(wrapped="AAAA"), StorageError, "damaged"),
        (lambda f: f["passphrase"].update(wrapped="A" * 64), LockedError, "not the passphrase"),
        (lambda f: f["passphrase"].update(salt="AAAA"), StorageError, "damaged"),
        (lambda f: f["passphrase"].update(salt="A" * 400), StorageError, "damaged"),
        (lambda f: f["passphrase"].update(nonce=""), StorageError, "damaged"),
        (lambda f: f["recovery"].update(nonce="AAAA"), StorageError, "damaged"),
        (lambda f: f["passphrase"].update(memory_kib=2_097_152), StorageError, "damaged"),
        (lambda f: f["passphrase"].update(memory_kib=64.5), StorageError, "damaged"),
        (lambda f: f["passphrase"].update(lanes=True), StorageError, "damaged"),
        (lambda f: f.update(version=float("inf")), StorageError, "damaged"),
        (lambda f: f["passphrase"].update(iterations=float("nan")), StorageError, "damaged"),
        (lambda f: f.update(recovery=[]), StorageError, "damaged"),
        (lambda f: f.update(note="x" * 20_000), StorageError, "damaged"),
        (lambda f: f.pop("recovery"), StorageError, "damaged"),
    ],
)
def test_a_damaged_lock_says_so(
    tmp_path: Path, change: Callable[[dict[str, object]], object], error: type[Exception], said: str
) -> None:
    ring = Keyring(tmp_path)
    ring.create(ProfileKey.new(), PASSPHRASE)
    fields = json.loads((tmp_path / "lock.json").read_text())
    change(fields)
    (tmp_path / "lock.json").write_text(json.dumps(fields))
    with pytest.raises(error, match=said):
        ring.open(PASSPHRASE)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "[" * 8_000,
        '{"a":' * 3_000,
        '{"format": "tokmem-lock", "version": 1e400}',
        '{"format": "tokmem-lock", "version": Infinity}',
        "9" * 10_000,
        "\udcff",
    ],
)
def test_a_lock_that_is_no_lock_is_one_sentence_and_computes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    (tmp_path / "lock.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    monkeypatch.setattr(profiles.encryption.keyring, "passphrase_key", lambda *_, **__: pytest.fail("computed"))
    ring = Keyring(tmp_path)
    for use in (lambda: ring.open(PASSPHRASE), lambda: ring.open_with_recovery("0" * 32)):
        with pytest.raises(StorageError, match=r"lock\.json is damaged"):
            use()
    assert ring.seconds_to_wait() == 0


def test_the_lock_is_strong_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    Keyring(tmp_path).create(ProfileKey.new(), PASSPHRASE)
    slot = json.loads((tmp_path / "lock.json").read_text())["passphrase"]
    assert (slot["kdf"], slot["memory_kib"], slot["iterations"]) == ("argon2id", 65536, 3)


def test_the_same_letters_are_the_same_passphrase() -> None:
    """One keyboard gives é as one sign, another as two."""
    costs = {"memory_kib": 64, "iterations": 1, "lanes": 1}
    assert passphrase_key("caf\u00e9", b"0" * 16, **costs) == passphrase_key("cafe\u0301", b"0" * 16, **costs)
    assert passphrase_key("cafe", b"0" * 16, **costs) != passphrase_key("caf\u00e9", b"0" * 16, **costs)


@settings(deadline=None)
@given(data=st.binary(max_size=300), at=st.integers(min_value=0), bit=st.integers(0, 7))
def test_sealed_bytes_open_whole_or_not_at_all(data: bytes, at: int, bit: int) -> None:
    key = ProfileKey(b"k" * 32)
    encrypted = key.encrypt_file("a.safetensors", data)
    assert key.decrypt_file("a.safetensors", encrypted) == data and (len(data) < 8 or data not in encrypted[16:])
    assert encrypted != key.encrypt_file("a.safetensors", data), "no key is used twice"
    changed = bytearray(encrypted)
    changed[at % len(encrypted)] ^= 1 << bit
    for name, other, bad in (
        ("a.safetensors", key, bytes(changed)),
        ("a.safetensors", key, encrypted[: at % len(encrypted)]),
        ("b.safetensors", key, encrypted),
        ("a.safetensors", ProfileKey(b"x" * 32), encrypted),
    ):
        with pytest.raises(StorageError, match=r"was changed|is not encrypted"):
            other.decrypt_file(name, bad)


def test_a_key_forgets_and_never_shows_itself() -> None:
    key = ProfileKey(b"k" * 32)
    text = key.text()
    assert ProfileKey.from_text(text).raw() == key.raw() and text not in repr(key) and "kkk" not in repr(key)
    encrypted = key.encrypt_file("a", b"data")
    key.forget()
    assert key.raw() == bytes(32)
    with pytest.raises(StorageError):
        key.decrypt_file("a", encrypted)
    for bad in ("", "zz", "00" * 31):
        with pytest.raises(LockedError, match="no key of a profile"):
            ProfileKey.from_text(bad)


def test_a_plain_memory_in_a_locked_profile_is_not_trusted(registry: ProfileRegistry, paths: AppPaths) -> None:
    fill(paths, registry)
    registry.locks.add("default", PASSPHRASE)
    with registry.open(key=registry.locks.key("default", PASSPHRASE)) as store:
        (memory,) = store.memories.all_active("f" * 64)
        (store.memories.folder / memory.file).write_bytes(b"planted")
        with pytest.raises(StorageError, match="is not encrypted"):
            store.memories.read(memory.file)


def test_an_open_profile_is_not_locked_under_its_user(registry: ProfileRegistry, paths: AppPaths) -> None:
    fill(paths, registry)
    with registry.open() as store:
        with pytest.raises(BusyError, match="is open in"):
            registry.locks.add("default", PASSPHRASE)
        check_filled(paths, store)
    registry.locks.add("default", PASSPHRASE)
    key = registry.locks.key("default", PASSPHRASE)
    with registry.open(key=key) as store:
        with pytest.raises(BusyError, match="is open in"):
            registry.locks.remove("default", key)
        with pytest.raises(BusyError, match="is open in"):
            registry.delete("default")
        check_filled(paths, store)


def test_files_of_others_stop_the_lock_instead_of_staying_plain(registry: ProfileRegistry, paths: AppPaths) -> None:
    fill(paths, registry)
    stray = paths.profile_folder(registry.active().id) / "notes.txt"
    stray.write_bytes(MARK)
    with pytest.raises(StorageError, match=r"notes\.txt.*Move it away"):
        registry.locks.add("default", PASSPHRASE)
    assert stray.read_bytes() == MARK and len(list(paths.profiles.iterdir())) == 1


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
@pytest.mark.parametrize(
    "kind", ["memory", "hard", "folder", "backup", "checkpoint", "checkpoints", "profile", "nested"]
)
def test_what_lies_elsewhere_stops_the_lock_before_it_begins(
    registry: ProfileRegistry, paths: AppPaths, tmp_path: Path, kind: str
) -> None:
    """What a link points to would stay plain, while the profile is called encrypted."""
    fill(paths, registry)
    before = registry.active().id
    folder = paths.profile_folder(before)
    (checkpoint,) = (paths.checkpoints / before).iterdir()
    (memory,) = (folder / "memories").iterdir()
    (backup,) = (folder / "backups").iterdir()
    moved = {
        "memory": memory, "hard": memory, "folder": memory.parent, "backup": backup, "nested": memory,
        "checkpoint": checkpoint, "checkpoints": checkpoint.parent, "profile": folder,
    }[kind]  # fmt: skip
    elsewhere = tmp_path / "elsewhere"
    if kind == "nested":
        inner = memory.parent / "more"
        inner.mkdir()
        memory.rename(inner / memory.name)
    else:
        moved.rename(elsewhere)
        if kind == "hard":
            os.link(elsewhere, moved)
        else:
            moved.symlink_to(elsewhere)
    said = {"hard": "hard link", "nested": "did not put there"}.get(kind, "is a link to")
    with pytest.raises(StorageError, match=said):
        registry.locks.add("default", PASSPHRASE)
    assert registry.active().id == before and not registry.active().locked
    assert [entry.name for entry in paths.profiles.iterdir()] == [before], "nothing was begun"
    if kind not in ("hard", "nested"):
        with pytest.raises(StorageError, match="is a link to"):
            registry.delete("default")
        assert elsewhere.exists() and registry.active().id == before


@pytest.mark.parametrize("direction", ["add", "remove"])
def test_what_cannot_be_erased_is_said_after_the_recovery_key(
    registry: ProfileRegistry, paths: AppPaths, monkeypatch: pytest.MonkeyPatch, direction: str
) -> None:
    fill(paths, registry)
    old = registry.active().id
    if direction == "remove":
        registry.locks.add("default", PASSPHRASE)
        old, key = registry.active().id, registry.locks.key("default", PASSPHRASE)
    shown: list[str] = []
    erase = profiles.registry.folders.erase_tree

    def refuses(folder: Path) -> None:
        if direction == "add":
            assert len(shown) == 1, "the key is shown before anything can fail"
        raise PermissionError(13, "no")

    with monkeypatch.context() as patch:
        patch.setattr(profiles.registry.folders, "erase_tree", refuses)
        if direction == "add":
            assert registry.locks.add("default", PASSPHRASE, show=shown.append) == shown[0]
            assert (
                registry.locks.key_by_recovery("default", shown[0]).raw()
                == registry.locks.key("default", PASSPHRASE).raw()
            )
        else:
            registry.locks.remove("default", key)
    assert registry.active().locked is (direction == "add")
    assert registry.locks.not_erased is not None and "could not be erased" in str(registry.locks.not_erased)
    assert paths.profile_folder(old).exists() and erase is profiles.registry.folders.erase_tree
    with ProfileRegistry(paths):
        assert not paths.profile_folder(old).exists(), "the next start erases it"


def test_nothing_of_sqlcipher_is_written_to_the_terminal(
    registry: ProfileRegistry, paths: AppPaths, capfd: pytest.CaptureFixture[str]
) -> None:
    fill(paths, registry)
    registry.locks.add("default", PASSPHRASE)
    with pytest.raises(LockedError):
        registry.open("default", key=ProfileKey.new())
    with pytest.raises((LockedError, StorageError)):
        registry.locks.remove("default", ProfileKey.new())
    file = paths.profile_folder(registry.active().id) / "profile.sqlite"
    damaged = bytearray(file.read_bytes())
    damaged[len(damaged) // 2 :] = bytes(len(damaged) - len(damaged) // 2)
    file.write_bytes(damaged)
    with pytest.raises(StorageError), registry.open("default", key=registry.locks.key("default", PASSPHRASE)) as store:
        check_filled(paths, store)
        raise StorageError("; ".join(store.damage()))
    said = capfd.readouterr()
    assert said.out + said.err == ""


def test_a_full_disk_leaves_the_profile_as_it_was(
    registry: ProfileRegistry, paths: AppPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(paths, registry)
    before = registry.active()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(profiles.registry.encrypt_profile, "_copy_files", full)
    with pytest.raises(StorageError, match="could not be copied.*disk is full"):
        registry.locks.add("default", PASSPHRASE)
    assert registry.active().id == before.id and [f.name for f in paths.profiles.iterdir()] == [before.id]
    with registry.open() as store:
        check_filled(paths, store)


def test_erasing_a_locked_profile_needs_no_passphrase_and_takes_all(registry: ProfileRegistry, paths: AppPaths) -> None:
    registry.create("ann")
    fill(paths, registry, "ann")
    registry.locks.add("ann", PASSPHRASE)
    gone = registry.info("ann").id
    registry.delete("ann")
    assert not paths.profile_folder(gone).exists() and not (paths.checkpoints / gone).exists()
    with pytest.raises(NotFoundError):
        registry.info("ann")


KILLED = """
import json, os, signal, shutil, sys
from pathlib import Path
from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
import sqlcipher3.dbapi2, cryptography.hazmat.primitives.kdf.argon2
import cryptography.hazmat.primitives.ciphers.aead, cryptography.hazmat.primitives.kdf.hkdf

template, work, removing = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "remove"
EVENTS = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "sqlite3.connect", "shutil.rmtree"}

def run(home, number):
    paths = AppPaths.resolve(home)
    registry = ProfileRegistry(paths)
    key = registry.locks.key("default", sys.argv[4]) if removing else None
    left = [number]
    def count(event, arguments):
        if event in EVENTS:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(count)
    if removing:
        registry.locks.remove("default", key)
    else:
        registry.locks.add("default", sys.argv[4])

number = 0
while True:
    number += 1
    home = work / str(number)
    shutil.copytree(template, home)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            run(home, number)
            code = 0
        finally:
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    print(json.dumps({"home": str(home), "killed": os.WIFSIGNALED(status), "status": status}), flush=True)
    if not os.WIFSIGNALED(status):
        break
"""


@pytest.mark.parametrize("direction", ["add", "remove"])
def test_killed_at_any_moment_one_whole_copy_is_left(
    registry: ProfileRegistry,
    paths: AppPaths,
    python: Callable[..., subprocess.Popen[str]],
    tmp_path: Path,
    direction: str,
) -> None:
    """At every file that is opened, moved or removed on the way: afterwards either all plain or nothing readable."""
    fill(paths, registry)
    if direction == "remove":
        registry.locks.add("default", PASSPHRASE)
    registry.close()
    child = python(KILLED, paths.config_file.parent, tmp_path / "work", direction, PASSPHRASE)
    out, err = child.communicate(timeout=300)
    assert child.returncode == 0, err
    runs = [json.loads(line) for line in out.splitlines()]
    assert len(runs) > 30 and runs[-1] == {**runs[-1], "killed": False, "status": 0}
    seen = []
    for one in runs:
        left = AppPaths.resolve(Path(one["home"]))
        with ProfileRegistry(left) as again:
            (info,) = again.list()
            seen.append(info.locked)
            assert [folder.name for folder in left.profiles.iterdir()] == [info.id], one
            assert [folder.name for folder in left.checkpoints.iterdir()] == [info.id], one
            assert info.locked == (readable(left) == []), one
            key = again.locks.key("default", PASSPHRASE) if info.locked else None
            with again.open(key=key) as store:
                check_filled(left, store)
    assert set(seen) == {True, False} and seen[-1] is (direction == "add")
