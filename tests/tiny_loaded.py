"""A tiny model as the engine holds it once loaded, in this process, and memories with random content for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from profiles.store.store import ProfileStore
from tokmem_desk.memory.file import memory_to_bytes
from tokmem_desk.memory.kv_adapter import KVAdapter, initial_kv_adapter
from tokmem_desk.memory.kv_positions import initial_keys_values
from tokmem_desk.memory.memory import Memory
from tokmem_desk.memory.router_statistics import RouterStatistics
from tokmem_desk.memory.steering import Steering
from tokmem_desk.routing.features import FeatureLayers, RouterBasis
from tokmem_desk.routing.none_calibration import Calibration
from tokmem_desk.system.device import DeviceChoice

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.routing.earlier_space import EarlierSpace
    from tui.engine.models import LoadedModel

K = 24
"""Dimensions of the router's space."""


@dataclass
class TinyModel:
    """Stands in for ``LoadedModel`` once everything is loaded."""

    backbone: Backbone
    basis: RouterBasis
    choice: DeviceChoice = field(default_factory=lambda: DeviceChoice("cpu", "float32", "test"))
    loaded: bool = True
    fitted: bool = True
    segment_tagger: None = None
    """Every message is one request."""
    earlier_space: EarlierSpace | None = None
    references: None = None
    """Words refer to nothing."""
    prior: None = None
    """Memories start from their own pairs."""

    def load(self, *_: Any) -> Any:
        return iter(())

    load_to_chat = load

    def as_loaded(self) -> LoadedModel:
        return cast("LoadedModel", self)

    def statistics(self, seed: int, count: int = 6) -> RouterStatistics:
        vectors = torch.randn(count, K, generator=torch.Generator().manual_seed(seed))
        return RouterStatistics.of(unit(vectors), self.basis.digest)

    def memory(self, name: str, seed: int, span: int = 4) -> Memory:
        """Random, but of the size of real ones; the same seed gives the same memory."""
        drawn = torch.Generator().manual_seed(seed)
        text = self.backbone.format.encode_text("Write a commit message for this change. " * 3)
        free = initial_keys_values(self.backbone, span - 1, text)
        keys = tuple(k + torch.randn(k.shape, generator=drawn) for k in free.keys)
        values = tuple(v + torch.randn(v.shape, generator=drawn) for v in free.values)
        rows = 0.5 * torch.randn(1, self.backbone.hidden_size, generator=drawn)
        address = torch.randn(self.backbone.hidden_size, generator=drawn)
        shapes = self.backbone.key_shapes
        kv_adapter = KVAdapter.of(
            [torch.randn(t.shape, generator=drawn) * 0.2 for t in initial_kv_adapter(shapes, 2, seed).tensors()]
        )
        return Memory(name, Steering.of(rows, keys, values, kv_adapter), address, False, self.statistics(seed))

    def add(self, store: ProfileStore, name: str, seed: int) -> str:
        """Give a procedure an active memory; returns the memory's id."""
        memory = self.memory(name, seed)
        file = store.memories.write(memory_to_bytes(memory, self.backbone.fingerprint))
        record = store.memories.add(
            store.procedures.get(name).id,
            self.backbone.fingerprint.digest,
            file,
            store.procedures.with_pairs(name).pairs,
            {},
            {},
        )
        store.memories.activate(record.id)
        return record.id


def unit(vectors: Tensor) -> Tensor:
    return vectors / vectors.norm(dim=1, keepdim=True)


def load(backbone: Backbone) -> TinyModel:
    """The model with a router space drawn at random: fitting one takes half a minute."""
    layers = FeatureLayers.of(backbone.layer_count)
    texts = [backbone.format.query(text) for text in ("hello", "how are you")]
    pooled = backbone.prefill(texts, keep_states=False, feature_layers=layers.pooled).pooled
    assert pooled is not None
    size = layers.select(pooled, backbone.hidden_size).shape[1]
    drawn = torch.Generator().manual_seed(3)
    basis = RouterBasis(
        layers,
        torch.zeros(size),
        torch.ones(size),
        torch.zeros(size),
        torch.randn(size, K, generator=drawn) / size**0.5,
        unit(torch.randn(9, K, generator=drawn)),
        Calibration(10.0, (6.0, 0.0, 0.0, 0.0, 0.0, 0.0, -2.0, -1.0)),
        backbone.fingerprint.digest,
    )
    return TinyModel(backbone, basis)
