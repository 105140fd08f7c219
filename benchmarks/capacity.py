"""How a bank bears being full: from ten to twenty thousand procedures in one router.

scale       more and more procedures beside the real ones: accuracy on the real ones' test texts, seconds, memory
similarity  a thousand procedures that resemble the real ones more and more: the interference curve
rounds      twenty rounds of additions: the token router with and without renormalisation (TokMem eq. 5 and 6), and ours
sequence    procedures learned one after the other: routing and answers of the first after each (with --tasks)

Real intents come first. Further procedures are made from real text: the middle of each is the vector of a training
text, turned toward a real procedure's mean by the wanted cosine, and its inputs scatter around it as a real
procedure's do.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.capacity_rounds import TokenRounds
from benchmarks.data import RoutingData, load_routing, load_tasks
from benchmarks.measure import routing_metrics
from benchmarks.methods import Context
from benchmarks.methods.memories import Recalled, learn_ours
from benchmarks.models import load
from benchmarks.options import Options, add_method_options, make_parser, numbers, run_program, say
from benchmarks.result import Metrics, ResultFile, Run
from benchmarks.routers import Ranking
from benchmarks.routing_features import Features, compute
from tokmem_desk.memory.router_statistics import RouterStatistics
from tokmem_desk.routing.routers import DiscriminantRouter, Router
from trainer.evaluate import answer_tokens
from trainer.metrics import score_answers

SECTIONS = ("scale", "similarity", "rounds", "sequence")
_SIZES = (10, 100, 1000, 5000, 20000)
_SIMILARITIES = (0.0, 0.3, 0.5, 0.7, 0.9)
_CROWD = 1000
_ROUNDS = 20
_SHOTS = 20
_TIMED = 50


@dataclass(frozen=True, slots=True)
class Real:
    """Real procedures: their statistics, their inputs' vectors and their test texts' vectors, by name."""

    statistics: dict[str, RouterStatistics]
    inputs: dict[str, Tensor]
    tests: dict[str, Tensor]
    none: Tensor


def main(arguments: Sequence[str] | None = None) -> int:
    parser = make_parser("capacity", __doc__)
    add_method_options(parser, ["ours"])
    parser.add_argument("--sections", default=",".join(SECTIONS), metavar="A,B", help=f"of {', '.join(SECTIONS)}")
    parser.add_argument("--sizes", type=numbers, default=_SIZES, metavar="N[,N]", help="procedures in the bank")
    parser.add_argument("--tasks", type=Path, metavar="DIR", help="folder of procedures for the section 'sequence'")
    given = vars(parser.parse_args(arguments))
    sections = [part for part in given.pop("sections").split(",") if part]
    if unknown := [part for part in sections if part not in SECTIONS]:
        parser.error(f"{', '.join(unknown)} is none of {', '.join(SECTIONS)}")
    sizes, tasks = given.pop("sizes"), given.pop("tasks")
    return run_program(lambda: run(Options(**given), sections, sizes, tasks))


def run(options: Options, sections: Sequence[str], sizes: Sequence[int], tasks: Path | None) -> None:
    """Run the sections and write the result.

    Raises:
        TokmemError: the data or the model cannot be used.
    """
    data = load_routing(options.data)
    loaded = load(options)
    context = Context(loaded, {})
    shots = options.shots[0] if options.shots else _SHOTS
    chosen = _chosen(data, shots, options)
    unique = list(dict.fromkeys([*_texts(chosen.train), *_texts(chosen.test), *chosen.none_messages]))
    features = compute(context, unique, with_retriever=False)
    place = {text: i for i, text in enumerate(unique)}
    head = {
        "benchmark": "capacity",
        "backbone": loaded.facts,
        "data": {"name": options.data.name, "real": len(chosen.train), "shots": shots, "limit": options.limit},
        "seeds": [0],
    }
    real = _real(chosen, features, place, loaded.basis.digest)
    with ResultFile(options.out, head) as result:
        if "scale" in sections:
            for size in sizes:
                _add(result, {"section": "scale", "procedures": size}, {"ours": _crowded(context, real, size, 0.0)})
        if "similarity" in sections:
            for similarity in _SIMILARITIES:
                setting = {"section": "similarity", "procedures": _CROWD, "similarity": similarity}
                _add(result, setting, {"ours": _crowded(context, real, len(real.statistics) + _CROWD, similarity)})
        if "rounds" in sections:
            for setting, runs in _rounds(context, chosen, features, place, real):
                _add(result, {"section": "rounds", **setting}, runs)
        if "sequence" in sections and tasks is not None:
            for setting, runs in _sequence(context, tasks, options):
                _add(result, {"section": "sequence", **setting}, runs)


def _add(result: ResultFile, setting: dict[str, Any], runs: dict[str, Metrics]) -> None:
    result.add(setting, {name: [Run(metrics)] for name, metrics in runs.items()})
    for name, metrics in runs.items():
        figures = "  ".join(f"{k} {v:.4g}" for k, v in metrics.items() if v is not None)
        say(f"{' '.join(f'{k} {v}' for k, v in setting.items())}  {name}: {figures}")


def _texts(parts: dict[str, list[str]]) -> list[str]:
    return [text for texts in parts.values() for text in texts]


def _chosen(data: RoutingData, shots: int, options: Options) -> RoutingData:
    names = sorted(data.train)[: options.procedures[0] if options.procedures else None]
    train = {n: random.Random(n).sample(data.train[n], min(shots, len(data.train[n]))) for n in names}
    limit = options.limit or 10
    return RoutingData(train, {n: data.test[n][:limit] for n in names}, data.none_messages)


def _real(data: RoutingData, features: Features, place: dict[str, int], digest: str) -> Real:
    def vectors(texts: Sequence[str]) -> Tensor:
        return features.projected[torch.tensor([place[text] for text in texts], dtype=torch.long)].cpu()

    inputs = {name: vectors(texts) for name, texts in data.train.items()}
    return Real(
        {name: RouterStatistics.of(rows, digest) for name, rows in inputs.items()},
        inputs,
        {name: vectors(texts) for name, texts in data.test.items()},
        vectors(data.none_messages),
    )


# --- scale and similarity ----------------------------------------------------------------------------


def synthetic(real: Real, count: int, similarity: float, digest: str, seed: int = 0) -> dict[str, RouterStatistics]:
    """Procedures made from real text, each at a given cosine to some real procedure's mean."""
    generator = torch.Generator().manual_seed(seed)
    means = torch.stack([one.mean for one in real.statistics.values()])
    means = means / means.norm(dim=1, keepdim=True)
    spoken = torch.cat([*real.inputs.values()])
    names = list(real.inputs)

    def drawn(size: int) -> int:
        return int(torch.randint(size, (1,), generator=generator))

    made = {}
    for number in range(count):
        toward = means[drawn(len(means))]
        text = spoken[drawn(len(spoken))]
        aside = text - (text @ toward) * toward
        middle = similarity * toward + (1 - similarity**2) ** 0.5 * aside / aside.norm().clamp_min(1e-9)
        model = names[drawn(len(names))]
        scatter = real.inputs[model] - real.statistics[model].mean
        # As long as a real mean: inputs of unit length scatter around it.
        inputs = middle * real.statistics[model].mean.norm() + scatter
        made[f"made-{number}"] = RouterStatistics.of(inputs / inputs.norm(dim=1, keepdim=True), digest)
    return made


def _crowded(context: Context, real: Real, size: int, similarity: float) -> Metrics:
    """A bank of ``size``: the real ones first, then made ones."""
    basis = context.loaded.basis
    names = list(real.statistics)[:size]
    statistics = {name: real.statistics[name] for name in names}
    statistics |= synthetic(real, size - len(names), similarity, basis.digest)
    began = time.perf_counter()
    router = DiscriminantRouter(basis, context.backbone.hidden_size, statistics)
    fit = time.perf_counter() - began
    metrics = _measure(router, real, names)
    few = torch.cat([real.tests[name] for name in names])[:_TIMED]
    began = time.perf_counter()
    for vector in few:
        router.rank(vector[None])
    metrics["rank_seconds"] = (time.perf_counter() - began) / len(few)
    metrics["fit_seconds"] = fit
    metrics["router_mb"] = router.bytes / 2**20
    metrics["nearest_cosine"] = _nearest_cosine(statistics)
    return metrics


def _measure(router: DiscriminantRouter, real: Real, names: Sequence[str]) -> Metrics:
    def ranked(vectors: Tensor) -> list[Ranking]:
        return [[(c.route, c.probability) for c in row] for row in router.rank(vectors)]

    return routing_metrics(list(names), {name: ranked(real.tests[name]) for name in names}, ranked(real.none))


def _nearest_cosine(statistics: dict[str, RouterStatistics]) -> float | None:
    """How alike the most alike procedures are, on average: rises as the space fills up."""
    if len(statistics) < 2:
        return None
    means = torch.stack([one.mean for one in statistics.values()])
    means = means / means.norm(dim=1, keepdim=True).clamp_min(1e-12)
    nearest = []
    for start in range(0, len(means), 1000):
        cosines = means[start : start + 1000] @ means.T
        cosines[torch.arange(len(cosines)), start + torch.arange(len(cosines))] = -1.0
        nearest.append(cosines.max(dim=1).values)
    return float(torch.cat(nearest).mean())


# --- rounds ------------------------------------------------------------------------------------------


def _rounds(
    context: Context, data: RoutingData, features: Features, place: dict[str, int], real: Real
) -> list[tuple[dict[str, Any], dict[str, Metrics]]]:
    """Additions in rounds; after each, accuracy on the first round's procedures and on all so far."""
    names = list(data.train)
    per_round = max(1, len(names) // _ROUNDS)
    plain, renormalised = (TokenRounds(context, features, renormalised=flag) for flag in (False, True))
    found = []
    for number in range(min(_ROUNDS, len(names) // per_round)):
        added = names[number * per_round : (number + 1) * per_round]
        rows = [place[text] for name in added for text in data.train[name]]
        labels = [label for label, name in enumerate(added) for _ in data.train[name]]
        runs: dict[str, Metrics] = {}
        so_far = names[: (number + 1) * per_round]
        for method, rounds in (("token", plain), ("token-renormalised", renormalised)):
            rounds.add(added, rows, labels, seed=number)
            tests = {n: [place[text] for text in data.test[n]] for n in so_far}
            runs[method] = _kept(rounds.router(), features, tests, names[:per_round]) | rounds.norms()
        statistics = {name: real.statistics[name] for name in so_far}
        router = DiscriminantRouter(context.loaded.basis, context.backbone.hidden_size, statistics)
        first = _measure(router, real, names[:per_round])
        runs["ours"] = {
            "first_round_accuracy": first["routing_accuracy"],
            "routing_accuracy": _measure(router, real, so_far)["routing_accuracy"],
        }
        found.append(({"round": number + 1, "procedures": len(so_far)}, runs))
    return found


def _kept(router: Router, features: Features, tests: dict[str, list[int]], first: Sequence[str]) -> Metrics:
    def right(names: Sequence[str]) -> float:
        hits = [
            next(c.route for c in ranked if c.route != "none") == name
            for name in names
            for ranked in router.candidates(features.prefilled(tests[name]))
        ]
        return sum(hits) / len(hits)

    return {"first_round_accuracy": right(first), "routing_accuracy": right(list(tests))}


# --- sequence ----------------------------------------------------------------------------------------


def _sequence(context: Context, folder: Path, options: Options) -> list[tuple[dict[str, Any], dict[str, Metrics]]]:
    """Ten procedures, one after the other; the first's routing and answers after each."""
    tasks = load_tasks(folder).procedures[:10]
    tasks = [replace(p, held_out=p.held_out[: options.limit]) for p in tasks]
    first = tasks[0]
    limit = answer_tokens(context.backbone, first.held_out)
    messages = [pair.input for pair in first.held_out]
    learned: list[Recalled] = []
    found = []
    for count, task in enumerate(tasks, start=1):
        learned.append(learn_ours(context, [task], 0))
        bank = learned[0].beside(learned[1:])
        answers = [reply.text for reply in bank.answer(first.name, messages, limit)]
        rankings = bank.rank(messages)
        metrics: Metrics = {
            "first_rouge_l": score_answers(answers, first.held_out, first.pattern).rouge_l,
            "first_known_recall": sum(r[0][0] == first.name for r in rankings) / len(rankings),
        }
        found.append(({"procedures": count, "added": task.name}, {"ours": metrics}))
    return found


if __name__ == "__main__":
    sys.exit(main())
