"""What is written today is what was written before: memory files and bank files, byte for byte.

People keep these files and compare their digests. Every number here is made by counting, so that no model, seed or
library can change it. A digest below may only be replaced together with a new version of the format.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.banks import FINGERPRINT, bank, bank_bytes, files_of
from tokmem_desk.bank.reader import open_bank
from tokmem_desk.memory.extractor import Extractor, new_network
from tokmem_desk.memory.file import memory_to_bytes
from tokmem_desk.memory.file_bytes import take_apart, with_digest
from tokmem_desk.memory.kv_adapter import KVAdapter
from tokmem_desk.memory.memory import Memory
from tokmem_desk.memory.router_statistics import RouterStatistics
from tokmem_desk.memory.safetensors_header import read_header
from tokmem_desk.memory.steering import Steering

ROOT = Path(__file__).parents[3]
HIDDEN, LAYERS, HEADS, SIZE, VALUE_SIZE, RANK, POSITIONS = 6, 2, 2, 3, 4, 2, 3

MEMORIES = {
    "rows": "b89411d46a31c71b15400bf4db87b0783c565abcfc4f1da959eb3fbb193263d8",
    "layers": "a944c31b9ce5a26b99c9abc7065ea40c35999dddd3ff696ed57f42be1d44149e",
    "adapter": "a185a45be248d0e75891aaae3e230deef4fdf5fbcf002c6235a0f0ab0f237d5b",
    "extractor": "9e8897b7a5bb10ac7549e56bdd96b3172a7a56cf6d0edb84967a7ff2f37b8360",
    "everything": "baa0ea7c606c2fe809d54a66eaf3d6fffd915de81954299a75c64d1ade98bce5",
}
"""SHA-256 over a memory file with each kind of steering: its header in order of names, then all its numbers."""

BANK = {
    "bank.safetensors": "614531be8065c4c3ca8c93813811eba44ee40f9b3e1282ee20409c47307b419d",
    "manifest.json": "6b743d23cc343ff7aca8dde75d0cbc307382d1308325d06dc478550bbb49058f",
    "probes.jsonl": "5ddc1fe4b01e224b173856e7c3e02f5b01f89d820236f3e990c943f8096d0086",
    "pairs.jsonl": "1e78c047fa85343918fb634ed458d0a3b7379d180be9c4703c1c9e44c749f8a4",
    "corrections.jsonl": "1f9c9e1e9cca87f5a0d3c20413368716ad4fe3c77b3d5bf5c473b5f580da6f3f",
    "README.md": "4bc522fe5b35d1cfde936a4628a800aaba21f736a58616645b016be473e0308f",
}
"""SHA-256 of each file in a bank of five memories."""

TAKEN_OUT = {
    "tests/fixtures/bank-format-1.tokmem": "41f388424259b8f54ab7d26e1c05c7dd811698a8e7667f7f1988bc59b84d2c3e",
    "tests/fixtures/bank-format-2.tokmem": "9273a3dffad88aea7d4da511fa34e9684e88e2cd164e32ea049dec737e9e14a8",
    "docs/examples/bank.tokmem": "6be0e4699cce31df7712bd3cb1fcecda64e176beb08f44d33588462d70057806",
}
"""SHA-256 over all memories of a bank, each as the file that an import makes of it."""


def counted(*shape: int, start: int = 0) -> Tensor:
    """Float32 numbers in that shape: multiples of 1/64, which every type here holds exactly."""
    count = int(torch.Size(shape).numel())
    return ((torch.arange(start, start + count) * 37 % 101 - 50).float() / 64).view(shape)


def memory(kinds: str) -> Memory:
    """A memory with some kinds of steering."""
    everything = kinds == "everything"
    keys: tuple[Tensor, ...] = ()
    values: tuple[Tensor, ...] = ()
    adapter = extractor = None
    settings: dict[str, Any] = {"form": "rows", "span": 2, "seed": 7}
    if kinds in ("layers", "adapter", "everything"):
        keys = tuple(counted(LAYERS, HEADS, POSITIONS, SIZE, start=group) for group in (1, 2))
        values = tuple(counted(LAYERS, HEADS, POSITIONS, VALUE_SIZE, start=group) for group in (3, 4))
        settings |= {"form": "layers", "span": 5, "lens_rank": RANK if kinds != "layers" else 0}
    if kinds == "adapter" or everything:
        shapes = [
            shape
            for wide in (HEADS * SIZE, HEADS * VALUE_SIZE)
            for shape in ((LAYERS, wide, RANK), (LAYERS, RANK, wide))
        ]
        adapter = KVAdapter.of([counted(*shape, start=5 + at) for at, shape in enumerate(shapes * 2)])
    if kinds == "extractor" or everything:
        description = {
            "dimensions": 4,
            "slots": [["who", "text", False], ["many", "number", True]],
            "constants": {"kind": "card"},
            "order": ["kind", "who", "many"],
            "compact": True,
            "space": "space-digest",
            "alone": not everything,
        }
        size = sum(weight.numel() for weight in new_network(4, 2).state_dict().values())
        extractor = Extractor.rebuild(description, counted(size, start=9))
        settings["reader"] = description
    statistics = RouterStatistics(counted(7, start=11), 12, counted(2, 7, start=13), 3.5, "router-digest")
    return Memory(
        kinds,
        Steering.of(counted(2, HIDDEN), keys, values, adapter, extractor),
        counted(HIDDEN, start=17),
        kinds == "rows",
        None if kinds == "rows" else statistics,
        settings,
    )


def in_order(data: bytes) -> str:
    """Digest of a memory file; the library that writes it shuffles the strings of the header, so they are sorted."""
    header = read_header(data, len(data))
    tensors = {name: [at.dtype, list(at.shape), at.begin, at.end] for name, at in header.tensors.items()}
    said = json.dumps([header.metadata, tensors], sort_keys=True).encode()
    return hashlib.sha256(said + data[header.start :]).hexdigest()


@pytest.mark.parametrize("kinds", MEMORIES)
def test_a_memory_file_is_what_it_was(kinds: str) -> None:
    data = memory_to_bytes(memory(kinds), FINGERPRINT)
    assert in_order(data) == MEMORIES[kinds]
    said, found = with_digest(data)
    assert said == found


def test_a_bank_is_what_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=5))
    monkeypatch.setattr(time, "time", lambda: 1_800_000_000.0)
    files = files_of(bank_bytes(bank(5, with_pairs=True)))
    assert {name: hashlib.sha256(data).hexdigest() for name, data in files.items()} == BANK


@pytest.mark.parametrize("file", TAKEN_OUT)
def test_a_memory_taken_out_of_a_bank_is_what_it_was(file: str) -> None:
    digest = hashlib.sha256()
    with open_bank(ROOT / file) as opened:
        for procedure in opened.manifest.procedures:
            data = opened.memory(procedure)
            take_apart(data, procedure.name)
            digest.update(data)
    assert digest.hexdigest() == TAKEN_OUT[file]
