"""``load`` and ``fetch``: get the model into memory, or onto the disk alone."""

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


@operation("load", fields=ModelFields, result=BackboneInfo)
def load(engine: Engine, request: Request) -> Iterator[None]:
    """Load the model, after a download where that is needed and allowed."""
    yield from engine.ready(request)
    request.emit("done", result=engine.model.describe())


@operation("fetch", fields=ModelFields, result=FetchResult)
def fetch(engine: Engine, request: Request) -> Iterator[None]:
    """Fetch and convert the model without loading it."""
    request.emit("done", result={"id": engine.model.fetch(request.report_phase, request.cancelled.is_set)})
    yield
