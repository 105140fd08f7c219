"""How many tokens a memory can hold: after the query and before it, by its rows (the paper's Table 4).

One message is to be answered with a stretch of text that it says nothing about, so whatever comes back was held by
the memory. Stretches double in length until one is no longer learned within the steps; a stretch is held when all its
tokens and the end come right one after the other, which is when greedy decoding gives it back. Methods are a place and
a form: ``after-rows`` is the paper's, ``after-layers`` the app's. The backbone's weights are compared with what they
were.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from benchmarks.data import load_tasks
from benchmarks.models import load
from benchmarks.options import Options, add_method_options, make_parser, numbers, positive, run_program, say
from benchmarks.result import ResultFile, Run
from tokmem_desk.backbone.fingerprint import identify_weights
from tokmem_desk.backbone.query_state import QueryState
from tokmem_desk.errors import BadInputError, IncompatibleError
from tokmem_desk.memory.steering import join_memories
from trainer.config import PAPER, TrainConfig
from trainer.objective import TrainableMemories

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.memory.steering import Steering

METHODS = ("after-rows", "before-rows", "after-layers", "before-layers")
ROWS = (1, 2, 5, 16)
SHORTEST, LONGEST = 8, 1024
"""Tokens of the first stretch, and of the last that is tried."""

_RATE = 0.05
"""Adam's step relative to the size of what is trained; the same for every method."""

_LOOK_EVERY = 10


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be held.

    Attributes:
        query: token ids of the message that asks for it.
        text: token ids of a text, at least ``LONGEST`` of them.
        steps: optimiser steps at most for one stretch.
        seed: of the start.
    """

    query: list[int]
    text: list[int]
    steps: int
    seed: int


def main(arguments: Sequence[str] | None = None) -> int:
    parser = make_parser("memorize", __doc__)
    add_method_options(parser, METHODS)
    parser.add_argument("--rows", type=numbers, default=ROWS, metavar="N[,N]", help="positions of the memory")
    parser.add_argument("--steps", type=positive, default=300, metavar="N", help="for one stretch (default: 300)")
    given = vars(parser.parse_args(arguments))
    rows, steps = given.pop("rows"), given.pop("steps")
    return run_program(lambda: run(Options(**given), rows, steps))


def run(options: Options, rows: Sequence[int], steps: int) -> None:
    """Measure every method with every number of rows.

    Raises:
        TokmemError: the data or the model cannot be used, or the backbone's weights changed.
    """
    procedures = load_tasks(options.data).procedures
    loaded = load(options)
    backbone = loaded.backbone
    before = identify_weights(backbone.model)
    text = backbone.format.encode_text("\n".join(pair.response for p in procedures for pair in p.pairs))
    if len(text) < LONGEST:
        raise BadInputError(
            f"{options.data} holds {len(text)} tokens of responses; {LONGEST} are needed.",
            next_step="Give a folder with more example pairs.",
        )
    query = backbone.format.query(procedures[0].pairs[0].input)
    head = {
        "benchmark": "memorize",
        "backbone": loaded.facts,
        "data": {"folder": options.data.name, "text_tokens": len(text)},
        "seeds": list(range(options.seeds)),
    }
    with ResultFile(options.out, head) as result:
        for count in rows:
            runs: dict[str, list[Run]] = {}
            for method in options.methods:
                place, form = method.split("-")
                if form == "layers" and count == 1:
                    continue  # its last position is a row, so it needs two
                for seed in range(options.seeds):
                    offset = seed * (len(text) - LONGEST) // max(1, options.seeds)
                    task = Task(query, text[offset : offset + LONGEST], steps, seed)
                    measured = _ladder(backbone, task, place == "before", _config(form, count, seed))
                    say(f"{method}, {count} rows, seed {seed}: {measured.metrics['held_tokens']:.0f} tokens")
                    runs.setdefault(method, []).append(measured)
            if runs:
                result.add({"rows": count}, runs)
    if identify_weights(backbone.model) != before:
        raise IncompatibleError("Training changed the backbone's weights; the figures are worth nothing.")


def _config(form: str, span: int, seed: int) -> TrainConfig:
    return replace(PAPER, form="layers" if form == "layers" else "rows", span=span, absolute_rate=False, seed=seed)


def _ladder(backbone: Backbone, task: Task, before: bool, config: TrainConfig) -> Run:
    """Longer and longer stretches until one is not held."""
    began = time.perf_counter()
    held, parameters, length = 0, 0, SHORTEST
    shares: dict[int, float] = {}
    while length <= LONGEST:
        response = [*task.text[:length], backbone.format.end_id]
        shares[length], parameters = _memorise(backbone, task, response, before, config)
        if shares[length] < 1.0:
            break
        held, length = length, 2 * length
    metrics = {
        "held_tokens": float(held),
        "share_of_next": shares.get(length),
        "trained_parameters": float(parameters),
        "train_seconds": time.perf_counter() - began,
    }
    return Run(metrics, settings={"steps": task.steps, "learning_rate": _RATE, "shares": shares})


def _memorise(
    backbone: Backbone, task: Task, response: list[int], before: bool, config: TrainConfig
) -> tuple[float, int]:
    """The share of a response's tokens that come right after training, and the number of trained parameters."""
    memories = TrainableMemories(backbone, config, [task.text])
    optimiser = torch.optim.Adam(memories.parameters(), lr=_RATE)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.1, task.steps)
    state = _nothing(backbone) if before else backbone.prefill([task.query]).states[0]
    labels = torch.tensor(response, device=backbone.torch_device)
    share = 0.0
    for step in range(1, task.steps + 1):
        with backbone.training():
            optimiser.zero_grad(set_to_none=True)
            logits = _logits(backbone, state, memories.steering()[0], task.query if before else [], labels)
            F.cross_entropy(logits, labels).backward()
        optimiser.step()
        schedule.step()
        if step % _LOOK_EVERY == 0 or step == task.steps:
            with torch.no_grad(), backbone.training():
                logits = _logits(backbone, state, memories.steering()[0], task.query if before else [], labels)
            share = float((logits.argmax(dim=-1) == labels).float().mean())
            if share == 1.0:
                break
    return share, memories.steering()[0].parameter_count()


def _logits(
    backbone: Backbone, state: QueryState, steering: Steering, query: Sequence[int], labels: torch.Tensor
) -> torch.Tensor:
    """[t x v] at the positions that predict the labels; ``query`` stands between memory and response."""
    batch = join_memories(backbone, [state], [steering])
    between = torch.tensor(list(query), dtype=torch.long, device=labels.device)
    told = backbone.embed_ids(torch.cat([between, labels[:-1]]))[None]
    inputs = torch.cat([backbone.embed_rows(steering.rows)[None], told], dim=1)
    hidden = backbone.extend(batch, inputs)[0, -len(labels) :]
    return backbone.logits(hidden)


def _nothing(backbone: Backbone) -> QueryState:
    """The state of no query, for a memory that stands in front of everything."""
    empty = [
        torch.empty(len(group.layers), heads, 0, size, dtype=backbone.dtype, device=backbone.torch_device)
        for group, (_, heads, _, size) in zip(backbone.layout.groups, backbone.key_shapes, strict=True)
    ]
    return QueryState(tuple(empty), tuple(empty), 0)


if __name__ == "__main__":
    sys.exit(main())
