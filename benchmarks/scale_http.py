"""Eight people ask ``serve`` at the same time, over HTTP: how long each waits, in turns and with common steps.

A section of ``benchmarks.scale``. Each person has a profile, a token and a memory of their own (untrained, since what
it teaches costs nothing else); the route is given. Server and people are in this process, the engine is in its own, as
with ``serve``. In turns means an engine that never computes steps together (``engine_in_turns``).
"""

from __future__ import annotations

import asyncio
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.options import say
from profiles.files.paths import AppPaths, private_folder
from profiles.registry.registry import ProfileRegistry
from tokmem_desk.backbone.backbone import Backbone
from tokmem_desk.memory.file import memory_to_bytes
from tokmem_desk.memory.input_rows import initial_rows
from tokmem_desk.memory.kv_positions import initial_keys_values
from tokmem_desk.memory.memory import Memory
from tokmem_desk.memory.steering import Steering
from tokmem_desk.procedures import ExamplePair, Procedure
from tui.cli.serve import listen
from tui.engine_client.client import EngineClient, engine_command
from tui.engine_client.link import EngineLink
from tui.serve.app import ApiServer
from tui.serve.connections import BoundedConnection

_PEOPLE = 8
_WORDS = ("milk", "bread", "tea", "lunch", "note", "table", "fox", "dog", "card", "blue")


class HttpSection:
    """What eight people wait for.

    Args:
        home: with the model.
        model: id or folder.
        backbone: the same, loaded, to make memories with.
        tokens: of each answer, at most.
    """

    def __init__(self, home: Path, model: str, backbone: Backbone, tokens: int) -> None:
        self._paths, self._home, self._model, self._tokens = AppPaths.resolve(home), home, model, tokens
        self._name = backbone.model_id.rpartition("/")[2]
        with ProfileRegistry(self._paths) as registry:
            self._tokens_of = [self._person(registry, backbone, number) for number in range(_PEOPLE)]

    def _person(self, registry: ProfileRegistry, backbone: Backbone, number: int) -> str:
        name = f"http-{os.getpid()}-{self._name}-{number}"
        registry.create(name)
        text = backbone.format.encode_text(" ".join(_WORDS) * 4)
        free = initial_keys_values(backbone, 15, text[number : number + 30])
        steering = Steering.of(initial_rows(backbone, 1, seed=number), free.keys, free.values)
        memory = Memory("own", steering, torch.ones(backbone.hidden_size), False)
        with registry.open(name) as store:
            pairs = tuple(ExamplePair(f"say {word}", word.upper()) for word in _WORDS)
            store.procedures.add(Procedure("own", pairs))
            file = store.memories.write(memory_to_bytes(memory, backbone.fingerprint))
            id_ = store.procedures.get("own").id
            record = store.memories.add(id_, backbone.fingerprint.digest, file, pairs, {}, {})
            store.memories.activate(record.id)
        return registry.tokens.create(name, name)

    def measure(self, repeats: int) -> dict[str, Any]:
        """Both ways, each in an engine of its own."""
        found = {way: asyncio.run(self._way(way, repeats)) for way in ("tui.engine", "benchmarks.engine_in_turns")}
        (together, answers), (turns, theirs) = found["tui.engine"], found["benchmarks.engine_in_turns"]
        p95 = [sorted(one)[math.ceil(0.95 * len(one)) - 1] for one in (turns, together)]
        result = {
            "model": self._name,
            "people": _PEOPLE,
            "answer_tokens": self._tokens,
            "repeats": repeats,
            "p95_in_turns": round(p95[0], 3),
            "p95_together": round(p95[1], 3),
            "times_better": round(p95[0] / p95[1], 2),
            "answers_alike": sum(a == b for a, b in zip(answers, theirs, strict=True)),
            "answers": len(answers),
        }
        say(str(result))
        return result

    async def _way(self, module: str, repeats: int) -> tuple[list[float], list[str]]:
        """Seconds and answers of all, of every repeat."""
        import aiohttp
        import uvicorn

        command = engine_command(home=self._home, model=self._model, device="cpu", offline=True)
        command[command.index("tui.engine")] = module
        log = private_folder(self._paths.logs) / "engine.log"
        link = EngineLink(EngineClient(command, log, {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}), _ignore)
        events = [event async for event in link.submit("load")]
        api = ApiServer(self._paths, link, events[-1]["result"])
        listener = listen(0)
        server = uvicorn.Server(
            uvicorn.Config(
                api.app(), http=BoundedConnection, ws="none", lifespan="off", log_config=None, access_log=False
            )
        )
        task = asyncio.create_task(server._serve([listener]))
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/v1/chat/completions"
        seconds: list[float] = []
        answers: list[str] = []
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(600)) as session:

            async def ask(number: int, limit: int) -> tuple[float, str]:
                body = {
                    "model": "own",
                    "max_tokens": limit,
                    "messages": [
                        {"role": "user", "content": f"Person {number} asks: {' '.join(_WORDS[: 2 + number])}"}
                    ],
                }
                headers = {"Authorization": f"Bearer {self._tokens_of[number]}"}
                began = time.monotonic()
                async with session.post(address, json=body, headers=headers) as reply:
                    document = await reply.json()
                    assert reply.status == 200, document
                    return time.monotonic() - began, document["choices"][0]["message"]["content"]

            for number in range(_PEOPLE):  # banks are read, and whether steps go together is tried, at first use
                await ask(number, 1)
            await asyncio.gather(*(ask(number, 4) for number in range(_PEOPLE)))
            for _ in range(repeats):
                for spent, text in await asyncio.gather(*(ask(number, self._tokens) for number in range(_PEOPLE))):
                    seconds.append(spent)
                    answers.append(text)
        server.should_exit = True
        await task
        await link.client.close()
        listener.close()
        return seconds, answers


def _ignore(_: object) -> None:
    pass
