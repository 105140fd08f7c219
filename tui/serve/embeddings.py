"""``/v1/embeddings``: where texts lie in the router's own space. Knows the engine's link and no HTTP."""

from __future__ import annotations

import base64
import struct
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from profiles.store.pair_rules import text_fault
from tokmem_desk.procedures import AUTO_ROUTE
from tui.engine_client.link import EngineLink
from tui.serve.errors import ApiError
from tui.serve.fields import text_of, wrong

MOST_TEXTS = 2048


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """Texts whose vectors are wanted."""

    model: str
    texts: list[str]
    as_base64: bool


def read_embeddings(body: dict[str, Any], backbone: str) -> EmbeddingRequest:
    """Check a body.

    Raises:
        ApiError: 400, naming the field; 404 for a model that is not loaded.
    """
    model = text_of(body, "model") or AUTO_ROUTE
    if model not in (AUTO_ROUTE, "default", backbone):
        raise ApiError(404, f"There is no model {model!r} here.", code="model_not_found", param="model")
    texts = body.get("input")
    texts = [texts] if isinstance(texts, str) else texts
    if not isinstance(texts, list) or not 0 < len(texts) <= MOST_TEXTS:
        raise wrong("input", f"must be a text or a list of 1 to {MOST_TEXTS} texts.")
    for place, text in enumerate(texts):
        if not isinstance(text, str) or not text.strip():
            raise wrong(f"input[{place}]", "must be text, and not empty.")
        if (fault := text_fault(text)) is not None:
            raise wrong(f"input[{place}]", f"{fault}.")
    if body.get("dimensions") is not None:
        raise wrong("dimensions", "is not supported here: the space is the router's.", code="unsupported_parameter")
    form = body.get("encoding_format")
    if form not in (None, "float", "base64"):
        raise wrong("encoding_format", "must be float or base64.")
    return EmbeddingRequest(model, texts, form == "base64")


async def embed(link: EngineLink, profile: str, request: EmbeddingRequest) -> dict[str, Any]:
    """Ask the engine, and give the vectors in OpenAI's form.

    Raises:
        TokmemError: what the engine reported.
    """
    handle = link.submit("embed", profile=profile, texts=request.texts)
    result: dict[str, Any] = {}
    try:
        async with aclosing(link.events(handle)) as events:
            async for event in events:
                if event["event"] == "done":
                    result = event["result"]
    finally:
        if not result:
            await handle.cancel()
    data = [
        {"object": "embedding", "index": place, "embedding": _packed(vector) if request.as_base64 else vector}
        for place, vector in enumerate(result["vectors"])
    ]
    used = {"prompt_tokens": result["tokens"], "total_tokens": result["tokens"]}
    return {"object": "list", "model": request.model, "data": data, "usage": used}


def _packed(vector: list[float]) -> str:
    """Little-endian float32, in base64."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
