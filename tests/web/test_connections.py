"""Half-open connections of ``web``: they end, and they hold up nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from tui.cli.serve import listen
from tui.web import server as web_server
from tui.web.server import BrowserServer

Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def served(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[BrowserServer]:
    monkeypatch.setattr(web_server, "REQUEST_SECONDS", 0.5)
    monkeypatch.setattr(web_server, "BODY_SECONDS", 0.5)
    monkeypatch.setattr(web_server, "CONNECTION_LIMIT", 8)
    with listen(0) as listener:
        server = BrowserServer("false", listener)
        running = asyncio.create_task(server.run(asyncio.Event().wait()))
        yield server
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def opened(server: BrowserServer, first: bytes) -> Pair:
    pair = await asyncio.open_connection(server.host, server.port)
    pair[1].write(first)
    return pair


async def ends(pair: Pair, *, drip: bytes = b"") -> bool:
    """True once the server has ended the connection, whatever bytes still come."""
    reader, writer = pair

    async def send() -> None:
        try:
            while drip:
                writer.write(drip)
                await writer.drain()
                await asyncio.sleep(0.02)
        except ConnectionError:
            return

    sending = asyncio.create_task(send())
    try:
        while await asyncio.wait_for(reader.read(65536), 60):
            pass
    except ConnectionError:
        pass
    finally:
        sending.cancel()
        writer.transport.abort()
    return True


@pytest.mark.parametrize("drip", [b"", b"x"])
@pytest.mark.parametrize("first", [b"", b"GET /", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "])
async def test_a_head_that_never_ends(served: BrowserServer, first: bytes, drip: bytes) -> None:
    assert await ends(await opened(served, first), drip=drip)


@pytest.mark.parametrize("drip", [b"", b"x"])
async def test_a_body_that_never_ends(served: BrowserServer, drip: bytes) -> None:
    head = f"POST / HTTP/1.1\r\nHost: {served.host}:{served.port}\r\nContent-Length: 100000\r\n\r\n".encode()
    assert await ends(await opened(served, head), drip=drip)


async def test_many_hold_up_nobody(served: BrowserServer, monkeypatch: pytest.MonkeyPatch) -> None:
    half_open = [await opened(served, b"GET / HTTP/1.1\r\n") for _ in range(40)]
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar) as browser, browser.get(served.link) as answer:
        assert answer.status == 200
    for _, writer in half_open:
        writer.transport.abort()
