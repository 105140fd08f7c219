"""A server that behaves as vLLM's completions API with our connector does, as far as ``serve`` uses it; no model.

It answers word by word: a prompt of ids says its letters again, one of embeddings what its salt is. It can be told to
misbehave.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.tui.scripted_engine import FINGERPRINT
from tui.cli.serve import listen

MODEL = "the-model"


@dataclass
class StandIn:
    """What it was asked, and how it behaves.

    Attributes:
        bodies: of completions, in their order.
        aborted: answers that nobody waited for any more.
        fault: of answers: ``memory`` (an error in the stream), ``refused`` (status 400), ``busy`` (503), ``cut`` (the
            stream ends in the middle), ``odd`` (no JSON) or ``endless``.
        length: of its longest request.
        finish: why whole answers end.
        fingerprint: what the connector says of its model; None without a connector.
    """

    version: str = "0.32.0"
    fingerprint: str | None = FINGERPRINT
    fault: str = ""
    finish: str = "stop"
    length: int = 2048
    key: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    aborted: int = 0
    url: str = ""

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/version", self._version),
                Route("/v1/models", self._models),
                Route("/v1/completions", self._complete, methods=["POST"]),
            ]
        )

    async def _version(self, request: Request) -> Response:
        return JSONResponse({"version": self.version})

    async def _models(self, request: Request) -> Response:
        if self.key and request.headers.get("authorization") != f"Bearer {self.key}":
            return JSONResponse({"error": "Unauthorized"}, 401)
        return JSONResponse({"data": [{"id": MODEL, "max_model_len": self.length}]})

    async def _complete(self, request: Request) -> Response:
        body = await request.json()
        wish = (body.get("kv_transfer_params") or {}).get("tokmem", {})
        if wish.get("person") != "probe":
            self.bodies.append(body)
        if "read" in wish:
            params = None if self.fingerprint is None else {"tokmem": {"fingerprint": self.fingerprint}}
            return JSONResponse({"choices": [{"text": "x"}], "kv_transfer_params": params})
        if self.fault in ("refused", "busy"):
            status = {"refused": 400, "busy": 503}[self.fault]
            return JSONResponse({"error": {"message": "private words of a message", "code": status}}, status)
        return StreamingResponse(self._words(body, wish), media_type="text/event-stream")

    async def _words(self, body: dict[str, Any], wish: dict[str, Any]) -> AsyncIterator[str]:
        said = f"under {wish['memory']}" if wish else f"again: {''.join(map(chr, body['prompt']))}"
        words, ended = said.split(" "), False
        try:
            if self.fault == "memory":
                yield _line({"error": {"message": "Internal server error", "code": 500}})
                yield "data: [DONE]\n\n"
                ended = True
                return
            for place, word in enumerate(words):
                if self.fault == "cut" and place:
                    ended = True
                    return
                yield _line({"choices": [{"text": word if not place else f" {word}", "finish_reason": None}]})
            while self.fault == "endless":
                await asyncio.sleep(0.01)
                yield _line({"choices": [{"text": " on", "finish_reason": None}]})
            if self.fault == "odd":
                yield "data: ]\n\n"
            yield _line({"choices": [{"text": "", "finish_reason": self.finish}]})
            yield _line({"choices": [], "usage": {"completion_tokens": len(words)}})
            yield "data: [DONE]\n\n"
            ended = True
        finally:
            self.aborted += not ended


@contextlib.asynccontextmanager
async def running(stand_in: StandIn, port: int = 0) -> AsyncIterator[StandIn]:
    """The server, on a real port of this computer."""
    listener = listen(port)
    config = uvicorn.Config(stand_in.app(), ws="none", lifespan="off", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve([listener]))
    stand_in.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        yield stand_in
    finally:
        server.should_exit = server.force_exit = True
        await task
        listener.close()


def _line(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value)}\n\n"
