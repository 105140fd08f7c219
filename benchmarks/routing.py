"""Routers side by side: which procedure or intent a text belongs to, or none.

Learns from 5, 10, … texts per route, the features of every text computed once. ``none`` is measured on the data's
texts out of scope and, with ``--chat``, on ordinary chat as well. Nobody sees a text out of scope while learning.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.data import RoutingData, load_chat, load_routing
from benchmarks.measure import routing_metrics
from benchmarks.methods import Context
from benchmarks.models import load
from benchmarks.options import Options, add_method_options, make_parser, run_program, say
from benchmarks.result import Metrics, ResultFile, Run
from benchmarks.routers import Ranking
from benchmarks.routing_features import Features, compute
from benchmarks.routing_methods import ROUTERS, LearnedRouter, Material
from tokmem_desk import background
from tokmem_desk.errors import BadInputError, NotFoundError
from tokmem_desk.procedures import NONE_ROUTE

_DEFAULT_SHOTS = (5, 10, 20, 100)
_ORDER_SEED = 0
_QUERIES_AT_ONCE = 512
_TIMED_QUERIES = 50
_TIMED_ADDITIONS = 3


def main(arguments: Sequence[str] | None = None) -> int:
    parser = make_parser("routing", __doc__)
    add_method_options(parser, list(ROUTERS))
    parser.add_argument("--chat", type=Path, metavar="FILE", help="chat.json: further messages that belong to none")
    options = Options(**vars(parser.parse_args(arguments)))
    return run_program(lambda: run(options))


def run(options: Options) -> None:
    """Run all settings and write the result.

    Raises:
        TokmemError: the data or the model cannot be used.
    """
    data = _narrowed(load_routing(options.data), options)
    chat = load_chat(options.chat)[: _none_limit(data, options)] if options.chat else []
    loaded = load(options)
    context = Context(loaded, {})
    background_chat = background.chat_for_fitting()
    everything = [text for part in (data.train, data.test) for texts in part.values() for text in texts]
    unique = list(dict.fromkeys([*everything, *data.none_messages, *chat, *background_chat]))
    with_retriever = any(method.startswith("minilm") for method in options.methods)
    features = compute(context, unique, with_retriever=with_retriever)
    place = {text: i for i, text in enumerate(unique)}
    head = {
        "benchmark": "routing",
        "backbone": loaded.facts,
        "data": {
            "name": options.data.name,
            "routes": len(data.train),
            "test": sum(len(texts) for texts in data.test.values()),
            "none_messages": len(data.none_messages),
            "chat_messages": len(chat),
            "limit": options.limit,
        },
        "seeds": list(range(options.seeds)),
        "seconds_per_text": features.seconds,
    }
    with ResultFile(options.out, head) as result:
        for shots in options.shots or _DEFAULT_SHOTS:
            runs: dict[str, list[Run]] = {}
            for method in options.methods:
                for seed in range(options.seeds):
                    material = _material(data, place, background_chat, shots, seed)
                    began = time.perf_counter()
                    router = ROUTERS[method](context, features, material)
                    seconds = time.perf_counter() - began
                    measured, rows = _measure(router, features, data, chat, place, material)
                    measured.metrics["train_seconds"] = seconds
                    runs.setdefault(method, []).append(measured)
                    said = {"setting": {"shots": shots}, "method": method, "seed": seed}
                    result.predict({**said, **row} for row in rows)
                    result.add({"shots": shots}, runs)
                    figures = "  ".join(f"{k} {v:.4f}" for k, v in measured.metrics.items() if v is not None)
                    say(f"{method}, {shots} shots, seed {seed}: {figures}")


def _none_limit(data: RoutingData, options: Options) -> int | None:
    return None if options.limit is None else options.limit * len(data.train)


def _narrowed(data: RoutingData, options: Options) -> RoutingData:
    """The data that the options ask for.

    Raises:
        NotFoundError: a named route is not there.
        BadInputError: nothing to measure on.
    """
    names = list(options.names) or sorted(data.train)
    for name in names:
        if name not in data.train:
            raise NotFoundError(f"There is no route {name!r} in the data.")
    if options.procedures and options.procedures[0] < len(names):
        random.Random(_ORDER_SEED).shuffle(names)
        names = names[: options.procedures[0]]
    most = max(options.shots or _DEFAULT_SHOTS)
    limited = RoutingData(
        # Shots are drawn from as many texts as the largest setting needs twice over: reading more costs time only.
        {name: _sampled(data.train[name], options, 2 * most, name) for name in names},
        {name: data.test[name][: options.limit] for name in names},
        data.none_messages,
    )
    if not any(limited.test.values()):
        raise BadInputError("The data has no test texts to measure on.")
    return RoutingData(limited.train, limited.test, limited.none_messages[: _none_limit(limited, options)])


def _sampled(texts: list[str], options: Options, count: int, name: str) -> list[str]:
    kept = min(count, options.pairs or count)
    return texts if kept >= len(texts) else random.Random(f"{_ORDER_SEED}/{name}").sample(texts, kept)


def _material(
    data: RoutingData, place: dict[str, int], background_chat: Sequence[str], shots: int, seed: int
) -> Material:
    rows: list[int] = []
    labels: list[int] = []
    for label, (name, texts) in enumerate(data.train.items()):
        drawn = random.Random(f"{seed}/{name}").sample(texts, min(shots, len(texts)))
        rows += [place[text] for text in drawn]
        labels += [label] * len(drawn)
    return Material(list(data.train), rows, labels, [place[text] for text in background_chat], seed)


def _measure(
    router: LearnedRouter,
    features: Features,
    data: RoutingData,
    chat: Sequence[str],
    place: dict[str, int],
    material: Material,
) -> tuple[Run, list[dict[str, Any]]]:
    asked = [(name, text) for name, texts in data.test.items() for text in texts]
    asked += [(NONE_ROUTE, text) for text in (*data.none_messages, *chat)]
    rows = [place[text] for _, text in asked]
    rankings: list[Ranking] = []
    for start in range(0, len(rows), _QUERIES_AT_ONCE):
        rankings += router.rank(rows[start : start + _QUERIES_AT_ONCE])
    by_name: dict[str, list[Ranking]] = {}
    for (name, _), ranking in zip(asked, rankings, strict=True):
        by_name.setdefault(name, []).append(ranking)
    none = by_name.pop(NONE_ROUTE, [])
    outside = none[: len(data.none_messages)]
    metrics = routing_metrics(material.names, by_name, outside or none)
    if chat:
        spoken = none[len(data.none_messages) :]
        metrics["chat_false_trigger_rate"] = sum(r[0][0] != NONE_ROUTE for r in spoken) / len(spoken)
    metrics |= _times(router, features, rows)
    per_procedure: dict[str, Metrics] = {
        name: {"known_recall": sum(r[0][0] == name for r in ranked) / len(ranked)} for name, ranked in by_name.items()
    }
    predictions = [
        {
            "procedure": name,
            "input": text,
            "route": ranking[0][0],
            "probability": ranking[0][1],
            "none": dict(ranking)[NONE_ROUTE],
        }
        for (name, text), ranking in zip(asked, rankings, strict=True)
    ]
    return Run(metrics, per_procedure, router.settings), predictions


def _times(router: LearnedRouter, features: Features, rows: Sequence[int]) -> Metrics:
    """Seconds per query, one at a time and with its features, and per added procedure, on given features."""
    few = rows[:_TIMED_QUERIES]
    began = time.perf_counter()
    for row in few:
        router.rank([row])
    ranking = (time.perf_counter() - began) / len(few)
    additions = []
    for _ in range(_TIMED_ADDITIONS):
        began = time.perf_counter()
        router.add()
        additions.append(time.perf_counter() - began)
    return {
        "query_seconds": ranking + features.seconds.get(router.source, 0.0),
        "rank_seconds": ranking,
        "add_seconds": min(additions),
    }


if __name__ == "__main__":
    sys.exit(main())
