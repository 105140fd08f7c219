"""``tokens``: how long texts are for the model, before they are sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypedDict

from tui.engine.engine import Engine
from tui.engine.operation import ModelFields, operation
from tui.engine.request import Request


class TokensFields(ModelFields):
    """``texts``: what is counted, each alone."""

    texts: list[str]


class TokensResult(TypedDict):
    """``counts`` has a number for each text; ``length`` is the model's whole context, in tokens."""

    counts: list[int]
    length: int


@operation("tokens", fields=TokensFields, result=TokensResult)
def tokens(engine: Engine, request: Request) -> Iterator[None]:
    """Count the tokens of texts."""
    yield from engine.ready(request)
    backbone = engine.model.backbone
    counts = []
    for text in request.fields["texts"]:
        counts.append(len(backbone.format.encode_text(text)))
        yield
    request.emit("done", result={"counts": counts, "length": backbone.context_length})
    yield
