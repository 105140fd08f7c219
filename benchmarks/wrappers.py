"""The same message with something around it: time stamps, names, greetings, quotes, blocks as editors and bots send.

A bank of all procedures of a folder; every test message alone and within each kind of wrapper. Told is how often it
takes the route that it takes alone, by the whole text and by what is left of it too (``tokmem_desk.routing.wrappers``).
The rules were written with all of these kinds in view.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import torch

from benchmarks.data import load_tasks
from benchmarks.models import Loaded, load
from benchmarks.options import Options, run_methods, say
from benchmarks.result import ResultFile, Run
from tokmem_desk.memory.router_statistics import RouterStatistics
from tokmem_desk.procedures import NONE_ROUTE
from tokmem_desk.routing.routers import Candidate, DiscriminantRouter
from tokmem_desk.routing.wrappers import route_inner

METHODS = ["whole", "ours"]
KINDS: dict[str, tuple[str, ...]] = {
    "stamp": ("[2024-11-03 14:22] {}", "2025-02-17T08:05:11Z {}", "(16:40) {}"),
    "stamp, other marks": ("14.03.2025, 09:12 - {}", "<time>18:03</time> {}", "[Tue 11:58 PM] {}"),
    "name": ("Maria Lopez: {}", "@helper {}", "kai_91: {}"),
    "name and stamp": ("Tom (10:31): {}", "[07:55] <jo> {}", "12/04/25, 21:17 - Wiktoria: {}"),
    "greeting": ("Hi there! {}", "Good morning, {}", "Hello Ben,\n\n{}\n\nThanks,\nIda"),
    "greeting, other languages": ("Guten Tag, {}", "Bonjour ! {}", "Hola equipo,\n{}\n\nSaludos\nInés"),
    "quote": (
        "> are you coming on Friday\n> we would need two more chairs\n\n{}",
        "On 3 May, Ola wrote:\n> the keys are with the neighbour\n> call me\n\n{}",
    ),
    "quote behind": (
        "{}\n\n> are you coming on Friday\n> we would need two more chairs",
        "{}\n\nOla wrote:\n> call me",
    ),
    "block": (
        "```\nfor name in names:\n    print(name)\n```\n{}",
        "Context:\n```python\ntotal = sum(prices)\n```\n\n{}",
    ),
    "block, as tags": (
        '<context file="notes.md">\nThe hall is free until six.\n</context>\n{}',
        "<selection>\nthe quick brown fox\n</selection>\n<request>{}</request>",
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    return run_methods("wrappers", __doc__, METHODS, run, arguments)


def run(options: Options) -> None:
    """Run all kinds and write the result.

    Raises:
        TokmemError: the data or the model cannot be used.
    """
    tasks = load_tasks(options.data)
    loaded = load(options)
    statistics = {
        p.name: RouterStatistics.of(_vectors(loaded, [pair.input for pair in p.pairs]), loaded.basis.digest)
        for p in tasks.procedures
    }
    router = DiscriminantRouter(loaded.basis, loaded.backbone.hidden_size, statistics)
    asked = [(p.name, pair.input) for p in tasks.procedures for pair in p.held_out[: options.limit]]
    asked += [(NONE_ROUTE, text) for text in tasks.none_messages[: options.limit and options.limit * 5]]
    texts = [text for _, text in asked]
    _, routed = _routes(loaded, router, texts)
    alone = [routes[0].route for routes in routed]
    head = {
        "benchmark": "wrappers",
        "backbone": loaded.facts,
        "data": {"name": options.data.name, "routes": len(statistics), "messages": len(texts)},
        "seeds": [0],
    }
    with ResultFile(options.out, head) as result:
        for kind, forms in KINDS.items():
            wrapped = [forms[i % len(forms)].format(text) for i, text in enumerate(texts)]
            runs = {}
            for method, routed in zip(METHODS, _routes(loaded, router, wrapped), strict=True):
                routes = [one[0].route for one in routed]
                runs[method] = [Run(_metrics(asked, alone, routes))]
                say(f"{kind}, {method}: {runs[method][0].metrics}")
            result.add({"kind": kind}, runs)


def _vectors(loaded: Loaded, texts: Sequence[str]) -> torch.Tensor:
    done = loaded.backbone.prefill(
        [loaded.backbone.format.query(text) for text in texts],
        keep_states=False,
        feature_layers=loaded.basis.layers.pooled,
    )
    assert done.pooled is not None
    return loaded.basis.project(done.pooled, loaded.backbone.hidden_size)


def _routes(
    loaded: Loaded, router: DiscriminantRouter, texts: Sequence[str]
) -> tuple[list[list[Candidate]], list[list[Candidate]]]:
    """By the whole texts, and by what is left of them too."""
    whole = router.rank(_vectors(loaded, texts))
    return whole, route_inner(loaded.backbone, router, texts, whole)


def _metrics(asked: Sequence[tuple[str, str]], alone: Sequence[str], routes: Sequence[str]) -> dict[str, Any]:
    """How often the route is that of the message alone, and how often it is right."""
    known = [
        (name, before, now) for (name, _), before, now in zip(asked, alone, routes, strict=True) if name != NONE_ROUTE
    ]
    plain = [now for (name, _), now in zip(asked, routes, strict=True) if name == NONE_ROUTE]
    return {
        "same": sum(before == now for before, now in zip(alone, routes, strict=True)) / len(routes),
        "known_recall": sum(name == now for name, _, now in known) / len(known),
        "known_recall_alone": sum(name == before for name, before, _ in known) / len(known),
        "chat_false_trigger_rate": sum(now != NONE_ROUTE for now in plain) / max(1, len(plain)),
    }


if __name__ == "__main__":
    sys.exit(main())
