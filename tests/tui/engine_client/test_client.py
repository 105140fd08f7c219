"""The engine's client against a real process: events, cancelling, crashes, no process left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tokmem_desk.errors import EngineError, InterruptedByUser, NotFoundError
from tui.engine_client import client as client_module
from tui.engine_client.client import EngineClient, RequestHandle, engine_command, run_blocking
from tui.engine_client.link import EngineLink
from tui.engine_client.protocol import Message, decode, encode

MakeClient = Callable[..., EngineClient]


def ask_fields(text: str, route: str = "auto") -> dict[str, Any]:
    """The fields of an ``ask``."""
    return {"profile": "default", "text": text, "route": route, "conversation": [], "sample": False, "seed": None}


def alive(pid: int) -> bool:
    """True while a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.asyncio
async def test_events_in_order(make_client: MakeClient, taught: None) -> None:
    client = make_client()
    events = [event async for event in client.request("ask", **ask_fields("I need to buy milk"))]
    kinds = [event["event"] for event in events]
    assert kinds[:3] == ["progress"] * 3
    assert kinds[3] == "route"
    assert kinds[-1] == "done"
    assert set(kinds[4:-1]) == {"token"}
    assert "".join(event["text"] for event in events if event["event"] == "token") == events[-1]["result"]["response"]
    await client.close()
    assert not client.running


@pytest.mark.asyncio
async def test_requests_side_by_side(make_client: MakeClient, taught: None) -> None:
    client = make_client("--token-delay", "0.01")
    handles = [client.submit("ask", **ask_fields(f"message number {place}")) for place in range(5)]
    results = await asyncio.gather(*(handle.result() for handle in handles))
    assert [result["response"].split(" (")[0] for result in results] == [
        f"You said: message number {place}" for place in range(5)
    ]
    await client.close()


@pytest.mark.asyncio
async def test_cancel_keeps_the_partial(make_client: MakeClient, taught: None) -> None:
    client = make_client()
    handle = client.submit("ask", **ask_fields("!slow"))
    last: dict[str, Any] = {}
    async for event in handle:
        if event.get("text", "").strip() == "word3":
            await handle.cancel()
        last = event
    assert last["result"]["stopped"] == "cancelled"
    assert len(last["result"]["response"].split()) < 8
    await client.close()


@pytest.mark.asyncio
async def test_cancel_before_the_engine_is_there(make_client: MakeClient, taught: None) -> None:
    client = make_client()
    handle = client.submit("ask", **ask_fields("!slow"))
    await handle.cancel()
    result = await handle.result()
    assert result["stopped"] == "cancelled"
    await client.close()


@pytest.mark.asyncio
async def test_errors_cross_the_pipe(make_client: MakeClient, taught: None) -> None:
    client = make_client()
    with pytest.raises(NotFoundError, match="no procedure 'nothing'"):
        await client.submit("ask", **ask_fields("x", route="nothing")).result()
    await client.close()


@pytest.mark.asyncio
async def test_crash_fails_every_open_request_and_the_next_starts_anew(make_client: MakeClient, taught: None) -> None:
    client = make_client()
    slow = asyncio.create_task(client.submit("ask", **ask_fields("!slow")).result())
    await asyncio.sleep(0.3)
    first = client.pid
    with pytest.raises(EngineError, match="exit code 3") as caught:
        await client.submit("ask", **ask_fields("!crash now please")).result()
    assert "scripted crash" not in caught.value.message and "scripted crash" in client.last_words
    with pytest.raises(EngineError):
        await slow
    result = await client.submit("ask", **ask_fields("hello")).result()
    assert result["route"] == "none"
    assert client.pid != first
    await client.close()


@pytest.mark.asyncio
async def test_engine_that_cannot_start(tmp_path: Path) -> None:
    client = EngineClient([str(tmp_path / "missing")], tmp_path / "log")
    with pytest.raises(EngineError, match="could not be started"):
        await client.submit("load").result()
    noisy = EngineClient([sys.executable, "-c", "print('hello')"], tmp_path / "log")
    with pytest.raises(EngineError, match="not JSON"):
        await noisy.submit("load").result()
    await noisy.close()


@pytest.mark.asyncio
async def test_close_ends_a_stubborn_engine(tmp_path: Path) -> None:
    client = EngineClient([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path / "log")
    await client.start()
    pid = client.pid
    assert pid is not None
    begun = time.monotonic()
    await client.close()
    assert time.monotonic() - begun < 3
    assert not alive(pid)


@pytest.mark.asyncio
async def test_a_request_in_the_middle_of_an_unload_starts_the_engine_anew(
    make_client: MakeClient, taught: None
) -> None:
    client = make_client()
    await client.submit("load", profile="default").result()
    first = client.pid
    closing = asyncio.create_task(client.close())
    await asyncio.sleep(0)
    assert client._process is not None, "the end has begun and is not there yet"
    result = await client.submit("ask", **ask_fields("hello")).result()
    await closing
    assert result["route"] == "none" and client.pid not in (None, first)
    await client.close()


@pytest.mark.asyncio
async def test_unloading_tells_what_is_true_when_a_request_came_meanwhile(
    make_client: MakeClient, taught: None
) -> None:
    link = EngineLink(make_client(), lambda state: None)
    await link.load("default")
    other = make_client()
    for ends in (link.unload, lambda: link.replace_client(other)):
        assert link.state.phase == "ready"
        ending = asyncio.create_task(ends())
        await asyncio.sleep(0)
        answer = [event async for event in link.events(link.submit("ask", **ask_fields("hello")))]
        await ending
        assert answer[-1]["result"]["route"] == "none" and link.state.phase == "ready" and link.client.running
    assert link.client is other
    await link.unload()
    assert link.state.phase == "off" and not link.client.running


@pytest.mark.asyncio
async def test_log_is_private_and_set_aside(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    log.write_bytes(b"x" * 1_000_001)
    client = EngineClient([sys.executable, "-c", "import sys; print('new', file=sys.stderr)"], log)
    with pytest.raises(EngineError, match="new"):
        await client.submit("load").result()
    assert log.read_text() == "new\n"
    assert log.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "engine.old.log").stat().st_size == 1_000_001
    await client.close()


def test_engine_ends_with_its_client(make_client: MakeClient, taught: None, tmp_path: Path) -> None:
    """A client that is killed leaves no engine behind."""
    script = tmp_path / "parent.py"
    script.write_text(
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from tui.engine_client.client import EngineClient\n"
        "async def main():\n"
        "    client = EngineClient(sys.argv[2:], Path(sys.argv[1]))\n"
        "    await client.start(); print(client.pid, flush=True); await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    import subprocess

    command = [sys.executable, "-m", "tests.tui.scripted_engine", "--home", str(tmp_path / "home")]
    root = str(Path(__file__).parents[3])
    parent = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "log"), *command],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert alive(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    for _ in range(600):
        if not alive(pid):
            return
        time.sleep(0.05)
    raise AssertionError("the engine outlived its client")


def test_blocking(make_client: MakeClient, taught: None) -> None:
    with make_client() as client:
        events = list(run_blocking(client.submit("ask", **ask_fields("I need to buy milk"))))
        assert events[-1]["result"]["response"] == "( ) buy milk due:mon"
        with pytest.raises(NotFoundError):
            list(run_blocking(client.submit("ask", **ask_fields("x", route="nothing"))))
        pid = client.pid
        assert pid is not None
    assert not alive(pid)


def press_ctrl_c_while_waiting(monkeypatch: pytest.MonkeyPatch, at: Callable[[int], bool]) -> None:
    """Press Ctrl-C while ``run_blocking`` waits for the n-th event, for each n that ``at`` names.

    A timer would do it in most runs only: on a busy machine it rings in the caller's code, and ends pytest.
    """
    plain = client_module._next_event
    waits = iter(range(1, 10_000))

    async def pressed(handle: RequestHandle) -> Message | None:
        loop = asyncio.get_running_loop()

        def press() -> None:
            if handle.sent:
                os.kill(os.getpid(), signal.SIGINT)
            else:
                loop.call_later(0.01, press)

        if at(next(waits)):
            loop.call_soon(press)
        return await plain(handle)

    monkeypatch.setattr(client_module, "_next_event", pressed)


def test_blocking_interrupted_once_ends_with_what_there_is(
    make_client: MakeClient, taught: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with make_client() as client:
        handle = client.submit("ask", **ask_fields("!slow"))
        # Four events come before the first token.
        press_ctrl_c_while_waiting(monkeypatch, lambda wait: wait == 8)
        last = [*run_blocking(handle)][-1]
        assert handle.cancelled
        assert last["result"]["stopped"] == "cancelled"


def test_blocking_interrupted_twice_gives_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that does not listen."""
    client = EngineClient([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path / "log")
    press_ctrl_c_while_waiting(monkeypatch, lambda wait: wait <= 2)
    with client, pytest.raises(InterruptedByUser):
        list(run_blocking(client.submit("load")))


def test_lines() -> None:
    message = {"id": 1, "op": "ask", "text": "a\nb \u2028 \ud800 é"}
    line = encode(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode(line) == {"id": 1, "op": "ask", "text": "a\nb \u2028 ? é"}
    with pytest.raises(EngineError, match="not an object"):
        decode(b"[1]\n")


def test_command(tmp_path: Path) -> None:
    command = engine_command(home=tmp_path, model="default", offline=True, device="cpu", python="py")
    assert command == [
        "py", "-m", "tui.engine", "--model", "default", "--device", "cpu", "--home", str(tmp_path), "--offline"
    ]  # fmt: skip
