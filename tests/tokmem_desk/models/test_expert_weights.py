"""Experts are quantised too: the share, the answers, the gradient, and what a folder keeps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tokmem_desk.backbone.backbone import load_backbone
from tokmem_desk.models.expert_weights import PackedExperts, packed_in
from tokmem_desk.models.store import ModelStore
from tokmem_desk.system.device import DeviceChoice

CPU = DeviceChoice("cpu", "bfloat16", "test")


def weights() -> torch.Tensor:
    return torch.randn(4, 48, 64, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)


def test_each_expert_is_what_bitsandbytes_makes_of_it() -> None:
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    stack, packed = weights(), PackedExperts.of(weights())
    assert len(packed) == 4 and tuple(packed.shape) == (4, 48, 64)
    for number in range(4):
        alone = quantize_4bit(stack[number], blocksize=64, compress_statistics=True, quant_type="nf4")
        assert torch.equal(packed[torch.tensor(number)], dequantize_4bit(*alone))
        assert float((packed[number].float() - stack[number].float()).norm() / stack[number].float().norm()) < 0.15
    assert torch.equal(packed[torch.tensor([2, 0, 2])], torch.stack([packed[2], packed[0], packed[2]]))
    assert torch.equal(torch.bmm(torch.ones(4, 1, 48, dtype=torch.bfloat16), packed), packed.whole().sum(1)[:, None])


def test_a_mixture_of_experts_is_in_4_bit_and_answers_as_the_original(
    tiny_folder: Callable[..., Path], tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    origin = tiny_folder("qwen3_moe")
    store = ModelStore(tmp_path / "models")
    folder = store.ensure(str(origin), CPU, lambda *_: None)
    assert len(packed_in(folder)) == 2 * 2
    record = store.info(str(origin)).record
    assert record is not None and record.quantised_share is not None

    backbone = load_backbone(folder, CPU, "tiny")
    stacks = [module for module in backbone.model.modules() if isinstance(module, PackedExperts)]
    assert len(stacks) == 4
    plain = AutoModelForCausalLM.from_pretrained(origin, dtype=torch.float32)
    total = sum(parameter.numel() for parameter in plain.parameters())
    assert backbone.parameter_count() == total
    left = sum(p.numel() for n, p in plain.named_parameters() if "norm" in n or "embed" in n or "lm_head" in n)
    left += sum(p.numel() for n, p in plain.named_parameters() if n.endswith("mlp.gate.weight"))
    assert record.quantised_share == pytest.approx(1 - left / total)
    assert f"{record.quantised_share:.0%} of the parameters" in record.reason

    ids = torch.tensor([backbone.format.query("What is the weather today?")])
    with torch.no_grad():
        ours, theirs = backbone.model(ids).logits.float(), plain(ids).logits
    assert float(torch.cosine_similarity(ours, theirs, dim=-1).mean()) > 0.9


def test_the_gradient_is_that_of_the_dequantised_weights(
    tiny_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The graph keeps which expert it was, not its weights; the gradient must not notice."""
    store = ModelStore(tmp_path / "models")
    backbone = load_backbone(store.ensure(str(tiny_folder("qwen3_moe")), CPU, lambda *_: None), CPU, "tiny")
    experts = next(
        module for module in backbone.model.modules() if isinstance(getattr(module, "down_proj", None), PackedExperts)
    )
    states = torch.randn(6, 64, generator=torch.Generator().manual_seed(1)).to(torch.bfloat16)
    chosen = torch.tensor([[0, 1], [1, 2], [2, 3], [0, 3], [1, 3], [0, 2]])
    shares = torch.full((6, 2), 0.5, dtype=torch.bfloat16)
    gradients = []
    dequantised: list[int] = []
    expert = PackedExperts.expert

    def counted(stack: PackedExperts, number: int) -> torch.Tensor:
        dequantised.append(number)
        return expert(stack, number)

    monkeypatch.setattr(PackedExperts, "expert", counted)
    for packed in (True, False):
        if not packed:
            for name in ("gate_up_proj", "down_proj"):
                whole = getattr(experts, name).whole()
                delattr(experts, name)
                setattr(experts, name, torch.nn.Parameter(whole, requires_grad=False))
        inputs = states.clone().requires_grad_()
        loss = experts(inputs, chosen, shares).float().square().sum()
        before = len(dequantised)
        loss.backward()
        assert len(dequantised) - before == (2 * 4 if packed else 0)
        assert inputs.grad is not None
        gradients.append(inputs.grad.float())
    assert float(gradients[0].norm()) > 0
    assert torch.equal(*gradients)


def test_experts_without_whole_blocks_stay_and_the_record_says_so(
    tiny_folder: Callable[..., Path], tmp_path: Path
) -> None:
    store = ModelStore(tmp_path / "models")
    origin = str(tiny_folder("qwen3_moe", moe_intermediate_size=48))
    folder = store.ensure(origin, CPU, lambda *_: None)
    assert len(packed_in(folder)) == 2, "the stacks whose rows are 64 wide are packed, those of 48 are not"
    record = store.info(origin).record
    assert record is not None and "2 stacks of experts of odd size stay in bfloat16" in record.reason
    load_backbone(folder, CPU, "tiny")
