"""The web application: who may ask, which address answers what, and how an answer is sent.

Every refusal has OpenAI's form, at Anthropic's address Anthropic's. A request needs a token and must name this computer
as its host. No CORS header is sent. So no web page can read from it, not even one whose own name points at 127.0.0.1.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from functools import partial
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
from profiles.registry.tokens import Grant
from profiles.store.scopes import TokenScope, includes
from profiles.store.store import ProfileStore
from tokmem_desk.errors import TokmemError
from tokmem_desk.procedures import AUTO_ROUTE, NONE_ROUTE
from tui.engine_client.link import EngineLink
from tui.engine_client.protocol import BackboneInfo, Message
from tui.serve.answers import KnownAnswers, Reply
from tui.serve.anthropic import MessageReply, read_message
from tui.serve.choices import answers
from tui.serve.completions import CompletionReply, read_completion
from tui.serve.embeddings import embed, read_embeddings
from tui.serve.endpoints import ENDPOINTS, Endpoint, document
from tui.serve.errors import ApiError, api_error
from tui.serve.requests import read_object, read_request
from tui.serve.responses import ResponseReply, read_response
from tui.serve.teaching import (
    add_procedure,
    keep_feedback,
    procedure_entries,
    read_feedback,
    read_procedure,
    route_now,
)

log = logging.getLogger("tui.serve")

BODY_LIMIT = 4 * 2**20
"""Bytes of one request; a conversation that fills any context is far below it."""

OPEN_LIMIT = 64
"""Requests at once; the engine has one model, so more would only wait."""

_HOST = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?", re.IGNORECASE)
_ADDRESSES = "Addresses here begin with /v1: give clients http://127.0.0.1:PORT/v1 as their base URL."
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
        routes = [Route(one.path, partial(self._answered, one), methods=[one.method]) for one in ENDPOINTS]
        handlers: dict[Any, Any] = {
            ApiError: _refuse,
            TokmemError: _refuse,
            HTTPException: _refuse,
            ClientDisconnect: _refuse,
            Exception: _refuse,
        }
        return Starlette(routes=routes, middleware=[Middleware(LocalHosts)], exception_handlers=handlers)

    # --- addresses ---------------------------------------------------------------------------------

    async def complete(self, request: Request, profile: str) -> Response:
        """``/v1/chat/completions``."""
        asked = read_request(await _body(request), self.backbone["id"])
        return await self._answer(request, profile, Reply(asked, self.backbone["fingerprint"]))

    async def complete_prompt(self, request: Request, profile: str) -> Response:
        """``/v1/completions``."""
        asked = read_completion(read_object(await _body(request)), self.backbone["id"])
        return await self._answer(request, profile, CompletionReply(asked, self.backbone["fingerprint"]))

    async def respond(self, request: Request, profile: str) -> Response:
        """``/v1/responses``."""
        asked = read_response(read_object(await _body(request)), self.backbone["id"])
        return await self._answer(request, profile, ResponseReply(asked, self.backbone["fingerprint"]))

    async def message(self, request: Request, profile: str) -> Response:
        """``/v1/messages``."""
        asked = read_message(read_object(await _body(request)), self.backbone["id"])
        return await self._answer(request, profile, MessageReply(asked, self.backbone["fingerprint"]))

    async def embeddings(self, request: Request, profile: str) -> Response:
        """``/v1/embeddings``."""
        asked = read_embeddings(read_object(await _body(request)), self.backbone["id"])
        with self._counted():
            found = await _while_connected(request, embed(self.link, profile, asked))
        return JSONResponse(found, headers={"Cache-Control": "no-store"})

    async def models(self, request: Request, profile: str) -> Response:
        """``/v1/models``: the routes of the token's profile, and the backbone."""
        entries = await self._model_entries(profile)
        return JSONResponse({"object": "list", "data": entries})

    async def model(self, request: Request, profile: str) -> Response:
        """``/v1/models/NAME``."""
        wanted = request.path_params["model"]
        for entry in await self._model_entries(profile):
            if entry["id"] == wanted:
                return JSONResponse(entry)
        raise ApiError(404, f"There is no model {wanted!r} here.", code="model_not_found", param="model")

    async def procedures(self, request: Request, profile: str) -> Response:
        """``/v1/procedures``: all of the token's profile."""
        fingerprint = self.backbone["fingerprint"]
        return JSONResponse(await self._in_store(profile, lambda store: procedure_entries(store, fingerprint)))

    async def add_procedure(self, request: Request, profile: str) -> Response:
        """``/v1/procedures``: one more."""
        new, fingerprint = read_procedure(read_object(await _body(request))), self.backbone["fingerprint"]
        made = await self._in_store(profile, lambda store: add_procedure(store, new, fingerprint))
        return JSONResponse(made, 201)

    async def feedback(self, request: Request, profile: str) -> Response:
        """``/v1/feedback``."""
        told = read_feedback(read_object(await _body(request)))
        got = told.got
        if got is None:
            with self._counted():
                got = await _while_connected(request, route_now(self.link, profile, told.message))
        route = got
        return JSONResponse(await self._in_store(profile, lambda store: keep_feedback(store, told, route)))

    async def openapi(self, request: Request, profile: str) -> Response:
        """``/openapi.json``."""
        return JSONResponse(document())

    # --- parts -------------------------------------------------------------------------------------

    async def _answer(self, request: Request, profile: str, reply: Reply) -> Response:
        """The answer to a request that was read, whole or as a stream."""
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(self._counted())
            events = answers(self.link, self.known, profile, reply.request, lambda: self._store(profile))
            stack.push_async_callback(events.aclose)
            route = await _while_connected(request, anext(events))
            headers = _route_headers(route)
            if reply.request.stream:
                return EventStream(_chunks(events, route, reply), headers, stack.pop_all())
            results = await _while_connected(request, _results(events))
        return JSONResponse(reply.whole(results), headers=headers)

    @contextlib.contextmanager
    def _store(self, profile: str) -> Iterator[ProfileStore]:
        """The store of a profile, for plans."""
        with ProfileRegistry(self.paths) as registry, registry.open(profile, key=self._keys.get(profile)) as store:
            yield store

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        """Count one open request.

        Raises:
            ApiError: 429: as many as may be are open.
        """
        if self._open >= OPEN_LIMIT:
            raise ApiError(429, f"{OPEN_LIMIT} requests are open already.", code="too_many_requests")
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1

    async def _answered(self, endpoint: Endpoint, request: Request) -> Response:
        """The response of an address, to whom its token lets in."""
        profile = "" if endpoint.scope is None else await self._profile(request, endpoint.scope)
        response: Response = await getattr(self, endpoint.handler)(request, profile)
        return response

    async def _in_store(self, profile: str, do: Callable[[ProfileStore], _Result]) -> _Result:
        """Do something with an open profile, in a thread: a disk may be slow."""

        def opened() -> _Result:
            with ProfileRegistry(self.paths) as registry, registry.open(profile, key=self._keys.get(profile)) as store:
                return do(store)

        return await asyncio.to_thread(opened)

    async def _profile(self, request: Request, scope: TokenScope) -> str:
        """The profile of the request's token, which must be made for ``scope``."""
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if not kind and (token := request.headers.get("x-api-key", "")):  # as Anthropic's clients send it
            kind = "bearer"
        if kind.lower() != "bearer" or not token:
            raise ApiError(401, "Send a token: Authorization: Bearer TOKEN.", code="missing_api_key")

        def find() -> Grant | None:
            with ProfileRegistry(self.paths) as registry:
                return registry.tokens.grant_of(token.strip(), self._keys)

        grant = await asyncio.to_thread(find)
        if grant is None:
            raise ApiError(401, "That token opens nothing here.", code="invalid_api_key")
        if not includes(grant.scope, scope):
            how = f"Make one: tokmem-desk token create NAME --scope {scope}"
            raise ApiError(403, f"This token may {grant.scope}, not {scope}. {how}", code="insufficient_scope")
        return grant.profile

    async def _model_entries(self, profile: str) -> list[dict[str, Any]]:
        def names(store: ProfileStore) -> list[str]:
            trained = {one.procedure for one in store.memories.all_active(self.backbone["fingerprint"])}
            return sorted(trained | {name for name, steps in store.plans.steps().items() if steps})

        ids = [AUTO_ROUTE, NONE_ROUTE, *await self._in_store(profile, names), self.backbone["id"]]
        return [{"id": one, "object": "model", "created": 0, "owned_by": "tokmem-desk"} for one in ids]


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
    results: list[Message] = []
    try:
        for chunk in reply.first(route):
            yield reply.line(chunk)
        async for event in events:
            reply.choice = event["choice"]
            match event["event"]:
                case "route":
                    chunks = reply.first(event)
                case "token":
                    chunks = reply.piece(event["text"])
                case _:
                    results.append(event["result"])
                    chunks = reply.last(event["result"])
            for chunk in chunks:
                yield reply.line(chunk)
        for chunk in reply.end(results):
            yield reply.line(chunk)
        yield reply.closing
    except TokmemError as error:
        yield reply.line(reply.error(api_error(error)))
    except Exception:
        log.exception("a stream failed")
        yield reply.line(reply.error(_unforeseen()))


class LocalHosts:
    """Refuses requests for another host name, as they come from a page whose own name points at this computer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on or refuse."""
        hosts = [value.decode("latin-1") for name, value in scope.get("headers", ()) if name == b"host"]
        if scope["type"] == "http" and (len(hosts) != 1 or not _HOST.fullmatch(hosts[0])):
            error = ApiError(403, "Only localhost and 127.0.0.1 are answered.", code="host_not_allowed")
            await _response(error, scope.get("path", ""))(scope, receive, send)
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


async def _results(events: AsyncIterator[Message]) -> list[Message]:
    return [event["result"] async for event in events if event["event"] == "done"]


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


async def _refuse(request: Request, error: Exception) -> Response:
    """The response to any error, in the form of the address's clients."""
    path = request.url.path
    if isinstance(error, ApiError):
        return _response(error, path)
    if isinstance(error, TokmemError):
        return _response(api_error(error), path)
    if isinstance(error, HTTPException):  # no such address, or another method
        where = f" {_ADDRESSES}" if error.status_code == 404 else ""
        return _response(ApiError(error.status_code, f"{error.detail}.{where}", code="unknown_url"), path)
    if isinstance(error, ClientDisconnect):
        return Response(status_code=499)  # the client has gone, so nobody reads it
    return _response(_unforeseen(), path)  # the server logs it


def _unforeseen() -> ApiError:
    return ApiError(500, "Something unforeseen happened; the log of serve has the details.", code="server_error")


def _response(error: ApiError, path: str) -> Response:
    return JSONResponse(error.body_at(path), error.status, headers=error.headers)
