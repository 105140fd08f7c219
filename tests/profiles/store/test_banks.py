"""Taking banks in: names that meet, all or nothing, undo, and a quarantine that leaves nothing behind."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from profiles.files.atomic import storage_error
from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from profiles.store.banks import (
    Incoming,
    IncomingCorrection,
    IncomingMemory,
    IncomingProcedure,
    Placement,
    place_names,
    quarantined,
)
from profiles.store.memories import PairsChanged
from profiles.store.store import ProfileStore
from tokmem_desk.errors import BadInputError, ConflictError, StorageError, UsageError
from tokmem_desk.procedures import ExamplePair, Procedure, pairs_digest

PAIRS = (ExamplePair("a", "b"), ExamplePair("c", "d", ("e",)))
BACKBONE = "fingerprint-a"


def incoming(store: ProfileStore, folder: Path, name: str = "todo", **changes: object) -> IncomingProcedure:
    memory = IncomingMemory(
        store.memories.write(f"tensors of {name}".encode(), folder), BACKBONE, 2, pairs_digest(PAIRS), {"span": 4},
        {"rouge_l": 0.5},
    )  # fmt: skip
    fields: dict[str, object] = {
        "uuid": f"{len(name):032x}",
        "description": "Does it",
        "pairs": PAIRS,
        "memory": memory,
    }
    return IncomingProcedure(name=name, **{**fields, **changes})  # type: ignore[arg-type]


def files(store: ProfileStore) -> set[str]:
    return {str(path.relative_to(store.folder)) for path in store.folder.rglob("*") if path.suffix == ".safetensors"}


def test_names_that_meet() -> None:
    taken = {"todo", "todo-2", "x" * 40}
    assert place_names(["todo", "mood"], taken, "skip") == [
        Placement("todo", "", "skip"), Placement("mood", "mood", "add"),
    ]  # fmt: skip
    assert place_names(["todo"], taken, "replace") == [Placement("todo", "todo", "replace")]
    assert [one.new_name for one in place_names(["todo", "todo-3", "x" * 40], taken, "rename")] == [
        "todo-4", "todo-3", "x" * 38 + "-2",
    ]  # fmt: skip


def test_an_import_answers_at_once_and_can_be_taken_back(store: ProfileStore) -> None:
    with store.banks.quarantine() as folder:
        more = {"output_schema": '{"type":"object"}', "reads_conversation": True, "group": "home"}
        first = incoming(store, folder, threshold=0.7, pattern="b.*", held_out=PAIRS[:1], **more)
        second = incoming(store, folder, "mood_log", pairs=())
        corrections = [IncomingCorrection("please a", "mood_log", "todo"), IncomingCorrection("hi", "todo", "none")]
        assert store.banks.add(Incoming("bank.tokmem", [first, second], corrections), folder) == ["todo", "mood_log"]
    assert not store.banks.quarantine_folder.exists()
    record = store.procedures.get("todo")
    assert (record.uuid, record.threshold, record.pattern, record.source) == (first.uuid, 0.7, "b.*", "bank.tokmem")
    assert (record.pair_count, record.held_out_count, record.enabled) == (2, 1, True)
    assert (record.output_schema, record.reads_conversation) == ('{"type":"object"}', True)
    assert record.group == "home" and store.procedures.get("mood_log").group == ""
    memories = {one.procedure: one for one in store.memories.all_active(BACKBONE)}
    assert store.memories.read(memories["todo"].file) == b"tensors of todo"
    assert memories["mood_log"].pair_count == 2 and memories["mood_log"].scorecard == {"rouge_l": 0.5}
    assert store.procedures.to_train(BACKBONE) == []
    assert store.memories.pairs_changed("mood_log", BACKBONE) == PairsChanged(0, 0)
    assert [(one.wrong_route, one.right_route) for one in store.corrections.list()] == [
        ("mood_log", "todo"),
        ("todo", "none"),
    ]
    assert [one.text for one in store.versions.list("todo")] == ["imported 2 procedures from bank.tokmem"]
    assert store.undo.take_back() == "imported 2 procedures from bank.tokmem"
    assert (
        store.procedures.list() == [] and store.corrections.list() == [] and store.memories.all_active(BACKBONE) == []
    )
    store.garbage.collect(age_seconds=-1)
    assert files(store) == set()


def test_plans_come_switched_off_and_name_what_came_with_them(store: ProfileStore) -> None:
    mine = store.procedures.add(Procedure("boss", PAIRS))
    plan = {"uuid": "1" * 32, "steps": "todo: hi\nboss: {todo}", "step_uuids": {"todo": "2" * 32, "boss": "3" * 32}}
    for number in ("", "-2"):
        with store.banks.quarantine() as folder:
            first = incoming(store, folder, f"round{number}", **plan)
            second = incoming(store, folder, f"todo{number}", uuid="2" * 32, then_uuid="1" * 32)
            third = incoming(store, folder, f"list{number}", uuid="4" * 32, then_uuid="5" * 32)
            store.banks.add(Incoming("b", [first, second, third]), folder)
    records = {one.name: one for one in store.procedures.list()}
    assert [name for name, one in records.items() if not one.enabled] == ["round", "round-2"]
    assert store.plans.steps() == {
        "round": "todo: hi\nboss: {todo}",
        "round-2": "todo = todo-2: hi\nboss: {todo}",
    }
    assert records["round-2"].step_uuids == {"todo": records["todo-2"].uuid, "boss": "3" * 32}
    # One's own procedure of that name was never meant.
    assert mine.uuid != "3" * 32 and store.plans.missing("round") == store.plans.missing("round-2") == ["boss"]
    assert store.plans.called("round-2") == {"todo-2": records["todo-2"].uuid, "boss": "3" * 32}
    assert store.procedures.following() == {"todo": "round", "todo-2": "round-2"}
    store.undo.take_back()
    assert store.plans.missing("round") == ["boss"] and "round-2" not in store.plans.steps()


def test_what_is_trained_since_is_not_taken_back(store: ProfileStore) -> None:
    with store.banks.quarantine() as folder:
        store.banks.add(Incoming("b", [incoming(store, folder)]), folder)
    record = store.procedures.get("todo")
    store.memories.activate(store.memories.add(record.id, BACKBONE, store.memories.write(b"new"), PAIRS, {}, {}).id)
    with pytest.raises(UsageError, match="was trained since"):
        store.undo.take_back()
    assert len(store.memories.list("todo")) == 2


def test_replacing_is_undone_too(store: ProfileStore) -> None:
    store.procedures.add(Procedure("todo", (ExamplePair("mine", "own"),), description="my own"))
    mine = store.procedures.get("todo")
    memory = store.memories.add(mine.id, BACKBONE, store.memories.write(b"mine"), (ExamplePair("mine", "own"),), {}, {})
    store.memories.activate(memory.id)
    with store.banks.quarantine() as folder:
        store.banks.add(Incoming("b", [incoming(store, folder, replaces=True)]), folder)
    assert store.procedures.get("todo").description == "Does it" and len(store.memories.list("todo")) == 1
    store.undo.take_back()
    assert (
        store.procedures.get("todo").uuid == mine.uuid and store.procedures.with_pairs("todo").pairs[0].input == "mine"
    )
    active = store.memories.active("todo", BACKBONE)
    assert active is not None and store.memories.read(active.file) == b"mine"


def test_the_same_bank_twice_keeps_identities_apart(store: ProfileStore) -> None:
    for name in ("todo", "todo-2"):
        with store.banks.quarantine() as folder:
            store.banks.add(Incoming("b", [incoming(store, folder, name, uuid="7" * 32)]), folder)
    uuids = {one.name: one.uuid for one in store.procedures.list()}
    assert uuids["todo"] == "7" * 32 and uuids["todo-2"] != uuids["todo"]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"name": "taken"}, ConflictError),
        ({"name": "none"}, UsageError),
        ({"pairs": (ExamplePair("", "x"),)}, BadInputError),
        ({"memory": IncomingMemory("gone.safetensors", BACKBONE, 1, "0" * 64, {}, {})}, StorageError),
    ],
)  # fmt: skip
def test_one_bad_procedure_keeps_all_out(
    store: ProfileStore, change: dict[str, object], error: type[Exception]
) -> None:
    store.procedures.add(Procedure("taken", PAIRS))
    before = store.revision, store.procedures.list()
    with pytest.raises(error), store.banks.quarantine() as folder:
        good = incoming(store, folder, "good")
        bad = incoming(store, folder, **{"name": "bad", **change})  # type: ignore[arg-type]
        store.banks.add(Incoming("b", [good, bad]), folder)
    assert (store.revision, store.procedures.list()) == before and files(store) == set()
    assert not store.banks.quarantine_folder.exists()


def test_a_full_disk_at_the_last_moment(store: ProfileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(connection: sqlite3.Connection) -> None:
        raise storage_error("x", OSError(28, "full"))

    monkeypatch.setattr("profiles.store.banks.bump_revision", full)
    with pytest.raises(StorageError, match="disk is full"), store.banks.quarantine() as folder:
        store.banks.add(Incoming("b", [incoming(store, folder)]), folder)
    assert store.procedures.list() == [] and files(store) == set()


def test_only_pairs(store: ProfileStore) -> None:
    with store.banks.quarantine() as folder:
        store.banks.add(Incoming("b", [incoming(store, folder, memory=None)]), folder)
    assert store.memories.list("todo") == [] and store.procedures.to_train(BACKBONE) == ["todo"]


def test_a_locked_profile_keeps_its_quarantine_sealed(tmp_path: Path) -> None:
    paths = AppPaths.resolve(tmp_path / "home")
    with ProfileRegistry(paths) as registry:
        registry.open().close()
        registry.locks.add("default", "long enough for a lock")
        key = registry.locks.key("default", "long enough for a lock")
        with registry.open("default", key=key) as store:
            with store.banks.quarantine() as folder:
                coming = incoming(store, folder)
                assert coming.memory is not None
                assert b"tensors" not in (folder / coming.memory.file).read_bytes()
                assert store.memories.read(coming.memory.file, folder) == b"tensors of todo"
                store.banks.add(Incoming("b", [coming]), folder)
            [memory] = store.memories.all_active(BACKBONE)
            assert b"tensors" not in (store.memories.folder / memory.file).read_bytes()
            assert store.memories.read(memory.file) == b"tensors of todo"


def test_old_quarantines_go_and_young_ones_stay(store: ProfileStore) -> None:
    for name, age in (("old", 7200), ("young", 60)):
        folder = store.banks.quarantine_folder / name
        folder.mkdir(parents=True)
        (folder / "x.safetensors").write_bytes(b"x")
        os.utime(folder, (time.time() - age,) * 2)
    with store.banks.quarantine() as folder:
        assert quarantined(store.banks, folder.name) == folder
        assert folder.stat().st_mode & 0o777 == 0o700
        file = store.memories.write(b"x", folder)
        assert (folder / file).stat().st_mode & 0o777 == 0o600 and store.memories.read(file, folder) == b"x"
        assert {path.name for path in store.banks.quarantine_folder.iterdir()} == {"young", folder.name}
    assert {path.name for path in store.banks.quarantine_folder.iterdir()} == {"young"}
    for name in ("old", "..", "../memories"):
        with pytest.raises(StorageError, match="folder is gone"):
            quarantined(store.banks, name)


KILLED = """
import os, signal, sys
from pathlib import Path
import profiles.store.banks
from profiles.store.banks import Incoming
from profiles.store.store import ProfileStore
from tests.profiles.store.test_banks import incoming
place, where = sys.argv[1:]
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
with ProfileStore(Path(place)) as store, store.banks.quarantine() as folder:
    many = [incoming(store, folder, f"p{i}", uuid=f"{i:032x}") for i in range(20)]
    if where == "quarantine": die()
    if where == "moved": profiles.store.banks.UndoEntry = die
    if where == "written": profiles.store.banks.bump_revision = die
    store.banks.add(Incoming("b", many), folder)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs SIGKILL")
@pytest.mark.parametrize("where", ["quarantine", "moved", "written"])
def test_a_kill_in_the_middle_takes_nothing_in(
    tmp_path: Path, python: Callable[..., subprocess.Popen[str]], where: str
) -> None:
    with ProfileStore(tmp_path / "profile") as store:
        store.procedures.add(Procedure("mine", PAIRS))
        before = store.revision
    process = python(KILLED, tmp_path / "profile", where)
    _, said = process.communicate(timeout=60)
    assert process.returncode == -9, said
    with ProfileStore(tmp_path / "profile") as store:
        assert [one.name for one in store.procedures.list()] == ["mine"] and store.revision == before
        assert store.damage() == [] and store.memories.all_active(BACKBONE) == []
        store.garbage.collect(age_seconds=-1)
        for folder in store.banks.quarantine_folder.iterdir():
            os.utime(folder, (0, 0))
        with store.banks.quarantine() as folder:
            store.banks.add(Incoming("b", [incoming(store, folder)]), folder)
        assert len(files(store)) == 1


def test_a_procedure_that_an_import_replaces_loses_its_command_and_consent(store: ProfileStore) -> None:
    schema = '{"type": "object", "properties": {"text": {"type": "string"}}}'
    store.procedures.add(Procedure("todo", PAIRS, output_schema=schema))
    store.commands.set("todo", ["note", "--", "{text}"])
    store.commands.allow("todo", "digest")
    with store.banks.quarantine() as folder:
        one = incoming(store, folder, replaces=True, output_schema=schema)
        store.banks.add(Incoming("bank.tokmem", [one]), folder)
    assert store.procedures.get("todo").output_schema == schema
    assert store.commands.get("todo") is None, "what comes from elsewhere never runs anything"
    store.undo.take_back()
    assert store.procedures.get("todo").source == "" and store.commands.get("todo") is None
