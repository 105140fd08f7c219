"""Beam search finds better answers than greedy decoding, and scores them as the model does."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import product
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor

from tests.tokmem_desk.generation.test_recall import collect, memory, token_bank
from tests.tokmem_desk.templates.test_single_use import LAYOUTS, LIST, SUM
from tokmem_desk.generation import beam
from tokmem_desk.generation.beam import WIDTH, Beam, BeamSearch, search_width, width_within_memory
from tokmem_desk.generation.constrained import SchemaConstraint, constraint_of, vocabulary_of
from tokmem_desk.generation.decoding import start_memory, step, step_each
from tokmem_desk.generation.recall import answer_batch, recall
from tokmem_desk.procedures import ExamplePair, Procedure
from tokmem_desk.templates.json_schema import read_schema
from tokmem_desk.templates.template import TEMPLATE_SETTING
from trainer.choices import SharedForms
from trainer.samples import Sample

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.memory.memory import Memory

END = 0
FORMS = {"SUM": SUM, "LIST": LIST, "LAYOUTS": LAYOUTS}


def searched(logits_behind: Callable[[tuple[int, ...]], Tensor], width: int, longest: int) -> BeamSearch:
    """A search over answers whose next token's logits are known for every beginning."""
    search = BeamSearch(None, {END}, width=width)
    told: list[tuple[int, ...]] = [()]
    for _ in range(longest):
        grown = search.advance(torch.stack([logits_behind(one) for one in told]))
        if not grown:
            break
        settled = search.settled
        told = [(*told[one.row], *one.tokens) for one in grown]
        assert all(one[: len(settled)] == settled for one in told)
    return search


def table(seed: int, tokens: int, longest: int) -> Callable[[tuple[int, ...]], Tensor]:
    """Random logits for every beginning; the end is certain after ``longest`` tokens."""

    @cache
    def logits(told: tuple[int, ...]) -> Tensor:
        drawn = torch.randn(tokens, generator=torch.Generator().manual_seed(hash((seed, *told)) % 2**31)) * 0.6
        return drawn if len(told) < longest else torch.tensor([0.0] + [-40.0] * (tokens - 1))

    return logits


@pytest.mark.parametrize("seed", range(8))
def test_every_token_has_its_own_share_of_the_score(seed: int) -> None:
    logits = table(seed, tokens=5, longest=4)
    search = searched(logits, width=3, longest=5)
    best = search.best
    said = [float(logits(best.ids[:place]).log_softmax(dim=-1)[token]) for place, token in enumerate(best.ids)]
    assert best.logs == pytest.approx(said, abs=1e-5)
    end = float(logits(best.ids).log_softmax(dim=-1)[END])
    assert best.score == pytest.approx(sum(said) + end, abs=1e-5)


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 4, 5])
def test_rivals_are_other_answers_with_their_own_scores(seed: int) -> None:
    logits = table(seed, tokens=5, longest=4)
    search = searched(logits, width=3, longest=5)
    rivals = search.rivals
    assert rivals and search.best.ids not in [rival.ids for rival in rivals]
    assert len({rival.ids for rival in rivals}) == len(rivals)
    assert [rival.score for rival in rivals] == sorted((rival.score for rival in rivals), reverse=True)
    for rival in rivals:
        said = sum(float(logits(rival.ids[:at]).log_softmax(dim=-1)[token]) for at, token in enumerate(rival.ids))
        assert sum(rival.logs) == pytest.approx(said, abs=1e-5)


@pytest.mark.parametrize("seed", range(8))
def test_with_room_for_all_it_finds_the_most_probable_answer(seed: int) -> None:
    tokens, longest = 3, 4
    logits = table(seed, tokens, longest)

    def probability(answer: tuple[int, ...]) -> float:
        whole = (*answer, END)
        return sum(float(logits(whole[:i]).log_softmax(-1)[token]) for i, token in enumerate(whole))

    answers = [one for count in range(longest + 1) for one in product(range(1, tokens), repeat=count)]
    best = max(answers, key=probability)
    found = searched(logits, 64, longest + 1).best
    assert found.ids == best and found.score == pytest.approx(probability(best), abs=1e-4)


def test_a_width_of_one_is_greedy_and_a_wider_search_avoids_its_trap() -> None:
    """The likeliest first token leads where nothing is likely; behind another, hardly less likely, all is sure."""

    def logits(told: tuple[int, ...]) -> Tensor:
        if not told:
            return torch.tensor([-9.0, 1.0, 0.8, -9.0])
        if len(told) == 1:
            return torch.tensor([-9.0, 0.1, 0.0, 0.0]) if told == (1,) else torch.tensor([-9.0, -9.0, -9.0, 9.0])
        return torch.tensor([9.0, -9.0, -9.0, -9.0])

    assert searched(logits, 1, 9).best.ids == (1, 1)
    assert searched(logits, 2, 9).best.ids == (2, 3)


def test_one_that_falls_far_behind_is_given_up() -> None:
    sure = torch.tensor([-9.0, 5.0, 0.0, 0.0])
    search = BeamSearch(None, {END}, width=4)
    assert [one.tokens for one in search.advance(sure[None])] == [(1,)]
    assert search.settled == (1,), "what nothing can win against is told at once"


def test_a_stopped_search_keeps_what_it_had() -> None:
    search = BeamSearch(None, {END}, width=2)
    search.advance(torch.tensor([[-9.0, 1.0, 0.9]]))
    search.stop()
    assert search.best.ids == (1,) and search.growing == 0


def held_by(backbone: Backbone, form: str, message: str) -> Memory:
    bank = token_bank(backbone, ["one"], "one", message)
    return replace(bank.memories["one"], settings={TEMPLATE_SETTING: FORMS[form].as_dict()})


def test_a_tokenizer_that_lets_nothing_be_held_leaves_answers_free(
    tiny_backbone: Callable[..., Backbone], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: object, **named: object) -> object:
        raise ValueError("can't determine decoder type")

    monkeypatch.setattr("llguidance.hf.from_tokenizer", refuse)
    backbone, message = copy.copy(tiny_backbone("llama")), "Paid 12.50 for lunch"
    held = held_by(backbone, "SUM", message)
    query = backbone.format.query(message)
    answers = [
        answer_batch(backbone, [query], [one], texts=[message], max_tokens=6)[0]
        for one in (held, held.without_answer_template())
    ]
    assert answers[0] == answers[1] != ""
    sample = Sample(query, backbone.format.response("12.50"), 0, message, "12.50")
    forms = SharedForms(backbone, [Procedure("one", (ExamplePair(message, "12.50"),) * 20)], wanted=True)
    assert set(forms.choices(sample) or ()) <= {None}


def test_a_long_message_leaves_room_for_fewer_answers(
    tiny_backbone: Callable[..., Backbone], monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = tiny_backbone("llama")
    [state] = backbone.prefill([backbone.format.query("Paid 12.50 for lunch")]).states
    batch = backbone.layout.join([state], [None])
    assert batch.bytes == state.bytes > 0 and width_within_memory(batch) == WIDTH
    for room, width in ((2.5, 2), (1.0, 1), (0.1, 1)):
        monkeypatch.setattr(beam, "BEAM_BYTES", int(room * state.bytes))
        assert width_within_memory(batch) == width


def by_hand(backbone: Backbone, held: Memory, message: str, width: int, longest: int) -> tuple[Beam, int]:
    """The best answer, and the most that grew side by side."""
    prefilled = backbone.prefill([backbone.format.query(message)])
    batch, logits = start_memory(backbone, held, prefilled)
    search = BeamSearch(constraint_of(backbone, held, None, message), backbone.format.stop_ids, width=width)
    logits, most = logits[None], 0
    while (grown := search.advance(logits)) and search.length < longest:
        most = max(most, len(grown))
        batch.select([one.row for one in grown])
        logits = step_each(backbone, batch, [one.tokens for one in grown])
    return search.best, most


def told_alone(backbone: Backbone, held: Memory, message: str, ids: tuple[int, ...], *, ended: bool) -> float:
    """The log probability of an answer that is given, among what its form allows."""
    batch, logits = start_memory(backbone, held, backbone.prefill([backbone.format.query(message)]))
    constraint = constraint_of(backbone, held, None, message)
    assert constraint is not None
    total = 0.0
    for token in ids:
        total += float(constraint.mask(logits).float().log_softmax(-1)[token])
        constraint.take(token, ahead=False)
        logits = step(backbone, batch, token)
    if ended:
        ends = constraint.mask(logits).float().log_softmax(-1)
        total += max(float(ends[one]) for one in backbone.format.stop_ids)
    return total


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma3"])
@pytest.mark.parametrize("form", FORMS)
def test_scores_are_the_models_own(tiny_backbone: Callable[..., Backbone], family: str, form: str) -> None:
    """Answers that change places take their keys, values and constraints along."""
    backbone = tiny_backbone(family)
    side_by_side = []
    for message in ("3 and 44 or 5", "12 apples, 13 pears", "Tea 1 and red wine 2"):
        held = held_by(backbone, form, message)
        found, most = by_hand(backbone, held, message, 4, 40)
        side_by_side.append(most)
        scores = [told_alone(backbone, held, message, found.ids, ended=ended) for ended in (False, True)]
        # An answer to which nothing can be added ends without a token; float32 sums of 40 tokens.
        assert any(found.score == pytest.approx(score, abs=2e-3) for score in scores), (message, found, scores)
        greedy, alone = by_hand(backbone, held, message, 1, 40)
        assert alone <= 1 and found.score >= greedy.score - 1e-3
    assert max(side_by_side) > 1


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_streamed_batched_and_alone_it_is_one_answer(tiny_backbone: Callable[..., Backbone], family: str) -> None:
    backbone = tiny_backbone(family)
    messages = ["3 and 44 or 5", "12 apples, 13 pears", "Tea 1 and red wine 2"]
    memories: list[Memory | None] = [
        held_by(backbone, form, message) for form, message in zip(FORMS, messages, strict=True)
    ]
    memories.append(memory(backbone, "free", 4, 5))
    messages.append("no form")
    queries = [backbone.format.query(message) for message in messages]
    together = answer_batch(backbone, queries, memories, texts=messages, max_tokens=40)
    for message, held, answer in zip(messages, memories, together, strict=True):
        assert held is not None
        query = backbone.format.query(message)
        assert answer_batch(backbone, [query], [held], texts=[message], max_tokens=40) == [answer]
        bank = replace(token_bank(backbone, ["one"], "one", message), memories={"one": held})
        _, streamed, told = collect(recall(backbone, bank, message, route="one", max_tokens=40))
        assert streamed == told.response
        if told.stopped == "end" and held.answer_template is not None:
            assert held.answer_template.accepts(message, told.response), (message, told.response)


def test_a_long_answer_stops_at_its_limit(tiny_backbone: Callable[..., Backbone]) -> None:
    backbone = tiny_backbone("llama")
    message = "Tea 1 and red wine 2 and bread 3 and milk 4 and eggs 5"
    held = held_by(backbone, "LIST", message)
    bank = replace(token_bank(backbone, ["one"], "one", message), memories={"one": held})
    _, streamed, told = collect(recall(backbone, bank, message, route="one", max_tokens=2))
    assert told.stopped == "length" and streamed == told.response and told.timing.tokens >= 1
    assert told.context_tokens == told.prompt_tokens + told.timing.tokens


def test_a_search_can_be_stopped_between_tokens(tiny_backbone: Callable[..., Backbone]) -> None:
    backbone = tiny_backbone("llama")
    message = "Tea 1 and red wine 2"
    held = held_by(backbone, "LIST", message)
    bank = replace(token_bank(backbone, ["one"], "one", message), memories={"one": held})
    asked: list[int] = []

    def cancelled() -> bool:
        asked.append(1)
        return len(asked) > 1

    _, streamed, told = collect(recall(backbone, bank, message, route="one", max_tokens=40, cancelled=cancelled))
    assert told.stopped == "cancelled" and told.response == streamed


def test_only_answers_held_to_a_form_are_searched(tiny_backbone: Callable[..., Backbone]) -> None:
    backbone = tiny_backbone("llama")
    held = held_by(backbone, "SUM", "3 and 4")
    schema = read_schema('{"type": "object", "properties": {"a": {"type": "integer"}}}')
    assert search_width(backbone, constraint_of(backbone, held, None, "3 and 4")) > 1
    assert search_width(backbone, SchemaConstraint(vocabulary_of(backbone), schema)) == 1
    assert search_width(backbone, None) == 1
    assert search_width(tiny_backbone("mamba"), constraint_of(tiny_backbone("mamba"), held, None, "3 and 4")) == 1
