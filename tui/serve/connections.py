"""Connections of ``serve`` with time limits, for clients that never finish: slow heads, slow bodies, slow readers.

uvicorn ends a connection that waits between two requests. It waits for ever for the rest of a head or a body, and for
a client that does not read. Here each of them has a time limit, and the number of connections is bounded: when it is
reached, the oldest one that waits makes room.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from tui.serve.errors import ApiError

HEAD_SECONDS = 10.0
"""How long the head of a request may take, from its first byte (of a new connection: from the start)."""

BODY_SECONDS = 30.0
"""How long the whole body may take. It is 4 MiB at most, and comes from this computer."""

WRITE_SECONDS = 30.0
"""How long a client may leave an answer unread."""

CONNECTION_LIMIT = 128
"""Connections at once, waiting ones included; twice the requests that are answered at once."""


class BoundedConnection(H11Protocol):
    """One connection with time limits. Its refusals have the form of the address, as all others."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._began = self.loop.time()
        self._reading: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None
        self._in_body = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection; refuse it where all others are being answered."""
        super().connection_made(transport)
        self._reading = self._later(HEAD_SECONDS, self._too_slow)
        if len(self.connections) > CONNECTION_LIMIT and not self._make_room():
            self._refuse(ApiError(503, f"{CONNECTION_LIMIT} connections are open already.", code="busy"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timers."""
        _stop(self._reading)
        self._reading = None
        _stop(self._writing)
        self._writing = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes; the limit belongs to the request that they are part of, and more bytes do not extend it."""
        if self._reading is None and self.conn.their_state is h11.IDLE:
            self._reading = self._later(HEAD_SECONDS, self._too_slow)
        super().data_received(data)
        if self.conn.their_state is h11.SEND_BODY:
            if not self._in_body:
                self._in_body = True
                _stop(self._reading)
                self._reading = self._later(BODY_SECONDS, self._too_slow)
        elif self.conn.their_state is not h11.IDLE:
            self._in_body = False
            _stop(self._reading)
            self._reading = None

    def pause_writing(self) -> None:
        """The client reads more slowly than we write."""
        super().pause_writing()
        if self._writing is None:
            self._writing = self._later(WRITE_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()
        _stop(self._writing)
        self._writing = None

    def send_400_response(self, msg: str) -> None:
        """Refuse a request that is not HTTP."""
        self._refuse(ApiError(400, "That is not HTTP as it is understood here.", code="invalid_http"))

    def shutdown(self) -> None:
        """End when the server ends; a connection that has failed already has nothing more to say."""
        if self.conn.our_state is h11.ERROR or self.transport.is_closing():
            self.transport.abort()
            return
        super().shutdown()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that was idle for too long."""
        if self.conn.our_state is h11.ERROR:
            self.transport.abort()
            return
        super().timeout_keep_alive_handler()

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete and not self._in_body

    def _make_room(self) -> bool:
        """End the oldest connection that waits for its client; False when there is none."""
        others = [one for one in self.connections if isinstance(one, BoundedConnection) and one is not self]
        waiting = [one for one in others if not one._answering]
        if not waiting:
            return False
        min(waiting, key=lambda one: one._began).transport.abort()
        return True

    def _too_slow(self) -> None:
        self._reading = None
        self._refuse(ApiError(408, "The request did not arrive in time.", code="request_timeout"))

    def _refuse(self, error: ApiError) -> None:
        """Send the reason, if that is still possible, and close the connection."""
        if self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True  # whoever is at work on it has nobody left to answer
            self.cycle.message_event.set()
        # Before the first head is read, no address is known.
        path = self.scope["path"] if self.scope is not None else ""
        body = json.dumps(error.body_at(path)).encode()
        headers = {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Connection": "close",
            **error.headers,
        }
        try:
            response = h11.Response(status_code=error.status, headers=list(headers.items()))
            for event in (response, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        except h11.LocalProtocolError:  # an answer has begun: nothing can be said any more
            self.transport.abort()
            return
        self.transport.close()

    def _later(self, seconds: float, then: Callable[[], None]) -> asyncio.TimerHandle:
        return self.loop.call_later(seconds, then)


def _stop(timer: asyncio.TimerHandle | None) -> None:
    """Cancel a timer; returns None, to be kept in its place."""
    if timer is not None:
        timer.cancel()
