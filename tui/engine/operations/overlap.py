"""``overlap`` and ``effect``: where messages would go, and at which threshold; see ``tui.engine.overlap``."""

from __future__ import annotations

from collections.abc import Iterator

from tui.engine import overlap as overlaps
from tui.engine.engine import Engine
from tui.engine.operation import ProfileFields, operation
from tui.engine.request import Request
from tui.engine_client.protocol import Effect, Overlap


class ProcedureFields(ProfileFields):
    """``name``: of the procedure."""

    name: str


@operation("overlap", fields=ProcedureFields, result=Overlap, waits="aside")
def overlap(engine: Engine, request: Request) -> Iterator[None]:
    """Tell where a procedure's pairs would go."""
    yield from engine.ready(request)
    with engine.profile(request) as (store, settings):
        yield from overlaps.overlap(request, store, settings, engine.model, engine.bank_cache, engine.vectors)


@operation("effect", fields=ProcedureFields, result=Effect, waits="aside")
def effect(engine: Engine, request: Request) -> Iterator[None]:
    """Tell what any threshold of a procedure would change."""
    yield from engine.ready(request)
    with engine.profile(request) as (store, settings):
        yield from overlaps.effect(request, store, settings, engine.model, engine.bank_cache, engine.vectors)
