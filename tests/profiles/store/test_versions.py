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
    file = store.memories.new_file()
    file.write_bytes(b"tensors")
    pairs = store.procedures.with_pairs(name).pairs
    record = store.memories.add(store.procedures.get(name).id, fingerprint, file.name, pairs, {}, {})
    return store.memories.activate(record.id).id


def numbers(store: ProfileStore, name: str = "p") -> list[tuple[int, str]]:
    return [(version.number, version.text) for version in store.versions.list(name)]


@pytest.fixture
def unfolded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every change is a version of its own."""
    monkeypatch.setattr(profiles.store.version_notes, "FOLD", profiles.store.version_notes.timedelta(seconds=-1))


def test_changes_by_hand_are_one_version_and_others_their_own(store: ProfileStore) -> None:
    store.procedures.add(Procedure("p", (A,)))
    store.pairs.add("p", [B])
    store.pairs.add("p", [C])
    store.procedures.set_description("p", "d")
    store.pairs.add("p", [ExamplePair("d", "4"), ExamplePair("e", "5")])
    remember(store, "p")
    store.pairs.delete(store.pairs.list("p")[0].id)
    assert numbers(store) == [
        (5, "deleted a pair of p"),
        (4, "memory v1 answers"),
        (3, "added 2 pairs to p"),
        (2, "several changes by hand"),
        (1, "added p"),
    ]
    assert [(one.pair_count, len(one.memories)) for one in store.versions.list("p")] == [
        (4, 1),
        (5, 1),
        (5, 0),
        (3, 0),
        (1, 0),
    ]
    assert store.versions.pairs("p", 2) == [A, B, C]


def test_a_procedure_begun_by_hand_has_one_first_version(store: ProfileStore) -> None:
    store.procedures.add(Procedure("p", ()), source="by hand")
    for pair in (A, B, C):
        store.pairs.add("p", [pair], source="by hand")
    assert numbers(store) == [(1, "added p")]
    assert store.versions.pairs("p", 1) == [A, B, C]


def test_going_back_takes_pairs_description_and_memory(store: ProfileStore, unfolded: None) -> None:
    store.procedures.add(Procedure("p", (A, B), (C,), "first"))
    old = remember(store, "p")
    store.pairs.add_parts("p", {"train": [C]}, replace=True)
    store.procedures.set_description("p", "second")
    new = remember(store, "p")
    assert store.versions.roll_back("p", 2) == "went back to version 2 of p"
    now = store.procedures.with_pairs("p")
    assert (now.pairs, now.held_out, now.description) == ((A, B), (C,), "first")
    active = store.memories.active("p", "f")
    assert active is not None and active.id == old and store.procedures.to_train("f") == []
    assert store.undo.take_back() == "went back to version 2 of p"
    active = store.memories.active("p", "f")
    assert active is not None and active.id == new
    assert store.procedures.with_pairs("p").pairs == (C,) and store.procedures.get("p").description == "second"
    with pytest.raises(UsageError, match="present version"):
        store.versions.roll_back("p", store.versions.list("p")[0].number)
    with pytest.raises(NotFoundError, match="no version 99"):
        store.versions.roll_back("p", 99)


def test_going_back_before_the_training_takes_the_memory_made_from_those_pairs(store: ProfileStore) -> None:
    store.procedures.add(Procedure("p", (A, B)))
    memory = remember(store, "p")
    store.pairs.add("p", [C])
    store.versions.roll_back("p", 1)
    active = store.memories.active("p", "f")
    assert active is not None and active.id == memory
    store.procedures.add(Procedure("q", (A,)))
    store.pairs.add_parts("q", {"train": [B, C]}, replace=True)
    remember(store, "q")
    store.versions.roll_back("q", 1)
    assert store.memories.active("q", "f") is None, "no memory was ever made from that pair"


def test_what_lies_between_two_versions(store: ProfileStore, unfolded: None) -> None:
    store.procedures.add(Procedure("p", (A, B), description="one"))
    first = remember(store, "p")
    pairs = store.pairs.list("p")
    store.pairs.update(pairs[0].id, response="9")
    store.pairs.delete(pairs[1].id)
    store.pairs.add("p", [C])
    store.procedures.set_description("p", "two")
    second = remember(store, "p")
    last = store.versions.list("p")[0].number
    diff = store.versions.diff("p", 2, last, "f")
    assert diff.changes == (
        PairChange("train", A, ExamplePair("a", "9")),
        PairChange("train", B, None),
        PairChange("train", None, C),
    )
    assert diff.description == ("one", "two") and diff.memories == (first, second)
    back = store.versions.diff("p", last, 2)
    assert {(one.after, one.before) for one in back.changes} == {(one.before, one.after) for one in diff.changes}
    assert back.memories is None and store.versions.diff("p", 2, 2).changes == ()
    with pytest.raises(NotFoundError):
        store.versions.diff("p", 2, 99)


def test_a_removed_procedure_comes_back_with_its_history(store: ProfileStore, unfolded: None) -> None:
    store.procedures.add(Procedure("p", (A,)))
    store.pairs.add("p", [B])
    store.procedures.remove("p")
    store.garbage.collect()
    store.undo.take_back()
    assert [number for number, _ in numbers(store)] == [3, 2, 1]
    assert store.versions.pairs("p", 1) == [A]


def count(store: ProfileStore, table: str) -> int:
    with closing(Database(store.database_file, PROFILE_STEPS, backups=store.folder)) as database:
        return len(database.rows(f"SELECT 1 FROM {table}"))


def test_forgetting_leaves_only_what_is_present(store: ProfileStore, unfolded: None) -> None:
    store.procedures.add(Procedure("p", (A, B)))
    store.pairs.delete(store.pairs.list("p")[0].id)
    store.procedures.add(Procedure("q", (C,)))
    assert store.versions.forget_past("p") == 1
    assert numbers(store) == [(2, "deleted a pair of p")] and store.versions.pairs("p", 2) == [B]
    store.pairs.add("p", [A])
    store.procedures.remove("q")
    store.undo.forget()
    assert (count(store, "versions"), count(store, "version_pairs")) == (1, 2)
    with pytest.raises(NotFoundError):
        store.versions.forget_past("q")


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["add", "add2", "edit", "delete", "replace", "describe", "train", "undo", "back", "move"]),
        st.integers(0, 5),
    ),
    max_size=25,
)


def do(store: ProfileStore, operation: str, number: int) -> None:
    pairs = store.pairs.list("p")
    chosen = pairs[number % len(pairs)].id if pairs else -1
    fresh = ExamplePair(f"input {number}", f"response {len(pairs)}")
    actions: dict[str, Callable[[], object]] = {
        "add": lambda: store.pairs.add("p", [fresh]),
        "add2": lambda: store.pairs.add("p", [fresh, A], "held_out"),
        "edit": lambda: store.pairs.update(chosen, response=f"other {number}"),
        "delete": lambda: store.pairs.delete(chosen),
        "replace": lambda: store.pairs.add_parts("p", {"train": [fresh, B]}, replace=True),
        "describe": lambda: store.procedures.set_description("p", f"text {number}"),
        "train": lambda: remember(store, "p"),
        "undo": store.undo.take_back,
        "back": lambda: store.versions.roll_back("p", 1 + number),
        "move": lambda: store.pairs.update(chosen, part="held_out"),
    }
    actions[operation]()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(OPERATIONS)
def test_every_version_stays_what_it_was(operations: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder, ProfileStore(Path(folder) / "p") as store:
        store.procedures.add(Procedure("keep", (C,)))
        store.procedures.add(Procedure("p", (A, B)))
        seen: dict[int, object] = {}
        for operation, number in operations:
            with suppress(TokmemError):
                do(store, operation, number)
            if "p" not in [one.name for one in store.procedures.list()]:
                return
            newest = store.versions.list("p")[0]
            procedure, active = store.procedures.with_pairs("p"), store.memories.active("p", "f")
            memory = None if active is None else active.id
            if newest.number in seen or not seen or newest.number == max(seen) + 1:
                seen[newest.number] = (procedure.pairs, procedure.held_out, procedure.description, memory)
            for version in store.versions.list("p"):
                if version.number in seen:
                    kept = (
                        tuple(store.versions.pairs("p", version.number)),
                        tuple(store.versions.pairs("p", version.number, "held_out")),
                        version.description,
                        version.memories.get("f"),
                    )
                    assert kept == seen[version.number]
        assert store.damage() == [] and store.versions.pairs("keep", 1) == [C]


def test_groups(store: ProfileStore) -> None:
    for name in ("a", "b", "c"):
        store.procedures.add(Procedure(name, (A,)))
    assert store.procedures.set_group("b", "  home   and garden ").group == "home and garden"
    store.procedures.set_group("a", "work")
    assert store.procedures.groups() == ["home and garden", "work"]
    store.procedures.set_group("a", "")
    assert store.undo.take_back() == "took a out of its group" and store.procedures.get("a").group == "work"
    with pytest.raises(UsageError, match="at most 40"):
        store.procedures.set_group("a", "x" * 41)
    with pytest.raises(NotFoundError):
        store.procedures.set_group("nobody", "x")
    with pytest.raises(ConflictError):
        store.procedures.rename("a", "b")


def test_going_back_takes_form_reading_and_command_but_no_consent(store: ProfileStore, unfolded: None) -> None:
    form = '{"type": "object", "properties": {"what": {"type": "string"}}}'
    store.procedures.add(Procedure("note", (ExamplePair("a", '{"what": "b"}'),)))
    store.procedures.set_schema("note", form)
    store.commands.set("note", ["say", "{what}"])
    store.commands.allow("note", "digest")
    store.procedures.set_reads_conversation("note", True)
    with_all = store.versions.list("note")[0]
    assert (with_all.output_schema, with_all.reads_conversation) == (form, True)
    assert with_all.command == ("say", "{what}")

    store.versions.roll_back("note", 1)
    record = store.procedures.get("note")
    assert record.output_schema is None and not record.reads_conversation and store.commands.get("note") is None
    found = store.versions.diff("note", with_all.number, store.versions.list("note")[0].number)
    assert found.output_schema == (form, None) and found.reads_conversation == (True, False)
    assert found.command == (("say", "{what}"), None) and found.description is None

    store.undo.take_back()
    record, command = store.procedures.get("note"), store.commands.get("note")
    assert record.output_schema == form and record.reads_conversation
    assert command is not None and command.template == ("say", "{what}") and command.allowed is None

    store.commands.allow("note", "digest")
    store.commands.set("note", ["shout", "{what}"])
    store.versions.roll_back("note", with_all.number)
    command = store.commands.get("note")
    assert command is not None and command.template == ("say", "{what}") and command.allowed is None
    store.commands.remove("note")
    store.versions.roll_back("note", with_all.number)
    assert store.commands.get("note") is not None
    store.undo.take_back()
    assert store.commands.get("note") is None, "the command that going back brought goes again"


def test_a_consent_stays_where_going_back_leaves_the_command(store: ProfileStore, unfolded: None) -> None:
    store.procedures.add(Procedure("note", (ExamplePair("a", "{}"),), output_schema='{"type": "object"}'))
    store.commands.set("note", ["say"])
    store.commands.allow("note", "digest")
    store.procedures.set_description("note", "new")
    store.versions.roll_back("note", 2)
    command = store.commands.get("note")
    assert command is not None and command.allowed == "digest"
