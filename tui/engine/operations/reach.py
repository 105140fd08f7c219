"""``reach``: which of some messages go elsewhere because of one verdict."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypedDict

from tokmem_desk.routing.routers import DiscriminantRouter
from tui.engine.bank_cache import tuning_of
from tui.engine.engine import Engine
from tui.engine.operation import ProfileFields, operation
from tui.engine.request import Request


class ReachFields(ProfileFields):
    """``text``: the corrected message; ``texts``: those that are routed with and without the verdict on it."""

    text: str
    texts: list[str]


class ReachResult(TypedDict):
    """``elsewhere``: how many of the messages go elsewhere now; ``of``: how many were looked at."""

    elsewhere: int
    of: int


@operation("reach", fields=ReachFields, result=ReachResult, waits="aside")
def reach(engine: Engine, request: Request) -> Iterator[None]:
    """Route the messages with and without the verdict."""
    corrected, texts = request.text("text"), list(dict.fromkeys(request.fields["texts"]))
    yield from engine.ready(request)
    with engine.profile(request) as (store, settings):
        bank = engine.bank(store, settings)
        tuning = tuning_of(store, settings.number("none_bias"), engine.model.backbone.fingerprint.digest)
        name = settings.text("router")
        without = engine.bank_cache.router(store, bank.memories, name, tuning, without=corrected)
    elsewhere = 0
    if texts and isinstance(bank.router, DiscriminantRouter) and isinstance(without, DiscriminantRouter):
        for _ in engine.vectors.read(texts):
            yield
            if request.cancelled.is_set():
                texts = []
                break
        if texts:
            vectors = engine.vectors.of(texts)
            pairs = zip(bank.router.rank(vectors), without.rank(vectors), strict=True)
            elsewhere = sum(now[0].route != before[0].route for now, before in pairs)
    request.emit("done", result={"elsewhere": elsewhere, "of": len(texts)})
    yield
