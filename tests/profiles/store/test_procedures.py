"""Procedures and pairs of a profile, and taking changes back."""

from __future__ import annotations

import dataclasses
import hashlib
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import profiles.store.undo
from profiles.store.pairs import Part
from profiles.store.store import ProfileStore
from tests.undo_log import newest_undo
from tokmem_desk.errors import BadInputError, ConflictError, NotFoundError, UsageError
from tokmem_desk.procedures import ExamplePair, Procedure, pairs_digest


def content(store: ProfileStore) -> object:
    """Everything an undo must bring back; versions and times may differ."""
    return [
        (
            dataclasses.replace(record, version=0, updated=""),
            store.procedures.with_pairs(record.name),
            [
                dataclasses.astuple(pair)
                for pair in (*store.pairs.list(record.name), *store.pairs.list(record.name, "held_out"))
            ],
        )
        for record in store.procedures.list()
    ]


def test_a_procedure_comes_back_as_it_was_given(store: ProfileStore, ledger: Procedure) -> None:
    record = store.procedures.add(ledger, source="ledger.json")
    assert store.procedures.with_pairs("ledger") == ledger
    assert (record.pair_count, record.held_out_count, record.enabled, record.source) == (2, 1, True, "ledger.json")
    assert record.threshold is None and record.version == 1 and len(record.uuid) == 32
    assert store.procedures.list() == [record]


def test_two_procedures_of_one_name(store: ProfileStore, ledger: Procedure) -> None:
    store.procedures.add(ledger)
    with pytest.raises(ConflictError, match="There is a procedure 'ledger' already. Choose another name"):
        store.procedures.add(Procedure("ledger", ()))
    assert store.procedures.with_pairs("ledger") == ledger


@pytest.mark.parametrize("name", ["none", "auto", "", "Ledger", "a b", "x" * 41, "../x", "ledger\n"])
def test_names_that_are_not_allowed(store: ProfileStore, ledger: Procedure, name: str) -> None:
    with pytest.raises(UsageError):
        store.procedures.add(Procedure(name, ()))
    store.procedures.add(ledger)
    with pytest.raises(UsageError):
        store.procedures.rename("ledger", name)
    assert [record.name for record in store.procedures.list()] == ["ledger"]


def test_an_unknown_name_gets_the_nearest_one(store: ProfileStore, ledger: Procedure) -> None:
    with pytest.raises(NotFoundError, match="There is no procedure 'ledgr'. Add one first"):
        store.procedures.get("ledgr")
    store.procedures.add(ledger)
    for call in (
        store.procedures.get,
        store.procedures.with_pairs,
        store.pairs.list,
        store.procedures.remove,
        store.memories.list,
    ):
        with pytest.raises(NotFoundError, match="Did you mean 'ledger'?"):
            call("ledgr")


@pytest.mark.parametrize(
    ("pair", "reason"),
    [
        (ExamplePair("", "x"), "Pair 2 cannot be used: the input is empty"),
        (ExamplePair("x", " \n"), "the response is empty"),
        (ExamplePair("x", "a\0b"), "the response holds a NUL byte"),
        (ExamplePair("\ud800", "x"), "the input holds a character that is not valid Unicode"),
        (ExamplePair("x", "y", ("",)), "the reference is empty"),
        (ExamplePair("x" * 100_001, "y"), "100,001 characters long"),
    ],
)
def test_unusable_pairs_change_nothing(store: ProfileStore, ledger: Procedure, pair: ExamplePair, reason: str) -> None:
    store.procedures.add(ledger)
    before, revision = content(store), store.revision
    good = ExamplePair("a", "b")
    for attempt in (
        lambda: store.procedures.add(Procedure("other", (good, pair))),
        lambda: store.pairs.add("ledger", [good, pair]),
        lambda: store.pairs.add_parts("ledger", {"train": [good], "held_out": [good, pair]}, replace=True),
    ):
        with pytest.raises(BadInputError, match=reason):
            attempt()
    assert content(store) == before and store.revision == revision
    assert newest_undo(store) == "added ledger"


def test_each_part_has_its_own_pairs_in_the_order_of_adding(store: ProfileStore, ledger: Procedure) -> None:
    store.procedures.add(ledger)
    added = store.pairs.add("ledger", [ExamplePair("b", "2"), ExamplePair("a", "1", ("one",))], "held_out", "chat")
    assert [pair.input for pair in store.pairs.list("ledger", "held_out")] == ["bread 4", "b", "a"]
    assert added == store.pairs.list("ledger", "held_out")[1:]
    assert added[1].references == ("one",) and added[1].source == "chat"
    assert [pair.pair for pair in store.pairs.list("ledger")] == list(ledger.pairs)
    assert store.pairs.add("ledger", []) == []
    assert newest_undo(store) == "added 2 pairs to ledger"


def test_editing_a_pair_keeps_its_place_and_can_move_it_to_the_other_part(
    store: ProfileStore, ledger: Procedure
) -> None:
    store.procedures.add(ledger)
    first, second = store.pairs.list("ledger")
    changed = store.pairs.update(first.id, response="2024-01-03 coffee 3.50")
    assert changed == dataclasses.replace(first, response="2024-01-03 coffee 3.50")
    assert store.pairs.list("ledger") == [changed, second]
    store.pairs.update(second.id, references=(), part="held_out")
    assert [pair.id for pair in store.pairs.list("ledger")] == [first.id]
    assert store.pairs.list("ledger", "held_out")[-1].references == ()
    with pytest.raises(BadInputError, match="the input is empty"):
        store.pairs.update(first.id, input=" ")
    store.pairs.delete(first.id)
    for call in (lambda: store.pairs.delete(first.id), lambda: store.pairs.update(first.id, input="x")):
        with pytest.raises(NotFoundError, match=f"no pair number {first.id} any more"):
            call()


def test_a_change_of_nothing_leaves_no_trace(store: ProfileStore, ledger: Procedure) -> None:
    record = store.procedures.add(ledger)
    pair = store.pairs.list("ledger")[0]
    revision = store.revision
    assert store.procedures.set_enabled("ledger", True) == record
    assert store.procedures.rename("ledger", "ledger") == record
    assert store.pairs.update(pair.id, input=pair.input) == pair
    assert (
        store.procedures.get("ledger") == record and store.revision == revision and newest_undo(store) == "added ledger"
    )


def test_whatever_can_alter_routes_or_answers_is_a_new_revision(store: ProfileStore, ledger: Procedure) -> None:
    revisions = [store.revision]

    def grew() -> None:
        revisions.append(store.revision)
        assert revisions[-1] > revisions[-2]

    store.procedures.add(ledger)
    grew()
    store.procedures.set_enabled("ledger", False)
    grew()
    store.procedures.set_threshold("ledger", 0.8)
    grew()
    store.procedures.set_description("ledger", "Expenses.")
    grew()
    store.pairs.add("ledger", [ExamplePair("a", "b")])
    grew()
    store.procedures.rename("ledger", "money")
    grew()
    number = store.corrections.add("tea 2", "none", "money")
    grew()
    store.corrections.remove(number)
    grew()
    store.undo.take_back()
    grew()
    store.jobs.queue(["ledger"], {})
    assert store.revision == revisions[-1]
    store.procedures.remove("ledger")
    grew()
    conversation = store.chats.create("x")
    store.messages.add(conversation, "user", "hello")
    assert store.revision == revisions[-1]


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_threshold_is_a_probability(store: ProfileStore, ledger: Procedure, threshold: float) -> None:
    store.procedures.add(ledger)
    with pytest.raises(UsageError, match="is not a probability"):
        store.procedures.set_threshold("ledger", threshold)
    assert store.procedures.set_threshold("ledger", 1).threshold == 1.0
    assert store.procedures.set_threshold("ledger", None).threshold is None


def test_undo_says_what_it_took_back_until_nothing_is_left(store: ProfileStore, ledger: Procedure) -> None:
    store.procedures.add(ledger)
    states = [content(store)]
    for change in (
        lambda: store.procedures.set_enabled("ledger", False),
        lambda: store.pairs.add("ledger", [ExamplePair("a", "b")]),
        lambda: store.pairs.update(store.pairs.list("ledger")[0].id, input="espresso 3.50"),
        lambda: store.pairs.delete(store.pairs.list("ledger")[1].id),
        lambda: store.pairs.add_parts("ledger", {"train": [ExamplePair("c", "d")]}, replace=True),
        lambda: store.pairs.add_parts("ledger", {"held_out": []}, replace=True),
        lambda: store.procedures.set_threshold("ledger", 0.5),
        lambda: store.procedures.set_description("ledger", "Money."),
        lambda: store.procedures.rename("ledger", "money"),
        lambda: store.procedures.remove("money"),
    ):
        change()
        states.append(content(store))
    texts = []
    while len(states) > 1:
        assert content(store) == states.pop()
        texts.append(store.undo.take_back())
    assert content(store) == states.pop()
    assert texts == [
        "removed money",
        "renamed ledger to money",
        "changed the description of ledger",
        "changed the threshold of ledger",
        "replaced the held-out pairs of ledger",
        "replaced the pairs of ledger",
        "deleted a pair of ledger",
        "changed a pair of ledger",
        "added 1 pair to ledger",
        "disabled ledger",
    ]
    assert store.undo.take_back() == "added ledger" and store.procedures.list() == []
    assert newest_undo(store) is None
    with pytest.raises(NotFoundError, match="There is nothing to undo."):
        store.undo.take_back()


@pytest.mark.parametrize(
    ("replace", "inputs", "text"),
    [
        (False, (["coffee 3.50", "tram 2", "a"], ["bread 4", "b", "c"]), "added 3 pairs to ledger"),
        (True, (["a"], ["b", "c"]), "replaced the pairs of ledger"),
    ],
)
def test_an_import_of_both_parts_is_one_step(
    store: ProfileStore, ledger: Procedure, replace: bool, inputs: tuple[list[str], list[str]], text: str
) -> None:
    store.procedures.add(ledger)
    before = store.procedures.with_pairs("ledger")
    parts: dict[Part, list[ExamplePair]] = {
        "train": [ExamplePair("a", "1")],
        "held_out": [ExamplePair("b", "2"), ExamplePair("c", "3")],
    }
    store.pairs.add_parts("ledger", parts, "more.csv", replace=replace)
    assert tuple([pair.input for pair in store.pairs.list("ledger", part)] for part in parts) == inputs
    assert store.pairs.list("ledger")[-1].source == "more.csv"
    assert [one.text for one in store.versions.list("ledger")] == [text, "added ledger"]
    assert store.undo.take_back() == text
    assert store.procedures.with_pairs("ledger") == before


def test_a_version_names_one_content_only(store: ProfileStore, ledger: Procedure) -> None:
    seen = {store.procedures.add(ledger).version}
    for step in range(3):
        seen.add(store.procedures.set_description("ledger", f"wording {step}").version)
        store.undo.take_back()
        seen.add(store.procedures.get("ledger").version)
    assert len(seen) == 7


def test_ids_are_not_used_twice(store: ProfileStore, ledger: Procedure) -> None:
    first = store.procedures.add(ledger).id
    store.procedures.remove("ledger")
    assert store.procedures.add(dataclasses.replace(ledger, name="other")).id != first
    assert store.undo.take_back() == "added other"
    store.undo.take_back()
    assert store.procedures.get("ledger").id == first


def test_the_undo_log_is_bounded(store: ProfileStore, ledger: Procedure, monkeypatch: pytest.MonkeyPatch) -> None:
    store.procedures.add(ledger)
    for number in range(profiles.store.undo.KEPT_ENTRIES + 5):
        store.procedures.set_description("ledger", f"wording {number}")
    undone = 0
    while newest_undo(store) is not None:
        store.undo.take_back()
        undone += 1
    assert undone == profiles.store.undo.KEPT_ENTRIES
    assert store.procedures.get("ledger").description == "wording 4"

    monkeypatch.setattr(profiles.store.undo, "KEPT_CHARACTERS", 5_000)
    store.pairs.add_parts("ledger", {"train": [ExamplePair("x" * 6_000, "y")]}, replace=True)
    store.pairs.add_parts("ledger", {"train": [ExamplePair("a", "b")]}, replace=True)
    store.pairs.delete(store.pairs.list("ledger")[0].id)
    assert store.undo.take_back() == "deleted a pair of ledger"
    assert newest_undo(store) is None  # the big one went, and with it what came before

    store.pairs.add_parts("ledger", {"train": [ExamplePair("x" * 6_000, "y")]}, replace=True)
    store.procedures.set_enabled("ledger", False)
    store.pairs.delete(store.pairs.list("ledger")[0].id)
    assert newest_undo(store) == "deleted a pair of ledger"  # the newest stays, however big


def test_forgotten_undo_leaves_no_text_in_the_files(store: ProfileStore) -> None:
    store.procedures.add(Procedure("diary", (ExamplePair("a very private sentence", "x"),)))
    store.procedures.remove("diary")
    store.undo.forget()
    assert newest_undo(store) is None
    store.close()
    left = b"".join(path.read_bytes() for path in store.folder.rglob("*") if path.is_file())
    assert b"private sentence" not in left


texts = st.text(min_size=1, max_size=40).filter(lambda text: text.strip() and "\0" not in text)
example_pairs = st.builds(ExamplePair, texts, texts, st.lists(texts, max_size=2).map(tuple))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=st.lists(example_pairs, max_size=4), second=st.lists(example_pairs, max_size=4))
def test_any_text_survives_the_store(store: ProfileStore, first: list[ExamplePair], second: list[ExamplePair]) -> None:
    procedure = Procedure("any", tuple(first), tuple(second))
    store.procedures.add(procedure)
    assert store.procedures.with_pairs("any") == procedure
    store.pairs.add_parts("any", {"train": second}, replace=True)
    assert [pair.pair for pair in store.pairs.list("any")] == second
    store.undo.take_back()
    assert store.procedures.with_pairs("any") == procedure
    store.procedures.remove("any")
    store.undo.take_back()
    assert store.procedures.with_pairs("any") == procedure
    store.procedures.remove("any")


def test_pairs_as_a_table_shows_them(store: ProfileStore, ledger: Procedure) -> None:
    store.procedures.add(ledger)
    listed = store.pairs.table("ledger")
    assert list(listed) == [*store.pairs.list("ledger"), *store.pairs.list("ledger", "held_out")]
    assert [one.part for one in listed] == ["train", "train", "held_out"] and list(listed[:2]) == store.pairs.list(
        "ledger"
    )
    assert listed[1].references == ("2024-01-02 tram 2",)
    assert [listed.place(one.id) for one in listed] == [0, 1, 2] and listed.find(listed[2].id) == listed[2]
    assert listed.place(99) is None and listed.find(99) is None
    assert listed.matching("tram") == [1] and listed.matching("2024") == [0, 1, 2] and listed.matching("tea") == []
    assert store.pairs.first("ledger") == listed[0]
    store.procedures.add(Procedure("empty", ()))
    assert store.pairs.first("empty") is None and len(store.pairs.table("empty")) == 0
    with pytest.raises(NotFoundError):
        store.pairs.table("ledgre")


@given(st.lists(st.tuples(st.text(), st.text()), max_size=6))
def test_the_digest_is_that_of_the_pairs_as_json(texts: list[tuple[str, str]]) -> None:
    lines = sorted(json.dumps(list(one), ensure_ascii=False) for one in texts)
    expected = hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()
    assert pairs_digest([ExamplePair(*one) for one in texts]) == expected
