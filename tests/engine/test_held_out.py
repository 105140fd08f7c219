"""What measures a memory was held out when it was trained, however its procedure is called and whatever came since."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from profiles.store.banks import Incoming, IncomingMemory, IncomingProcedure
from profiles.store.checkpoints import checkpoint_file
from profiles.store.feedback import CHAT_SOURCE
from profiles.store.store import ProfileStore
from tests import tiny_loaded
from tests.tui.scripted_engine import scorecard
from tokmem_desk.procedures import ExamplePair, Procedure, pairs_digest
from tokmem_desk.routing.segment_tagger import SegmentTagger, fit_segment_tagger
from trainer.checkpoint import Checkpoint
from tui.banks.transfer import _learned
from tui.cli.scorecards import evaluation_text
from tui.engine import operations
from tui.engine.engine import Engine
from tui.engine.held_out import (
    HOLDOUT_FROM,
    Holdout,
    choose_holdout,
    corrected_inputs,
    input_digest,
    measured,
    restore_holdout,
)
from tui.engine.previous_memory import unlearned
from tui.engine.request import Request
from tui.engine_client.protocol import Scorecard, Trained
from tui.shared.scorecard import card_text

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone

BACKBONE = "b" * 64
WORDS = ("milk", "bread", "tea", "lunch", "note", "table", "fox", "dog", "card", "blue", "moss", "reed")
PAIRS = tuple(ExamplePair(f"say {word} {i}", word.upper()) for i, word in enumerate(WORDS))
SHOUT = Procedure("shout", PAIRS)
LATER = ExamplePair("say river 99", "RIVER")


@pytest.fixture
def store(own_home: Path) -> Iterator[ProfileStore]:
    with ProfileRegistry(AppPaths.resolve(own_home)) as registry, registry.open() as opened:
        opened.procedures.add(SHOUT)
        yield opened


def remember(store: ProfileStore, name: str, *, known: bool = True) -> frozenset[str]:
    """Give a procedure an active memory as training would; returns the inputs that were held out."""
    holdout = choose_holdout(store.procedures.with_pairs(name))
    held_out = frozenset(pair.input for pair in holdout.kept_out)
    pairs = store.procedures.with_pairs(name).pairs
    learned = [pair.input not in held_out for pair in pairs] if known else None
    key = store.procedures.get(name).id
    record = store.memories.add(key, BACKBONE, store.memories.write(b"x"), pairs, {}, {}, learned=learned)
    store.memories.activate(record.id)
    return held_out


def measuring(store: ProfileStore, name: str) -> tuple[frozenset[str], bool]:
    found = measured(store, name, BACKBONE)
    return frozenset(pair.input for pair in found.pairs), found.known


def test_pairs_of_one_input_stay_together() -> None:
    twice = [ExamplePair(pair.input, f"{pair.response}!") for pair in PAIRS]
    holdout = choose_holdout(Procedure("shout", (*PAIRS, *twice)))
    assert not {p.input for p in holdout.held_out} & {p.input for p in holdout.procedure.pairs}
    assert len(holdout.held_out) + len(holdout.procedure.pairs) == 2 * len(PAIRS)
    alike = Procedure("same", tuple(ExamplePair("hello", str(n)) for n in range(9)))
    holdout = choose_holdout(alike)
    assert (holdout.held_out, holdout.source, holdout.procedure.pairs) == ((), "none", alike.pairs)


def test_a_memory_is_measured_on_what_it_did_not_learn_after_renaming_and_adding(store: ProfileStore) -> None:
    held_out = remember(store, "shout")
    assert len(held_out) == 2 and measuring(store, "shout") == (held_out, True)
    store.procedures.rename("shout", "cry")
    assert {p.input for p in choose_holdout(store.procedures.with_pairs("cry")).held_out} != held_out, (
        "names alone say otherwise"
    )
    assert measuring(store, "cry") == (held_out, True)
    store.pairs.add("cry", [LATER, *(ExamplePair(f"say more {n}", "MORE") for n in range(20))])
    assert measuring(store, "cry") == (held_out, True), "what came later was not held out"
    found = unlearned(store, "cry", BACKBONE, (LATER, *PAIRS))
    assert found is not None and found[2] is True
    assert {pair.input for pair in found[1]} == {LATER.input, *held_out}, "what came later was not learned either"
    gone = [record.id for record in store.pairs.list("cry") if record.input in held_out]
    for key in gone:
        store.pairs.delete(key)
    later, known = measuring(store, "cry")
    assert known and LATER.input in later and len(later) == 21, "nothing else is left that it did not learn"


def test_a_later_training_holds_out_the_same_pairs_first(store: ProfileStore) -> None:
    held_out = remember(store, "shout")
    store.procedures.rename("shout", "cry")
    store.pairs.add("cry", [ExamplePair(f"say more {n}", "MORE") for n in range(12)])
    again = {pair.input for pair in choose_holdout(store.procedures.with_pairs("cry"), held_out).held_out}
    assert held_out < again and len(again) == 4


def test_test_pairs_that_were_learned_measure_nothing(store: ProfileStore) -> None:
    tests = (ExamplePair("say owl 50", "OWL"), PAIRS[3])
    store.procedures.add(Procedure("owls", PAIRS, tests))
    for known in (True, False):
        remember(store, "owls", known=known)
        assert measuring(store, "owls") == ({"say owl 50"}, True)


def test_few_pairs_measure_nothing_until_others_come(store: ProfileStore) -> None:
    few = Procedure("few", PAIRS[: HOLDOUT_FROM - 1])
    assert choose_holdout(few) == Holdout(few, (), "none")
    store.procedures.add(few)
    for known in (True, False):
        assert remember(store, "few", known=known) == frozenset()
        assert measuring(store, "few") == (frozenset(), known)
    remember(store, "few")
    store.pairs.add("few", [LATER])
    assert measuring(store, "few") == ({LATER.input}, True)


@pytest.mark.parametrize("count", range(1, 13))
@pytest.mark.parametrize("tests", [(), PAIRS[:2], (PAIRS[0], LATER)])
def test_nothing_that_is_learned_measures(count: int, tests: tuple[ExamplePair, ...]) -> None:
    holdout = choose_holdout(Procedure("shout", PAIRS[:count], tests))
    learned = {pair.input for pair in holdout.procedure.pairs}
    assert not learned & {pair.input for pair in holdout.held_out}
    assert (holdout.source == "none") is (not holdout.held_out)
    assert set(holdout.whole) == set(PAIRS[:count]), "every pair is learned or kept out"
    if LATER in tests:
        assert (holdout.source, holdout.held_out) == ("test", (LATER,)), "one of two is learned, the other measures"


def test_corrections_are_always_learned(store: ProfileStore) -> None:
    store.procedures.add(Procedure("taught", PAIRS[:9]))
    store.pairs.add("taught", [*PAIRS[9:], LATER], source=CHAT_SOURCE)
    corrected = corrected_inputs(store, "taught")
    assert corrected == {*(pair.input for pair in PAIRS[9:]), LATER.input}
    procedure = store.procedures.with_pairs("taught")
    for name in map(str, range(30)):  # the choice depends on the name
        holdout = choose_holdout(Procedure(name, procedure.pairs), corrected, corrected)
        assert len(holdout.held_out) == 2 and not corrected & {pair.input for pair in holdout.held_out}
    every = frozenset(pair.input for pair in procedure.pairs)
    assert choose_holdout(procedure, (), every).source == "none"
    one_left = choose_holdout(procedure, (), every - {PAIRS[0].input})
    assert [pair.input for pair in one_left.held_out] == [PAIRS[0].input]


def test_an_older_memory_says_that_its_choice_is_derived(store: ProfileStore) -> None:
    held_out = remember(store, "shout", known=False)
    assert measuring(store, "shout") == (held_out, False)
    found = unlearned(store, "shout", BACKBONE, PAIRS)
    assert found is not None and ({pair.input for pair in found[1]}, found[2]) == (held_out, False)
    told = evaluation_text({"per_procedure": {"shout": {"held_out_known": False}, "other": {"exact_match": 1.0}}})
    assert "shout: trained before it was kept which pairs were held out" in told
    assert "held out" not in evaluation_text({"per_procedure": {"shout": {"exact_match": 1.0}}})


def test_the_choice_comes_back_with_an_undo(store: ProfileStore) -> None:
    held_out = remember(store, "shout")
    store.procedures.remove("shout")
    store.undo.take_back()
    assert measuring(store, "shout") == (held_out, True)


def test_the_choice_goes_along_with_a_bank(store: ProfileStore) -> None:
    held_out = remember(store, "shout")
    store.pairs.add("shout", [LATER])
    pairs = store.procedures.with_pairs("shout").pairs
    places = _learned(store, store.memories.list("shout")[0], pairs)
    assert places is not None and {pairs[at].input for at in places} == {p.input for p in PAIRS} - held_out
    for name, learned, expected in (("cry", places, True), ("old", None, False)):
        with store.banks.quarantine() as folder:
            file = store.memories.write(b"x", folder)
            memory = IncomingMemory(file, BACKBONE, len(pairs), pairs_digest(pairs), {}, {}, learned)
            coming = IncomingProcedure("a" * 32, name, pairs=pairs, memory=memory)
            store.banks.add(Incoming("a file", [coming]), folder)
        found, known = measuring(store, name)
        assert known is expected
        assert not expected or found == {LATER.input, *held_out}


# --- a training, step by step -------------------------------------------------------------------------

BUYS = tuple(
    ExamplePair(f"buy {item} for {name}", json.dumps({"item": item, "who": name}))
    for item in ("milk", "bread", "tea", "soap")
    for name in ("Ada", "Ben", "Carl")
)


class Trainings:
    """An engine on a tiny model in this process, whose trainings can be looked at between two steps."""

    def __init__(self, home: Path, backbone: Backbone) -> None:
        self.paths = AppPaths.resolve(home)
        self.model = tiny_loaded.load(backbone)
        self.engine = Engine(self.paths, self.model.as_loaded())
        self.events: list[dict[str, Any]] = []

    def train(self, at: str = "", then: Callable[[Request], None] = lambda request: None, **fields: Any) -> Any:
        """Run a training to its end; do something once, after the first event of a phase."""
        self.events = []
        asked = {"profile": "default", "preset": "quick", "span": 2, **fields}
        request = Request(1, "train", asked, self.events.append)
        steps, looked = operations.discover()["train"].begin(self.engine, request), 0
        for _ in steps:
            phases = [event.get("phase") for event in self.events[looked:]]
            if at and at in phases:
                at = ""
                then(request)
            looked = len(self.events)
        assert not at, f"the phase {at} never came"
        return self.events[-1]["result"]

    @property
    def notes(self) -> str:
        return " ".join(event.get("note") or "" for event in self.events)


@pytest.fixture
def trainings(own_home: Path, tiny_backbone: Callable[..., Backbone]) -> Trainings:
    return Trainings(own_home, tiny_backbone("llama"))


def cancel(how: str) -> Callable[[Request], None]:
    def ask(request: Request) -> None:
        request.how = how  # type: ignore[assignment]
        request.cancelled.set()

    return ask


@pytest.mark.parametrize("phase", ["cache", "train", "evaluate"])
def test_a_procedure_may_be_renamed_while_it_trains(store: ProfileStore, trainings: Trainings, phase: str) -> None:
    [job] = store.jobs.queue(["shout"], {})
    store.jobs.update(job.id, "running")

    def rename(request: Request) -> None:
        store.procedures.rename("shout", "cry")
        store.procedures.add(Procedure("shout", (ExamplePair("another", "one"),)))  # the name is taken again

    result = trainings.train(phase, rename, job=job.id, names=["shout"])
    assert [one["name"] for one in result["trained"]] == ["cry"]
    record = store.memories.get(result["trained"][0]["memory_id"])
    assert (record.procedure, record.pair_count) == ("cry", len(PAIRS)) and store.memories.list("shout") == []
    undecided = store.jobs.get(job.id)
    assert (undecided.state, undecided.procedure) == ("undecided", "cry")
    store.jobs.decide(job.id, activate=True)
    assert "cry" not in store.procedures.to_train(record.backbone_fingerprint), "a new name is no new pair"
    choice = store.memories.held_out_choice(record.id)
    assert choice is not None and {p.input for p in choice.held_out} == {
        p.input for p in choose_holdout(SHOUT).held_out
    }


def test_a_paused_training_goes_on_under_another_name(store: ProfileStore, trainings: Trainings) -> None:
    assert trainings.train("train", cancel("pause"), names=["shout"])["trained"] == []
    store.procedures.rename("shout", "cry")
    result = trainings.train(names=["cry"])
    assert "Going on where the interrupted training stopped" in trainings.notes
    choice = store.memories.held_out_choice(result["trained"][0]["memory_id"])
    assert choice is not None and {p.input for p in choice.held_out} == {
        p.input for p in choose_holdout(SHOUT).held_out
    }


@pytest.mark.parametrize(("renamed", "goes_on"), [(False, True), (True, False)])
def test_a_checkpoint_of_an_earlier_version_resumes_or_begins_anew(
    store: ProfileStore, trainings: Trainings, renamed: bool, goes_on: bool
) -> None:
    trainings.train("train", cancel("pause"), names=["shout"])
    fingerprint = trainings.model.backbone.fingerprint.digest
    file = checkpoint_file(trainings.paths, store, "shout", fingerprint)
    found = Checkpoint.from_bytes(file.read_bytes())
    assert found.names == ("shout",)
    assert set(found.held_out) == {input_digest(pair.input) for pair in choose_holdout(SHOUT).held_out}
    file.write_bytes(as_before(found, trainings.model.backbone))
    if renamed:
        store.procedures.rename("shout", "cry")
    result = trainings.train(names=["cry" if renamed else "shout"])
    assert len(result["trained"]) == 1
    assert ("Going on where" in trainings.notes) is goes_on


def as_before(found: Checkpoint, backbone: Backbone) -> bytes:
    """The checkpoint as it was once written: known by its name, without what was held out."""
    from dataclasses import replace

    from safetensors.torch import save

    from trainer.config import preset

    form = "layers" if backbone.rotates_keys else "rows"
    config = preset("quick", span=2, form=form, seed=0)
    identity = Checkpoint.identify(["shout"], [choose_holdout(SHOUT).procedure.pairs], config, "")
    metadata = {"format": "tokmem-checkpoint/1", "identity": identity, "numbers": json.dumps(found.numbers)}
    again = Checkpoint.from_bytes(save(found.tensors, metadata))
    assert (again.held_out, again.names) == ((), ())
    assert again.to_bytes() != replace(again, held_out=("x",)).to_bytes()
    return save(found.tensors, metadata)


def test_split_again_is_what_was_split() -> None:
    holdout = choose_holdout(SHOUT)
    digests = [input_digest(pair.input) for pair in holdout.kept_out]
    renamed = Procedure("cry", tuple(reversed(PAIRS)))
    again = restore_holdout(renamed, "shout", digests)
    assert again.procedure.pairs == holdout.procedure.pairs and again.held_out == holdout.held_out
    assert again.procedure.name == "cry"
    assert restore_holdout(renamed, "shout", ()).held_out == holdout.held_out
    corrected = {pair.input for pair in holdout.kept_out}
    assert not corrected & {pair.input for pair in restore_holdout(renamed, "shout", (), corrected).kept_out}


@pytest.mark.parametrize("reads", [False, True])
@pytest.mark.parametrize("phase", ["cache", "train", "reading"])
def test_stopping_keeps_the_best_of_a_procedure_that_reads_its_answers(
    store: ProfileStore, trainings: Trainings, phase: str, reads: bool
) -> None:
    backbone = trainings.model.backbone
    segment_tagger = next(done for done in fit_segment_tagger(backbone, count=40) if isinstance(done, SegmentTagger))
    trainings.model.segment_tagger = segment_tagger  # type: ignore[assignment]
    store.procedures.add(Procedure("buy", BUYS, reads_conversation=reads))
    reached = "train" if phase == "reading" else phase

    def stop(request: Request) -> None:
        cancel("keep")(request)

    if phase == "reading":
        result = stop_while_reading(trainings)
    else:
        result = trainings.train(reached, stop, names=["buy"])
    if phase == "cache" and reads:
        assert result["trained"] == [], "nothing was learned yet"
        return
    [one] = result["trained"]
    assert result["cancelled"] and "rouge_l" not in one["scorecard"]
    assert store.memories.get(one["memory_id"]).settings["reader"]
    choice = store.memories.held_out_choice(one["memory_id"])
    assert choice is not None and len(choice.held_out) == 2


def stop_while_reading(trainings: Trainings) -> Any:
    """Train, and ask for an early end once the extractor is being trained."""
    trainings.events = []
    request = Request(
        1, "train", {"profile": "default", "preset": "quick", "span": 2, "names": ["buy"]}, trainings.events.append
    )
    shares = 0
    for _ in operations.discover()["train"].begin(trainings.engine, request):
        if "learning to read" in trainings.notes and not request.cancelled.is_set():
            cancel("keep")(request)
            shares = len(trainings.events)
    assert 0 < len(trainings.events) - shares < 12, "it ends with the pass that runs"
    return trainings.events[-1]["result"]


def test_a_training_of_few_pairs_is_not_measured_and_says_so(store: ProfileStore, trainings: Trainings) -> None:
    store.procedures.add(Procedure("few", (*PAIRS[:4], ExamplePair(PAIRS[0].input, "OTHER"))))
    [one] = trainings.train(names=["few"], preset="normal")["trained"]
    card = one["scorecard"]
    assert (card["pairs"], card["held_out"], card["held_out_source"]) == (5, 0, "none")
    assert not {"exact_match", "rouge_l", "base", "samples", "routing_accuracy"} & set(card)
    assert 0 <= card["false_trigger_rate"] <= 1 and sum(map(sum, card["confusion"]["counts"])) == 100
    assert "answer the same input differently" in card["advice"][0]
    assert all(event.get("sample") is None for event in trainings.events), "no learned pair is shown as unseen"
    choice = store.memories.held_out_choice(one["memory_id"])
    assert choice is not None and len(choice.learned) == 5 and choice.held_out == ()


def test_a_correction_is_learned_by_the_next_training(store: ProfileStore, trainings: Trainings) -> None:
    store.pairs.add("shout", [LATER], source=CHAT_SOURCE)
    held_out = {pair.input for pair in choose_holdout(store.procedures.with_pairs("shout"), {LATER.input}).held_out}
    assert LATER.input in held_out, "it would be held out, were it no correction"
    first = remember(store, "shout")
    [one] = trainings.train(names=["shout"])["trained"]
    choice = store.memories.held_out_choice(one["memory_id"])
    assert choice is not None and LATER in choice.learned
    assert {pair.input for pair in choice.held_out} >= first - {LATER.input}


def test_the_scorecard_says_what_is_not_known_for_sure(store: ProfileStore) -> None:
    scores = {"exact_match": 0.5, "rouge_l": 0.7, "routing_accuracy": 0.5, "false_trigger_rate": 0.0}
    told = []
    for more in ({}, {"held_out_known": False}):
        before = {"version": 1, "held_out": 2, **scores, "now": scores, **more}
        card = cast(Scorecard, {**scorecard(store, "shout", 5), "before": before})
        told.append(card_text(Trained(name="shout", memory_id="x", scorecard=card)).plain)
    assert ["as far as is known" in text for text in told] == [False, True]
