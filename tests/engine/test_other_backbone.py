"""A change of the model: what stays behind, and how two models compare on the same held-out pairs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from profiles.store.memories import MemoryRecord
from profiles.store.store import ProfileStore
from tokmem_desk.models.speed_fit import Estimate
from tokmem_desk.procedures import ExamplePair, Procedure
from tui.engine.held_out import choose_holdout
from tui.engine.other_backbone import advice_on, scores_elsewhere
from tui.models.moving import left_behind, minutes_to_learn

OLD, NEW = "a" * 64, "b" * 64
SMALL, LARGE = "small/model", "large/model"
PAIRS = tuple(ExamplePair(f"say {number}", f"SAID {number}") for number in range(12))


@pytest.fixture
def store(own_home: Path) -> Iterator[ProfileStore]:
    with ProfileRegistry(AppPaths.resolve(own_home)) as registry, registry.open() as opened:
        opened.procedures.add(Procedure("one", PAIRS))
        opened.procedures.add(Procedure("two", PAIRS[:4]))
        yield opened


def learn(store: ProfileStore, name: str, fingerprint: str, model: str, exact: float | None = 0.5) -> MemoryRecord:
    procedure = store.procedures.with_pairs(name)
    holdout = choose_holdout(procedure)
    card = {"held_out": len(holdout.held_out), "held_out_source": holdout.source}
    if exact is not None:
        card |= {"exact_match": exact, "rouge_l": 0.8}
    learned = [pair not in holdout.kept_out for pair in procedure.pairs]
    file = store.memories.write(b"x")
    key = store.procedures.get(name).id
    record = store.memories.add(key, fingerprint, file, procedure.pairs, {"backbone": model}, card, learned=learned)
    return store.memories.activate(record.id)


def test_a_change_leaves_behind_what_the_other_model_has_not_learned(store: ProfileStore) -> None:
    assert left_behind(store, None, LARGE) == [] and left_behind(store, OLD, LARGE) == []
    for name in ("one", "two"):
        learn(store, name, OLD, SMALL)
    assert left_behind(store, OLD, LARGE) == ["one", "two"]
    learn(store, "one", NEW, LARGE)
    assert left_behind(store, OLD, LARGE) == ["two"]
    assert left_behind(store, NEW, SMALL) == [], "and back: the old memory is still there"
    store.pairs.add("one", [ExamplePair("say more", "SAID MORE")])
    learn(store, "one", NEW, LARGE)
    assert left_behind(store, NEW, SMALL) == ["one"], "it learned more since"
    speed = Estimate(1.0, 5.0, 2.0, 10**9)
    assert minutes_to_learn(store, ["two"], speed) == pytest.approx(2.0 * 4 / 20)
    assert minutes_to_learn(store, ["two"], None) is None


def test_two_models_are_compared_on_the_same_pairs_alone(store: ProfileStore) -> None:
    holdout = choose_holdout(store.procedures.with_pairs("one"))
    assert scores_elsewhere(store, "one", NEW, holdout) is None
    learn(store, "one", OLD, SMALL, exact=None)
    assert scores_elsewhere(store, "one", NEW, holdout) is None, "it was not measured"
    learn(store, "one", OLD, SMALL)
    found = scores_elsewhere(store, "one", NEW, holdout)
    assert found == {"backbone": SMALL, "version": 2, "held_out": 2, "exact_match": 0.5, "rouge_l": 0.8}
    assert scores_elsewhere(store, "one", OLD, holdout) is None, "on its own model it is the one before"
    assert "1 of 2 right with this model, 1 of 2 with small/model" in advice_on(found, 0.5)
    assert "other model did better: 0 of 2" in advice_on(found, 0.0)
    store.pairs.add("one", [ExamplePair("say more", "SAID MORE")])
    later = choose_holdout(store.procedures.with_pairs("one"))
    assert scores_elsewhere(store, "one", NEW, later) is None, "the pairs are others now"
