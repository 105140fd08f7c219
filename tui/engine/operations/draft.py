"""``draft``: suggest pairs for a procedure, each in a ``draft`` event; see ``tui.engine.drafting``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypedDict

from tui.engine import drafting
from tui.engine.engine import Engine
from tui.engine.operation import operation
from tui.engine.operations.overlap import ProcedureFields
from tui.engine.request import Request


class DraftResult(TypedDict):
    """``drafted`` pairs came of so many ``attempts``."""

    drafted: int
    attempts: int
    cancelled: bool


@operation("draft", fields=ProcedureFields, result=DraftResult, waits="aside")
def draft(engine: Engine, request: Request) -> Iterator[None]:
    """Draft pairs; ``count`` (whole number) and ``seed`` may be given."""
    yield from engine.ready_to_chat(request)
    with engine.profile(request) as (store, settings):
        memory = None
        if store.memories.active(request.text("name"), engine.model.backbone.fingerprint.digest) is not None:
            yield from engine.ready(request)
            memory = engine.bank(store, settings).memories.get(request.text("name"))
        yield from drafting.draft(request, store, engine.model.backbone, memory)
