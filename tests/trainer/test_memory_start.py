"""A prior as a file, and where memories start with one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save

from tokmem_desk.backbone.backbone import Backbone
from tokmem_desk.errors import BadInputError, IncompatibleError
from tokmem_desk.memory.kv_adapter import KVAdapter, initial_kv_adapter
from tokmem_desk.memory.kv_positions import KVPositions
from tokmem_desk.procedures import ExamplePair, Procedure
from trainer import memory_start as prior_module
from trainer.checkpoint import Checkpoint
from trainer.config import TrainConfig
from trainer.loop import Training
from trainer.memory_start import Prior, prior_to_bytes, shipped_prior
from trainer.objective import TrainableMemories

POSITIONS, RANK = 3, 2
CONFIG = TrainConfig(span=POSITIONS + 1, lens_rank=RANK, epochs=2, batch_size=2, floor_loss=0.0)
PROCEDURE = Procedure(
    "shout", tuple(ExamplePair(f"say {word}", word.upper()) for word in ("tea", "fox", "dog", "card"))
)


def drawn_parts(
    backbone: Backbone, seed: int = 0
) -> tuple[torch.Tensor, list[torch.Tensor], list[torch.Tensor], KVAdapter]:
    drawn = torch.Generator().manual_seed(seed)
    keys = [torch.randn(n, k, POSITIONS, e, generator=drawn) for n, k, e, _ in backbone.key_shapes]
    values = [torch.randn(n, k, POSITIONS, e, generator=drawn) for n, k, _, e in backbone.key_shapes]
    kv_adapter = [
        torch.randn(t.shape, generator=drawn) for t in initial_kv_adapter(backbone.key_shapes, RANK, 0).tensors()
    ]
    return torch.randn(backbone.hidden_size, generator=drawn), keys, values, KVAdapter.of(kv_adapter)


def drawn_prior(backbone: Backbone, seed: int = 0) -> Prior:
    return Prior.from_bytes(prior_to_bytes(backbone, *drawn_parts(backbone, seed)), backbone)


def texts(backbone: Backbone, count: int = 1) -> list[list[int]]:
    return [
        backbone.format.encode_text(f"Paid 12.50 for lunch {i} on 3 May with the blue card. " * 3) for i in range(count)
    ]


# --- the file --------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_a_prior_comes_back_in_half_precision(tiny_backbone: Callable[..., Backbone], family: str) -> None:
    backbone = tiny_backbone(family)
    row, keys, values, kv_adapter = drawn_parts(backbone)
    data = prior_to_bytes(backbone, row, keys, values, kv_adapter)
    assert {t.dtype for t in load(data).values()} == {torch.float16}
    assert data == prior_to_bytes(backbone, row, keys, values, kv_adapter), "one prior has one digest"
    prior = Prior.from_bytes(data, backbone)
    came = [prior.row, *prior.keys, *prior.values, *prior.kv_adapter.tensors()]
    for now, before in zip(came, [row, *keys, *values, *kv_adapter.tensors()], strict=True):
        assert now.dtype == torch.float32 and torch.equal(now, before.half().float())
    assert prior.fingerprint == backbone.fingerprint.digest
    assert prior.digest != drawn_prior(backbone, seed=1).digest


def test_shifts_for_fewer_and_more_positions(tiny_backbone: Callable[..., Backbone]) -> None:
    prior = drawn_prior(tiny_backbone("gemma3"))
    for positions in (1, POSITIONS, POSITIONS + 2):
        for shifts, own in zip(prior.shifts(positions), (prior.keys, prior.values), strict=True):
            for shift, whole in zip(shifts, own, strict=True):
                kept = min(positions, POSITIONS)
                assert shift.shape == (*whole.shape[:2], positions, whole.shape[3])
                assert torch.equal(shift[..., positions - kept :, :], whole[..., POSITIONS - kept :, :])
                assert not shift[..., : positions - kept, :].any(), "positions that nothing is known of are not moved"


def test_files_that_are_no_prior_of_this_backbone(tiny_backbone: Callable[..., Backbone]) -> None:
    backbone = tiny_backbone("llama")
    data = prior_to_bytes(backbone, *drawn_parts(backbone))
    tensors = load(data)
    described = {"format": "tokmem-prior", "version": "1", "fingerprint": backbone.fingerprint.digest}
    without_row = {name: t for name, t in tensors.items() if name != "row"}
    damaged = {
        "cut short": data[:-20],
        "empty": b"",
        "of another kind": save(tensors, {**described, "format": "tokmem-memory"}),
        "newer": save(tensors, {**described, "version": "2"}),
        "without a fingerprint": save(tensors, {"format": "tokmem-prior", "version": "1"}),
        "without a row": save(without_row, described),
        "half a KV adapter": save({**tensors, "lens": tensors["lens"][:-1].contiguous()}, described),
    }
    for what, bytes_ in damaged.items():
        with pytest.raises(BadInputError, match="damaged"):
            Prior.from_bytes(bytes_, backbone)
            pytest.fail(what)
    for other in ("qwen3", "gemma3"):
        with pytest.raises(BadInputError, match="another model"):
            Prior.from_bytes(data, tiny_backbone(other))
    tensors["row"][3] = torch.inf
    with pytest.raises(BadInputError, match="not finite"):
        Prior.from_bytes(save(tensors, described), backbone)


def test_the_shipped_prior_is_that_of_the_backbone_or_none(
    tiny_backbone: Callable[..., Backbone], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = tiny_backbone("llama")
    assert shipped_prior(backbone) is None
    file = tmp_path / "prior"
    monkeypatch.setattr(prior_module, "shipped_file", lambda kind, model_id: file)
    file.write_bytes(prior_to_bytes(backbone, *drawn_parts(backbone)))
    shipped = shipped_prior(backbone)
    assert shipped is not None and shipped.digest == drawn_prior(backbone).digest
    assert shipped_prior(tiny_backbone("qwen3")) is None, "the same id, other weights"


# --- where memories start --------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_memories_start_where_the_prior_says(tiny_backbone: Callable[..., Backbone], family: str) -> None:
    backbone = tiny_backbone(family)
    prior = drawn_prior(backbone)
    plain = TrainableMemories(backbone, CONFIG, texts(backbone, 2))
    moved = TrainableMemories(backbone, CONFIG, texts(backbone, 2), prior)
    torch.testing.assert_close(moved.rows(), plain.rows() + plain.rows.scale * prior.row)
    shifts = (*prior.keys, *prior.values)
    for part, other, shift in zip(moved.of(KVPositions), plain.of(KVPositions), shifts, strict=True):
        torch.testing.assert_close(part(), other() + other.scale * shift)
        assert torch.equal(part.scale, other.scale), "a step is as long as without a prior"
    for part, start in zip(moved.of(KVAdapter), prior.kv_adapter.tensors(), strict=True):
        assert torch.equal(part(), torch.stack([start, start]))


def test_memories_of_other_shapes_take_what_fits(tiny_backbone: Callable[..., Backbone]) -> None:
    backbone = tiny_backbone("llama")
    prior = drawn_prior(backbone)
    for rank in (0, RANK + 1):
        config = dataclasses.replace(CONFIG, lens_rank=rank)
        plain, moved = (TrainableMemories(backbone, config, texts(backbone), p) for p in (None, prior))
        assert not torch.equal(moved.of(KVPositions)[0](), plain.of(KVPositions)[0]())
        assert all(torch.equal(a(), b()) for a, b in zip(moved.of(KVAdapter), plain.of(KVAdapter), strict=True))
    for span in (2, POSITIONS + 5):
        config = dataclasses.replace(CONFIG, span=span)
        moved = TrainableMemories(backbone, config, texts(backbone), prior)
        assert moved.of(KVPositions)[0]().shape[-2] == span - 1
    config = dataclasses.replace(CONFIG, form="rows")
    plain, moved = (TrainableMemories(backbone, config, texts(backbone), p) for p in (None, prior))
    assert torch.equal(moved.rows(), plain.rows())


def finished(training: Training) -> Training:
    list(training)
    assert training.result is not None
    return training


def test_a_memory_says_which_prior_it_started_from(tiny_backbone: Callable[..., Backbone]) -> None:
    backbone = tiny_backbone("llama")
    prior = drawn_prior(backbone)

    def settings(config: TrainConfig, given: Prior | None) -> dict[str, object]:
        result = finished(Training(backbone, [PROCEDURE], config, prior=given)).result
        assert result is not None
        return result.memories[0].settings

    assert settings(CONFIG, prior)["prior"] == prior.digest
    assert "prior" not in settings(CONFIG, None)
    assert "prior" not in settings(dataclasses.replace(CONFIG, form="rows"), prior), "rows start as without one"
    assert settings(dataclasses.replace(CONFIG, lens_rank=0), prior)["prior"] == prior.digest


def test_a_checkpoint_resumes_under_its_own_prior_only(tiny_backbone: Callable[..., Backbone]) -> None:
    backbone = tiny_backbone("llama")
    prior = drawn_prior(backbone)
    kept: list[bytes] = []
    whole = finished(Training(backbone, [PROCEDURE], CONFIG, prior=prior, save=kept.append, save_every=1))
    state = Checkpoint.from_bytes(kept[0])
    for other in (None, drawn_prior(backbone, seed=1)):
        with pytest.raises(IncompatibleError, match="other pairs or settings"):
            Training(backbone, [PROCEDURE], CONFIG, prior=other, resume=state)
    again = finished(Training(backbone, [PROCEDURE], CONFIG, prior=prior, resume=state))
    assert whole.result is not None and again.result is not None
    one, other_one = (run.result.memories[0].steering for run in (whole, again) if run.result is not None)
    assert torch.equal(one.rows, other_one.rows) and torch.equal(one.keys[0], other_one.keys[0])
    rows = dataclasses.replace(CONFIG, form="rows")
    finished(Training(backbone, [PROCEDURE], rows, save=kept.append, save_every=1))
    Training(backbone, [PROCEDURE], rows, prior=prior, resume=Checkpoint.from_bytes(kept[-1]))


def test_decay_pulls_back_to_the_prior(tiny_backbone: Callable[..., Backbone]) -> None:
    """So strong a decay lets nothing be learned: the memory stays where it started, and that is the prior."""
    backbone = tiny_backbone("llama")
    prior = drawn_prior(backbone)
    held = dataclasses.replace(CONFIG, weight_decay=50.0, learning_rate=0.02, warmup=0.0)
    loose = dataclasses.replace(held, weight_decay=0.0)
    start = TrainableMemories(backbone, held, [[*texts(backbone)[0]]], prior)

    def distances(config: TrainConfig) -> list[float]:
        run = Training(backbone, [PROCEDURE], config, prior=prior)
        begin = [part().detach().clone() for part in run._memories.parts()]
        assert torch.equal(begin[-1], start.of(KVAdapter)[-1]()), "the KV adapter of the prior, whatever the pairs"
        result = finished(run).result
        assert result is not None
        return [float((p().detach() - b).norm()) for p, b in zip(run._memories.parts(), begin, strict=True)]

    for near, far in zip(distances(held), distances(loose), strict=True):
        assert near < 0.7 * far
