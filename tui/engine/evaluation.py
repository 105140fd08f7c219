"""Measure memories: the scorecard after a training, and the ``eval`` operation."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from profiles.settings.settings import Settings
from profiles.store.store import ProfileStore
from tokmem_desk import background
from tokmem_desk.errors import BadInputError, InterruptedByUser, UsageError
from tokmem_desk.generation.recall import Bank, Routed, answer_messages, route_messages
from tokmem_desk.procedures import NONE_ROUTE, ExamplePair
from trainer.evaluate import (
    ROWS_AT_ONCE,
    Answered,
    PromptAnswered,
    advice,
    answer_from_prompt,
    answer_pairs,
    answer_tokens,
    contradictions,
    with_shift,
)
from trainer.metrics import RoutingScores, exact_match, score_answers, score_routes
from tui.engine.held_out import Holdout, Measured, measured
from tui.engine.previous_memory import PreviousMemory, measure_previous
from tui.engine.template_check import CheckedMemory, check_template
from tui.kit.verdict import HOLDOUT_FROM, count_faults

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.memory.memory import Memory
    from trainer.loop import TrainResult
    from tui.engine.bank_cache import BankCache
    from tui.engine.models import LoadedModel
    from tui.engine.request import Request

_SAMPLES = 5
_ROUTE_BATCH = 32


@dataclass(frozen=True, slots=True)
class Scored:
    """A finished scorecard, in the form of ``protocol.Scorecard``, and the memory that it is of."""

    card: dict[str, Any]
    memory: Memory


def unmeasured_scorecard(
    backbone: Backbone, holdout: Holdout, memory: Memory, bank: Bank, result: TrainResult
) -> Scored:
    """The scorecard of a memory that nothing is held out for: whether it takes ordinary chat, and no answers."""
    chat = background.chat_for_measuring()
    routing = _score_routing(backbone, bank, chat, [NONE_ROUTE] * len(chat))
    card = {
        "pairs": len(holdout.procedure.pairs),
        "held_out": 0,
        "held_out_source": holdout.source,
        "false_trigger_rate": routing.false_trigger_rate,
        "confusion": {"labels": routing.labels, "counts": routing.counts},
        "advice": contradictions(holdout.procedure),
        "seconds": result.seconds,
        "span": memory.steering.span,
        "steps": result.steps,
    }
    return Scored(card, memory)


def scorecard(
    backbone: Backbone,
    holdout: Holdout,
    memory: Memory,
    bank: Bank,
    result: TrainResult,
    *,
    with_prompt: bool,
    keep_form: bool = True,
    previous: PreviousMemory | None = None,
) -> Iterator[float | Scored]:
    """Measure one memory on pairs it did not learn; yields the share done, then the card.

    Args:
        memory: as trained; the one that comes back has no answer template where that did harm.
        keep_form: the setting of that name: whether templates hold answers at present.
    """
    procedure, held_out = holdout.procedure, holdout.held_out
    if not held_out:
        yield unmeasured_scorecard(backbone, holdout, memory, bank, result)
        return
    parts = 3 + with_prompt + (previous is not None)
    checked: CheckedMemory | None = None
    base: Answered | None = None
    prompt: PromptAnswered | None = None
    for checking in check_template(backbone, memory, procedure, held_out, keep_form=keep_form):
        if isinstance(checking, CheckedMemory):
            checked = checking
        else:
            yield checking / parts
    for step in answer_pairs(backbone, held_out, None, procedure.pattern):
        if isinstance(step, Answered):
            base = step
        else:
            yield (1 + step) / parts
    if with_prompt:
        for shown in answer_from_prompt(backbone, procedure, held_out):
            if isinstance(shown, PromptAnswered):
                prompt = shown
            else:
                yield (2 + shown) / parts
    assert checked is not None and base is not None
    answered = checked.answered
    comparison: dict[str, Any] | None = None
    if previous is not None:
        said = dict(zip((pair.input for pair in held_out), answered.answers, strict=True))
        now_answers = [said[pair.input] for pair in previous.pairs]
        for compared in measure_previous(backbone, previous, procedure, now_answers, bank):
            if isinstance(compared, dict):
                comparison = compared
            else:
                yield (parts - 2 + compared) / parts
    truth = [procedure.name] * len(held_out)
    messages = [pair.input for pair in held_out]
    chat = background.chat_for_measuring()
    routed: list[Routed] = []
    for batch in _routed_batches(backbone, bank, messages + chat):
        routed += batch
        yield (parts - 1 + len(routed) / len(messages + chat)) / parts
    routing = _routing_scores(bank, truth + [NONE_ROUTE] * len(chat), routed)
    yield Scored(
        {
            "pairs": len(procedure.pairs),
            "held_out": len(held_out),
            "held_out_source": holdout.source,
            "routing_accuracy": routing.known_recall,
            "false_trigger_rate": routing.false_trigger_rate,
            "exact_match": answered.scores.exact_match,
            "rouge_l": answered.scores.rouge_l,
            "form_valid": answered.scores.form_valid,
            "base": _plain(base.scores),
            "before": comparison,
            "prompt": None if prompt is None else {**_plain(prompt.scores), "tokens": prompt.tokens},
            "confusion": {"labels": routing.labels, "counts": routing.counts},
            "samples": [
                {"input": pair.input, "expected": pair.response, "got": got, "base": untrained}
                for pair, got, untrained in zip(held_out, answered.answers, base.answers, strict=True)
            ][:_SAMPLES],
            "faults": count_faults(
                [
                    (pair.response, got)
                    for pair, got in zip(held_out, answered.answers, strict=True)
                    if not exact_match(got, pair.accepted)
                ]
            ),
            "advice": [
                *([] if checked.dropped is None else [checked.dropped.advice]),
                *advice(
                    procedure,
                    answered.scores,
                    prompt.scores if prompt is not None else None,
                    routing.known_recall,
                    memory.steering.span,
                ),
            ],
            "seconds": result.seconds,
            "span": memory.steering.span,
            "steps": result.steps,
        },
        with_shift(checked.memory, held_out, answered),
    )


def evaluate(
    request: Request,
    store: ProfileStore,
    settings: Settings,
    model: LoadedModel,
    bank_cache: BankCache,
    given: Sequence[ExamplePair] | None,
) -> Iterator[None]:
    """Measure the profile's active memories; sends ``done`` with the keys of ``eval --json``.

    Raises:
        UsageError: pairs were given for more or less than one procedure.
        BadInputError: nothing to measure on.
    """
    backbone = model.backbone
    bank = bank_cache.bank(store, settings.text("router"), settings.number("none_bias"), settings.flag("keep_form"))
    names = request.fields.get("names") or sorted(bank.memories)
    if given is not None and len(names) != 1:
        raise UsageError("Pairs from a file measure one procedure.", next_step="Name it: eval NAME --pairs FILE.")
    for name in names:
        store.procedures.get(name)
        if name not in bank.memories:
            raise BadInputError(
                f"{name!r} has no active memory on this model, or is disabled.",
                next_step=f"Train it: tokmem-desk train {name}",
            )
    fingerprint = backbone.fingerprint.digest
    measures = {
        name: Measured(tuple(given), True) if given is not None else measured(store, name, fingerprint)
        for name in names
    }
    tests = {name: one.pairs for name, one in measures.items()}
    if not any(tests.values()):
        raise BadInputError(
            "There are no pairs to measure on that were not learned.",
            next_step=f"Hold some pairs out, or train from {HOLDOUT_FROM} pairs or more, or use --pairs FILE.",
        )
    began = time.monotonic()
    per_procedure: dict[str, dict[str, Any]] = {}
    collected: list[tuple[str, ExamplePair, str]] = []
    for place, name in enumerate(names):
        if not tests[name]:
            continue
        pattern = store.procedures.get(name).pattern
        for step in answer_pairs(backbone, tests[name], bank.memories[name], pattern, bank.schemas.get(name)):
            if isinstance(step, Answered):
                per_procedure[name] = {**asdict(step.scores), "tests": len(tests[name])}
                if not measures[name].known:
                    per_procedure[name]["held_out_known"] = False
                collected += [(name, p, a) for p, a in zip(tests[name], step.answers, strict=True)]
            else:
                request.emit("progress", phase="evaluate", fraction=(place + step) / len(names), text=name)
                yield
                if request.cancelled.is_set():
                    raise InterruptedByUser("The evaluation was stopped.")
    messages = [pair.input for _, pair, _ in collected]
    chat = background.chat_for_measuring()
    routed = _route_all(backbone, bank, messages + chat)
    routing = _routing_scores(bank, [n for n, _, _ in collected] + [NONE_ROUTE] * len(chat), routed)
    yield
    end_to_end = _end_to_end(backbone, bank, collected, routed)
    yield
    pairs = [pair for _, pair, _ in collected]
    scores = score_answers([answer for _, _, answer in collected], pairs)
    forms = [v["form_valid"] for v in per_procedure.values() if v["form_valid"] is not None]
    routed_scores = score_answers(end_to_end, pairs)
    for name, entry in per_procedure.items():
        rows = [i for i, (n, _, _) in enumerate(collected) if n == name]
        entry["known_recall"] = sum(routed[i].route == name for i in rows) / len(rows)
        entry["e2e_rouge_l"] = score_answers([end_to_end[i] for i in rows], [pairs[i] for i in rows]).rouge_l
    request.emit(
        "done",
        result={
            "routing_accuracy": routing.routing_accuracy,
            "known_recall": routing.known_recall,
            "none_auroc": routing.none_auroc,
            "false_trigger_rate": routing.false_trigger_rate,
            "calibration_error": routing.calibration_error,
            "exact_match": scores.exact_match,
            "rouge_l": scores.rouge_l,
            "form_valid": sum(forms) / len(forms) if forms else None,
            "e2e_exact_match": routed_scores.exact_match,
            "e2e_rouge_l": routed_scores.rouge_l,
            "trained_parameters": sum(bank.memories[n].steering.parameter_count() for n in names),
            "prompt_tokens": max(bank.memories[n].steering.span for n in names),
            "query_seconds": (time.monotonic() - began) / len(collected),
            "confusion": {"labels": routing.labels, "counts": routing.counts},
            "per_procedure": per_procedure,
        },
    )


def _plain(scores: Any) -> dict[str, float]:
    return {"exact_match": scores.exact_match, "rouge_l": scores.rouge_l}


def _route_all(backbone: Backbone, bank: Bank, messages: Sequence[str]) -> list[Routed]:
    return [routed for batch in _routed_batches(backbone, bank, messages) for routed in batch]


def _routed_batches(backbone: Backbone, bank: Bank, messages: Sequence[str]) -> Iterator[Sequence[Routed]]:
    for start in range(0, len(messages), _ROUTE_BATCH):
        yield route_messages(backbone, bank, messages[start : start + _ROUTE_BATCH])


def _routing_scores(bank: Bank, truth: Sequence[str], routed: Sequence[Routed]) -> RoutingScores:
    ranked = [[(c.route, c.probability) for c in r.candidates] for r in routed]
    return score_routes(truth, ranked, [*sorted(bank.memories), NONE_ROUTE], NONE_ROUTE)


def _score_routing(backbone: Backbone, bank: Bank, messages: Sequence[str], truth: Sequence[str]) -> RoutingScores:
    return _routing_scores(bank, truth, _route_all(backbone, bank, messages))


def _end_to_end(
    backbone: Backbone, bank: Bank, collected: Sequence[tuple[str, ExamplePair, str]], routed: Sequence[Routed]
) -> list[str]:
    """Answers under the router's choice; those routed right have been answered already."""
    answers = [answer for _, _, answer in collected]
    wrong = [i for i, (name, _, _) in enumerate(collected) if routed[i].route != name]
    if wrong:
        limit = answer_tokens(backbone, [collected[i][1] for i in wrong])
        routes = [routed[i].route for i in wrong]
        fresh = answer_messages(
            backbone,
            [collected[i][1].input for i in wrong],
            [bank.memories.get(route) for route in routes],
            schemas=[bank.schemas.get(route) for route in routes],
            max_tokens=limit,
            rows_at_once=ROWS_AT_ONCE,
        )
        for i, answer in zip(wrong, fresh, strict=True):
            answers[i] = answer
    return answers
