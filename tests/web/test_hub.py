"""One engine for several clients: numbers do not mix, a client that goes takes its requests along."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from profiles.files.paths import AppPaths, private_folder
from profiles.registry.registry import ProfileRegistry
from tests.tui.conftest import ROOT, TODO, remember
from tests.warm import start_of
from tokmem_desk.errors import BusyError, EngineError, NotFoundError
from tui.engine_client.client import EngineClient
from tui.engine_client.hub import AVAILABLE, EngineHub
from tui.engine_client.link import EngineLink
from tui.engine_client.protocol import encode

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="Windows has no Unix sockets in asyncio")

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def ask(text: str, route: str = "auto") -> dict[str, object]:
    return {"profile": "default", "text": text, "route": route, "conversation": [], "sample": False, "seed": None}


@pytest.fixture
async def engine(own_home: Path) -> AsyncIterator[EngineClient]:
    """The one scripted engine."""
    paths = AppPaths.resolve(own_home)
    with ProfileRegistry(paths) as registry, registry.open() as store:
        store.procedures.add(TODO, source="test")
        remember(store, TODO.name)
    # Trainings long enough to leave one in its middle, however slow the machine.
    command = [*start_of("tests.tui.scripted_engine"), "--home", str(own_home)]
    command += ["--steps", "3000", "--step-delay", "0.02"]
    client = EngineClient(command, private_folder(paths.logs) / "engine.log", ENVIRONMENT)
    yield client
    await client.close()


@pytest.fixture
async def hub(engine: EngineClient, tmp_path: Path) -> AsyncIterator[EngineHub]:
    made = EngineHub(engine, tmp_path / "socket")
    await made.start()
    yield made
    await made.close()


def window(hub: EngineHub, tmp_path: Path, name: str) -> EngineClient:
    """A client that takes the relay for its engine."""
    command = [sys.executable, "-m", "tui.engine_client.relay", str(hub.path)]
    return EngineClient(command, tmp_path / f"{name}.log", ENVIRONMENT, shared=True)


async def test_two_clients_share_one_engine(hub: EngineHub, engine: EngineClient, tmp_path: Path) -> None:
    one, two = window(hub, tmp_path, "one"), window(hub, tmp_path, "two")
    asked = [client.submit("ask", **ask(f"number {n}", "none")) for n in range(5) for client in (one, two)]
    results = await asyncio.gather(*(handle.result() for handle in asked))
    assert [r["response"] for r in results] == [
        f"You said: number {n} (0 messages before)" for n in range(5) for _ in range(2)
    ]
    with pytest.raises(NotFoundError, match="no procedure 'nobody'"):
        await two.submit("ask", **ask("x", "nobody")).result()
    pid = engine.pid
    await one.close()
    assert (await two.submit("ask", **ask("I need to buy milk"))
            .result())["route"] == "todo_line"  # fmt: skip
    assert engine.pid == pid, "who leaves does not take the engine along"
    await two.close()


async def test_cancel_goes_through(hub: EngineHub, tmp_path: Path) -> None:
    client = window(hub, tmp_path, "one")
    handle = client.submit("ask", **ask("!slow"))
    async for event in handle:
        if event.get("text", "").strip() == "word3":
            await handle.cancel()
        if event["event"] == "done":
            assert event["result"]["stopped"] == "cancelled"
    await client.close()


async def test_who_leaves_takes_the_requests_along(
    hub: EngineHub, engine: EngineClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handles = []
    submit = engine.submit
    monkeypatch.setattr(engine, "submit", lambda op, **fields: handles.append(submit(op, **fields)) or handles[-1])
    client = window(hub, tmp_path, "one")
    async for event in client.submit("ask", **ask("!slow")):
        if event.get("text", "").strip() == "word3":
            break
    client.kill()
    await client.close()
    assert (await handles[-1].result())["stopped"] == "cancelled"


async def test_a_training_goes_on_another_time_when_its_client_leaves(
    hub: EngineHub, engine: EngineClient, own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handles = []
    submit = engine.submit
    monkeypatch.setattr(engine, "submit", lambda op, **fields: handles.append(submit(op, **fields)) or handles[-1])
    client = window(hub, tmp_path, "one")
    async for event in client.submit("train", profile="default", names=[TODO.name], preset="normal"):
        if event.get("phase") == "train" and event["step"] >= 3:
            break
    client.kill()
    await client.close()
    assert (await handles[-1].result())["trained"] == []
    assert len(list(AppPaths.resolve(own_home).checkpoints.rglob("*.safetensors"))) == 1


async def test_a_crash_is_told_to_all_and_the_engine_comes_back(hub: EngineHub, tmp_path: Path) -> None:
    one, two = window(hub, tmp_path, "one"), window(hub, tmp_path, "two")
    slow = asyncio.create_task(two.submit("ask", **ask("!slow")).result())
    with pytest.raises(EngineError, match="exit code 3"):
        await one.submit("ask", **ask("!crash one two three")).result()
    with pytest.raises(EngineError):
        await slow
    assert (await two.submit("ask", **ask("hello")).result())["route"] == "none"
    await one.close()
    await two.close()


async def test_nonsense_is_let_go_and_others_stay(hub: EngineHub, tmp_path: Path) -> None:
    said: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
    client = window(hub, tmp_path, "one")
    await client.submit("load", profile="default").result()
    odd = [b"not json\n", b"[1]\n", b"\xff\n", b"[" * 100_000 + b"\n", encode({"op": "ask"}), encode({"id": 1})]
    odd += [encode({"id": one, "op": "ask"}) for one in ("x", None, [1], {}, True)]
    odd += [encode({"id": 1, "op": "cancel", "target": one}) for one in (None, "x", [])]
    for line in odd:
        reader, writer = await asyncio.open_unix_connection(hub.path)
        writer.write(line)
        assert await reader.read() == b""
        writer.close()
    assert (await client.submit("load", profile="default").result())["id"]
    await client.close()
    gc.collect()
    assert said == []


async def test_unloading_in_a_window_ends_the_shared_engine(
    hub: EngineHub, engine: EngineClient, tmp_path: Path
) -> None:
    one, two = (EngineLink(window(hub, tmp_path, name), lambda state: None) for name in ("one", "two"))
    await one.load("default")
    await two.load("default")
    pid = engine.pid
    slow = two.submit("ask", **ask("!slow"))
    async for event in two.events(slow):
        if event["event"] == "token":
            break
    with pytest.raises(BusyError, match="Another window is using the model"):
        await one.unload()
    assert not await one.unload(idle_seconds=0.001), "idle here, at work there"
    assert engine.pid == pid and one.state.phase == "ready"
    await slow.cancel()
    await slow.result()
    assert not await one.unload(idle_seconds=3600.0), "used a moment ago, in the other window"
    assert engine.pid == pid and one.client.running
    assert await one.unload()
    assert not engine.running and one.state.phase == "off"
    answer = [event async for event in two.events(two.submit("ask", **ask("hello")))]
    assert answer[-1]["result"]["route"] == "none" and engine.pid not in (None, pid)
    await one.client.close()
    await two.client.close()


async def test_a_window_whose_connection_is_closed_still_has_a_profile_forgotten(
    hub: EngineHub, engine: EngineClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    submit = engine.submit
    monkeypatch.setattr(engine, "submit", lambda op, **fields: asked.append(op) or submit(op, **fields))
    link = EngineLink(window(hub, tmp_path, "one"), lambda state: None)
    await link.load("default")
    await link.client.close()
    await link.forget("default")
    assert [op for op in asked if op != "fit"] == ["load", "forget"]
    await link.client.close()


async def test_closing_with_a_connection_open_is_no_error(hub: EngineHub) -> None:
    said: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
    reader, writer = await asyncio.open_unix_connection(hub.path)
    writer.write(encode({"id": 1, "op": "load", "profile": "default"}))
    assert await reader.readline()
    await hub.close()
    rest = await reader.read()  # to the end, which comes; an event may have been on its way
    assert rest == b"" or rest.endswith(b"\n")
    writer.close()
    await asyncio.sleep(0)
    assert said == []


async def test_a_hub_that_is_gone_is_said(hub: EngineHub, tmp_path: Path) -> None:
    await hub.close()
    client = window(hub, tmp_path, "one")
    with pytest.raises(EngineError, match="shared engine is gone"):
        await client.submit("load").result()
    await client.close()
