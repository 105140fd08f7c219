"""What many people on one backbone would need, by arithmetic: bytes of a memory, and requests a second of a card.

Nothing runs here. Sizes follow from the shapes of a model and of a memory; speeds are the upper bound that a card's
bandwidth and arithmetic allow (a roofline), for messages and answers of a given length. ``docs/scale.md`` says what
follows from the figures.

Bytes of a memory, as banks keep it (16 bits a number): l layers, k key-value heads, e head size, d hidden size, span s,
rank r, router dimensions f::

    positions   2 · l · (s - 1) · k·e          keys and values
    adapter     4 · l · k·e · r                A and B, of keys and of values
    rows        d                              the first input row
    router      (1 + 4) · f                    mean and low-rank scatter

A request reads its message (one pass over m tokens), edits m keys and values per layer (8 · l · m · k·e · r
operations) and writes a tokens. In a batch of b answers a step reads the weights once, and the cache of each.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.options import positive, run_program, say
from profiles.files.atomic import write_text

ROUTER_DIMENSIONS, SCATTER_ROWS = 512, 4
BYTES_A_NUMBER = 2
BYTES_A_WEIGHT = 0.5625
"""NF4 with double quantisation: 4 bits, and 8 bits of scale for each 64 weights with what these share."""
BATCHES = (1, 16, 64, 256)
BUSY_SHARE = 0.1
"""Of a day's requests, in its busiest hour."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A decoder, as its makers publish it."""

    name: str
    parameters: float
    layers: int
    hidden_size: int
    key_heads: int
    head_size: int

    @property
    def key_size(self) -> int:
        """k · e: numbers in the keys of one token in one layer."""
        return self.key_heads * self.head_size

    def memory_bytes(self, span: int, rank: int) -> int:
        """Of one trained procedure."""
        positions = 2 * self.layers * (span - 1) * self.key_size
        adapter = 4 * self.layers * self.key_size * rank
        router = (1 + SCATTER_ROWS) * ROUTER_DIMENSIONS
        return BYTES_A_NUMBER * (positions + adapter + self.hidden_size + router)

    @property
    def cache_bytes(self) -> int:
        """Of one token's keys and values in all layers."""
        return 2 * self.layers * self.key_size * BYTES_A_NUMBER

    def edit_operations(self, message: int, rank: int) -> int:
        """To edit the keys and values of a message for one memory."""
        return 8 * self.layers * message * self.key_size * rank


@dataclass(frozen=True, slots=True)
class Card:
    """A graphics card by its makers' figures: bytes, bytes a second, 16-bit operations a second (dense)."""

    name: str
    memory: float
    bandwidth: float
    operations: float


SHAPES = (
    Shape("default, 135M", 134.5e6, 30, 576, 3, 64),
    Shape("1B (Llama 3.2 1B)", 1.24e9, 16, 2048, 8, 64),
    Shape("8B (Llama 3.1 8B)", 8.03e9, 32, 4096, 8, 128),
    Shape("70B (Llama 3.1 70B)", 70.6e9, 80, 8192, 8, 128),
)
CARDS = (
    Card("24 GB desktop card (RTX 4090)", 24e9, 1.008e12, 165e12),
    Card("80 GB server card (H100 SXM)", 80e9, 3.35e12, 989e12),
)


@dataclass(frozen=True, slots=True)
class Work:
    """A request: tokens of the message and of the answer, positions and rank of the memory."""

    message: int = 60
    answer: int = 40
    span: int = 16
    rank: int = 8


def requests_a_second(shape: Shape, card: Card, work: Work, batch: int) -> float | None:
    """At most so many answered requests a second with ``batch`` at once; None where they do not fit."""
    context = work.message + work.span + work.answer
    cache = shape.cache_bytes * context
    weights = shape.parameters * BYTES_A_WEIGHT
    if weights + batch * (cache + shape.memory_bytes(work.span, work.rank)) > card.memory:
        return None
    read = 2 * shape.parameters * work.message + shape.edit_operations(work.message, work.rank)
    prefill = batch * read / card.operations + batch * shape.memory_bytes(work.span, work.rank) / card.bandwidth
    step = max((weights + batch * cache) / card.bandwidth, 2 * shape.parameters * batch / card.operations)
    return batch / (prefill + work.answer * step)


def plan(work: Work, procedures: int, requests_a_day: int) -> dict[str, Any]:
    """All figures: of each model, and of each on each card."""
    models, speeds = [], []
    for shape in SHAPES:
        memory = shape.memory_bytes(work.span, work.rank)
        read = 2 * shape.parameters * work.message
        models.append(
            {
                "model": shape.name,
                "weights_gb": round(shape.parameters * BYTES_A_WEIGHT / 1e9, 2),
                "memory_mb": round(memory / 1e6, 3),
                "profile_mb": round(procedures * memory / 1e6, 1),
                "thousand_procedures_gb": round(1000 * memory / 1e9, 2),
                "edit_share_of_reading": shape.edit_operations(work.message, work.rank) / read,
                "router_bytes_a_procedure": ROUTER_DIMENSIONS * 4,
            }
        )
        for card in CARDS:
            rates = {str(batch): requests_a_second(shape, card, work, batch) for batch in BATCHES}
            best = max((rate for rate in rates.values() if rate is not None), default=None)
            busiest = requests_a_day * BUSY_SHARE / 3600
            speeds.append(
                {
                    "model": shape.name,
                    "card": card.name,
                    "requests_a_second": {k: None if v is None else round(v, 1) for k, v in rates.items()},
                    "people_a_card": None if best is None else int(best / busiest),
                }
            )
    return {
        "work": asdict(work),
        "procedures": procedures,
        "requests_a_day": requests_a_day,
        "models": models,
        "speeds": speeds,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.scale_plan", description=__doc__.split("\n")[0])
    parser.add_argument("--procedures", type=positive, default=20, metavar="N", help="of one person (default: 20)")
    parser.add_argument(
        "--requests", type=positive, default=200, metavar="N", help="of one person a day (default: 200)"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.json", help="the result")
    given = parser.parse_args(arguments)
    return run_program(lambda: _write(given))


def _write(given: argparse.Namespace) -> None:
    document = {"benchmark": "scale_plan", **plan(Work(), given.procedures, given.requests)}
    for one in document["models"]:
        say(f"{one['model']}: memory {one['memory_mb']} MB, {one['thousand_procedures_gb']} GB a thousand")
    for one in document["speeds"]:
        say(f"{one['model']} on {one['card']}: {one['requests_a_second']} requests/s, {one['people_a_card']} people")
    write_text(given.out, json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
