"""``train``: train procedures of a profile; see ``tui.engine.training``."""

from __future__ import annotations

from collections.abc import Iterator

from tui.engine import training
from tui.engine.engine import Engine
from tui.engine.operation import ProfileFields, operation
from tui.engine.request import Request
from tui.engine_client.protocol import TrainResult


class TrainFields(ProfileFields):
    """Fields of a training. Those that need not be there:

    ``names`` (list of texts; without it, all that need training), ``job`` (number of the queued job), ``preset``,
    ``span``, ``router`` and ``seed``; and ``improve`` (true: go on from the memories that answer, with verdicts on
    their answers; ``preset``, ``span`` and ``router`` have no say then).
    """


@operation("train", fields=TrainFields, result=TrainResult, waits="patient")
def train(engine: Engine, request: Request) -> Iterator[None]:
    """Train, measure and keep a candidate memory for each procedure."""
    yield from engine.ready(request)
    job = f"train in {request.text('profile')}"
    with engine.jobs.named(request, job), engine.profile(request) as (store, settings):
        yield from training.train(request, store, settings, engine.paths, engine.model, engine.bank_cache)
