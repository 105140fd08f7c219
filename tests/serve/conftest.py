"""``serve`` on a real port, in the test's own event loop, with the scripted engine in a process of its own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from openai import AsyncOpenAI

from profiles.files.paths import AppPaths, private_folder
from profiles.registry.registry import ProfileRegistry
from tests.tui.conftest import MOOD, ROOT, TODO, remember
from tests.tui.scripted_engine import BACKBONE
from tests.warm import start_of
from tokmem_desk.procedures import ExamplePair, Procedure
from tui.cli.serve import listen
from tui.engine_client.client import EngineClient, RequestHandle
from tui.engine_client.link import EngineLink
from tui.serve.app import ApiServer
from tui.serve.connections import BoundedConnection

MILK = "I need to buy milk on Monday"
SECRET = Procedure("secret", (ExamplePair("what is my secret word", "xyzzy"),))


class RecordingLink(EngineLink):
    """Keeps the handles of all requests, so that a test can see how they ended."""

    def __init__(self, client: EngineClient) -> None:
        super().__init__(client, lambda state: None)
        self.handles: list[RequestHandle] = []
        self.fields: list[dict[str, Any]] = []

    def submit(self, op: str, **fields: Any) -> RequestHandle:
        """Note and pass on."""
        handle = super().submit(op, **fields)
        self.handles.append(handle)
        self.fields.append(fields)
        return handle


@dataclass
class Served:
    """A running server and what it takes to talk to it."""

    url: str
    token: str
    annas_token: str
    link: RecordingLink
    api: ApiServer
    http: httpx.AsyncClient
    headers: dict[str, str] = field(default_factory=dict)

    def openai(self, token: str | None = None) -> AsyncOpenAI:
        """The client that most programs use."""
        return AsyncOpenAI(base_url=f"{self.url}/v1", api_key=token or self.token, max_retries=0)

    async def post(self, **body: Any) -> httpx.Response:
        """A completion by plain HTTP."""
        return await self.http.post("/v1/chat/completions", json=body)

    async def ask(self, text: str, **more: Any) -> Any:
        """The object of a good completion."""
        answered = await self.post(messages=[{"role": "user", "content": text}], **more)
        assert answered.status_code == 200, answered.text
        return answered.json()


@pytest.fixture
def paths(own_home: Path) -> AppPaths:
    """Two profiles: the active one knows two procedures, anna's another."""
    paths = AppPaths.resolve(own_home)
    with ProfileRegistry(paths) as registry:
        registry.create("anna")
        for profile, procedures in ((None, (TODO, MOOD)), ("anna", (SECRET,))):
            with registry.open(profile) as store:
                for procedure in procedures:
                    store.procedures.add(procedure, source="test")
                    remember(store, procedure.name)
    return paths


@pytest.fixture
def engine_options() -> list[str]:
    """Options of the scripted engine."""
    return []


@pytest.fixture
async def served(paths: AppPaths, own_home: Path, engine_options: list[str]) -> AsyncIterator[Served]:
    """A server, its engine loaded, a token for each profile."""
    command = [*start_of("tests.tui.scripted_engine"), "--home", str(own_home), *engine_options]
    log = private_folder(paths.logs) / "engine.log"
    link = RecordingLink(EngineClient(command, log, {**os.environ, "PYTHONPATH": str(ROOT)}))
    with ProfileRegistry(paths) as registry:
        token = registry.tokens.create("editor", "default")
        annas_token = registry.tokens.create("phone", "anna")
    api = ApiServer(paths, link, BACKBONE)  # type: ignore[arg-type]
    listener = listen(0)
    server = uvicorn.Server(
        uvicorn.Config(api.app(), http=BoundedConnection, ws="none", lifespan="off", log_config=None, access_log=False)
    )
    task = asyncio.create_task(server._serve([listener]))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60) as http:
        yield Served(url, token, annas_token, link, api, http, headers)
    server.should_exit = True
    await task
    await link.client.close()
    listener.close()


@pytest.fixture
def until() -> Callable[..., Any]:
    """Wait for something to become true."""

    async def wait(true: Callable[[], object]) -> None:
        for _ in range(1000):
            if true():
                return
            await asyncio.sleep(0.02)
        raise AssertionError("never happened")

    return wait
