"""A vLLM server that runs our connector, over HTTP: what of its API is used, and its errors in our words.

Knows no profile and no route: it gets what ``tui.engine.operations.vllm_prompt`` says. Each error is of one request.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar
from urllib.parse import urlsplit

from tokmem_desk.errors import IncompatibleError, UsageError
from tokmem_vllm.versions import TRIED, check_versions
from tokmem_vllm.wishes import Wish, message_key, reader_of
from tui.serve.errors import VllmError

if TYPE_CHECKING:
    import aiohttp

CONNECT_SECONDS = 10.0
SILENT_SECONDS = 120.0
"""How long it may send nothing: a request that waits in its queue is silent."""

FINISHED = ("stop", "length", "repetition")
"""Why an answer may end that is whole as far as it goes."""

_LINE_BYTES = 1 << 20
_PROBE = "probe"
_COMMAND = "Start it as docs/scale.md says."
_Result = TypeVar("_Result")


class Stopped(Exception):
    """The request was cancelled."""


@dataclass(frozen=True, slots=True)
class Delta:
    """More of an answer.

    Attributes:
        text: what was added.
        finish: why it ended; empty while it goes on.
        tokens: of the whole answer, at its end; else 0.
    """

    text: str = ""
    finish: str = ""
    tokens: int = 0


class VllmServer:
    """One vLLM server.

    Args:
        url: where it listens, as ``http://127.0.0.1:8000``; with or without ``/v1``.
        fingerprint: digest of the backbone that it has to serve.
        key: what it was started with as ``--api-key``; empty for none.

    Raises:
        UsageError: no such URL can be.
    """

    def __init__(self, url: str, fingerprint: str, key: str = "") -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise UsageError(
                f"{url!r} is no address of a vLLM server.", next_step="Write it so: --url http://127.0.0.1:8000"
            )
        self.url = url.rstrip("/").removesuffix("/v1")
        self.length = 0
        """Of its longest request, answer included; 0 before ``check``."""
        self._fingerprint = fingerprint
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._model = ""
        self._session: aiohttp.ClientSession | None = None
        self._checking = asyncio.Lock()

    async def check(self) -> None:
        """See that it is there, and is what it has to be; once, and again after it was away.

        Raises:
            VllmError: it is away, of another version, without our connector, or serves another model.
        """
        async with self._checking:
            if self._model:
                return
            version = str((await self._json("GET", "/version")).get("version"))
            try:
                check_versions({"vllm": version})
            except IncompatibleError as caught:
                tried = ", ".join(sorted({one for several in TRIED.values() for one in several}))
                raise VllmError(
                    f"The server at {self.url} is vLLM {version}; memories were tried with {tried} alone.",
                    "vllm_version",
                    next_step=_COMMAND,
                ) from caught
            try:
                (first, *_) = (await self._json("GET", "/v1/models"))["data"]
                model, length = str(first["id"]), int(first["max_model_len"])
            except (KeyError, TypeError, ValueError) as caught:
                raise self._odd("the list of its models") from caught
            await self._read(model, [0], Wish(_PROBE, message_key(_PROBE, [0])).as_params())
            self._model, self.length = model, length

    async def read(self, ids: list[int], params: Mapping[str, Any], stop: asyncio.Event) -> None:
        """Have it read a message for an answer that comes.

        Args:
            ids: [q] of the message.
            params: ``kv_transfer_params``.
            stop: set where the request is cancelled.

        Raises:
            VllmError: it did not.
            Stopped: ``stop`` was set.
        """
        await self.check()
        await _unless(stop, lambda: self._read(self._model, ids, params))

    async def answer(self, fields: Mapping[str, Any], stop: asyncio.Event) -> AsyncGenerator[Delta, None]:
        """Have it answer; closing this generator aborts the request there.

        Args:
            fields: of the body; model and streaming come by themselves.
            stop: set where the request is cancelled.

        Yields:
            Text as it comes, the last with why it ended.

        Raises:
            VllmError: it did not.
            Stopped: ``stop`` was set.
        """
        await self.check()
        body = {"model": self._model, "stream": True, "stream_options": {"include_usage": True}, **fields}
        steered = "kv_transfer_params" in body
        with self._away():
            session = self._opened()
            async with contextlib.AsyncExitStack() as stack:
                response = await _unless(stop, lambda: session.post(f"{self.url}/v1/completions", json=body))
                stack.callback(response.close)
                if response.status != 200:
                    await self._refuse(response, steered=steered)
                finish, tokens, ended = "", 0, False
                while line := await _unless(stop, response.content.readline):
                    data = line.decode("utf-8", "replace").strip().removeprefix("data:").strip()
                    if not data or data.startswith(":"):
                        continue
                    if data == "[DONE]":
                        ended = True
                        break
                    chunk = self._chunk(data)
                    if "error" in chunk:
                        self._fail(chunk, steered=steered)
                    tokens = (chunk.get("usage") or {}).get("completion_tokens", tokens)
                    for choice in chunk.get("choices") or ():
                        finish = choice.get("finish_reason") or finish
                        if choice.get("text"):
                            yield Delta(choice["text"])
        if not ended or finish not in FINISHED:
            raise VllmError(f"The server at {self.url} broke off an answer.", "vllm_answer", next_step="Ask again.")
        yield Delta(finish=finish, tokens=tokens)

    async def close(self) -> None:
        """Close all connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()
            await asyncio.sleep(0)  # its sockets are closed in the next turn of the loop

    async def _read(self, model: str, ids: list[int], params: Mapping[str, Any]) -> None:
        body = {"model": model, "prompt": ids, "max_tokens": 1, "temperature": 0, "kv_transfer_params": params}
        found = reader_of((await self._json("POST", "/v1/completions", body)).get("kv_transfer_params"))
        if found is None:
            raise VllmError(
                f"The server at {self.url} does not run our connector: it would answer without any memory.",
                "vllm_connector",
                next_step=_COMMAND,
            )
        if found != self._fingerprint:
            self._model = ""
            raise VllmError(
                f"The server at {self.url} serves another model than the one that is loaded here.",
                "vllm_backbone",
                next_step="Serve the folder that tokmem_vllm.plain_model wrote of the model in use here, or choose "
                "the other one: --model.",
            )

    async def _json(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        with self._away():
            async with self._opened().request(method, f"{self.url}{path}", json=body) as response:
                if response.status != 200:
                    await self._refuse(response, steered=False)
                found = self._chunk(await response.text("utf-8", "replace"))
                if "error" in found:
                    self._fail(found, steered=False)
                return found

    def _opened(self) -> aiohttp.ClientSession:
        import aiohttp  # this late: who answers by the own engine needs it not

        if self._session is None:
            times = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENT_SECONDS)
            # Without a limit of connections: how many requests go on is what serve bounds.
            self._session = aiohttp.ClientSession(
                timeout=times,
                headers=self._headers,
                read_bufsize=_LINE_BYTES,
                connector=aiohttp.TCPConnector(limit=0),
            )
        return self._session

    @contextlib.contextmanager
    def _away(self) -> Any:
        """Errors of the connection as ours."""
        import aiohttp

        try:
            yield
        except (aiohttp.ClientError, TimeoutError, OSError) as caught:
            self._model = ""  # whatever comes back may be another one
            raise VllmError(
                f"The vLLM server at {self.url} does not answer ({type(caught).__name__}).",
                "vllm_away",
                next_step="See that it runs, and ask again.",
            ) from caught

    def _chunk(self, data: str) -> dict[str, Any]:
        try:
            found = json.loads(data)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise self._odd("something")
        return found

    def _odd(self, what: str) -> VllmError:
        return VllmError(
            f"The server at {self.url} sent {what} that vLLM does not send.", "vllm_answer", next_step=_COMMAND
        )

    async def _refuse(self, response: aiohttp.ClientResponse, *, steered: bool) -> NoReturn:
        try:
            told = json.loads(await response.text("utf-8", "replace"))
        except (ValueError, RecursionError):
            told = {}
        error = told.get("error") if isinstance(told, dict) else None
        self._fail({"error": {**(error if isinstance(error, dict) else {}), "code": response.status}}, steered=steered)

    def _fail(self, told: Mapping[str, Any], *, steered: bool) -> NoReturn:
        """Raise what an error of vLLM comes to. Its own words may quote a message, so none of them is passed on."""
        error = told["error"]
        status = error.get("code") if isinstance(error, dict) else None
        if status in (429, 503):
            raise VllmError(f"The server at {self.url} has too much to do.", "vllm_busy", next_step="Ask again.")
        if status == 404:
            self._model = ""
        if isinstance(status, int) and 400 <= status < 500:
            why = "wants a key: TOKMEM_VLLM_KEY" if status in (401, 403) else f"refused the request ({status})"
            raise VllmError(f"The server at {self.url} {why}.", "vllm_refused", next_step="Its log says more.")
        if steered:
            raise VllmError(
                f"The server at {self.url} could not answer under this memory: it is gone there, damaged, or made for "
                "another model.",
                "vllm_memory",
                next_step="Ask again. Its log says why.",
            )
        raise VllmError(f"The server at {self.url} failed.", "vllm_answer", next_step="Its log says why.")


async def _unless(stop: asyncio.Event, begin: Callable[[], Awaitable[_Result]]) -> _Result:
    """What ``begin`` gives, unless ``stop`` comes first; what has come is never thrown away, since it may be open.

    Raises:
        Stopped: it came first; what was waited for is cancelled.
    """
    if stop.is_set():
        raise Stopped
    task, stopping = asyncio.ensure_future(begin()), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise Stopped
    finally:
        for one in (task, stopping):
            one.cancel()
        await asyncio.gather(task, stopping, return_exceptions=True)
