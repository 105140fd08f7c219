"""``route``: which procedure would answer each of several messages, without answering them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NotRequired, TypedDict

from tokmem_desk.generation.recall import Routed, route_messages
from tui.engine.engine import Engine
from tui.engine.operation import ProfileFields, operation
from tui.engine.request import Request
from tui.engine_client.protocol import Candidate

_ROUTE_BATCH = 32
"""Messages in one forward pass."""


class RouteFields(ProfileFields):
    """``texts``: the messages."""

    texts: list[str]


class MessageRoute(TypedDict):
    """The route of one message; ``candidates`` best first, ``none`` among them."""

    route: str
    probability: float
    candidates: list[Candidate]
    ambiguous: NotRequired[list[str]]
    """The two routes that it lies between, the chosen one first; where the choice is not clear."""


class RouteResult(TypedDict):
    """One route for each message, in their order; fewer where the request was cancelled."""

    routes: list[MessageRoute]


@operation("route", fields=RouteFields, result=RouteResult)
def route(engine: Engine, request: Request) -> Iterator[None]:
    """Route the messages in batches."""
    texts = request.fields["texts"]
    yield from engine.ready(request)
    with engine.profile(request) as (store, settings):
        bank = engine.bank(store, settings)
    routes: list[dict[str, Any]] = []
    for start in range(0, len(texts), _ROUTE_BATCH):
        batch = texts[start : start + _ROUTE_BATCH]
        routes += [route_fields(routed) for routed in route_messages(engine.model.backbone, bank, batch)]
        request.report_phase("route", len(routes) / len(texts), "Routing")
        yield
        if request.cancelled.is_set():
            break
    request.emit("done", result={"routes": routes})


def route_fields(routed: Routed) -> dict[str, Any]:
    """A route as events carry it."""
    return {
        "route": routed.route,
        "probability": routed.probability,
        "candidates": [{"route": c.route, "probability": c.probability} for c in routed.candidates],
        **({"ambiguous": list(routed.ambiguous)} if routed.ambiguous else {}),
    }
