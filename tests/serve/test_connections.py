"""Clients that never finish: what they leave half done ends, is bounded in number, and holds up nobody else."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.serve.conftest import Served
from tui.serve import connections

Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]
HELLO = b'{"messages": [{"role": "user", "content": "hello"}]}'


class Raw:
    """Plain connections to the server."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.opened: list[Pair] = []

    async def open(self, first: bytes = b"") -> Pair:
        host, port = self.served.url.removeprefix("http://").split(":")
        pair = await asyncio.open_connection(host, int(port))
        self.opened.append(pair)
        pair[1].write(first)
        await pair[1].drain()
        return pair

    def head(self, length: int, more: str = "") -> bytes:
        return (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self.served.token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {length}\r\n{more}\r\n"
        ).encode()


@pytest.fixture
async def raw(served: Served) -> AsyncIterator[Raw]:
    made = Raw(served)
    yield made
    for _, writer in made.opened:
        writer.transport.abort()


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short limits, so that a test need not wait."""
    for name in ("HEAD_SECONDS", "BODY_SECONDS", "WRITE_SECONDS"):
        monkeypatch.setattr(connections, name, 0.5)


async def test_small_pieces_of_an_answer_are_sent_at_once(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the end of each answer waits until the client has confirmed its beginning, which it delays."""
    sockets: list[Any] = []
    made = connections.BoundedConnection.connection_made

    def noted(connection: connections.BoundedConnection, transport: asyncio.Transport) -> None:
        sockets.append(transport.get_extra_info("socket"))
        made(connection, transport)

    monkeypatch.setattr(connections.BoundedConnection, "connection_made", noted)
    await served.http.get("/v1/models")
    assert [one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for one in sockets] == [1]


async def drip(pair: Pair, data: bytes) -> bytes:
    """Send byte after byte, for ever if need be, until the server ends the connection; returns what it said."""
    reader, writer = pair

    async def send() -> None:
        try:
            for byte in data + b"x" * 100_000:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.02)
        except ConnectionError:
            return

    sending = asyncio.create_task(send())
    try:
        return await asyncio.wait_for(said_by(reader), 60)
    finally:
        sending.cancel()


async def said_by(reader: asyncio.StreamReader) -> bytes:
    said = b""
    try:
        while piece := await reader.read(65536):
            said += piece
    except ConnectionError:  # what came after the refusal resets the connection
        pass
    return said


@pytest.mark.parametrize(
    "first", [b"", b"GET", b"GET /v1/models HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: localhost\r\n"]
)
async def test_a_head_that_stops_ends(raw: Raw, hurried: None, first: bytes) -> None:
    reader, _ = await raw.open(first)
    said = await asyncio.wait_for(said_by(reader), 60)
    assert said.startswith(b"HTTP/1.1 408 ")
    assert json.loads(said.partition(b"\r\n\r\n")[2])["error"]["code"] == "request_timeout"


async def test_a_head_that_comes_byte_by_byte_ends(raw: Raw, hurried: None) -> None:
    pair = await raw.open()
    said = await drip(pair, b"GET /v1/models HTTP/1.1\r\nX-Slow: ")
    assert said.startswith(b"HTTP/1.1 408 ") or said == b""


async def test_a_body_that_stops_ends(raw: Raw, hurried: None) -> None:
    reader, _ = await raw.open(raw.head(len(HELLO)) + HELLO[:10])
    assert (await asyncio.wait_for(said_by(reader), 60)).startswith(b"HTTP/1.1 408 ")
    assert raw.served.link.handles == []


async def test_a_body_that_comes_byte_by_byte_ends(raw: Raw, hurried: None) -> None:
    pair = await raw.open(raw.head(200_000))
    said = await drip(pair, b"{")
    assert said.startswith(b"HTTP/1.1 408 ") or said == b""
    assert raw.served.link.handles == []


async def test_chunks_that_come_byte_by_byte_end(raw: Raw, hurried: None) -> None:
    head = raw.head(1).replace(b"Content-Length: 1\r\n", b"Transfer-Encoding: chunked\r\n")
    said = await drip(await raw.open(head), b"1\r\n{\r\n" * 1000)
    assert said.startswith(b"HTTP/1.1 408 ") or said == b""


async def test_a_body_behind_a_refusal_ends_too(raw: Raw, hurried: None) -> None:
    head = raw.head(200_000).replace(raw.served.token.encode(), b"wrong")
    assert (await drip(await raw.open(head), b"{")).startswith(b"HTTP/1.1 401 ")


async def test_a_second_request_has_the_limit_too(raw: Raw, hurried: None) -> None:
    pair = await raw.open(raw.head(len(HELLO)) + HELLO)
    said = await drip(pair, b"GET /v1/models HTTP/1.1\r\nX-Slow: ")
    assert said.startswith(b"HTTP/1.1 200 ")


async def test_many_half_open_connections_hold_up_nobody(raw: Raw, monkeypatch: pytest.MonkeyPatch, until) -> None:
    monkeypatch.setattr(connections, "CONNECTION_LIMIT", 8)
    half_open = [await raw.open(b"GET /v1/models HTTP/1.1\r\n") for _ in range(40)]
    assert (await raw.served.ask("hello"))["tokmem"]["route"] == "none"
    ended = [reader for reader, _ in half_open if reader.at_eof() or reader.exception()]
    assert len(ended) >= 40 - 8, "the oldest made room"


async def test_those_that_are_answered_are_not_ended_for_others(
    raw: Raw, monkeypatch: pytest.MonkeyPatch, until
) -> None:
    monkeypatch.setattr(connections, "CONNECTION_LIMIT", 2)
    body = {"messages": [{"role": "user", "content": "!slow"}]}
    slow = [asyncio.create_task(raw.served.post(**body)) for _ in range(2)]
    await until(lambda: raw.served.api._open == 2)
    reader, _ = await raw.open(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert (await asyncio.wait_for(said_by(reader), 60)).startswith(b"HTTP/1.1 503 ")
    assert raw.served.api._open == 2
    for task in slow:
        task.cancel()
    await asyncio.gather(*slow, return_exceptions=True)


async def test_a_reader_that_does_not_read_is_let_go(raw: Raw, hurried: None, until, monkeypatch) -> None:
    made: list[connections.BoundedConnection] = []
    connected = connections.BoundedConnection.connection_made
    monkeypatch.setattr(
        connections.BoundedConnection, "connection_made", lambda self, to: (made.append(self), connected(self, to))
    )
    body = json.dumps({"messages": [{"role": "user", "content": "!slow"}], "stream": True}).encode()
    await raw.open(raw.head(len(body)) + body)
    await until(lambda: raw.served.api._open == 1)
    made[-1].pause_writing()  # as asyncio does once the buffers of the system and its own are full
    await until(lambda: raw.served.api._open == 0)
    assert (await raw.served.link.handles[-1].result())["stopped"] == "cancelled"


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: odd\r\n\r\n",
        b"POST /v1/models HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_refused(raw: Raw, hurried: None, nonsense: bytes, caplog) -> None:
    reader, _ = await raw.open(nonsense)
    said = await asyncio.wait_for(said_by(reader), 60)
    assert said == b"" or said.startswith(b"HTTP/1.1 4"), said
    assert not [one for one in caplog.records if one.exc_info], "no traceback anywhere"
