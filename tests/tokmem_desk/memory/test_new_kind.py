"""A kind of steering that the program does not have is added by one declaration, and everything works with it.

The kind is made up: a bias on the values that were kept of the query, one vector for each layer and head.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor

from tests.banks import files_of, probes, uuid_of, zipped
from tests.tiny_loaded import TinyModel
from tokmem_desk.bank.reader import open_bank
from tokmem_desk.bank.writer import ExportBank, ExportProcedure, write_bank
from tokmem_desk.errors import BadInputError, IncompatibleError, UsageError
from tokmem_desk.memory import steering
from tokmem_desk.memory.file import memory_from_bytes, memory_to_bytes, read_metadata
from tokmem_desk.memory.file_bytes import take_apart
from tokmem_desk.memory.input_rows import InputRows
from tokmem_desk.memory.kv_positions import KVPositions
from tokmem_desk.memory.memory import Memory
from tokmem_desk.memory.steering import Steering, join_memories
from tokmem_desk.memory.steering_part import InitialTensor, KeyShapes, StoredTensor, TrainedPart, TrainSettings
from tokmem_desk.procedures import ExamplePair, Procedure
from trainer.config import TrainConfig
from trainer.loop import Training
from tui.engine.lazy_steering import LazySteering

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.backbone.query_state import QueryState
    from tokmem_desk.memory.stored_tensors import StoredTensors

KNOWN_BEFORE = steering.KINDS
PAIRS = tuple(ExamplePair(f"{word} 1", f"{word.upper()}!") for word in ("milk", "bread", "tea", "note"))


@dataclass(frozen=True, slots=True)
class ValueBias(TrainedPart):
    """The declaration: all that is said of this kind anywhere."""

    name = "value_bias"
    tensor_names = ("value_bias",)
    field = "value_bias"
    needs_layer_groups = True
    largest_count = 1
    memory_version = 3
    bank_version = "3.0.0"

    biases: tuple[Tensor, ...]

    def tensors(self) -> Sequence[Tensor]:
        return self.biases

    @classmethod
    def of(cls, tensors: Sequence[Tensor]) -> ValueBias:
        return cls(tuple(tensors))

    def stored(self) -> dict[str, Tensor]:
        return {f"value_bias.{g}": bias for g, bias in enumerate(self.biases)}

    @classmethod
    def read(cls, stored: StoredTensors) -> ValueBias | None:
        if not stored.has_any("value_bias."):
            return None
        shapes = enumerate(stored.backbone.key_shapes)
        return cls(tuple(stored.checked(f"value_bias.{g}", layers, heads, 1, e) for g, (layers, heads, _, e) in shapes))

    @classmethod
    def stored_tensors(cls, hidden_size: int, key_shapes: KeyShapes) -> tuple[StoredTensor, ...]:
        shapes = enumerate(key_shapes)
        return tuple(StoredTensor(f"value_bias.{g}", (layers, heads), (e,)) for g, (layers, heads, _, e) in shapes)

    @classmethod
    def initial(
        cls, backbone: Backbone, settings: TrainSettings, text_ids: Sequence[int], seed: int
    ) -> list[InitialTensor]:
        return [
            InitialTensor(torch.zeros(layers, heads, 1, e), scale=0.1) for layers, heads, _, e in backbone.key_shapes
        ]

    def edit_query(self, backbone: Backbone, state: QueryState) -> QueryState:
        pairs = zip(state.values, self.biases, strict=True)
        return replace(state, values=tuple((values.float() + bias).to(values.dtype) for values, bias in pairs))


def config() -> TrainConfig:
    return TrainConfig(span=3, lens_rank=2, epochs=2, batch_size=2, floor_loss=0.0, kinds=("value_bias",))


@pytest.fixture(autouse=True)
def added(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one place where a kind is listed."""
    monkeypatch.setattr(steering, "KINDS", (*KNOWN_BEFORE, ValueBias))


@pytest.fixture
def earlier(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Go on as a program that does not know the kind."""
    return lambda: monkeypatch.setattr(steering, "KINDS", KNOWN_BEFORE)


@pytest.fixture
def memory(tiny: TinyModel) -> Memory:
    """A memory with random numbers of every kind that trains, the new one included."""
    made = tiny.memory("shout", 1)
    drawn = torch.Generator().manual_seed(5)
    shapes = tiny.backbone.key_shapes
    bias = ValueBias(tuple(torch.randn(layers, heads, 1, e, generator=drawn) for layers, heads, _, e in shapes))
    return replace(made, steering=made.steering.with_part(bias))


def bias_of(found: Memory) -> ValueBias:
    part = found.steering.part(ValueBias)
    assert part is not None
    return part


def same(one: Memory, other: Memory) -> bool:
    mine, theirs = (
        [t for part in m.steering.parts if isinstance(part, TrainedPart) for t in part.tensors()] for m in (one, other)
    )
    return len(mine) == len(theirs) and all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))


def bank_of(memories: Sequence[Memory], backbone: Backbone) -> bytes:
    exported = []
    for place, one in enumerate(memories):
        data = memory_to_bytes(one, backbone.fingerprint)
        exported.append(
            ExportProcedure(uuid_of(place), f"proc{place}", lambda data=data: data, pair_count=9)  # type: ignore[misc]
        )
    target = io.BytesIO()
    write_bank(target, ExportBank("Of two", exported, probes(1), "ab" * 32))
    return target.getvalue()


def test_it_is_trained_saved_and_loaded(tiny: TinyModel) -> None:
    backbone = tiny.backbone
    training = Training(backbone, [Procedure("shout", PAIRS)], config())
    list(training)
    assert training.result is not None
    [trained] = training.result.memories
    assert all(float(bias.abs().max()) > 0 for bias in bias_of(trained).biases), "it started at zero"
    without = replace(config(), kinds=())
    plain = Training(backbone, [Procedure("shout", PAIRS)], without)
    list(plain)
    assert plain.result is not None and plain.result.memories[0].steering.part(ValueBias) is None
    more = trained.steering.parameter_count() - plain.result.memories[0].steering.parameter_count()
    assert more == sum(bias.numel() for bias in bias_of(trained).biases)
    assert trained.settings["kinds"] == ["value_bias"] and "kinds" not in plain.result.memories[0].settings
    again = memory_from_bytes(memory_to_bytes(trained, backbone.fingerprint), backbone, "a file")
    assert same(again, trained) and again.steering.span == trained.steering.span == 3


def test_it_acts(tiny: TinyModel, memory: Memory) -> None:
    backbone = tiny.backbone
    [state] = backbone.prefill([backbone.format.query("lunch 12.50 card")]).states
    without = Steering(part for part in memory.steering.parts if not isinstance(part, ValueBias))
    biased, plain = (join_memories(backbone, [state], [block]) for block in (memory.steering, without))
    for group, bias in zip(backbone.layout.groups, bias_of(memory).biases, strict=True):
        for place, layer in enumerate(group.layers):
            moved = biased.cache.layers[layer].values[0] - plain.cache.layers[layer].values[0]
            kept = moved.shape[-2] - memory.steering.span + 1
            torch.testing.assert_close(moved[:, :kept], bias[place].expand(-1, kept, -1), rtol=0, atol=1e-4)
            assert not moved[:, kept:].any(), "the memory's own values stay"
    inputs = backbone.embed_rows(memory.steering.rows)[None]
    assert not torch.allclose(backbone.extend(biased, inputs), backbone.extend(plain, inputs), atol=1e-3)


@dataclass(frozen=True, slots=True)
class MorePositions(KVPositions):
    name = "more_positions"
    tensor_names = ("more_keys", "more_values")


@dataclass(frozen=True, slots=True)
class MoreRows(InputRows):
    name = "more_rows"
    tensor_names = ("more_rows",)


def test_several_kinds_with_positions_stand_one_behind_the_other(
    tiny: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steering, "KINDS", (*KNOWN_BEFORE, MorePositions, MoreRows))
    backbone, made = tiny.backbone, tiny.memory("shout", 1, span=6).steering
    keys, values, rows = made.keys, made.values, torch.cat([made.rows, -made.rows])
    whole = Steering.of(rows, keys, values)
    parted = Steering(
        [
            MoreRows(rows[1:]),
            InputRows(rows[:1]),
            MorePositions(tuple(k[..., 2:, :] for k in keys), tuple(v[..., 2:, :] for v in values)),
            KVPositions(tuple(k[..., :2, :] for k in keys), tuple(v[..., :2, :] for v in values)),
        ]
    )
    assert torch.equal(parted.rows, rows) and parted.span == whole.span == 7
    assert parted.keys[0].shape[-2] == 2, "its own part only"
    assert parted.parameter_count() == whole.parameter_count()
    [state] = backbone.prefill([backbone.format.query("lunch 12.50 card")]).states
    one, other = (join_memories(backbone, [state], [block]) for block in (whole, parted))
    for mine, theirs in zip(one.cache.layers, other.cache.layers, strict=True):
        torch.testing.assert_close(mine.keys, theirs.keys)
        assert torch.equal(mine.values, theirs.values)
    assert torch.equal(one.lengths, other.lengths)


def test_it_is_read_when_it_is_first_asked_for(memory: Memory) -> None:
    reads: list[int] = []

    def read() -> Steering:
        reads.append(1)
        return memory.steering

    lazy = LazySteering(read)
    assert not reads
    assert lazy.part(ValueBias) is bias_of(memory) and lazy.span == memory.steering.span and reads


def test_a_program_that_does_not_know_it_refuses_the_file_in_words(
    tiny: TinyModel, memory: Memory, earlier: Callable[[], None]
) -> None:
    backbone = tiny.backbone
    data = memory_to_bytes(memory, backbone.fingerprint)
    plain = memory_to_bytes(tiny.memory("shout", 1), backbone.fingerprint)
    assert read_metadata(data)["version"] == "3" and take_apart(data, "x").blocks.keys() > {"value_bias.0"}
    assert read_metadata(plain)["version"] == "2", "a file without it is what it was"
    earlier()
    with pytest.raises(IncompatibleError, match=r"was written by a newer version \(format 3\)") as caught:
        memory_from_bytes(data, backbone, "a file")
    assert caught.value.next_step == "Update tokmem-desk."
    assert memory_from_bytes(plain, backbone, "a file").name == "shout"
    with pytest.raises(UsageError, match="no kind of steering 'value_bias'"):
        config()


def test_a_damaged_one_is_refused(tiny: TinyModel, memory: Memory) -> None:
    short = ValueBias(tuple(bias[..., :-1] for bias in bias_of(memory).biases))
    data = memory_to_bytes(replace(memory, steering=memory.steering.with_part(short)), tiny.backbone.fingerprint)
    with pytest.raises(BadInputError, match=r"Tensor 'value_bias\.0' in a file has shape"):
        memory_from_bytes(data, tiny.backbone, "a file")


def test_it_goes_into_a_bank_and_comes_out(
    tiny: TinyModel, memory: Memory, tmp_path: Path, earlier: Callable[[], None]
) -> None:
    backbone = tiny.backbone
    given = [tiny.memory("plain", 2), memory, tiny.memory("third", 3), memory]
    file = tmp_path / "four.tokmem"
    file.write_bytes(bank_of(given, backbone))
    with open_bank(file) as opened:
        assert opened.manifest.version == "3.0.0"
        assert [one.span_of(ValueBias).count for one in opened.manifest.procedures] == [0, 1, 0, 1]
        for one, mine in zip(opened.manifest.procedures, given, strict=True):
            data = opened.memory(one)
            assert read_metadata(data)["version"] == ("3" if mine is memory else "2")
            assert same(memory_from_bytes(data, backbone, "a memory"), mine)
    without = tmp_path / "without.tokmem"
    without.write_bytes(bank_of([given[0], given[2]], backbone))
    manifest = json.loads(files_of(without.read_bytes())["manifest.json"])
    assert manifest["version"] == "2.0.0" and "value_bias" not in manifest["procedures"][0]
    earlier()
    with open_bank(without) as opened:
        assert opened.manifest.names == ["proc0", "proc1"]
    with (
        pytest.raises(IncompatibleError, match=r"has format 3\.0\.0; this program reads formats up to 2\.0\.0"),
        open_bank(file),
    ):
        pass


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m.update(version="2.0.0"), "version in its manifest is 2.0.0, which has no value_bias"),
        (lambda m: m["procedures"][1]["value_bias"].update(offset=7), "value_bias in its manifest does not follow"),
        (lambda m: m["procedures"][1]["value_bias"].update(count=2), "longer than 1 positions|has shape"),
        (lambda m: m["procedures"][1].pop("value_bias"), "no meaning"),
    ],
)
def test_a_bank_that_says_something_else_of_it_is_refused(
    tiny: TinyModel, memory: Memory, tmp_path: Path, change: Callable[[dict[str, object]], None], said: str
) -> None:
    files = files_of(bank_of([tiny.memory("plain", 2), memory], tiny.backbone))
    manifest = json.loads(files["manifest.json"])
    change(manifest)
    file = tmp_path / "changed.tokmem"
    file.write_bytes(zipped({**files, "manifest.json": json.dumps(manifest).encode()}))
    with pytest.raises(BadInputError, match=said), open_bank(file):
        pass
