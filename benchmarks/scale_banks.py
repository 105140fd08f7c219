"""Memories of many people in one worker: how long one takes that is not here, and whether what is kept stays bounded.

A section of ``benchmarks.scale``. Cold loads are of memories in the size of the default model's, from a local disk that
the system has in its cache: read, hashed, checked, made into tensors. Beside them stands reading and hashing the same
file alone. The bound is tried with many people who ask once each, with small memories.
"""

from __future__ import annotations

import hashlib
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import torch

from benchmarks.options import say
from tokmem_desk.backbone.fingerprint import Fingerprint
from tokmem_desk.memory.file import memory_to_bytes
from tokmem_desk.memory.kv_adapter import initial_kv_adapter
from tokmem_desk.memory.memory import Memory
from tokmem_desk.memory.steering import Steering
from tokmem_vllm.bank_service import SUFFIX, BankService, put_memory
from tokmem_vllm.model_facts import FACTS_VERSION, ModelFacts

_PRINT = Fingerprint("made up", "", "llama", 576, 49152, True, "", "", "", "", "", "none", "float32")
_DEFAULT, _SMALL = (30, 3, 64, 64), (1, 1, 8, 8)
_COLD = 60
_SHARE_KEPT = 50


def _facts(shape: tuple[int, int, int, int], hidden: int) -> ModelFacts:
    rotation = {"part": "front", "pairing": "halves", "table": "halves", "backwards": False}
    described = {
        "version": FACTS_VERSION,
        "fingerprint": _PRINT.as_dict(),
        "hidden_size": hidden,
        "embedding_scale": 1.0,
        "longest_row": 10.0,
        "groups": [{"layers": list(range(shape[0])), "shape": list(shape), "rotation": rotation}],
    }
    table = torch.zeros(4, shape[2])
    return ModelFacts(described, {"cos.0": table, "sin.0": table})


def _file(shape: tuple[int, int, int, int], hidden: int, span: int, rank: int) -> bytes:
    layers, heads, size, _ = shape
    keys, values = (torch.randn(layers, heads, span - 1, size) for _ in range(2))
    steering = Steering.of(torch.randn(1, hidden), (keys,), (values,), initial_kv_adapter((shape,), rank, 0))
    return memory_to_bytes(Memory("made up", steering, torch.ones(hidden), False), _PRINT)


def _seconds(service: BankService, person: str, digest: str) -> float:
    began = time.perf_counter()
    service.memory(person, digest)
    return time.perf_counter() - began


def measure_banks(people: int) -> dict[str, Any]:
    """Milliseconds of cold loads, and bytes that stay of many people's memories."""
    with tempfile.TemporaryDirectory(prefix="banks-") as name:
        root = Path(name)
        named = [(f"cold{n}", put_memory(name, f"cold{n}", _file(_DEFAULT, 576, 16, 8))) for n in range(_COLD)]
        service = BankService(name, _facts(_DEFAULT, 576))
        cold, alone, warm = [], [], []
        for person, digest in named:
            path = root / person / f"{digest}{SUFFIX}"
            began = time.perf_counter()
            hashlib.sha256(path.read_bytes()).hexdigest()
            alone.append(time.perf_counter() - began)
            cold.append(_seconds(service, person, digest))
            warm.append(_seconds(service, person, digest))
        size = path.stat().st_size
        small = _file(_SMALL, 16, 4, 2)
        (digest,) = {put_memory(name, f"person{n}", small) for n in range(people)}
        bound = people // _SHARE_KEPT * len(small)
        service = BankService(name, _facts(_SMALL, 16), most_bytes=bound)
        most, before = 0, psutil.Process().memory_info().rss
        for n in range(people):
            service.memory(f"person{n}", digest)
            most = max(most, service.bytes)
        grown = psutil.Process().memory_info().rss - before
    cold.sort()
    found = {
        "memory_bytes": size,
        "cold_loads": len(cold),
        "cold_ms_median": round(1000 * statistics.median(cold), 2),
        "cold_ms_p95": round(1000 * cold[int(0.95 * len(cold))], 2),
        "cold_of_reading_and_hashing": round(statistics.median(cold) / statistics.median(alone), 2),
        "kept_ms_median": round(1000 * statistics.median(warm), 4),
        "people": people,
        "bound_bytes": bound,
        "most_bytes_kept": most,
        "all_bytes": people * len(small),
        "process_grew_bytes": grown,
    }
    say(str(found))
    return found
