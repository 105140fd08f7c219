"""textual-serve with a door: only this computer's browser, and only with the link that was printed.

textual-serve itself lets in whoever reaches the port, and a stranger's web page could open its socket too: browsers let
pages open sockets to any address. So every request must name our own address, carry the cookie that the printed link
sets, and come from our own page.
"""

from __future__ import annotations

import hmac
import secrets
import socket
from collections.abc import Awaitable, Callable

from aiohttp import web
from textual_serve.server import Server

_COOKIE = "tokmem-desk"
_Next = Callable[[web.Request], Awaitable[web.StreamResponse]]


class BrowserServer(Server):
    """One app process for each window of the browser.

    Args:
        command: starts the app, for a shell.
        listener: a listening socket on this computer's own address.
    """

    def __init__(self, command: str, listener: socket.socket) -> None:
        host, port = listener.getsockname()[:2]
        super().__init__(command, host=host, port=port, title="tokmem-desk")
        self._listener = listener
        self._secret = secrets.token_urlsafe(32)
        self._cookie = f"{_COOKIE}-{port}"  # cookies know no ports: two servers must not overwrite each other's

    @property
    def link(self) -> str:
        """What to open; whoever has it has the app."""
        return f"{self.public_url}/?token={self._secret}"

    async def run(self, ended: Awaitable[object]) -> None:
        """Serve until ``ended`` is done or this is cancelled."""
        application = await self._make_app()

        @web.middleware
        async def guard(request: web.Request, handler: _Next) -> web.StreamResponse:
            return await self._guarded(request, handler)

        application.middlewares.append(guard)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
        await runner.setup()
        try:
            await web.SockSite(runner, self._listener).start()
            await ended
        finally:
            await runner.cleanup()

    async def on_startup(self, app: web.Application) -> None:
        """Say nothing: the command has said it."""

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
        return hmac.compare_digest(given.encode(), self._secret.encode())
