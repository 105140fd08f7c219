"""Versions and groups: what is noted, compared, gone back to and forgotten."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import profiles.store.version_notes
from profiles.database.connection import Database
from profiles.database.migrations import PROFILE_STEPS
from profiles.store.store import ProfileStore
from profiles.store.versions import PairChange
from tokmem_desk.errors import ConflictError, NotFoundError, TokmemError, UsageError
from tokmem_desk.procedures import ExamplePair, Procedure

A, B, C = ExamplePair("a", "1"), ExamplePair("b", "2"), ExamplePair("c", "3", ("3", "III"))


def remember(store: ProfileStore, name: str, fingerprint: str = "f") -> str:
    """An active memory made from the present pairs."""
    file = store.new_memory_file()
    file.write_bytes(b"tensors")
    pairs = store.to_procedure(name).pairs
    record = store.add_memory(store.procedure(name).id, fingerprint, file.name, pairs, {}, {})
    return store.activate_memory(record.id).id


def numbers(store: ProfileStore, name: str = "p") -> list[tuple[int, str]]:
    return [(version.number, version.text) for version in store.versions(name)]


@pytest.fixture
def unfolded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every change is a version of its own."""
    monkeypatch.setattr(profiles.store.version_notes, "FOLD", profiles.store.version_notes.timedelta(seconds=-1))


def test_changes_by_hand_are_one_version_and_others_their_own(store: ProfileStore) -> None:
    store.add_procedure(Procedure("p", (A,)))
    store.add_pairs("p", [B])
    store.add_pairs("p", [C])
    store.set_description("p", "d")
    store.add_pairs("p", [ExamplePair("d", "4"), ExamplePair("e", "5")])
    remember(store, "p")
    store.delete_pair(store.pairs("p")[0].id)
    assert numbers(store) == [
        (5, "deleted a pair of p"),
        (4, "memory v1 answers"),
        (3, "added 2 pairs to p"),
        (2, "several changes by hand"),
        (1, "added p"),
    ]
    assert [(one.pair_count, len(one.memories)) for one in store.versions("p")] == [
        (4, 1),
        (5, 1),
        (5, 0),
        (3, 0),
        (1, 0),
    ]
    assert store.version_pairs("p", 2) == [A, B, C]


def test_a_procedure_begun_by_hand_has_one_first_version(store: ProfileStore) -> None:
    store.add_procedure(Procedure("p", ()), source="by hand")
    for pair in (A, B, C):
        store.add_pairs("p", [pair], source="by hand")
    assert numbers(store) == [(1, "added p")]
    assert store.version_pairs("p", 1) == [A, B, C]


def test_going_back_takes_pairs_description_and_memory(store: ProfileStore, unfolded: None) -> None:
    store.add_procedure(Procedure("p", (A, B), (C,), "first"))
    old = remember(store, "p")
    store.import_pairs("p", {"train": [C]}, replace=True)
    store.set_description("p", "second")
    new = remember(store, "p")
    assert store.roll_back("p", 2) == "went back to version 2 of p"
    now = store.to_procedure("p")
    assert (now.pairs, now.held_out, now.description) == ((A, B), (C,), "first")
    active = store.active_memory("p", "f")
    assert active is not None and active.id == old and store.needs_training("f") == []
    assert store.undo() == "went back to version 2 of p"
    active = store.active_memory("p", "f")
    assert active is not None and active.id == new
    assert store.to_procedure("p").pairs == (C,) and store.procedure("p").description == "second"
    with pytest.raises(UsageError, match="present version"):
        store.roll_back("p", store.versions("p")[0].number)
    with pytest.raises(NotFoundError, match="no version 99"):
        store.roll_back("p", 99)


def test_going_back_before_the_training_takes_the_memory_made_from_those_pairs(store: ProfileStore) -> None:
    store.add_procedure(Procedure("p", (A, B)))
    memory = remember(store, "p")
    store.add_pairs("p", [C])
    store.roll_back("p", 1)
    active = store.active_memory("p", "f")
    assert active is not None and active.id == memory
    store.add_procedure(Procedure("q", (A,)))
    store.import_pairs("q", {"train": [B, C]}, replace=True)
    remember(store, "q")
    store.roll_back("q", 1)
    assert store.active_memory("q", "f") is None, "no memory was ever made from that pair"


def test_what_lies_between_two_versions(store: ProfileStore, unfolded: None) -> None:
    store.add_procedure(Procedure("p", (A, B), description="one"))
    first = remember(store, "p")
    pairs = store.pairs("p")
    store.update_pair(pairs[0].id, response="9")
    store.delete_pair(pairs[1].id)
    store.add_pairs("p", [C])
    store.set_description("p", "two")
    second = remember(store, "p")
    last = store.versions("p")[0].number
    diff = store.version_diff("p", 2, last, "f")
    assert diff.changes == (
        PairChange("train", A, ExamplePair("a", "9")),
        PairChange("train", B, None),
        PairChange("train", None, C),
    )
    assert diff.description == ("one", "two") and diff.memories == (first, second)
    back = store.version_diff("p", last, 2)
    assert {(one.after, one.before) for one in back.changes} == {(one.before, one.after) for one in diff.changes}
    assert back.memories is None and store.version_diff("p", 2, 2).changes == ()
    with pytest.raises(NotFoundError):
        store.version_diff("p", 2, 99)


def test_a_removed_procedure_comes_back_with_its_history(store: ProfileStore, unfolded: None) -> None:
    store.add_procedure(Procedure("p", (A,)))
    store.add_pairs("p", [B])
    store.remove_procedure("p")
    store.collect_garbage()
    store.undo()
    assert [number for number, _ in numbers(store)] == [3, 2, 1]
    assert store.version_pairs("p", 1) == [A]


def count(store: ProfileStore, table: str) -> int:
    with closing(Database(store.file, PROFILE_STEPS, backups=store.folder)) as database:
        return len(database.rows(f"SELECT 1 FROM {table}"))


def test_forgetting_leaves_only_what_is_present(store: ProfileStore, unfolded: None) -> None:
    store.add_procedure(Procedure("p", (A, B)))
    store.delete_pair(store.pairs("p")[0].id)
    store.add_procedure(Procedure("q", (C,)))
    assert store.forget_versions("p") == 1
    assert numbers(store) == [(2, "deleted a pair of p")] and store.version_pairs("p", 2) == [B]
    store.add_pairs("p", [A])
    store.remove_procedure("q")
    store.forget_undo()
    assert (count(store, "versions"), count(store, "version_pairs")) == (1, 2)
    with pytest.raises(NotFoundError):
        store.forget_versions("q")


def test_a_profile_from_before_has_a_first_version(tmp_path: Path) -> None:
    folder = tmp_path / "profile"
    folder.mkdir()
    with closing(Database(folder / "profile.sqlite", PROFILE_STEPS[:1], backups=folder)) as old, old.writing() as sql:
        sql.execute(
            """
            INSERT INTO procedures
                (id, uuid, name, description, source, enabled, version, pairs_digest, created, updated)
            VALUES (7, 'u', 'p', 'd', 's', 1, 4, 'x', '2025-01-01T00:00:00.000Z', '2025-01-02T00:00:00.000Z')
            """
        )
        sql.execute(
            """
            INSERT INTO pairs (procedure_id, part, input, response, other_answers, source, created)
            VALUES (7, 'train', 'a', '1', '[]', '', '')
            """
        )
        sql.execute(
            """
            INSERT INTO undo_log (text, created, remove, restore) VALUES ('renamed x to p', '', '{}',
            '{"procedures": [{"id": 7, "name": "x", "version": 3}]}')
            """
        )
    with ProfileStore(folder) as store:
        assert numbers(store) == [(1, "as it was when versions began")]
        assert store.version_pairs("p", 1) == [A] and store.procedure("p").group == ""


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["add", "add2", "edit", "delete", "replace", "describe", "train", "undo", "back", "move"]),
        st.integers(0, 5),
    ),
    max_size=25,
)


def do(store: ProfileStore, operation: str, number: int) -> None:
    pairs = store.pairs("p")
    chosen = pairs[number % len(pairs)].id if pairs else -1
    fresh = ExamplePair(f"input {number}", f"response {len(pairs)}")
    actions: dict[str, Callable[[], object]] = {
        "add": lambda: store.add_pairs("p", [fresh]),
        "add2": lambda: store.add_pairs("p", [fresh, A], "held_out"),
        "edit": lambda: store.update_pair(chosen, response=f"other {number}"),
        "delete": lambda: store.delete_pair(chosen),
        "replace": lambda: store.import_pairs("p", {"train": [fresh, B]}, replace=True),
        "describe": lambda: store.set_description("p", f"text {number}"),
        "train": lambda: remember(store, "p"),
        "undo": store.undo,
        "back": lambda: store.roll_back("p", 1 + number),
        "move": lambda: store.update_pair(chosen, part="held_out"),
    }
    actions[operation]()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(OPERATIONS)
def test_every_version_stays_what_it_was(operations: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder, ProfileStore(Path(folder) / "p") as store:
        store.add_procedure(Procedure("keep", (C,)))
        store.add_procedure(Procedure("p", (A, B)))
        seen: dict[int, object] = {}
        for operation, number in operations:
            with suppress(TokmemError):
                do(store, operation, number)
            if "p" not in [one.name for one in store.procedures()]:
                return
            newest = store.versions("p")[0]
            procedure, active = store.to_procedure("p"), store.active_memory("p", "f")
            memory = None if active is None else active.id
            if newest.number in seen or not seen or newest.number == max(seen) + 1:
                seen[newest.number] = (procedure.pairs, procedure.held_out, procedure.description, memory)
            for version in store.versions("p"):
                if version.number in seen:
                    kept = (
                        tuple(store.version_pairs("p", version.number)),
                        tuple(store.version_pairs("p", version.number, "held_out")),
                        version.description,
                        version.memories.get("f"),
                    )
                    assert kept == seen[version.number]
        assert store.damage() == [] and store.version_pairs("keep", 1) == [C]


def test_groups(store: ProfileStore) -> None:
    for name in ("a", "b", "c"):
        store.add_procedure(Procedure(name, (A,)))
    assert store.set_group("b", "  home   and garden ").group == "home and garden"
    store.set_group("a", "work")
    assert store.groups() == ["home and garden", "work"]
    store.set_group("a", "")
    assert store.undo() == "took a out of its group" and store.procedure("a").group == "work"
    with pytest.raises(UsageError, match="at most 40"):
        store.set_group("a", "x" * 41)
    with pytest.raises(NotFoundError):
        store.set_group("nobody", "x")
    with pytest.raises(ConflictError):
        store.rename_procedure("a", "b")


def test_going_back_takes_form_reading_and_command_but_no_consent(store: ProfileStore, unfolded: None) -> None:
    form = '{"type": "object", "properties": {"what": {"type": "string"}}}'
    store.add_procedure(Procedure("note", (ExamplePair("a", '{"what": "b"}'),)))
    store.set_schema("note", form)
    store.set_command("note", ["say", "{what}"])
    store.allow_command("note", "digest")
    store.set_reads_conversation("note", True)
    with_all = store.versions("note")[0]
    assert (with_all.output_schema, with_all.reads_conversation) == (form, True)
    assert with_all.command == ("say", "{what}")

    store.roll_back("note", 1)
    record = store.procedure("note")
    assert record.output_schema is None and not record.reads_conversation and store.command("note") is None
    found = store.version_diff("note", with_all.number, store.versions("note")[0].number)
    assert found.output_schema == (form, None) and found.reads_conversation == (True, False)
    assert found.command == (("say", "{what}"), None) and found.description is None

    store.undo()
    record, command = store.procedure("note"), store.command("note")
    assert record.output_schema == form and record.reads_conversation
    assert command is not None and command.template == ("say", "{what}") and command.allowed is None

    store.allow_command("note", "digest")
    store.set_command("note", ["shout", "{what}"])
    store.roll_back("note", with_all.number)
    command = store.command("note")
    assert command is not None and command.template == ("say", "{what}") and command.allowed is None
    store.remove_command("note")
    store.roll_back("note", with_all.number)
    assert store.command("note") is not None
    store.undo()
    assert store.command("note") is None, "the command that going back brought goes again"


def test_a_consent_stays_where_going_back_leaves_the_command(store: ProfileStore, unfolded: None) -> None:
    store.add_procedure(Procedure("note", (ExamplePair("a", "{}"),), output_schema='{"type": "object"}'))
    store.set_command("note", ["say"])
    store.allow_command("note", "digest")
    store.set_description("note", "new")
    store.roll_back("note", 2)
    command = store.command("note")
    assert command is not None and command.allowed == "digest"
