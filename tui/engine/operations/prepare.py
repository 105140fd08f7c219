"""``prepare``: learn where memories of the loaded model start; see ``tui.engine.preparation``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypedDict

from tui.engine import preparation
from tui.engine.engine import Engine
from tui.engine.operation import ModelFields, operation
from tui.engine.request import Request


class PrepareFields(ModelFields, total=False):
    """``steps``: optimizer steps of the run."""

    steps: int


class PrepareResult(TypedDict):
    """``loss`` in nats per labelled token, None before the first step; ``digest`` of the prior, None without one."""

    id: str
    cancelled: bool
    steps: int
    loss: float | None
    seconds: float
    digest: str | None
    file: str


@operation("prepare", fields=PrepareFields, result=PrepareResult, waits="patient")
def prepare(engine: Engine, request: Request) -> Iterator[None]:
    """Learn a prior, and take it into use."""
    yield from engine.ready(request)
    with engine.jobs.named(request, f"prepare {engine.model.backbone.model_id}"):
        yield from preparation.prepare(request, engine.paths, engine.model)
