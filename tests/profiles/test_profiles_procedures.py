"""Procedures and pairs of a profile, and taking changes back."""

from __future__ import annotations

import dataclasses
import hashlib
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import profiles.store.undo
from profiles.store.records import Part
from profiles.store.store import ProfileStore
from tokmem_desk.errors import BadInputError, ConflictError, NotFoundError, UsageError
from tokmem_desk.procedures import ExamplePair, Procedure, pairs_digest


def content(store: ProfileStore) -> object:
    """Everything an undo must bring back; versions and times may differ."""
    return [
        (
            dataclasses.replace(record, version=0, updated=""),
            store.to_procedure(record.name),
            [dataclasses.astuple(pair) for pair in (*store.pairs(record.name), *store.pairs(record.name, "held_out"))],
        )
        for record in store.procedures()
    ]


def test_a_procedure_comes_back_as_it_was_given(store: ProfileStore, ledger: Procedure) -> None:
    record = store.add_procedure(ledger, source="ledger.json")
    assert store.to_procedure("ledger") == ledger
    assert (record.pair_count, record.held_out_count, record.enabled, record.source) == (2, 1, True, "ledger.json")
    assert record.threshold is None and record.version == 1 and len(record.uuid) == 32
    assert store.procedures() == [record]


def test_two_procedures_of_one_name(store: ProfileStore, ledger: Procedure) -> None:
    store.add_procedure(ledger)
    with pytest.raises(ConflictError, match="There is a procedure 'ledger' already. Choose another name"):
        store.add_procedure(Procedure("ledger", ()))
    assert store.to_procedure("ledger") == ledger


@pytest.mark.parametrize("name", ["none", "auto", "", "Ledger", "a b", "x" * 41, "../x", "ledger\n"])
def test_names_that_are_not_allowed(store: ProfileStore, ledger: Procedure, name: str) -> None:
    with pytest.raises(UsageError):
        store.add_procedure(Procedure(name, ()))
    store.add_procedure(ledger)
    with pytest.raises(UsageError):
        store.rename_procedure("ledger", name)
    assert [record.name for record in store.procedures()] == ["ledger"]


def test_an_unknown_name_gets_the_nearest_one(store: ProfileStore, ledger: Procedure) -> None:
    with pytest.raises(NotFoundError, match="There is no procedure 'ledgr'. Add one first"):
        store.procedure("ledgr")
    store.add_procedure(ledger)
    for call in (store.procedure, store.to_procedure, store.pairs, store.remove_procedure, store.memories):
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
    store.add_procedure(ledger)
    before, revision = content(store), store.revision
    good = ExamplePair("a", "b")
    for attempt in (
        lambda: store.add_procedure(Procedure("other", (good, pair))),
        lambda: store.add_pairs("ledger", [good, pair]),
        lambda: store.import_pairs("ledger", {"train": [good], "held_out": [good, pair]}, replace=True),
    ):
        with pytest.raises(BadInputError, match=reason):
            attempt()
    assert content(store) == before and store.revision == revision
    assert store.undo_text() == "added ledger"


def test_each_part_has_its_own_pairs_in_the_order_of_adding(store: ProfileStore, ledger: Procedure) -> None:
    store.add_procedure(ledger)
    added = store.add_pairs("ledger", [ExamplePair("b", "2"), ExamplePair("a", "1", ("one",))], "held_out", "chat")
    assert [pair.input for pair in store.pairs("ledger", "held_out")] == ["bread 4", "b", "a"]
    assert added == store.pairs("ledger", "held_out")[1:]
    assert added[1].references == ("one",) and added[1].source == "chat"
    assert [pair.pair for pair in store.pairs("ledger")] == list(ledger.pairs)
    assert store.add_pairs("ledger", []) == []
    assert store.undo_text() == "added 2 pairs to ledger"


def test_editing_a_pair_keeps_its_place_and_can_move_it_to_the_other_part(
    store: ProfileStore, ledger: Procedure
) -> None:
    store.add_procedure(ledger)
    first, second = store.pairs("ledger")
    changed = store.update_pair(first.id, response="2024-01-03 coffee 3.50")
    assert changed == dataclasses.replace(first, response="2024-01-03 coffee 3.50")
    assert store.pairs("ledger") == [changed, second]
    store.update_pair(second.id, references=(), part="held_out")
    assert [pair.id for pair in store.pairs("ledger")] == [first.id]
    assert store.pairs("ledger", "held_out")[-1].references == ()
    with pytest.raises(BadInputError, match="the input is empty"):
        store.update_pair(first.id, input=" ")
    store.delete_pair(first.id)
    for call in (lambda: store.delete_pair(first.id), lambda: store.update_pair(first.id, input="x")):
        with pytest.raises(NotFoundError, match=f"no pair number {first.id} any more"):
            call()


def test_a_change_of_nothing_leaves_no_trace(store: ProfileStore, ledger: Procedure) -> None:
    record = store.add_procedure(ledger)
    pair = store.pairs("ledger")[0]
    revision = store.revision
    assert store.set_enabled("ledger", True) == record
    assert store.rename_procedure("ledger", "ledger") == record
    assert store.update_pair(pair.id, input=pair.input) == pair
    assert store.procedure("ledger") == record and store.revision == revision and store.undo_text() == "added ledger"


def test_whatever_can_alter_routes_or_answers_is_a_new_revision(store: ProfileStore, ledger: Procedure) -> None:
    revisions = [store.revision]

    def grew() -> None:
        revisions.append(store.revision)
        assert revisions[-1] > revisions[-2]

    store.add_procedure(ledger)
    grew()
    store.set_enabled("ledger", False)
    grew()
    store.set_threshold("ledger", 0.8)
    grew()
    store.set_description("ledger", "Expenses.")
    grew()
    store.add_pairs("ledger", [ExamplePair("a", "b")])
    grew()
    store.rename_procedure("ledger", "money")
    grew()
    number = store.add_correction("tea 2", "none", "money")
    grew()
    store.remove_correction(number)
    grew()
    store.undo()
    grew()
    store.queue_training(["ledger"], {})
    assert store.revision == revisions[-1]
    store.remove_procedure("ledger")
    grew()
    conversation = store.create_conversation("x")
    store.add_message(conversation, "user", "hello")
    assert store.revision == revisions[-1]


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_threshold_is_a_probability(store: ProfileStore, ledger: Procedure, threshold: float) -> None:
    store.add_procedure(ledger)
    with pytest.raises(UsageError, match="is not a probability"):
        store.set_threshold("ledger", threshold)
    assert store.set_threshold("ledger", 1).threshold == 1.0
    assert store.set_threshold("ledger", None).threshold is None


def test_undo_says_what_it_took_back_until_nothing_is_left(store: ProfileStore, ledger: Procedure) -> None:
    store.add_procedure(ledger)
    states = [content(store)]
    for change in (
        lambda: store.set_enabled("ledger", False),
        lambda: store.add_pairs("ledger", [ExamplePair("a", "b")]),
        lambda: store.update_pair(store.pairs("ledger")[0].id, input="espresso 3.50"),
        lambda: store.delete_pair(store.pairs("ledger")[1].id),
        lambda: store.import_pairs("ledger", {"train": [ExamplePair("c", "d")]}, replace=True),
        lambda: store.import_pairs("ledger", {"held_out": []}, replace=True),
        lambda: store.set_threshold("ledger", 0.5),
        lambda: store.set_description("ledger", "Money."),
        lambda: store.rename_procedure("ledger", "money"),
        lambda: store.remove_procedure("money"),
    ):
        change()
        states.append(content(store))
    texts = []
    while len(states) > 1:
        assert content(store) == states.pop()
        texts.append(store.undo())
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
    assert store.undo() == "added ledger" and store.procedures() == []
    assert store.undo_text() is None
    with pytest.raises(NotFoundError, match="There is nothing to undo."):
        store.undo()


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
    store.add_procedure(ledger)
    before = store.to_procedure("ledger")
    parts: dict[Part, list[ExamplePair]] = {
        "train": [ExamplePair("a", "1")],
        "held_out": [ExamplePair("b", "2"), ExamplePair("c", "3")],
    }
    store.import_pairs("ledger", parts, "more.csv", replace=replace)
    assert tuple([pair.input for pair in store.pairs("ledger", part)] for part in parts) == inputs
    assert store.pairs("ledger")[-1].source == "more.csv"
    assert [one.text for one in store.versions("ledger")] == [text, "added ledger"]
    assert store.undo() == text
    assert store.to_procedure("ledger") == before


def test_a_version_names_one_content_only(store: ProfileStore, ledger: Procedure) -> None:
    seen = {store.add_procedure(ledger).version}
    for step in range(3):
        seen.add(store.set_description("ledger", f"wording {step}").version)
        store.undo()
        seen.add(store.procedure("ledger").version)
    assert len(seen) == 7


def test_ids_are_not_used_twice(store: ProfileStore, ledger: Procedure) -> None:
    first = store.add_procedure(ledger).id
    store.remove_procedure("ledger")
    assert store.add_procedure(dataclasses.replace(ledger, name="other")).id != first
    assert store.undo() == "added other"
    store.undo()
    assert store.procedure("ledger").id == first


def test_the_undo_log_is_bounded(store: ProfileStore, ledger: Procedure, monkeypatch: pytest.MonkeyPatch) -> None:
    store.add_procedure(ledger)
    for number in range(profiles.store.undo.KEPT_ENTRIES + 5):
        store.set_description("ledger", f"wording {number}")
    undone = 0
    while store.undo_text() is not None:
        store.undo()
        undone += 1
    assert undone == profiles.store.undo.KEPT_ENTRIES
    assert store.procedure("ledger").description == "wording 4"

    monkeypatch.setattr(profiles.store.undo, "KEPT_CHARACTERS", 5_000)
    store.import_pairs("ledger", {"train": [ExamplePair("x" * 6_000, "y")]}, replace=True)
    store.import_pairs("ledger", {"train": [ExamplePair("a", "b")]}, replace=True)
    store.delete_pair(store.pairs("ledger")[0].id)
    assert store.undo() == "deleted a pair of ledger"
    assert store.undo_text() is None  # the big one went, and with it what came before

    store.import_pairs("ledger", {"train": [ExamplePair("x" * 6_000, "y")]}, replace=True)
    store.set_enabled("ledger", False)
    store.delete_pair(store.pairs("ledger")[0].id)
    assert store.undo_text() == "deleted a pair of ledger"  # the newest stays, however big


def test_forgotten_undo_leaves_no_text_in_the_files(store: ProfileStore) -> None:
    store.add_procedure(Procedure("diary", (ExamplePair("a very private sentence", "x"),)))
    store.remove_procedure("diary")
    store.forget_undo()
    assert store.undo_text() is None
    store.close()
    left = b"".join(path.read_bytes() for path in store.folder.rglob("*") if path.is_file())
    assert b"private sentence" not in left


texts = st.text(min_size=1, max_size=40).filter(lambda text: text.strip() and "\0" not in text)
example_pairs = st.builds(ExamplePair, texts, texts, st.lists(texts, max_size=2).map(tuple))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=st.lists(example_pairs, max_size=4), second=st.lists(example_pairs, max_size=4))
def test_any_text_survives_the_store(store: ProfileStore, first: list[ExamplePair], second: list[ExamplePair]) -> None:
    procedure = Procedure("any", tuple(first), tuple(second))
    store.add_procedure(procedure)
    assert store.to_procedure("any") == procedure
    store.import_pairs("any", {"train": second}, replace=True)
    assert [pair.pair for pair in store.pairs("any")] == second
    store.undo()
    assert store.to_procedure("any") == procedure
    store.remove_procedure("any")
    store.undo()
    assert store.to_procedure("any") == procedure
    store.remove_procedure("any")


def test_pairs_as_a_table_shows_them(store: ProfileStore, ledger: Procedure) -> None:
    store.add_procedure(ledger)
    listed = store.pair_list("ledger")
    assert list(listed) == [*store.pairs("ledger"), *store.pairs("ledger", "held_out")]
    assert [one.part for one in listed] == ["train", "train", "held_out"] and list(listed[:2]) == store.pairs("ledger")
    assert listed[1].references == ("2024-01-02 tram 2",)
    assert [listed.place(one.id) for one in listed] == [0, 1, 2] and listed.find(listed[2].id) == listed[2]
    assert listed.place(99) is None and listed.find(99) is None
    assert listed.matching("tram") == [1] and listed.matching("2024") == [0, 1, 2] and listed.matching("tea") == []
    assert store.first_pair("ledger") == listed[0]
    store.add_procedure(Procedure("empty", ()))
    assert store.first_pair("empty") is None and len(store.pair_list("empty")) == 0
    with pytest.raises(NotFoundError):
        store.pair_list("ledgre")


@given(st.lists(st.tuples(st.text(), st.text()), max_size=6))
def test_the_digest_is_that_of_the_pairs_as_json(texts: list[tuple[str, str]]) -> None:
    lines = sorted(json.dumps(list(one), ensure_ascii=False) for one in texts)
    expected = hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()
    assert pairs_digest([ExamplePair(*one) for one in texts]) == expected
