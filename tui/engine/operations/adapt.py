"""``adapt``: the paper's adaptation phase on the loaded model; see ``tui.engine.adaptation``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypedDict

from tui.engine import adaptation
from tui.engine.engine import Engine
from tui.engine.operation import ModelFields, operation
from tui.engine.request import Request


class AdaptFields(ModelFields, total=False):
    """``examples``: how many auxiliary requests are learned from."""

    examples: int


class AdaptResult(TypedDict):
    """``loss`` in nats per labelled token; ``file`` holds the adapter."""

    id: str
    cancelled: bool
    steps: int
    loss: float
    seconds: float
    file: str


@operation("adapt", fields=AdaptFields, result=AdaptResult)
def adapt(engine: Engine, request: Request) -> Iterator[None]:
    """Adapt the model to chains of memories."""
    yield from engine.ready(request)
    with engine.jobs.named(request, f"adapt {engine.model.backbone.model_id}"):
        yield from adaptation.adapt(request, engine.paths, engine.model)
