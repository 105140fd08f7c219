"""Measure one method with one seed: with the right route given, end to end, and its routing."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.methods import Context, Learned, Learner, Reply
from benchmarks.peaks import peak_memory
from benchmarks.result import Metrics, Run, mean_over
from benchmarks.routers import Ranking
from benchmarks.sureness import Sureness, answer_calibration_error, exact_at_half
from tokmem_desk.procedures import NONE_ROUTE, ExamplePair, Procedure
from trainer.evaluate import answer_tokens
from trainer.metrics import exact_match, score_answers, score_routes

ROUTING_KEYS = ("routing_accuracy", "none_auroc", "known_recall", "false_trigger_rate", "calibration_error")


@dataclass(frozen=True, slots=True)
class Measured:
    """Figures, and a row per test example and none message."""

    run: Run
    predictions: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class _Answered:
    """What a method made of one procedure's test pairs.

    Attributes:
        given: replies with the right route given.
        rankings, routed: its own routes, and the answers under them; None for a method without a router.
        seconds: for ``given``.
    """

    pairs: Sequence[ExamplePair]
    given: list[Reply]
    rankings: list[Ranking] | None
    routed: list[Reply] | None
    seconds: float


def measure(
    learner: Learner,
    context: Context,
    procedures: Sequence[Procedure],
    none_messages: Sequence[str],
    seed: int,
    half_of: Mapping[str, str] | None = None,
) -> Measured:
    """Learn, answer and route; leaves the backbone as it was.

    Args:
        half_of: the half of each procedure, see ``benchmarks.data.halves``; None reports none apart.
    """
    with peak_memory(str(context.backbone.torch_device)) as peak:
        learned = learner(context, procedures, seed)
        try:
            answered = {p.name: _answer(learned, context, p) for p in procedures if p.held_out}
            none_rankings = learned.rank(none_messages) if none_messages else None
        finally:
            learned.close()
    per_procedure = {p.name: _scores(p, answered[p.name], learned) for p in procedures if p.name in answered}
    sureness = {name: found for name, a in answered.items() if (found := _sureness(a))}
    metrics = mean_over([*per_procedure.values()]) | _sure_figures(sureness)
    halves: dict[str, list[str]] = {}
    for name in per_procedure if half_of else ():
        halves.setdefault((half_of or {})[name], []).append(name)
    of_halves = {
        half: mean_over([per_procedure[name] for name in names])
        | _sure_figures({name: sureness[name] for name in names if name in sureness})
        for half, names in halves.items()
    }
    metrics |= routing_metrics(
        [p.name for p in procedures],
        {name: a.rankings for name, a in answered.items() if a.rankings is not None},
        none_rankings or [],
    )
    count = sum(len(a.pairs) for a in answered.values())
    metrics["trained_parameters"] = learned.trained_parameters
    metrics["train_seconds"] = sum(learned.seconds.values())
    metrics["query_seconds"] = sum(a.seconds for a in answered.values()) / count if count else None
    metrics["peak_memory_mb"] = peak.mb
    rows = [row for name, a in answered.items() for row in _rows(name, a)]
    for message, ranking in zip(none_messages, none_rankings or [], strict=False):
        rows.append({"procedure": NONE_ROUTE, "input": message, **_route(ranking)})
    return Measured(Run(metrics, per_procedure, learned.settings, of_halves, sureness, half_of or {}), rows)


def _sureness(answered: _Answered) -> list[Sureness]:
    """Of the answers with the right route given; empty where the method gives no probability."""
    return [
        Sureness(reply.probability, exact_match(reply.text, pair.accepted) == 1)
        for pair, reply in zip(answered.pairs, answered.given, strict=True)
        if reply.probability is not None
    ]


def _sure_figures(sureness: Mapping[str, Sequence[Sureness]]) -> Metrics:
    answers = [answer for found in sureness.values() for answer in found]
    return {
        "exact_at_half": exact_at_half(answers),
        "answer_calibration_error": answer_calibration_error(answers),
    }


def _answer(learned: Learned, context: Context, procedure: Procedure) -> _Answered:
    messages = [pair.input for pair in procedure.held_out]
    limit = answer_tokens(context.backbone, procedure.held_out)
    began = time.perf_counter()
    given = learned.answer(procedure.name, messages, limit)
    seconds = time.perf_counter() - began
    rankings = learned.rank(messages)
    if rankings is None:
        return _Answered(procedure.held_out, given, None, None, seconds)
    routed = [*given]
    by_route: dict[str, list[int]] = {}
    for i, ranking in enumerate(rankings):
        route = ranking[0][0]
        if route != procedure.name or not learned.answers_alike:
            by_route.setdefault(route, []).append(i)
    for route, places in by_route.items():
        replies = learned.answer_routed(route, [messages[i] for i in places], limit)
        for i, reply in zip(places, replies, strict=True):
            routed[i] = reply
    return _Answered(procedure.held_out, given, rankings, routed, seconds)


def _scores(procedure: Procedure, answered: _Answered, learned: Learned) -> Metrics:
    scores = score_answers([reply.text for reply in answered.given], answered.pairs, procedure.pattern)
    figures: Metrics = {
        "exact_match": scores.exact_match,
        "rouge_l": scores.rouge_l,
        "form_valid": scores.form_valid,
        "e2e_exact_match": None,
        "e2e_rouge_l": None,
        "e2e_form_valid": None,
        "edits_per_answer": scores.edits_per_answer,
        "e2e_edits_per_answer": None,
        "prompt_tokens": statistics.fmean(reply.prompt_tokens for reply in answered.given),
        "train_seconds": learned.seconds.get(procedure.name, 0.0),
    }
    if answered.routed is not None and answered.rankings is not None:
        routed = score_answers([reply.text for reply in answered.routed], answered.pairs, procedure.pattern)
        figures["e2e_exact_match"] = routed.exact_match
        figures["e2e_rouge_l"] = routed.rouge_l
        figures["e2e_form_valid"] = routed.form_valid
        figures["e2e_edits_per_answer"] = routed.edits_per_answer
        figures["known_recall"] = statistics.fmean(float(r[0][0] == procedure.name) for r in answered.rankings)
    return figures


def routing_metrics(
    names: Sequence[str], rankings: Mapping[str, Sequence[Ranking]], none_rankings: Sequence[Ranking]
) -> Metrics:
    """Figures of routing.

    Args:
        names: all routes but ``none``.
        rankings: of test queries, by their right route; empty for a method without a router.
        none_rankings: of messages that no route should answer.
    """
    if not rankings:
        return dict.fromkeys(ROUTING_KEYS)
    truth = [name for name, of_procedure in rankings.items() for _ in of_procedure] + [NONE_ROUTE] * len(none_rankings)
    ranked = [ranking for of_procedure in rankings.values() for ranking in of_procedure] + list(none_rankings)
    scores = score_routes(truth, ranked, [*names, NONE_ROUTE], NONE_ROUTE)
    return {key: getattr(scores, key) for key in ROUTING_KEYS}


def _route(ranking: Ranking) -> dict[str, Any]:
    return {"route": ranking[0][0], "probability": ranking[0][1]}


def _rows(name: str, answered: _Answered) -> list[dict[str, Any]]:
    rows = []
    for i, (pair, reply) in enumerate(zip(answered.pairs, answered.given, strict=True)):
        row: dict[str, Any] = {
            "procedure": name,
            "input": pair.input,
            "accepted": list(pair.accepted),
            "answer": reply.text,
        }
        if reply.probability is not None:
            row["answer_probability"] = reply.probability
        if answered.rankings is not None and answered.routed is not None:
            row |= {**_route(answered.rankings[i]), "e2e_answer": answered.routed[i].text}
        rows.append(row)
    return rows
