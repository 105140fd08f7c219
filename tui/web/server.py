"""textual-serve with access control: only for this computer's browser, and only with the link that was printed.

textual-serve itself lets in whoever reaches the port, and a stranger's web page could open its socket too: browsers let
pages open sockets to any address. So every request must name our own address, carry the cookie that the printed link
sets, and come from our own page. Connections that never finish their request end, and their number is bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import logging
import secrets
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web
from aiohttp.http_exceptions import HttpProcessingError
from textual_serve.app_service import AppService
from textual_serve.server import Server

REQUEST_SECONDS = 10.0
"""How long a request's head may take, and how long a connection may wait for the next one."""

BODY_SECONDS = 5.0
"""How long a request's body is read although no page sends one."""

CONNECTION_LIMIT = 100
"""Connections at once, those of windows included."""

_COOKIE = "tokmem-desk"
_MOST_CELLS = 1000
_DEFAULT_SIZE = {"width": 80, "height": 24}
_Next = Callable[[web.Request], Awaitable[web.StreamResponse]]


class BrowserServer(Server):
    """One app process for each window of the browser.

    Args:
        command: starts the app, for a shell.
        listener: a listening socket on this computer's own address.
    """

    def __init__(self, command: str, listener: socket.socket) -> None:
        host, port = listener.getsockname()[:2]
        # The page is ours: it has a title and the focus, says when copying failed, and asks no other server for a font.
        super().__init__(command, host=host, port=port, title="tokmem-desk", templates_path=Path(__file__).parent)
        self._listener = listener
        self._secret = secrets.token_urlsafe(32)
        self._cookie = f"{_COOKIE}-{port}"  # cookies know no ports: two servers must not overwrite each other's
        self._answered: set[asyncio.BaseTransport | None] = set()

    @property
    def link(self) -> str:
        """The link to open. It gives access to the app."""
        return f"{self.public_url}/?token={self._secret}"

    async def run(self, ended: Awaitable[object]) -> None:
        """Serve until ``ended`` is done or this is cancelled."""
        application = await self._make_app()

        @web.middleware
        async def guard(request: web.Request, handler: _Next) -> web.StreamResponse:
            transport = request.transport
            self._answered.add(transport)
            try:
                return await self._guarded(request, handler)
            finally:
                self._answered.discard(transport)

        application.middlewares.append(guard)
        logging.getLogger("aiohttp.server").addFilter(_is_ours)
        runner = web.AppRunner(
            application,
            access_log=None,
            shutdown_timeout=1,
            keepalive_timeout=REQUEST_SECONDS,
            lingering_time=BODY_SECONDS,
        )
        await runner.setup()
        connections = runner.server
        assert connections is not None

        def connection() -> asyncio.Protocol:
            return connections() if self._has_room(connections) else _Refused()

        loop = asyncio.get_running_loop()
        try:
            listening = await loop.create_server(connection, sock=self._listener)
            try:
                await ended
            finally:
                listening.close()
        finally:
            await runner.cleanup()

    async def on_startup(self, app: web.Application) -> None:
        """Print nothing: the command has printed the link."""

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        """Open a window, for a request that asks for one as a browser does."""
        if not web.WebSocketResponse().can_prepare(request):
            raise web.HTTPBadRequest(text="Open the app's page instead; it opens this address by itself.")
        for name in _DEFAULT_SIZE:
            if _cells(request.query.get(name, "80")) is None:
                raise web.HTTPBadRequest(text=f"{name} must be a whole number from 1 to {_MOST_CELLS}.")
        return await super().handle_websocket(request)

    async def _process_messages(self, websocket: web.WebSocketResponse, app_service: AppService) -> None:
        """Pass on what the page sends. What our page would not send is ignored."""
        async for message in websocket:
            if message.type != WSMsgType.TEXT:
                continue
            kind, data = _envelope(message.data)
            if kind == "stdin" and isinstance(data, str):
                await app_service.send_bytes(data.encode("utf-8", "replace"))
            elif kind == "resize" and isinstance(data, dict):
                width, height = _cells(data.get("width")), _cells(data.get("height"))
                if width is not None and height is not None:
                    await app_service.set_terminal_size(width, height)
            elif kind == "ping":
                await websocket.send_json(["pong", data])
            elif kind == "blur":
                await app_service.blur()
            elif kind == "focus":
                await app_service.focus()

    async def _guarded(self, request: web.Request, handler: _Next) -> web.StreamResponse:
        address = f"{self.host}:{self.port}"
        if request.headers.get("Host") != address:
            raise web.HTTPForbidden(text=f"Open http://{address} with the link that was printed.")
        if request.headers.get("Origin", f"http://{address}") != f"http://{address}":
            raise web.HTTPForbidden(text="Other pages have no business here.")
        if request.path == "/" and self._is_secret(request.query.get("token", "")):
            # The token leaves the address line, and with it the history and what is sent as referrer.
            answer = web.HTTPFound("/")
            answer.set_cookie(self._cookie, self._secret, httponly=True, samesite="Strict")
            raise answer
        if not self._is_secret(request.cookies.get(self._cookie, "")):
            raise web.HTTPForbidden(text="Open the link that tokmem-desk has printed; it holds a token.")
        answered = await handler(request)
        if not answered.prepared:
            answered.headers["X-Frame-Options"] = "DENY"
            answered.headers["Referrer-Policy"] = "no-referrer"
        return answered

    def _is_secret(self, given: str) -> bool:
        # Bytes that are no UTF-8 reach us as halves of surrogate pairs, which have no encoding of their own.
        return hmac.compare_digest(given.encode("utf-8", "replace"), self._secret.encode())

    def _has_room(self, connections: web.Server) -> bool:
        """Whether one more may come; the oldest that waits for its client makes room."""
        open_ones = connections.connections
        if len(open_ones) < CONNECTION_LIMIT:
            return True
        waiting = next((one for one in open_ones if one.transport not in self._answered), None)
        if waiting is None:
            return False
        with contextlib.suppress(AttributeError):  # it was closed just now
            waiting.transport.abort()  # type: ignore[union-attr]
        return True


class _Refused(asyncio.Protocol):
    """A connection that came when all others were in use."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """End it."""
        assert isinstance(transport, asyncio.Transport)
        transport.abort()


def _is_ours(record: logging.LogRecord) -> bool:
    """Whether to log a record: not for errors of a client, which it was told about."""
    return record.exc_info is None or not isinstance(record.exc_info[1], HttpProcessingError)


def _cells(value: Any) -> int | None:
    """A width or a height of a terminal; None when it cannot be one."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return None
    try:
        cells = int(value)
    except ValueError:
        return None
    return cells if 1 <= cells <= _MOST_CELLS else None


def _envelope(text: str) -> tuple[str, Any]:
    """The kind of a page's message and what it carries; an empty kind for nonsense."""
    try:
        envelope = json.loads(text)
    except (ValueError, RecursionError):
        return "", None
    if not isinstance(envelope, list) or not envelope or not isinstance(envelope[0], str):
        return "", None
    return envelope[0], envelope[1] if len(envelope) > 1 else None
