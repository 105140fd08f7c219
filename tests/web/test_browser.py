"""``web``: who gets in, and that the app runs in a window on the shared engine."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import psutil
import pytest

from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from tests.cli.conftest import SECONDS, CommandLine, interrupt_when, scripted_at

PASSPHRASE = "four words of mine"
BEGINNING = "\x1b[?1049h"
"""What a process draws first."""
KNOWN = "I need to call mum on Monday"


@pytest.fixture
def scripted(own_home: Path) -> CommandLine:
    """The command line with the scripted engine."""
    return scripted_at(own_home)


@pytest.fixture
async def link(scripted: CommandLine, own_home: Path, tmp_path: Path) -> AsyncIterator[str]:
    """The link that ``web`` has printed."""
    file = tmp_path / "todo.csv"
    file.write_text(
        f"input,response\n{KNOWN},( ) call mum due:mon\nI need to buy milk on Friday,( ) buy milk due:fri\n"
    )
    scripted("proc", "add", "todo", "--pairs", str(file))
    assert scripted("train").code == 0
    process = scripted.start("web", "--port", "0", "--json")
    assert process.stdout is not None
    yield json.loads(process.stdout.readline())["url"]
    ended = interrupt_when(process, lambda: True)
    assert ended.code == 130
    assert len(ended.err.splitlines()) == 2, ended.err  # what to do with the link, and "Stopped."
    assert "http" not in ended.err, "one address, and it is the one that works"
    log = own_home / "state" / "logs" / "web.log"
    assert "ERROR" not in log.read_text(), "whatever a client sent, nothing failed here"


async def test_who_gets_in(link: str) -> None:
    address, token = link.split("/?token=")
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as stranger:
        for path in ("/", "/ws", "/static/js/textual.js", "/?token=wrong", "/download/x"):
            async with stranger.get(address + path) as answer:
                assert answer.status == 403, path
        async with stranger.get(link, headers={"Host": "evil.example"}) as answer:
            assert answer.status == 403
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as mine:
        async with mine.get(link) as answer:
            page = await answer.text()
            assert answer.status == 200 and str(answer.url) == f"{address}/"
            assert token not in page and answer.headers["X-Frame-Options"] == "DENY"
            assert "<title>tokmem-desk</title>" in page
            addresses = set(re.findall(r"(?:https?|wss?)://[^/\"']+", page))
            assert addresses == {address, address.replace("http", "ws")}, "nothing is asked of another server"
            assert "focusTerminal" in page and "not-copied" in page
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await mine.ws_connect(f"{address}/ws", headers={"Origin": "http://evil.example"})


async def test_the_app_runs_in_a_window(link: str) -> None:
    address = link.split("/?")[0]
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        await browser.get(link)
        async with browser.ws_connect(f"{address}/ws?width=100&height=30", headers={"Origin": address}) as window:
            await seen(window, "todo")
            await window.send_json(["stdin", f"{KNOWN}\r"])
            await seen(window, "call mum due:mon")


def odd_head(draw: random.Random, address: str, cookie: str) -> bytes:
    path = draw.choice(
        ("/", "/?token=%ff%fe", "/?token=\u00e9", "/?token=" + "a" * 5000, "/?token=a&token=b", "/ws", "/ws?width=x",
         "/ws?width=1e9&height=-1", "/ws?width=" + "9" * 5000, "/static/", "/static/../x", "/static/%2e%2e/%00",
         "/download/%ff", "/download/..%2f", "/%ff", "//", "*", "/?fontsize=" + "9" * 5000, "/?fontsize=NaN")
    )  # fmt: skip
    lines = [f"{draw.choice(('GET', 'POST', 'HEAD', 'BREW'))} {path} HTTP/1.1", f"Host: {address}", "Connection: close"]
    name = cookie.partition("=")[0]
    cookies = (cookie, cookie, "\xff\xfe", f"{name}=\xff\xed\xa0\x80", ";;=;", "a=b; " * 900, '"', "a=\x80; $Version=1")
    lines.append("Cookie: " + draw.choice(cookies))
    more = ("Origin: \xff", f"Origin: http://{address}", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: \xff", "Range: bytes=9-1", "If-Modified-Since: \xff", "Expect: odd",
            "Content-Length: 5", "Content-Type: \xe9", "X-Odd: " + "\xfe" * 3000)  # fmt: skip
    lines += draw.choices(more, k=draw.randrange(3))
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


async def said_by(reader: asyncio.StreamReader) -> bytes:
    said = b""
    with contextlib.suppress(ConnectionError):
        while piece := await asyncio.wait_for(reader.read(65536), SECONDS):
            said += piece
    return said


async def test_odd_requests_are_refused_without_a_complaint(link: str) -> None:
    address, token = link.removeprefix("http://").split("/?token=")
    host, port = address.split(":")
    draw = random.Random(5)
    heads = [odd_head(draw, address, f"tokmem-desk-{port}={token}") for _ in range(150)]
    for head in [*heads, b"\x16\x03\x01\x02", b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\nX\xff: :\r\n\r\n"]:
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(head)
        if writer.can_write_eof():
            writer.write_eof()
        said = await said_by(reader)
        writer.close()
        assert not said or int(said.split(b" ", 2)[1]) < 500, (head, said)


async def test_odd_messages_of_a_page_do_not_end_its_window(link: str) -> None:
    address = link.split("/?")[0]
    odd = ("", "[", "{}", "[]", "[1]", '["stdin"]', '["stdin", 5]', '["stdin", "\\ud800"]', '["resize", {}]',
           "[" * 90_000,
           '["resize", {"width": NaN, "height": 1e999}]', '["resize", {"width": 99999999, "height": -1}]',
           '["resize", 3]', '["ping"]', '["focus", []]', '["blur"]', '["odd", null]', '[["stdin"], "x"]')  # fmt: skip
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        await browser.get(link)
        async with browser.ws_connect(f"{address}/ws?width=100&height=30", headers={"Origin": address}) as window:
            await seen(window, "todo")
            for message in odd:
                await window.send_str(message)
            await window.send_bytes(b"\xff\xfe")
            await window.send_json(["stdin", f"{KNOWN}\r"])
            await seen(window, "call mum due:mon")


async def test_a_lock_in_a_window_starts_it_anew_there(link: str, own_home: Path) -> None:
    with ProfileRegistry(AppPaths.resolve(own_home)) as registry:
        registry.locks.add("default", PASSPHRASE)
    address = link.split("/?")[0]
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        await browser.get(link)
        async with browser.ws_connect(f"{address}/ws?width=100&height=30", headers={"Origin": address}) as window:
            await seen(window, "default is locked")
            for _ in range(2):
                await window.send_json(["stdin", f"{PASSPHRASE}\r"])
                await seen(window, "todo")
                await window.send_json(["resize", {"width": 90, "height": 28}])
                await window.send_json(["stdin", "\x0c"])
                await seen(window, BEGINNING, raw=True)
                await seen(window, "default is locked")


async def seen(window: aiohttp.ClientWebSocketResponse, text: str, *, raw: bool = False) -> None:
    """Read the terminal's bytes until they have shown a text, or have it among its control codes."""
    shown = ""
    while text not in shown:
        message = await window.receive(timeout=SECONDS)
        assert message.type in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT), shown[-2000:]
        if message.type == aiohttp.WSMsgType.BINARY:
            data = message.data.decode("utf-8", "replace")
            shown += data if raw else re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", data)


@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM", "SIGHUP", "SIGKILL"])
async def test_a_stopped_server_leaves_nothing_in_the_temporary_folder(
    own_home: Path, tmp_path: Path, how: str
) -> None:
    scripted = scripted_at(own_home, warm=False)  # its windows are looked for among its children
    folder = tmp_path / "temporary"
    folder.mkdir()
    process = scripted.start("web", "--port", "0", "--json", TMPDIR=str(folder))
    assert process.stdout is not None
    link = json.loads(process.stdout.readline())["url"]
    address = link.split("/?")[0]
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        await browser.get(link)
        async with browser.ws_connect(f"{address}/ws", headers={"Origin": address}) as window:
            await seen(window, "default")
            [killed] = [one for one in psutil.Process(process.pid).children(recursive=True) if _is_window(one)]
            killed.kill()
        async with browser.ws_connect(f"{address}/ws", headers={"Origin": address}) as window:
            await seen(window, "default")
            assert list(folder.iterdir()), "the socket"
            windows = [one for one in psutil.Process(process.pid).children(recursive=True) if _is_window(one)]
            assert windows
            os.kill(process.pid, getattr(signal, how))
            _, err = await asyncio.to_thread(process.communicate)
    assert b"Traceback" not in err
    _, stay = await asyncio.to_thread(psutil.wait_procs, windows, SECONDS)
    assert not stay, "nobody sees these windows any more"
    if how == "SIGKILL":  # nobody can tidy up then; the next one does
        again = scripted.start("web", "--port", "0", "--json", TMPDIR=str(folder))
        assert again.stdout is not None and again.stdout.readline()
        assert interrupt_when(again, lambda: True).code == 130
    else:
        assert process.returncode == 130
    assert list(folder.iterdir()) == []


def _is_window(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        command = process.cmdline()
        return "tui.cli.web_window" in command and "-c" not in command
    return False
