"""A memory file is read back bit for bit, and refused for every reason there is."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load, save

from tokmem_desk.errors import BadInputError, IncompatibleError, UsageError
from tokmem_desk.memory.file import memory_from_bytes, memory_to_bytes, read_metadata
from tokmem_desk.memory.input_rows import initial_rows
from tokmem_desk.memory.kv_adapter import KVAdapter, initial_kv_adapter
from tokmem_desk.memory.kv_positions import initial_keys_values
from tokmem_desk.memory.memory import Memory, renormalise
from tokmem_desk.memory.router_statistics import RouterStatistics
from tokmem_desk.memory.steering import Steering
from tokmem_desk.templates.template import TEMPLATE_SETTING, AnswerTemplate, Part

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone


def make(backbone: Backbone, span: int = 3) -> Memory:
    free = initial_keys_values(backbone, span - 1, backbone.format.encode_text("the lazy dog jumps over the fox"))
    rows = initial_rows(backbone, 1)
    statistics = RouterStatistics.of(torch.nn.functional.normalize(torch.randn(24, 7) + 1, dim=1), "digest")
    kv_adapter = KVAdapter.of([torch.randn(t.shape) for t in initial_kv_adapter(backbone.key_shapes, 2, 0).tensors()])
    steering = Steering.of(rows, free.keys, free.values, kv_adapter)
    return Memory("note", steering, rows[0].clone(), False, statistics, {"seed": 1})


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_round_trip_is_bit_identical(tiny_backbone: Callable[..., Backbone], family: str) -> None:
    backbone = tiny_backbone(family)
    memory = make(backbone)
    again = memory_from_bytes(memory_to_bytes(memory, backbone.fingerprint), backbone, "x")
    assert (again.name, again.tied, again.settings) == ("note", False, {"seed": 1})
    assert torch.equal(again.steering.rows, memory.steering.rows) and torch.equal(again.address, memory.address)
    for mine, theirs in zip(
        (*again.steering.keys, *again.steering.values), (*memory.steering.keys, *memory.steering.values), strict=True
    ):
        assert torch.equal(mine, theirs)
    assert again.steering.kv_adapter is not None and memory.steering.kv_adapter is not None
    assert torch.equal(again.steering.kv_adapter.numbers(), memory.steering.kv_adapter.numbers())
    assert again.statistics is not None and memory.statistics is not None
    assert torch.equal(again.statistics.mean, memory.statistics.mean) and again.statistics.count == 24
    assert torch.equal(again.statistics.low_rank_scatter, memory.statistics.low_rank_scatter)
    assert again.statistics.scatter == memory.statistics.scatter


def rewrite(data: bytes, change: Callable[[dict[str, torch.Tensor], dict[str, str]], None]) -> bytes:
    tensors, metadata = load(data), read_metadata(data)
    change(tensors, metadata)
    return save(tensors, metadata)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t, m: t.pop("steering"), "no tensor 'steering'"),
        (lambda t, m: t.update(steering=t["steering"][:, :-1].contiguous()), "has shape"),
        (lambda t, m: t.update(steering=t["steering"].double()), "dtype"),
        (lambda t, m: t["steering"].fill_(float("nan")), "not finite"),
        (lambda t, m: t["keys.0"].fill_(float("inf")), "not finite"),
        (lambda t, m: t.update({"keys.0": t["keys.0"][:, :, :1].contiguous()}), "has shape"),
        (lambda t, m: t.pop("values.0"), "no tensor 'values.0'"),
        (lambda t, m: t.update(lens=t["lens"][:-1].contiguous()), "KV adapter .* damaged"),
        (lambda t, m: t["lens"].fill_(float("nan")), "not finite"),
        (lambda t, m: t["router.mean"].fill_(float("nan")), "router statistics"),
        (lambda t, m: t["router.mean"].mul_(1.05), "cannot have"),
        (lambda t, m: t["router.mean"].mul_(50), "mean of length"),
        (lambda t, m: t["router.scatter"].fill_(-3), "negative scatter"),
        (lambda t, m: t["router.scatter"].mul_(2), "cannot have"),
        (lambda t, m: t["router.count"].fill_(2**31 - 1), "count 2,147,483,647 inputs"),
        (lambda t, m: t["router.count"].fill_(0), "count 0 inputs"),
        (lambda t, m: t["router.count"].fill_(240), "cannot have"),
        (lambda t, m: t["router.sketch"].mul_(3), "low-rank scatter"),
        (lambda t, m: t["address"].fill_(1e30), "address"),
        (lambda t, m: m.update(format="other"), "not a memory file"),
        (lambda t, m: m.update(settings="{"), "description inside"),
    ],
)
def test_damaged_files_are_refused(
    tiny_backbone: Callable[..., Backbone], change: Callable[..., None], said: str
) -> None:
    backbone = tiny_backbone("llama")
    data = rewrite(memory_to_bytes(make(backbone), backbone.fingerprint), change)
    with pytest.raises(BadInputError, match=said):
        memory_from_bytes(data, backbone, "note.safetensors")


def test_truncation_at_any_length_is_refused(tiny_backbone: Callable[..., Backbone]) -> None:
    backbone = tiny_backbone("llama")
    data = memory_to_bytes(make(backbone), backbone.fingerprint)
    for length in range(0, len(data), max(1, len(data) // 40)):
        with pytest.raises(BadInputError):
            memory_from_bytes(data[:length], backbone, "note.safetensors")


def test_another_backbone_or_a_newer_format_is_incompatible(tiny_backbone: Callable[..., Backbone]) -> None:
    backbone, other = tiny_backbone("llama"), tiny_backbone("qwen3")
    data = memory_to_bytes(make(backbone), backbone.fingerprint)
    with pytest.raises(IncompatibleError, match="trained for 'tiny-llama'.*not for 'tiny-qwen3'"):
        memory_from_bytes(data, other, "note.safetensors")
    for version in ("99", "²", "9" * 5000):
        newer = rewrite(data, lambda t, m, version=version: m.update(version=version))
        with pytest.raises(IncompatibleError, match="newer version"):
            memory_from_bytes(newer, backbone, "note.safetensors")
    stored = json.loads(read_metadata(data)["fingerprint"])
    assert stored["digest"] == backbone.fingerprint.digest
    assert dataclasses.replace(backbone.fingerprint, revision="z").digest == backbone.fingerprint.digest
    assert dataclasses.replace(backbone.fingerprint, tied=False).digest != backbone.fingerprint.digest


def test_renormalised_rows_have_the_old_rows_mean_norm() -> None:
    old = torch.randn(5, 8)
    new = renormalise(torch.randn(3, 8) * 9, old)
    torch.testing.assert_close(new.norm(dim=1), old.norm(dim=1).mean().expand(3))
    fresh = torch.randn(2, 8)
    assert torch.equal(renormalise(fresh, torch.empty(0, 8)), fresh)


def test_initial_rows_come_from_the_embedding(tiny_backbone: Callable[..., Backbone]) -> None:
    backbone = tiny_backbone("llama")
    rows = initial_rows(backbone, 3, text_ids=[5, 9])
    assert torch.equal(rows, backbone.input_rows[torch.tensor([5, 9, 5])].float())
    mean = initial_rows(backbone, 2)
    assert not torch.equal(mean[0], mean[1])
    torch.testing.assert_close(mean.mean(0), backbone.input_rows.float().mean(0), atol=0.05, rtol=0.5)


def test_a_backbone_without_movable_keys_refuses_layers(
    tiny_backbone: Callable[..., Backbone], monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = tiny_backbone("llama")
    monkeypatch.setattr(backbone, "rotates_keys", False)
    with pytest.raises(UsageError, match="do not work on tiny-llama"):
        initial_keys_values(backbone, 2, [1, 2, 3])


def test_a_form_is_read_once_and_anew_where_it_is_another() -> None:
    form = AnswerTemplate((Part("text", ("yes",)),))
    settings: dict[str, object] = {TEMPLATE_SETTING: form.as_dict()}
    made = Memory("note", Steering.of(torch.zeros(1, 4)), torch.zeros(4), False, settings=settings)
    assert made.answer_template == form and made.answer_template is made.answer_template
    settings[TEMPLATE_SETTING] = {"parts": "damaged"}
    assert made.answer_template is None
    assert made.without_answer_template().answer_template is None
