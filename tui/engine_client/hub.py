"""One engine for several apps: passes requests of many clients on to it and events back, over a Unix socket.

Each connection speaks the engine's own protocol and numbers its requests as it likes; ``tui.engine_client.relay`` makes
such a connection look like an engine process. When a connection ends, its requests are cancelled and its trainings
paused. ``unload`` is the one request that is answered here: it ends the engine's process, unless another client is
using it. Knows no model and no screen.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from pathlib import Path

from tokmem_desk.errors import BusyError, EngineError, TokmemError
from tui.engine_client.client import EngineClient, RequestHandle
from tui.engine_client.protocol import LINE_LIMIT, Message, cancel_how, decode, encode, operation_name, whole_number

AVAILABLE = os.name != "nt"
"""Windows has no Unix sockets in asyncio; there each app starts an engine of its own."""


class EngineHub:
    """Serves the engine of one client to many.

    Args:
        client: of the engine that is shared.
        path: of the socket; its folder must be readable by its owner alone.
    """

    def __init__(self, client: EngineClient, path: Path) -> None:
        self.path = path
        self._client = client
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._clients: set[_Connection] = set()
        self._last_use = time.monotonic()

    async def start(self) -> None:
        """Accept connections from now on."""
        self._server = await asyncio.start_unix_server(self._connected, self.path, limit=LINE_LIMIT)

    async def close(self) -> None:
        """End all connections; the engine stays."""
        if self._server is not None:
            self._server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task of our own: what asyncio makes of a coroutine function reports its cancelling as an error.
        task = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(self, writer)
        self._clients.add(connection)
        try:
            with contextlib.suppress(
                ConnectionError, EngineError, ValueError
            ):  # close the connection of a client that breaks the protocol
                while line := await reader.readline():
                    await connection.take(decode(line))
        finally:
            self._clients.discard(connection)
            await connection.end()

    def submit(self, op: str, fields: Message) -> RequestHandle:
        """Prepare a request to the engine."""
        self.note_use()
        return self._client.submit(op, **fields)

    def note_use(self) -> None:
        """Note that a client uses the engine."""
        self._last_use = time.monotonic()

    async def unload(self, by: _Connection, idle_seconds: float) -> bool:
        """End the engine's process, which frees all its memory; the next request of any client starts it again.

        Args:
            by: the client that asks.
            idle_seconds: do nothing where the engine was used since; 0 asks for the end however short that is.

        Returns:
            Whether it is ended: False where a client has used it within ``idle_seconds``.

        Raises:
            BusyError: another client has a request open.
        """
        others = any(client.busy for client in self._clients if client is not by)
        if idle_seconds and (others or time.monotonic() - self._last_use < idle_seconds):
            return False
        if others:
            raise BusyError(
                "Another window is using the model.", next_step="Wait for its answer or training, then unload."
            )
        await self._client.close()
        return True


class _Connection:
    """One client of the hub and its open requests."""

    def __init__(self, hub: EngineHub, writer: asyncio.StreamWriter) -> None:
        self._hub = hub
        self._writer = writer
        self._open: dict[int, RequestHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def busy(self) -> bool:
        """Whether it waits for an answer."""
        return bool(self._open)

    async def take(self, message: Message) -> None:
        """Take one line of the client.

        Raises:
            EngineError: it is no request.
        """
        number, op = whole_number(message, "id"), operation_name(message)
        del message["id"], message["op"]
        if op == "cancel":
            handle = self._open.get(whole_number(message, "target"))
            if handle is not None:
                await handle.cancel(cancel_how(message))
            await self._send({"id": number, "event": "done", "result": {"found": handle is not None}})
            return
        if op == "unload":
            await self._unload(number, message)
            return
        if number in self._open:
            raise EngineError(f"Request number {number} is still open.")
        self._open[number] = self._hub.submit(op, message)
        task = asyncio.create_task(self._pass_on(number, self._open[number]))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def end(self) -> None:
        """Cancel what is open and wait for the engine to have heard of it; trainings go on another time."""
        for handle in list(self._open.values()):
            await handle.cancel("pause")
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._writer.close()

    async def _unload(self, number: int, message: Message) -> None:
        idle = message.get("idle_seconds")
        try:
            ended = await self._hub.unload(self, float(idle) if isinstance(idle, (int, float)) else 0.0)
        except TokmemError as error:
            await self._send({"id": number, "event": "error", "error": error.as_dict()})
            return
        await self._send({"id": number, "event": "done", "result": {"unloaded": ended}})

    async def _pass_on(self, number: int, handle: RequestHandle) -> None:
        try:
            async for event in handle:
                await self._send({**event, "id": number})
        except TokmemError as error:
            with contextlib.suppress(ConnectionError):
                await self._send({"id": number, "event": "error", "error": error.as_dict()})
        except ConnectionError:
            await handle.cancel("pause")
        finally:
            self._open.pop(number, None)
            self._hub.note_use()

    async def _send(self, message: Message) -> None:
        self._writer.write(encode(message))
        await self._writer.drain()
