"""Routing and answering: one prefill, the right memory, none competing, nothing leaking between rows."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import torch

from tokmem_desk.backbone.chat_format import Turn
from tokmem_desk.backbone.conversation_cache import CUT_BLOCKS
from tokmem_desk.errors import NotFoundError, RoutingError
from tokmem_desk.generation.decoding import CIRCLING_TOKENS, Chooser, goes_in_circles
from tokmem_desk.generation.recall import Answer, Bank, Piece, Routed, Sampling, answer_batch, recall, route_messages
from tokmem_desk.memory.input_rows import initial_rows
from tokmem_desk.memory.kv_adapter import KVAdapter, initial_kv_adapter
from tokmem_desk.memory.kv_positions import initial_keys_values
from tokmem_desk.memory.memory import Memory
from tokmem_desk.memory.steering import Steering
from tokmem_desk.procedures import NONE_ROUTE
from tokmem_desk.routing.none_calibration import Calibration, chattiness, fit_calibration, none_log_prior, tightness
from tokmem_desk.routing.routers import RouterTuning, TokenRouter, ranked

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone


def memory(backbone: Backbone, name: str, span: int = 4, seed: int = 0) -> Memory:
    text = backbone.format.encode_text("Write a commit message for this change. " * 3)
    free = initial_keys_values(backbone, span - 1, text[seed : seed + 20])
    rows = initial_rows(backbone, 1, seed=seed) + 0.3 * seed
    drawn = torch.Generator().manual_seed(seed)
    shapes = backbone.key_shapes
    kv_adapter = KVAdapter.of(
        [torch.randn(t.shape, generator=drawn) * 0.2 for t in initial_kv_adapter(shapes, 2, seed).tensors()]
    )
    return Memory(name, Steering.of(rows, free.keys, free.values, kv_adapter), torch.zeros(backbone.hidden_size), False)


def token_bank(backbone: Backbone, names: list[str], favourite: str | None, message: str) -> Bank:
    """A bank whose token router sends ``message`` to ``favourite`` (None: nowhere)."""
    done = backbone.prefill([backbone.format.query(message)], keep_states=False)
    h = done.last_hidden[0]
    memories = []
    for i, name in enumerate(names):
        made = memory(backbone, name, seed=i + 1)
        address = h / h.norm() * (40.0 if name == favourite else -40.0)
        memories.append(Memory(made.name, made.steering, address, False))
    return Bank({m.name: m for m in memories}, TokenRouter(backbone, memories))


def collect(stream: object) -> tuple[Routed, str, Answer]:
    parts = list(stream)  # type: ignore[call-overload]
    assert isinstance(parts[0], Routed) and isinstance(parts[-1], Answer)
    assert all(isinstance(p, Piece) for p in parts[1:-1])
    return parts[0], "".join(p.text for p in parts[1:-1]), parts[-1]


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_the_routed_memory_answers_and_streams(tiny_backbone: Callable[..., Backbone], family: str) -> None:
    backbone = tiny_backbone(family)
    message = "Paid 12.50 for lunch on 3 May with the blue card and then some more words"
    bank = token_bank(backbone, ["one", "two"], "two", message)
    routed, streamed, answer = collect(recall(backbone, bank, message, max_tokens=12))
    assert routed.route == "two" and routed.probability > 0.99
    assert {c.route for c in routed.candidates} == {"one", "two", NONE_ROUTE}
    assert abs(sum(c.probability for c in routed.candidates) - 1) < 1e-4
    assert streamed.rstrip() == answer.response.rstrip()
    alone = answer_batch(backbone, [backbone.format.query(message)], [bank.memories["two"]], max_tokens=12)
    assert answer.response == alone[0]
    assert [(s.route, s.part, s.response, s.arguments) for s in answer.segments] == [
        ("two", message, answer.response, None)
    ]
    timing = answer.timing
    assert 0 < timing.prefill <= timing.first_token <= timing.total and 1 <= timing.tokens <= 12


def test_none_is_plain_chat_and_sees_the_conversation(tiny_backbone: Callable[..., Backbone]) -> None:
    backbone = tiny_backbone("llama")
    bank = token_bank(backbone, ["one"], None, "thanks")
    _, _, plain = collect(recall(backbone, bank, "thanks", max_tokens=8))
    assert plain.routed.route == NONE_ROUTE
    earlier = [Turn("user", "What is the weather today?"), Turn("assistant", "blue")]
    _, _, told = collect(recall(backbone, bank, "thanks", conversation=earlier, max_tokens=8))
    ids = backbone.format.conversation([*earlier, Turn("user", "thanks")])
    assert told.response == answer_batch(backbone, [ids], [None], max_tokens=8)[0]
    forced = token_bank(backbone, ["one"], "one", "thanks")
    a = collect(recall(backbone, forced, "thanks", max_tokens=8))[2]
    b = collect(recall(backbone, forced, "thanks", conversation=earlier, max_tokens=8))[2]
    assert a.response == b.response, "a procedure sees the message alone"


def test_forced_routes_never_fall_back(tiny_backbone: Callable[..., Backbone]) -> None:
    backbone = tiny_backbone("llama")
    bank = token_bank(backbone, ["one", "two"], "two", "hello")
    routed, _, _ = collect(recall(backbone, bank, "hello", route="one", max_tokens=3))
    assert routed.route == "one" and routed.forced
    routed, _, _ = collect(recall(backbone, bank, "hello", route="none", max_tokens=3))
    assert routed.route == NONE_ROUTE and routed.forced
    with pytest.raises(NotFoundError, match="called 'tow'. Did you mean 'two'"):
        list(recall(backbone, bank, "hello", route="tow"))


def test_stop_comes_within_one_token_and_keeps_the_partial(tiny_backbone: Callable[..., Backbone]) -> None:
    backbone = tiny_backbone("llama")
    bank = token_bank(backbone, ["one"], "one", "hello")
    asked = 0

    def cancelled() -> bool:
        nonlocal asked
        asked += 1
        return asked > 3

    _, streamed, answer = collect(recall(backbone, bank, "hello", cancelled=cancelled))
    if answer.stopped != "end":
        assert answer.stopped == "cancelled" and answer.timing.tokens == 3 and answer.response == streamed


@pytest.mark.parametrize(
    ("ids", "circles"),
    [
        ([5] * 64, True),
        ([5] * 63, False),
        ([9, 9, 9, *range(16)] + [*range(16)] * 3, True),
        ([*range(16)] * 3 + [*range(15)], False),
        ([*range(40)] * 4, True),
        ([*range(40)] * 3 + [*range(39)], False),
        ([*range(64)] * 4, True),
        ([*range(65)] * 6, False),
        ([*range(16)] * 5 + [99], False),
        ([], False),
    ],
)
def test_circles_are_told_from_what_is_said_twice(ids: list[int], circles: bool) -> None:
    assert goes_in_circles(ids) is circles


def test_plain_chat_that_goes_in_circles_is_ended_and_a_procedure_is_not(
    tiny_backbone: Callable[..., Backbone], monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = tiny_backbone("llama")
    bank = token_bank(backbone, ["one"], "one", "hello")
    monkeypatch.setattr(Chooser, "pick", lambda self, logits, before=(): 40)
    _, streamed, answer = collect(recall(backbone, bank, "hello", route="none", max_tokens=200))
    assert answer.stopped == "repeats" and answer.timing.tokens == CIRCLING_TOKENS and answer.response == streamed
    _, _, answer = collect(recall(backbone, bank, "hello", route="one", max_tokens=200))
    assert answer.stopped == "length" and answer.timing.tokens == 200, "a procedure may have to say one thing often"


def test_a_long_conversation_loses_its_oldest_messages_and_says_so(tiny_backbone: Callable[..., Backbone]) -> None:
    backbone = tiny_backbone("llama")
    bank = token_bank(backbone, ["one"], None, "hello")
    said = [Turn(role, f"{role} says word {n}") for n in range(200) for role in ("user", "assistant")]

    def answered(turns: list[Turn]) -> Answer:
        return collect(recall(backbone, bank, "hello", route=NONE_ROUTE, conversation=turns, max_tokens=4))[2]

    assert answered(said[:2]).turns_cut == 0
    long = answered(said)
    assert 0 < long.turns_cut < len(said) and long.turns_cut % 2 == 0
    assert long.context_tokens <= backbone.context_length
    kept = [*said[long.turns_cut :], Turn("user", "hello")]
    assert len(backbone.format.conversation(kept)) + 4 <= backbone.context_length
    more = [*said[long.turns_cut - 2 :], Turn("user", "hello")]
    block = backbone.context_length // CUT_BLOCKS
    left = backbone.context_length - len(backbone.format.conversation(more)) - 4
    assert left < block, "no more was cut than had to be, by blocks"


def test_sampling_is_repeatable_by_seed_and_never_applies_to_procedures(tiny_backbone: Callable[..., Backbone]) -> None:
    backbone = tiny_backbone("llama")
    bank = token_bank(backbone, ["one"], None, "hello")

    def say(seed: int, route: str = "none") -> str:
        sampling = Sampling(temperature=1.5, top_p=0.95, seed=seed)
        return collect(recall(backbone, bank, "hello", route=route, sampling=sampling, max_tokens=10))[2].response

    assert say(1) == say(1)
    assert len({say(seed) for seed in range(6)}) > 1
    assert say(1, "one") == say(2, "one")


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_a_mixed_batch_answers_as_alone(tiny_backbone: Callable[..., Backbone], family: str) -> None:
    """Memories of different spans and owners in one batch: each row is as if alone (float32)."""
    backbone = tiny_backbone(family)
    texts = ["tea", "Turn the note into a table row, please, with 3 columns and a blue card", "dog"]
    memories = [memory(backbone, "a", 2, 1), memory(backbone, "b", 9, 2), memory(backbone, "c", 5, 3)]
    queries = [backbone.format.query(t) for t in texts]
    together = answer_batch(backbone, queries, memories, max_tokens=10)
    alone = [answer_batch(backbone, [q], [m], max_tokens=10)[0] for q, m in zip(queries, memories, strict=True)]
    assert together == alone


def test_another_rows_content_never_shows(tiny_backbone: Callable[..., Backbone]) -> None:
    """Replacing the neighbour's memory and text by others of the same shapes changes no bit of our answer."""
    backbone = tiny_backbone("llama")
    mine, theirs, other = (memory(backbone, n, 4, s) for n, s in (("m", 1), ("t", 2), ("o", 3)))
    query = backbone.format.query("Paid 3 euro")
    first, second = backbone.format.query("fox"), backbone.format.query("dog")
    assert len(first) == len(second)
    a = answer_batch(backbone, [query, first], [mine, theirs], max_tokens=8)[0]
    b = answer_batch(backbone, [query, second], [mine, other], max_tokens=8)[0]
    assert a == b


def test_thresholds_and_none_bias_move_routes(tiny_backbone: Callable[..., Backbone]) -> None:
    backbone = tiny_backbone("llama")
    bank = token_bank(backbone, ["one"], "one", "hello")
    memories = list(bank.memories.values())
    for tuning in (RouterTuning(none_bias=500.0), RouterTuning(thresholds={"one": 1.1})):
        tuned = Bank(bank.memories, TokenRouter(backbone, memories, tuning))
        assert route_messages(backbone, tuned, ["hello"])[0].route == NONE_ROUTE
    assert route_messages(backbone, bank, []) == []


def test_none_gives_way_to_a_dozen_procedures_and_not_to_many() -> None:
    assert none_log_prior(12) == none_log_prior(20) < -1 < none_log_prior(40) < 0 == none_log_prior(60)
    assert none_log_prior(12) < none_log_prior(6) < none_log_prior(3) == none_log_prior(1) == -0.5
    probabilities = torch.tensor([[0.40, 0.06, 0.54], [0.20, 0.20, 0.60], [0.0, 0.0, 1.0]])
    half = torch.full((3, 1), -0.5)
    chosen = [[one[0].route for one in ranked(probabilities, ["a", "b"], RouterTuning(), by)] for by in (None, half)]
    assert chosen == [[NONE_ROUTE] * 3, ["a", NONE_ROUTE, NONE_ROUTE]]
    first, second, _ = ranked(probabilities, ["a", "b"], RouterTuning(), half)
    none = 0.54 * math.exp(-0.5)
    assert [one.probability for one in first] == pytest.approx([part / (0.46 + none) for part in (0.40, none, 0.06)])
    assert [one.probability for one in second] == pytest.approx([0.60, 0.20, 0.20]), "none is as probable as it was"


def test_a_bank_without_procedures_routes_to_none(tiny_backbone: Callable[..., Backbone]) -> None:
    backbone = tiny_backbone("llama")
    [routed] = route_messages(backbone, Bank({}, TokenRouter(backbone, [])), ["hello"])
    assert routed.route == NONE_ROUTE and routed.probability == pytest.approx(1.0)


def test_calibration_separates_groups_from_chat() -> None:
    generator = torch.Generator().manual_seed(0)

    def unit(x: torch.Tensor) -> torch.Tensor:
        return x / x.norm(dim=-1, keepdim=True)

    centres = unit(torch.randn(40, 64, generator=generator))
    vectors = unit(centres.repeat_interleave(14, 0) + 0.12 * torch.randn(560, 64, generator=generator))
    owner = torch.arange(40).repeat_interleave(14)
    chat = unit(torch.randn(200, 64, generator=generator))
    fitted = fit_calibration([(vectors, owner, chat)])
    assert Calibration.from_dict(fitted.as_dict() | {"weights": list(fitted.weights)}) == fitted
    means = torch.stack([vectors[owner == g][:8].mean(0) for g in range(10)])
    counts = torch.full((10,), 8.0)
    tight = tightness(means, counts)
    directions = unit(means)
    known = vectors[(owner < 10)]
    strangers = torch.cat([vectors[owner >= 20], unit(torch.randn(100, 64, generator=generator))])
    inside = fitted.probabilities(known @ directions.T, chattiness(known, chat), counts, tight)
    outside = fitted.probabilities(strangers @ directions.T, chattiness(strangers, chat), counts, tight)
    torch.testing.assert_close(inside.sum(1), torch.ones(len(known)))
    assert (inside.argmax(1) == owner[owner < 10]).float().mean() > 0.95
    assert (outside.argmax(1) == 10).float().mean() > 0.95


def test_plain_chat_sees_a_system_text_and_a_procedure_does_not(tiny_backbone: Callable[..., Backbone]) -> None:
    backbone = tiny_backbone()
    message = "Paid 12.50 for lunch on 3 May with the blue card"
    bank = token_bank(backbone, ["one"], "one", message)
    system = [Turn("system", "Answer in one word.")]
    plain = collect(recall(backbone, bank, message, route=NONE_ROUTE, conversation=system, max_tokens=4))[2]
    ids = backbone.format.conversation([*system, Turn("user", message)])
    assert plain.prompt_tokens == len(ids) > len(backbone.format.query(message))
    told = collect(recall(backbone, bank, message, conversation=system, max_tokens=4))[2]
    alone = collect(recall(backbone, bank, message, max_tokens=4))[2]
    assert told.routed.route == "one" and told.response == alone.response
    assert told.prompt_tokens == len(backbone.format.query(message)) + 4, "and the span of the memory"
    bank = dataclasses.replace(bank, conversation_aware=frozenset({"one"}))
    earlier = [Turn("user", "Lunch?"), Turn("assistant", "Yes.")]
    reading = collect(recall(backbone, bank, message, conversation=[*system, *earlier], max_tokens=4))[2]
    ids = backbone.format.conversation([*earlier, Turn("user", message)])
    assert reading.prompt_tokens == len(ids) + 4, "one that reads the conversation reads the messages alone"


def test_a_system_text_stays_when_old_messages_are_cut(tiny_backbone: Callable[..., Backbone]) -> None:
    backbone = tiny_backbone()
    bank = token_bank(backbone, ["one"], None, "x")
    earlier = [Turn("system", "Be brief."), *[Turn("user", "word " * 60), Turn("assistant", "word " * 60)] * 5]
    answer = collect(recall(backbone, bank, "Hello", route=NONE_ROUTE, conversation=earlier, max_tokens=4))[2]
    kept = [*earlier[:1], *earlier[1 + answer.turns_cut :], Turn("user", "Hello")]
    assert answer.turns_cut > 0
    assert answer.prompt_tokens == len(backbone.format.conversation(kept))


def test_a_guest_must_be_well_ahead_of_the_persons_own() -> None:
    rows = torch.tensor([[0.45, 0.40, 0.15], [0.70, 0.20, 0.10], [0.45, 0.05, 0.50]])
    plain = ranked(rows, ["guest", "mine"], RouterTuning())
    assert [one[0].route for one in plain] == ["guest", "guest", "none"]
    guests = frozenset({"guest"})
    careful = ranked(rows, ["guest", "mine"], RouterTuning(guests=guests))
    assert [[c.route for c in one] for one in careful] == [
        ["mine", "guest", "none"],
        ["guest", "mine", "none"],
        ["none", "guest", "mine"],
    ]
    assert [sorted(c.probability for c in one) for one in careful] == [sorted(c.probability for c in o) for o in plain]
    # What is too improbable to answer at all takes nothing from a guest either.
    strict = RouterTuning(thresholds={"mine": 0.5}, guests=guests)
    assert ranked(rows[:1], ["guest", "mine"], strict)[0][0].route == "guest"
    assert ranked(rows, ["one", "mine"], RouterTuning(guests=guests)) == ranked(rows, ["one", "mine"], RouterTuning())


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_route_that_is_not_finite_is_an_error(bad: float) -> None:
    rows = torch.tensor([[0.5, 0.5], [bad, 0.5]])
    with pytest.raises(RoutingError, match="no finite probabilities"):
        ranked(rows, ["one"], RouterTuning())


def test_a_memory_whose_address_gives_no_number_is_named(tiny_backbone: Callable[..., Backbone]) -> None:
    backbone = tiny_backbone("llama")
    rows = initial_rows(backbone, 2)
    good = Memory("good", Steering.of(rows[:1]), rows[0], False)
    bad = Memory("bad", Steering.of(rows[:1]), torch.full_like(rows[0], 3e38), False)
    done = backbone.prefill([backbone.format.query("hello")])
    with pytest.raises(RoutingError, match="'bad'"):
        TokenRouter(backbone, [good, bad]).candidates(done)
    assert TokenRouter(backbone, [good]).candidates(done)[0]
