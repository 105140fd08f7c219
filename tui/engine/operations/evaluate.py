"""``eval``: measure a profile's active memories; see ``tui.engine.evaluation``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypedDict

from tokmem_desk.errors import UsageError
from tokmem_desk.procedures import ExamplePair
from tui.engine import evaluation
from tui.engine.engine import Engine
from tui.engine.operation import ProfileFields, operation
from tui.engine.request import Request
from tui.engine_client.protocol import Confusion


class EvaluateFields(ProfileFields):
    """Fields of a measurement. Those that need not be there:

    ``names`` (list of texts; without it, all that may answer) and ``pairs`` (list of {input, response, references};
    without it, the held-out pairs).
    """


class EvaluateResult(TypedDict):
    """The keys of ``eval --json``. Shares are 0 to 1; ``e2e_…`` with the router's own choice of procedure."""

    routing_accuracy: float
    known_recall: float
    none_auroc: float | None
    false_trigger_rate: float
    calibration_error: float
    exact_match: float
    rouge_l: float
    form_valid: float | None
    e2e_exact_match: float
    e2e_rouge_l: float
    trained_parameters: int
    prompt_tokens: int
    query_seconds: float
    confusion: Confusion
    per_procedure: dict[str, dict[str, Any]]


@operation("eval", fields=EvaluateFields, result=EvaluateResult, waits="patient")
def evaluate(engine: Engine, request: Request) -> Iterator[None]:
    """Measure answers and routes."""
    yield from engine.ready(request)
    entries = request.fields.get("pairs")
    pairs = None if entries is None else [_pair(entry) for entry in entries]
    with engine.profile(request) as (store, settings):
        yield from evaluation.evaluate(request, store, settings, engine.model, engine.bank_cache, pairs)


def _pair(entry: Any) -> ExamplePair:
    if (
        not isinstance(entry, dict)
        or not isinstance(entry.get("input"), str)
        or not isinstance(entry.get("response"), str)
    ):
        raise UsageError("Pairs are a list of {input, response}.")
    return ExamplePair(entry["input"], entry["response"], tuple(entry.get("references") or ()))
