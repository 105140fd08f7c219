"""``load``, ``fit`` and ``fetch``: get the model into memory, get to know it, or get it onto the disk alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypedDict

from tui.engine.engine import Engine
from tui.engine.operation import ModelFields, operation
from tui.engine.request import Request
from tui.engine_client.protocol import BackboneInfo


class FetchResult(TypedDict):
    """``id``: of the model that is on the disk now."""

    id: str


class LoadFields(ModelFields, total=False):
    """``fit``: false where plain chat is enough for now; ``fit`` can be asked for later. True without it."""

    fit: bool


class FitResult(TypedDict):
    """``id``: of the model that procedures can be used with now."""

    id: str


@operation("load", fields=LoadFields, result=BackboneInfo)
def load(engine: Engine, request: Request) -> Iterator[None]:
    """Load the model, after a download where that is needed and allowed."""
    yield from engine.ready_to_chat(request) if request.fields.get("fit") is False else engine.ready(request)
    request.emit("done", result=engine.model.describe())


@operation("fit", fields=ModelFields, result=FitResult, waits="aside")
def fit(engine: Engine, request: Request) -> Iterator[None]:
    """Learn, once per model, what procedures need of it. Answers go first, so plain chat works meanwhile."""
    yield from engine.ready(request)
    request.emit("done", result={"id": engine.model.backbone.model_id})


@operation("fetch", fields=ModelFields, result=FetchResult)
def fetch(engine: Engine, request: Request) -> Iterator[None]:
    """Fetch and convert the model without loading it."""
    request.emit("done", result={"id": engine.model.fetch(request.report_phase, request.cancelled.is_set)})
    yield
