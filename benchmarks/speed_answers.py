"""How long a person waits: time to the first token, tokens a second, seconds a training step, memory."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.methods.memories import our_config
from benchmarks.peaks import peak_memory
from tokmem_desk.generation.decoding import step
from tokmem_desk.generation.recall import Answer, Bank, Timing, recall
from tokmem_desk.memory.memory import Memory
from tokmem_desk.memory.router_statistics import RouterStatistics
from tokmem_desk.procedures import NONE_ROUTE, Procedure
from tokmem_desk.routing.routers import DiscriminantRouter, TokenRouter
from tokmem_desk.system.device import memory_in_use_mb
from trainer.loop import Training

if TYPE_CHECKING:
    from benchmarks.methods import Context
    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.backbone.prefill import Prefilled

MESSAGES = 5
REPEATS = 7
_DECODED_TOKENS = 64
_TRAINING_STEPS = 10
_BANK_PAIRS = 24


def measure_first_token(context: Context, procedures: Sequence[Procedure]) -> dict[str, Any]:
    """Time to the first token of a routed answer, of plain chat, and of one pass over the span.

    The memories are untrained: what they say does not matter here. Kinds are timed in turn.
    """
    backbone = context.backbone
    bank, span = _bank(context, procedures)
    nothing = Bank({}, TokenRouter(backbone, []))
    name = procedures[0].name
    messages = [pair.input for pair in (procedures[0].held_out or procedures[0].pairs)[:MESSAGES]]
    seconds: dict[str, list[float]] = {"routed": [], "plain": [], "span_pass": [], "route": []}
    # The packed form of the weights is made at the first decoding step: not part of what is timed.
    _timing(backbone, bank, messages[0], name)
    for message in messages:
        prefilled = backbone.prefill([backbone.format.query(message)])
        for _ in range(REPEATS):
            routed = _timing(backbone, bank, message, name)
            seconds["routed"].append(routed.first_token)
            seconds["route"].append(routed.route)
            seconds["plain"].append(_timing(backbone, nothing, message, NONE_ROUTE).first_token)
            seconds["span_pass"].append(_span_pass(backbone, prefilled, span))
    medians = {f"{kind}_seconds": statistics.median(values) for kind, values in seconds.items()}
    extra = medians["routed_seconds"] - medians["plain_seconds"]
    return {
        **medians,
        "span": span,
        "procedures": len(bank.memories),
        "messages": len(messages),
        "repeats": REPEATS,
        "extra_in_span_passes": extra / medians["span_pass_seconds"],
        "how": "Medians. A span pass runs the backbone over as many embeddings as the memory has positions.",
    }


def _bank(context: Context, procedures: Sequence[Procedure]) -> tuple[Bank, int]:
    backbone, basis = context.backbone, context.loaded.basis
    memories: dict[str, Memory] = {}
    statistics_of: dict[str, RouterStatistics] = {}
    for procedure in procedures:
        small = replace(procedure, pairs=procedure.pairs[:_BANK_PAIRS])
        memories[procedure.name] = Training(backbone, [small], our_config(context, 0)).snapshot()[0]
        queries = [backbone.format.query(pair.input) for pair in small.pairs]
        pooled = backbone.prefill(queries, keep_states=False, feature_layers=basis.layers.pooled).pooled
        assert pooled is not None
        vectors = basis.project(pooled, backbone.hidden_size)
        statistics_of[procedure.name] = RouterStatistics.of(vectors, basis.digest)
    router = DiscriminantRouter(basis, backbone.hidden_size, statistics_of)
    return Bank(memories, router), memories[procedures[0].name].steering.span


def _timing(backbone: Backbone, bank: Bank, message: str, route: str) -> Timing:
    for event in recall(backbone, bank, message, route=route, max_tokens=1):
        if isinstance(event, Answer):
            return event.timing
    raise AssertionError("a recall ends with an answer")


@torch.no_grad()
def _span_pass(backbone: Backbone, prefilled: Prefilled, span: int) -> float:
    batch = backbone.layout.join(prefilled.states, [None])
    inputs = backbone.embed_ids(torch.full((1, span), backbone.format.end_id, device=backbone.torch_device))

    def run() -> None:
        backbone.decode(batch, inputs)

    return _timed(backbone, run)


def _timed(backbone: Backbone, work: Callable[[], None]) -> float:
    cuda = backbone.torch_device.type == "cuda"
    if cuda:
        torch.cuda.synchronize(backbone.torch_device)
    began = time.perf_counter()
    work()
    if cuda:
        torch.cuda.synchronize(backbone.torch_device)
    return time.perf_counter() - began


def measure_device(context: Context, procedure: Procedure) -> dict[str, Any]:
    """Memory in MiB, decoded tokens a second, seconds a training step (normal preset)."""
    backbone = context.backbone
    device = str(backbone.torch_device)
    loaded = memory_in_use_mb(device)
    with peak_memory(device) as answering:
        tokens_per_second = _decode(backbone, procedure.pairs[0].input)
    training = Training(backbone, [procedure], our_config(context, 0))
    seconds: list[float] = []
    with peak_memory(device) as learning:
        running = iter(training)
        while len(seconds) < _TRAINING_STEPS:
            began = time.perf_counter()
            progress = next(running, None)
            if progress is None:
                break
            if progress.phase == "train":
                seconds.append(time.perf_counter() - began)
    return {
        "memory_mb": loaded,
        "answering_peak_mb": answering.mb,
        "training_peak_mb": learning.mb,
        "tokens_per_second": tokens_per_second,
        "seconds_per_step": statistics.median(seconds),
        "batch_size": our_config(context, 0).batch_size,
    }


@torch.no_grad()
def _decode(backbone: Backbone, message: str) -> float:
    batch = backbone.layout.join(backbone.prefill([backbone.format.query(message)]).states, [None])
    token = backbone.format.end_id
    step(backbone, batch, token)

    def run() -> None:
        chosen = token
        for _ in range(_DECODED_TOKENS):
            chosen = int(step(backbone, batch, chosen).argmax())

    return _DECODED_TOKENS / _timed(backbone, run)
