"""The written-out step gives the model's own numbers, or is not used."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from tests.conftest import load_tiny
from tests.tiny_models import FAMILIES, WINDOW
from tokmem_desk.backbone import decoding_products, lean_operations
from tokmem_desk.backbone.decoding_products import dense_product, module_product, one_row_head
from tokmem_desk.backbone.growing_layer import GrowingLayer, make_room
from tokmem_desk.backbone.lean_step import MOST_ROWS, LeanStep
from tokmem_desk.backbone.load_check import EXACT
from tokmem_desk.backbone.query_state import LayerKeysValues
from tokmem_desk.backbone.rotation import distance
from tokmem_desk.generation.decoding import step, step_each

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.backbone.kv_state import JoinedBatch

MESSAGES = ("Paid 12.50 for lunch on 3 May with the blue card.", "Thanks, see you on Monday!")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def joined(backbone: Backbone, count: int) -> JoinedBatch:
    """The first messages, run and joined, those that are shorter padded in front."""
    states = backbone.prefill([backbone.format.query(message) for message in MESSAGES[:count]]).states
    return backbone.layout.join(states, [None] * count)


@torch.no_grad()
def compare(backbone: Backbone, count: int, tokens: Sequence[Sequence[int]], rows: Sequence[int] = ()) -> float:
    """How far the step's states are from those of ``extend``, over steps of as many tokens as each entry has."""
    found = backbone.lean_step
    assert found is not None
    ours, theirs = joined(backbone, count), joined(backbone, count)
    worst = 0.0
    for ids in tokens:
        if rows:
            ours.select(rows)
            theirs.select(rows)
        b = ours.mask.shape[0]
        inputs = backbone.embed_ids(torch.tensor([list(ids)] * b))
        assert found.takes(ours, inputs)
        worst = max(worst, distance(found.run(ours, inputs), backbone.extend(theirs, inputs)))
        assert torch.equal(ours.mask, theirs.mask) and torch.equal(ours.lengths, theirs.lengths)
        for mine, own in zip(ours.cache.layers, theirs.cache.layers, strict=True):
            assert mine.keys.shape == own.keys.shape
            assert distance(mine.keys, own.keys) < EXACT
    return worst


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("count", [1, 2])
def test_steps_are_those_of_the_model(tiny_backbone: Callable[..., Backbone], family: str, count: int) -> None:
    """One token, several at a time, and past a sliding window."""
    backbone = tiny_backbone(family)
    tokens = [[5], [6, 7, 8], *([9 + i] for i in range(WINDOW + 4)), [40, 41], [42]]
    assert compare(backbone, count, tokens) < EXACT


@pytest.mark.parametrize("family", FAMILIES)
def test_steps_of_answers_that_grow_side_by_side(tiny_backbone: Callable[..., Backbone], family: str) -> None:
    assert compare(tiny_backbone(family), 1, [[5], [6], [7]], rows=(0, 0)) < EXACT
    assert compare(tiny_backbone(family), 2, [[5], [6], [7, 8]], rows=(1, 0)) < EXACT


def test_a_window_in_a_family_that_can_have_one(tiny_folder: Callable[..., Path]) -> None:
    folder = tiny_folder(
        "qwen3", use_sliding_window=True, sliding_window=WINDOW, layer_types=["sliding_attention", "full_attention"]
    )
    backbone = load_tiny(folder, "tiny-qwen3-window")
    assert backbone.layout.smallest_window == WINDOW
    assert compare(backbone, 1, [[5 + i] for i in range(WINDOW)]) < EXACT
    assert compare(backbone, 2, [[5, 6], *([7 + i] for i in range(WINDOW))]) < EXACT


@pytest.mark.parametrize("family", ["phi3", "lfm2", "qwen3_moe", "mamba"])
def test_other_families_use_their_own_pass(tiny_backbone: Callable[..., Backbone], family: str) -> None:
    backbone = tiny_backbone(family)
    assert backbone.lean_step is None
    states = backbone.prefill([backbone.format.query(MESSAGES[0])]).states
    assert step(backbone, backbone.layout.join(states, [None]), 5).shape == (backbone.vocabulary_size,)


def test_a_step_with_other_numbers_is_not_used(
    tiny_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = LeanStep.run
    monkeypatch.setattr(LeanStep, "run", lambda self, batch, inputs: run(self, batch, inputs) * 1.01)
    assert load_tiny(tiny_folder("llama"), "tiny").lean_step is None


def test_a_step_that_fails_is_not_used(tiny_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Tensor:
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(LeanStep, "run", fail)
    assert load_tiny(tiny_folder("llama"), "tiny").lean_step is None


def test_many_tokens_at_once_go_through_the_model(tiny_backbone: Callable[..., Backbone]) -> None:
    backbone = tiny_backbone("llama")
    found = backbone.lean_step
    assert found is not None
    batch = joined(backbone, 1)
    many = list(range(4, 4 + MOST_ROWS + 1))
    assert not found.takes(batch, backbone.embed_ids(torch.tensor([many])))
    with torch.no_grad():
        expected = backbone.logits(backbone.extend(joined(backbone, 1), backbone.embed_ids(torch.tensor([many]))))
    assert distance(step(backbone, batch, *many), expected[0, -1]) < EXACT
    # And the next single token goes on from there.
    assert distance(step(backbone, batch, 7), step(backbone, joined(backbone, 1), *many[:9], *many[9:], 7)) < EXACT


def test_right_padding_is_not_seen_by_later_steps(tiny_backbone: Callable[..., Backbone]) -> None:
    backbone = tiny_backbone("llama")
    batch = joined(backbone, 1)
    assert batch.even
    present = torch.tensor([[1, 0]])
    with torch.no_grad():
        backbone.extend(batch, backbone.embed_ids(torch.tensor([[5, 6]])), present)
    assert not batch.even
    plain = joined(backbone, 1)
    step(backbone, plain, 5)
    assert distance(step(backbone, batch, 7), step(backbone, plain, 7)) < EXACT


def test_a_layer_grows_without_a_copy_for_each_token() -> None:
    cache = DynamicCache()
    cache.update(torch.randn(1, 2, 5, 4), torch.randn(1, 2, 5, 4), 0)
    plain = DynamicLayer()
    plain.update(cache.layers[0].keys, cache.layers[0].values)
    make_room(cache)
    layer = cache.layers[0]
    assert isinstance(layer, GrowingLayer)
    places = set()
    for _ in range(200):
        keys, values = torch.randn(1, 2, 1, 4), torch.randn(1, 2, 1, 4)
        layer.update(keys, values)
        plain.update(keys, values)
        places.add(layer.keys.data_ptr())
    assert len(places) < 5
    assert torch.equal(layer.keys, plain.keys) and torch.equal(layer.values, plain.values)
    assert cache.get_seq_length() == 205


def test_a_layer_goes_on_after_a_selection() -> None:
    keys, values = torch.randn(2, 2, 3, 4), torch.randn(2, 2, 3, 4)
    layer = GrowingLayer(keys, values)
    layer.update(keys[:, :, :1], values[:, :, :1])
    layer.batch_select_indices(torch.tensor([1, 1, 0]))
    layer.update(torch.ones(3, 2, 1, 4), torch.ones(3, 2, 1, 4))
    assert layer.keys.shape == (3, 2, 5, 4)
    assert torch.equal(layer.keys[0, :, :4], torch.cat([keys, keys[:, :, :1]], dim=2)[1])


@torch.no_grad()
@pytest.mark.parametrize("bias", [False, True])
def test_the_head_of_one_state(bias: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding_products, "_cpu_flags", lambda: frozenset({"avx2"}))
    torch.manual_seed(0)
    head = torch.nn.Linear(64, 400, bias=bias).to(torch.bfloat16)
    hidden = torch.randn(1, 64).to(torch.bfloat16)
    found = one_row_head(head, hidden)
    assert found is not None and found.shape == (1, 400)
    assert distance(found, head(hidden)) < 0.01
    assert one_row_head(head, hidden.expand(2, 64)) is None
    assert one_row_head(head.float(), hidden.float()) is None
    assert one_row_head(torch.nn.Sequential(head), hidden) is None
    monkeypatch.setattr(decoding_products, "_cpu_flags", lambda: frozenset({"amx_bf16"}))
    assert one_row_head(head.to(torch.bfloat16), hidden) is None


def memory_rows(backbone: Backbone, count: int, length: int = 3) -> list[LayerKeysValues]:
    """Random keys and values in every layer for each sample, which ask for gradient."""
    found = []
    for sample in range(count):
        torch.manual_seed(sample)
        keys, values = (
            tuple(torch.randn(layers, heads, length, size[part]).requires_grad_() for layers, heads, *size in shapes)
            for part, shapes in ((0, backbone.key_shapes), (1, backbone.key_shapes))
        )
        found.append(LayerKeysValues(keys, values))
    return found


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("padded", [False, True])
def test_gradients_are_those_of_the_model(
    tiny_backbone: Callable[..., Backbone], family: str, padded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To input rows and to a memory's keys and values, with responses of different lengths, past a window."""
    backbone = tiny_backbone(family)
    states = backbone.prefill([backbone.format.query(message) for message in MESSAGES]).states
    ids = torch.arange(10, 10 + 2 * (WINDOW + 3)).view(2, -1)
    present = torch.ones_like(ids)
    present[1, -5:] = 0
    found: list[list[Tensor]] = []
    taken: list[bool] = []
    learn = LeanStep.learn
    monkeypatch.setattr(LeanStep, "learn", lambda self, *given: (taken.append(True), learn(self, *given))[1])
    for written_out in (True, False):
        monkeypatch.setattr(backbone, "_learns_by_step", None if written_out else False)
        rows = memory_rows(backbone, 2)
        inputs = backbone.embed_ids(ids).detach().requires_grad_()
        taken.clear()
        with backbone.training():
            batch = backbone.layout.join(states, rows)
            hidden = backbone.extend(batch, inputs, present if padded else None)
            assert bool(taken) == written_out
            kept = hidden * (present[..., None] if padded else 1)
            (kept * torch.linspace(-1.0, 1.0, kept.numel()).view_as(kept).sin()).sum().backward()
        tensors = [inputs, *(t for row in rows for t in (*row.keys, *row.values))]
        gradients = [t.grad for t in tensors if t.grad is not None]
        assert len(gradients) == len(tensors)
        found.append(
            [kept.detach(), batch.mask.float(), batch.lengths.float(), *(t.grad for t in tensors if t.grad is not None)]
        )
    for mine, own in zip(*found, strict=True):
        assert distance(mine, own) < EXACT


def test_a_backward_pass_that_is_wrong_is_not_used(
    tiny_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = load_tiny(tiny_folder("llama"), "tiny")
    monkeypatch.setattr(
        lean_operations._Turn, "backward", staticmethod(lambda ctx, gradient: (gradient.flip(-1), None, None))
    )
    with backbone.training():
        batch = joined(backbone, 1)
        backbone.extend(batch, backbone.embed_ids(torch.tensor([[5, 6]])).requires_grad_())
    assert backbone._learns_by_step is False


def test_modules_that_come_later_are_noticed(tiny_folder: Callable[..., Path]) -> None:
    """A LoRA that is put into the model must act in answers too, and not after it was taken out again."""
    from peft import LoraConfig, get_peft_model

    backbone = load_tiny(tiny_folder("llama"), "tiny")
    before = step(backbone, joined(backbone, 1), 5)
    tuned = get_peft_model(backbone.model, LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    with torch.no_grad():
        expected = backbone.logits(backbone.extend(joined(backbone, 1), backbone.embed_ids(torch.tensor([[5]]))))[0, -1]
    assert distance(step(backbone, joined(backbone, 1), 5), expected) < EXACT
    assert distance(expected, before) > EXACT
    tuned.unload()
    assert distance(step(backbone, joined(backbone, 1), 5), before) < EXACT


@pytest.mark.real_model
def test_steps_of_the_default_are_those_of_the_model(real_backbone: Backbone) -> None:
    found = real_backbone.lean_step
    assert found is not None
    query = [real_backbone.format.query("What is the capital of France?")]
    states = real_backbone.prefill(query).states
    ours, theirs = (real_backbone.layout.join(states, [None]) for _ in range(2))
    tokens = real_backbone.format.response("The capital of France is Paris, which lies on the Seine.")
    away = []
    with torch.no_grad():
        for token in tokens:
            inputs = real_backbone.embed_ids(torch.tensor([[token]]))
            mine = real_backbone.logits(found.run(ours, inputs))[0, -1]
            own = real_backbone.logits(real_backbone.extend(theirs, inputs))[0, -1]
            away.append(distance(mine, own))
            assert float(mine.softmax(-1).sub(own.softmax(-1)).abs().max()) < 0.1
    # Rounding to bfloat16 alone takes the model's own pass up to .07 from float32 at single tokens, .03 on average.
    assert sum(away) / len(away) < 0.05 and max(away) < 0.1
    two = step_each(real_backbone, ours, [tokens[:3]])
    assert two.shape == (1, real_backbone.vocabulary_size)


@pytest.mark.real_model
def test_a_packed_product_is_that_of_its_weights(real_backbone: Backbone) -> None:
    """Weights of one input in one piece, for one row and for several."""
    from bitsandbytes.functional import dequantize_4bit

    attention = real_backbone.decoder.layers[3].self_attn
    modules = [attention.q_proj, attention.k_proj, attention.v_proj]
    product = real_backbone.forms.product(modules)
    dense = torch.cat([dequantize_4bit(m.weight.data, m.weight.quant_state) for m in modules]).float()
    for rows in (1, 3, MOST_ROWS):
        x = torch.randn(rows, dense.shape[1]).to(real_backbone.dtype)
        assert distance(product(x), x.float() @ dense.T) < 0.01


def test_biases_are_added_whatever_the_product() -> None:
    weights = [torch.randn(3, 4), torch.randn(2, 4)]
    biases = [None, torch.randn(2)]
    x = torch.randn(2, 4)
    expected = torch.cat([x @ weights[0].T, x @ weights[1].T + biases[1]], dim=-1)
    assert torch.allclose(dense_product(torch.cat(weights), biases, [3, 2])(x), expected, atol=1e-6)
    modules = [torch.nn.Linear(4, 3), torch.nn.Linear(4, 2, bias=False)]
    assert torch.equal(module_product(modules)(x), torch.cat([module(x) for module in modules], dim=-1))
