"""``embed``: where texts lie in the router's own space."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypedDict

from tui.engine.engine import Engine
from tui.engine.operation import ProfileFields, operation
from tui.engine.request import Request

_BATCH = 32
"""Texts in one forward pass."""


class EmbedFields(ProfileFields):
    """``texts``: each gets a vector."""

    texts: list[str]


class EmbedResult(TypedDict):
    """A unit vector for each text, in their order, and the tokens of all texts; fewer where it was cancelled."""

    vectors: list[list[float]]
    tokens: int


@operation("embed", fields=EmbedFields, result=EmbedResult)
def embed(engine: Engine, request: Request) -> Iterator[None]:
    """Run the texts in batches, and project them as the router does."""
    texts = request.fields["texts"]
    yield from engine.ready(request)
    with engine.profile(request):
        pass  # a locked profile answers nothing, although no text of it is needed
    model = engine.model
    vectors: list[list[float]] = []
    tokens = 0
    for start in range(0, len(texts), _BATCH):
        queries = [model.backbone.format.query(text) for text in texts[start : start + _BATCH]]
        tokens += sum(map(len, queries))
        done = model.backbone.prefill(queries, keep_states=False, feature_layers=model.basis.layers.pooled)
        assert done.pooled is not None
        projected = model.basis.project(done.pooled, model.backbone.hidden_size)
        vectors += projected.float().cpu().tolist()
        yield
        if request.cancelled.is_set():
            break
    request.emit("done", result={"vectors": vectors, "tokens": tokens})
