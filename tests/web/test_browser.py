"""``web``: who gets in, and that the app runs in a window on the shared engine."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from profiles.paths import AppPaths
from profiles.registry import ProfileRegistry
from tests.cli.conftest import SECONDS, CommandLine, interrupt_when

PASSPHRASE = "four words of mine"
BEGINNING = "\x1b[?1049h"
"""What a process draws first."""
KNOWN = "I need to call mum on Monday"


@pytest.fixture
def scripted(own_home: Path) -> CommandLine:
    """The command line with the scripted engine."""
    return CommandLine(own_home, ("-m", "tests.cli.scripted_cli"), ("--yes",))


@pytest.fixture
async def link(scripted: CommandLine, tmp_path: Path) -> AsyncIterator[str]:
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


async def test_a_lock_in_a_window_starts_it_anew_there(link: str, own_home: Path) -> None:
    with ProfileRegistry(AppPaths.resolve(own_home)) as registry:
        registry.add_lock("default", PASSPHRASE)
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
