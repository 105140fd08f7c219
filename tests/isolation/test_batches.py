"""Two profiles in one batch: what the other one holds cannot be told from one's own routes and answers, bit by bit."""

from __future__ import annotations

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.tiny_loaded import TinyModel
from tokmem_desk.generation.recall import answer_batch
from tokmem_desk.memory.memory import Memory
from tokmem_desk.routing.routers import Candidate, DiscriminantRouter, Router, TokenRouter

MINE = ("Paid 12.50 for lunch", "Write a note about the fox", "what is the weather today")


def queries(tiny: TinyModel, seed: int, like: list[list[int]]) -> list[list[int]]:
    """Other token ids of the same lengths."""
    drawn = torch.Generator().manual_seed(seed)
    return [torch.randint(4, 300, (len(one),), generator=drawn).tolist() for one in like]


def bank(tiny: TinyModel, names: tuple[str, ...], seed: int) -> dict[str, Memory]:
    return {name: tiny.memory(name, seed + place) for place, name in enumerate(names)}


def routers(tiny: TinyModel, memories: dict[str, Memory]) -> list[Router]:
    statistics = {name: one.statistics for name, one in memories.items() if one.statistics is not None}
    return [
        TokenRouter(tiny.backbone, list(memories.values())),
        DiscriminantRouter(tiny.basis, tiny.backbone.hidden_size, statistics),
    ]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(other=st.integers(1000, 10_000), another=st.integers(1000, 10_000))
def test_the_others_content_changes_no_bit_of_mine(tiny: TinyModel, other: int, another: int) -> None:
    backbone = tiny.backbone
    mine, mine_ids = bank(tiny, ("ledger", "notes", "mail"), 7), [backbone.format.query(text) for text in MINE]
    seen: list[tuple[list[list[list[Candidate]]], list[str], torch.Tensor]] = []
    for seed in (other, another):
        theirs = bank(tiny, ("a", "b", "c"), seed)
        together = [*mine_ids, *queries(tiny, seed, mine_ids)]
        done = backbone.prefill(together, feature_layers=tiny.basis.layers.pooled)
        ranked = [router.candidates(done)[: len(MINE)] for router in routers(tiny, mine)]
        answers = answer_batch(backbone, together, [*mine.values(), *theirs.values()], max_tokens=8)
        seen.append((ranked, answers[: len(MINE)], done.last_hidden[: len(MINE)]))
    assert seen[0][0] == seen[1][0], "routes and their probabilities"
    assert seen[0][1] == seen[1][1] and any(seen[0][1]), "greedy answers"
    assert torch.equal(seen[0][2], seen[1][2]), "hidden states"


def test_in_a_batch_each_profile_is_as_it_is_alone(tiny: TinyModel) -> None:
    """Another batch size rounds differently: alike within a tolerance, and the same choice."""
    backbone = tiny.backbone
    mine, theirs = bank(tiny, ("ledger", "notes", "mail"), 7), bank(tiny, ("a", "b", "c"), 500)
    ids = [backbone.format.query(text) for text in MINE]
    alone = backbone.prefill(ids, feature_layers=tiny.basis.layers.pooled)
    mixed = backbone.prefill([*queries(tiny, 1, ids), *ids], feature_layers=tiny.basis.layers.pooled)
    for router in routers(tiny, mine):
        for one, other in zip(router.candidates(alone), router.candidates(mixed)[len(ids) :], strict=True):
            assert one[0].route == other[0].route
            assert {c.route for c in other} == {*mine, "none"}, "no route of the other profile"
            assert abs(one[0].probability - other[0].probability) < 1e-4
    for router in routers(tiny, theirs):
        assert {c.route for c in router.candidates(mixed)[0]} == {*theirs, "none"}
