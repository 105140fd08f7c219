"""A locked profile: nothing readable on the disk, one key, two ways to it, and no moment at which it could be lost."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import profiles.keyring
import profiles.locking
from profiles.keyring import LONGEST_WAIT, Keyring, passphrase_key
from profiles.paths import AppPaths, private_folder
from profiles.registry import ProfileRegistry
from profiles.sealing import ProfileKey
from profiles.store import ProfileStore
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


@pytest.fixture(autouse=True)
def light_derivation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Argon2id at full strength takes half a second; its strength is in the file and tested once."""
    monkeypatch.setattr(profiles.keyring, "_MEMORY_KIB", 64)
    monkeypatch.setattr(profiles.keyring, "_ITERATIONS", 1)


def fill(paths: AppPaths, registry: ProfileRegistry, name: str = "default") -> None:
    """One of everything that a profile can hold, with ``MARK`` in it."""
    word = MARK.decode()
    with registry.open(name) as store:
        added = store.add_procedure(
            Procedure("birds", (ExamplePair(f"{word} in", f"{word} out"),), description=f"about {word}")
        )
        store.add_pairs("birds", [ExamplePair(f"{word} removed", "x")])
        store.delete_pair(store.pairs("birds")[-1].id)
        file = store.write_memory(MARK * 100)
        memory = store.add_memory(added.id, "f" * 64, file, store.to_procedure("birds").pairs, {}, {"note": word})
        store.activate_memory(memory.id)
        conversation = store.create_conversation(word)
        message = store.add_message(conversation, "user", f"the {word} sings")
        store.add_correction(f"{word}!", "none", "birds", message_id=message)
        store.queue_training(["birds"], {"preset": word})
        store.backup()
        checkpoint = private_folder(paths.checkpoints / store.folder.name) / f"{added.uuid}.safetensors"
        store.vault.write(checkpoint, MARK * 50)


def check_filled(paths: AppPaths, store: ProfileStore) -> None:
    assert store.damage() == []
    (procedure,) = store.procedures()
    assert [pair.input for pair in store.pairs("birds")] == ["quetzal in"] and procedure.description == "about quetzal"
    (memory,) = store.active_memories("f" * 64)
    assert store.read_memory(memory.file) == MARK * 100
    (found,) = store.conversations(search="quetz")
    assert [message.content for message in store.messages(found.id)] == ["the quetzal sings"]
    assert [c.text for c in store.corrections()] == ["quetzal!"] and len(store.jobs()) == 1
    assert store.undo_text() is not None
    (checkpoint,) = (paths.checkpoints / store.folder.name).iterdir()
    assert store.vault.read(checkpoint) == MARK * 50


def readable(paths: AppPaths) -> list[str]:
    """Files below the home in which ``MARK`` can be read."""
    home = paths.config_file.parent
    return [str(file.relative_to(home)) for file in home.rglob("*") if file.is_file() and MARK in file.read_bytes()]


def test_nothing_of_a_locked_profile_can_be_read_on_the_disk(registry: ProfileRegistry, paths: AppPaths) -> None:
    fill(paths, registry)
    assert readable(paths), "the mark is where this test looks"
    shares: list[float] = []
    registry.add_lock("default", PASSPHRASE, shares.append)
    assert readable(paths) == [] and shares == [0.5, 1.0]
    (info,) = registry.list()
    assert (info.locked, info.active, info.procedure_count) == (True, True, None)
    assert [folder.name for folder in paths.profiles.iterdir()] == [info.id]
    with registry.open(key=registry.key("default", PASSPHRASE)) as store:
        assert store.locked
        check_filled(paths, store)
        # Written while open: rows in the WAL, a backup, a memory.
        store.add_pairs("birds", [ExamplePair("quetzal again", "quetzal")])
        store.backup()
        store.write_memory(MARK * 10)
        assert readable(paths) == []
    assert readable(paths) == []


def test_taking_the_lock_off_gives_everything_back(registry: ProfileRegistry, paths: AppPaths) -> None:
    fill(paths, registry)
    registry.add_lock("default", PASSPHRASE)
    registry.remove_lock("default", registry.key("default", PASSPHRASE))
    assert registry.active().locked is False and registry.active().procedure_count == 1
    with registry.open() as store:
        check_filled(paths, store)
    with pytest.raises(LockedError, match="is not locked"):
        registry.key("default", PASSPHRASE)
    with pytest.raises(LockedError, match="is not locked"):
        registry.remove_lock("default", ProfileKey.new())


def test_without_the_key_nothing_opens(registry: ProfileRegistry, paths: AppPaths) -> None:
    registry.create("ann")
    fill(paths, registry, "ann")
    registry.add_lock("ann", PASSPHRASE)
    with pytest.raises(LockedError, match="'ann' is locked"):
        registry.open("ann")
    with pytest.raises(LockedError, match="does not open|is locked"):
        registry.open("ann", key=ProfileKey.new())
    with pytest.raises(LockedError):
        registry.change_passphrase("ann", ProfileKey.new(), "another passphrase")
    with pytest.raises(ConflictError, match="is locked already"):
        registry.add_lock("ann", PASSPHRASE)
    # A key of no use does no harm, and the list, switching and renaming need none.
    registry.open("default", key=ProfileKey.new()).close()
    assert registry.switch("ann").locked and registry.rename("ann", "anna").name == "anna"
    with registry.open("anna", key=registry.key("anna", PASSPHRASE)) as store:
        assert store.profile_name == "anna"


def test_a_lost_list_finds_locked_profiles_again(registry: ProfileRegistry, paths: AppPaths) -> None:
    fill(paths, registry)
    registry.add_lock("default", PASSPHRASE)
    registry.close()
    for file in paths.data.glob("registry.sqlite*"):
        file.unlink()
    with ProfileRegistry(paths) as again:
        (info,) = again.list()
        assert (info.name, info.locked) == ("recovered", True)
        with again.open(key=again.key("recovered", PASSPHRASE)) as store:
            check_filled(paths, store)


def test_a_new_passphrase_rewrites_the_lock_alone(registry: ProfileRegistry, paths: AppPaths) -> None:
    fill(paths, registry)
    recovery = registry.add_lock("default", PASSPHRASE)
    registry.open(key=registry.key("default", PASSPHRASE)).close()  # the first opening notes the journal's kind
    folder = paths.profile_folder(registry.active().id)
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file() and "lock" not in file.name}
    key = registry.key_by_recovery("default", recovery.lower().replace("-", " "))
    assert registry.change_passphrase("default", key, "another passphrase") is None
    assert {file: file.read_bytes() for file in before} == before
    with pytest.raises(LockedError, match="not the passphrase"):
        registry.key("default", PASSPHRASE)
    assert registry.key("default", "another passphrase").same_as(key)
    newer = registry.change_passphrase("default", key, new_recovery=True)
    assert newer is not None and registry.key_by_recovery("default", newer).same_as(key)
    with pytest.raises(LockedError, match="not the recovery key"):
        registry.key_by_recovery("default", recovery)
    with pytest.raises(BadInputError, match="eight groups"):
        registry.key_by_recovery("default", recovery[:-1])
    assert registry.key("default", "another passphrase").same_as(key), "it stays when only the recovery key changes"


@pytest.mark.parametrize("passphrase", ["", "seven77"])
def test_short_passphrases_are_refused_before_anything_happens(registry: ProfileRegistry, passphrase: str) -> None:
    with pytest.raises(BadInputError, match="at least 8 characters"):
        registry.add_lock("default", passphrase)
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
        counts.append(json.loads((tmp_path / "lock-attempts.json").read_text())["failures"])
        raise MemoryError

    monkeypatch.setattr(profiles.keyring, "passphrase_key", spy)
    with pytest.raises(MemoryError):
        ring.open(PASSPHRASE)
    assert counts == [1] and json.loads((tmp_path / "lock-attempts.json").read_text())["failures"] == 0


def test_damaging_the_count_gains_nothing(tmp_path: Path) -> None:
    ring = Keyring(tmp_path)
    ring.create(ProfileKey.new(), PASSPHRASE)
    (tmp_path / "lock-attempts.json").write_text("rubbish")
    with pytest.raises(BusyError, match="Too many"):
        ring.open(PASSPHRASE)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (lambda f: f.update(format="other"), StorageError, "damaged"),
        (lambda f: f.update(version=2), IncompatibleError, "newer version"),
        (lambda f: f["passphrase"].pop("salt"), StorageError, "damaged"),
        (lambda f: f["passphrase"].update(memory_kib=2**30), StorageError, "damaged"),
        (lambda f: f["passphrase"].update(iterations="many"), StorageError, "damaged"),
        (lambda f: f["passphrase"].update(kdf="none"), StorageError, "damaged"),
        (lambda f: f["passphrase"].update(wrapped="AAAA"), LockedError, "not the passphrase"),
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
    sealed = key.seal("a.safetensors", data)
    assert key.unseal("a.safetensors", sealed) == data and (len(data) < 8 or data not in sealed[16:])
    assert sealed != key.seal("a.safetensors", data), "no key is used twice"
    changed = bytearray(sealed)
    changed[at % len(sealed)] ^= 1 << bit
    for name, other, bad in (
        ("a.safetensors", key, bytes(changed)),
        ("a.safetensors", key, sealed[: at % len(sealed)]),
        ("b.safetensors", key, sealed),
        ("a.safetensors", ProfileKey(b"x" * 32), sealed),
    ):
        with pytest.raises(StorageError, match=r"was changed|is not encrypted"):
            other.unseal(name, bad)


def test_a_key_forgets_and_never_shows_itself() -> None:
    key = ProfileKey(b"k" * 32)
    text = key.text()
    assert ProfileKey.from_text(text).same_as(key) and text not in repr(key) and "kkk" not in repr(key)
    sealed = key.seal("a", b"data")
    key.forget()
    assert key.raw() == bytes(32)
    with pytest.raises(StorageError):
        key.unseal("a", sealed)
    for bad in ("", "zz", "00" * 31):
        with pytest.raises(LockedError, match="no key of a profile"):
            ProfileKey.from_text(bad)


def test_a_plain_memory_in_a_locked_profile_is_not_trusted(registry: ProfileRegistry, paths: AppPaths) -> None:
    fill(paths, registry)
    registry.add_lock("default", PASSPHRASE)
    with registry.open(key=registry.key("default", PASSPHRASE)) as store:
        (memory,) = store.active_memories("f" * 64)
        (store.memory_folder / memory.file).write_bytes(b"planted")
        with pytest.raises(StorageError, match="is not encrypted"):
            store.read_memory(memory.file)


def test_an_open_profile_is_not_locked_under_its_user(registry: ProfileRegistry, paths: AppPaths) -> None:
    fill(paths, registry)
    with registry.open() as store:
        with pytest.raises(BusyError, match="is open in"):
            registry.add_lock("default", PASSPHRASE)
        check_filled(paths, store)
    registry.add_lock("default", PASSPHRASE)
    key = registry.key("default", PASSPHRASE)
    with registry.open(key=key) as store:
        with pytest.raises(BusyError, match="is open in"):
            registry.remove_lock("default", key)
        with pytest.raises(BusyError, match="is open in"):
            registry.delete("default")
        check_filled(paths, store)


def test_files_of_others_stop_the_lock_instead_of_staying_plain(registry: ProfileRegistry, paths: AppPaths) -> None:
    fill(paths, registry)
    stray = paths.profile_folder(registry.active().id) / "notes.txt"
    stray.write_bytes(MARK)
    with pytest.raises(StorageError, match=r"notes\.txt.*Move it away"):
        registry.add_lock("default", PASSPHRASE)
    assert stray.read_bytes() == MARK and len(list(paths.profiles.iterdir())) == 1


def test_a_full_disk_leaves_the_profile_as_it_was(
    registry: ProfileRegistry, paths: AppPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(paths, registry)
    before = registry.active()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(profiles.locking, "_copy_files", full)
    with pytest.raises(StorageError, match="could not be copied.*disk is full"):
        registry.add_lock("default", PASSPHRASE)
    assert registry.active().id == before.id and [f.name for f in paths.profiles.iterdir()] == [before.id]
    with registry.open() as store:
        check_filled(paths, store)


def test_erasing_a_locked_profile_needs_no_passphrase_and_takes_all(registry: ProfileRegistry, paths: AppPaths) -> None:
    registry.create("ann")
    fill(paths, registry, "ann")
    registry.add_lock("ann", PASSPHRASE)
    gone = registry.info("ann").id
    registry.delete("ann")
    assert not paths.profile_folder(gone).exists() and not (paths.checkpoints / gone).exists()
    with pytest.raises(NotFoundError):
        registry.info("ann")


KILLED = """
import json, os, signal, shutil, sys
from pathlib import Path
import profiles.keyring
profiles.keyring._MEMORY_KIB, profiles.keyring._ITERATIONS = 64, 1
from profiles.paths import AppPaths
from profiles.registry import ProfileRegistry
import sqlcipher3.dbapi2, cryptography.hazmat.primitives.kdf.argon2
import cryptography.hazmat.primitives.ciphers.aead, cryptography.hazmat.primitives.kdf.hkdf

template, work, removing = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "remove"
EVENTS = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "sqlite3.connect", "shutil.rmtree"}

def run(home, number):
    paths = AppPaths.resolve(home)
    registry = ProfileRegistry(paths)
    key = registry.key("default", sys.argv[4]) if removing else None
    left = [number]
    def count(event, arguments):
        if event in EVENTS:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(count)
    if removing:
        registry.remove_lock("default", key)
    else:
        registry.add_lock("default", sys.argv[4])

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
        registry.add_lock("default", PASSPHRASE)
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
            key = again.key("default", PASSPHRASE) if info.locked else None
            with again.open(key=key) as store:
                check_filled(left, store)
    assert set(seen) == {True, False} and seen[-1] is (direction == "add")
