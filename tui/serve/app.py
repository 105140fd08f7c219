"""The web application: who may ask, which address answers what, and how an answer is sent.

Every refusal has OpenAI's form. A request needs a token and must name this computer as its host. No CORS header is
sent. So no web page can read from it, not even one whose own name points at 127.0.0.1.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Mapping
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from profiles.encryption.file_encryption import ProfileKey
from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from tokmem_desk.errors import TokmemError
from tokmem_desk.procedures import AUTO_ROUTE, NONE_ROUTE
from tui.engine_client.link import EngineLink
from tui.engine_client.protocol import BackboneInfo, Message
from tui.serve.answers import KnownAnswers, Reply, answer
from tui.serve.errors import ApiError, api_error
from tui.serve.requests import read_request

log = logging.getLogger("tui.serve")

BODY_LIMIT = 4 * 2**20
"""Bytes of one request; a conversation that fills any context is far below it."""

OPEN_LIMIT = 64
"""Requests at once; the engine has one model, so more would only wait."""

_HOST = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?", re.IGNORECASE)
_Result = TypeVar("_Result")


class ApiServer:
    """Answers all requests, with one engine.

    Args:
        paths: where profiles are.
        link: the way to the engine, loaded.
        backbone: what is loaded.
        keys: of locked profiles that were opened for this server, by name; ``link`` has them, too.
    """

    def __init__(
        self,
        paths: AppPaths,
        link: EngineLink,
        backbone: BackboneInfo,
        keys: Mapping[str, ProfileKey] | None = None,
    ) -> None:
        self.paths = paths
        self.link = link
        self.backbone = backbone
        self.known = KnownAnswers()
        self._keys = keys or {}
        self._open = 0

    def app(self) -> Starlette:
        """The application."""
        routes = [
            Route("/v1/chat/completions", self.complete, methods=["POST"]),
            Route("/v1/models", self.models, methods=["GET"]),
            Route("/v1/models/{model:path}", self.model, methods=["GET"]),
        ]
        handlers: dict[Any, Any] = {
            ApiError: _refuse,
            TokmemError: _refuse,
            HTTPException: _refuse,
            ClientDisconnect: _refuse,
            Exception: _refuse,
        }
        return Starlette(routes=routes, middleware=[Middleware(LocalHosts)], exception_handlers=handlers)

    # --- addresses ---------------------------------------------------------------------------------

    async def complete(self, request: Request) -> Response:
        """``/v1/chat/completions``."""
        profile = await self._profile(request)
        asked = read_request(await _body(request), self.backbone["id"])
        if self._open >= OPEN_LIMIT:
            raise ApiError(429, f"{OPEN_LIMIT} requests are open already.", code="too_many_requests")
        reply = Reply(asked, self.backbone["fingerprint"])
        async with contextlib.AsyncExitStack() as stack:
            self._open += 1
            stack.callback(self._close_one)
            events = answer(self.link, self.known, profile, asked)
            stack.push_async_callback(events.aclose)
            route = await _while_connected(request, anext(events))
            headers = _route_headers(route)
            if asked.stream:
                return EventStream(_chunks(events, route, reply), headers, stack.pop_all())
            result = await _while_connected(request, _result(events))
        return JSONResponse(reply.whole(result), headers=headers)

    async def models(self, request: Request) -> Response:
        """``/v1/models``: the routes of the token's profile, and the backbone."""
        entries = await self._model_entries(request)
        return JSONResponse({"object": "list", "data": entries})

    async def model(self, request: Request) -> Response:
        """``/v1/models/NAME``."""
        wanted = request.path_params["model"]
        for entry in await self._model_entries(request):
            if entry["id"] == wanted:
                return JSONResponse(entry)
        raise ApiError(404, f"There is no model {wanted!r} here.", code="model_not_found", param="model")

    # --- parts -------------------------------------------------------------------------------------

    async def _profile(self, request: Request) -> str:
        """The profile of the request's token."""
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not token:
            raise ApiError(401, "Send a token: Authorization: Bearer TOKEN.", code="missing_api_key")

        def find() -> str | None:
            with ProfileRegistry(self.paths) as registry:
                return registry.tokens.profile_of(token.strip(), self._keys)

        profile = await asyncio.to_thread(find)
        if profile is None:
            raise ApiError(401, "That token opens nothing here.", code="invalid_api_key")
        return profile

    async def _model_entries(self, request: Request) -> list[dict[str, Any]]:
        profile = await self._profile(request)

        def names() -> list[str]:
            with ProfileRegistry(self.paths) as registry, registry.open(profile, key=self._keys.get(profile)) as store:
                return sorted(one.procedure for one in store.memories.all_active(self.backbone["fingerprint"]))

        ids = [AUTO_ROUTE, NONE_ROUTE, *await asyncio.to_thread(names), self.backbone["id"]]
        return [{"id": one, "object": "model", "created": 0, "owned_by": "tokmem-desk"} for one in ids]

    def _close_one(self) -> None:
        self._open -= 1


class EventStream(StreamingResponse):
    """Server-sent events. ``behind`` is closed after them, also if the client goes before the first one."""

    def __init__(self, lines: AsyncIterator[bytes], headers: dict[str, str], behind: contextlib.AsyncExitStack) -> None:
        super().__init__(lines, headers=headers, media_type="text/event-stream")
        self._behind = behind

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        async with self._behind:
            await super().__call__(scope, receive, send)


async def _chunks(events: AsyncIterator[Message], route: Message, reply: Reply) -> AsyncIterator[bytes]:
    """The lines of a stream. An error on the way becomes the last of them, since the status has been sent."""
    try:
        yield _line(reply.first(route))
        async for event in events:
            if event["event"] == "token":
                yield _line(reply.piece(event["text"]))
            elif event["event"] == "done":
                for chunk in reply.last(event["result"]):
                    yield _line(chunk)
        yield b"data: [DONE]\n\n"
    except TokmemError as error:
        yield _line(api_error(error).body())
    except Exception:
        log.exception("a stream failed")
        yield _line(_unforeseen().body())


class LocalHosts:
    """Refuses requests for another host name, as they come from a page whose own name points at this computer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on or refuse."""
        hosts = [value.decode("latin-1") for name, value in scope.get("headers", ()) if name == b"host"]
        if scope["type"] == "http" and (len(hosts) != 1 or not _HOST.fullmatch(hosts[0])):
            error = ApiError(403, "Only localhost and 127.0.0.1 are answered.", code="host_not_allowed")
            await _response(error)(scope, receive, send)
            return
        await self._app(scope, receive, send)


async def _body(request: Request) -> bytes:
    """The body of a request, up to ``BODY_LIMIT``."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise ApiError(415, "Send application/json.", code="unsupported_media_type")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > BODY_LIMIT:
            raise ApiError(413, f"A request may have {BODY_LIMIT // 2**20} MiB.", code="request_too_large")
    return bytes(body)


async def _result(events: AsyncIterator[Message]) -> Message:
    result: Message = {}
    async for event in events:
        if event["event"] == "done":
            result = event["result"]
    return result


async def _while_connected(request: Request, work: Awaitable[_Result]) -> _Result:
    """Wait for ``work``, unless the client goes away first: then it is cancelled.

    Raises:
        ClientDisconnect: it went away.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnect(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        for one in (task, gone):
            one.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _route_headers(route: Message) -> dict[str, str]:
    return {
        "X-Tokmem-Route": str(route["route"]),
        "X-Tokmem-Probability": f"{route['probability']:.4f}",
        "Cache-Control": "no-store",
    }


def _line(value: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode("utf-8", "replace") + b"\n\n"


async def _refuse(request: Request, error: Exception) -> Response:
    """The response to any error, in OpenAI's form."""
    if isinstance(error, ApiError):
        return _response(error)
    if isinstance(error, TokmemError):
        return _response(api_error(error))
    if isinstance(error, HTTPException):  # no such address, or another method
        return _response(ApiError(error.status_code, f"{error.detail}.", code="unknown_url"))
    if isinstance(error, ClientDisconnect):
        return Response(status_code=499)  # the client has gone, so nobody reads it
    return _response(_unforeseen())  # the server logs it


def _unforeseen() -> ApiError:
    return ApiError(500, "Something unforeseen happened; the log of serve has the details.", code="server_error")


def _response(error: ApiError) -> Response:
    return JSONResponse(error.body(), error.status, headers=error.headers)
