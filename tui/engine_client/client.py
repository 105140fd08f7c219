"""The engine's client: starts the process, sends requests, hands out their events.

The process is started by the first request and, after a crash, by the next one. It gets a session of its own, so
Ctrl-C in a terminal reaches the client alone, which then decides what to cancel. Whichever way the client ends, the
engine ends too: it reads end-of-file on its stdin. Knows the protocol and no model.

In a program with an event loop::

    handle = client.submit("ask", profile="default", text="hello", route="auto")
    async for event in handle:
        ...

In a program without one::

    with client:
        for event in run_blocking(client.submit("route", profile="default", texts=["hello"])):
            ...
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, BinaryIO, Self

from tokmem_desk.errors import EngineError, InterruptedByUser, StorageError, TokmemError, error_from_dict
from tui.engine_client.protocol import HUB_GONE, LINE_LIMIT, CancelHow, Message, decode, encode
from tui.process.faults import in_words, memory_limit, out_of_memory
from tui.process.passphrase_variables import NEW_PASSPHRASE_VARIABLE, PASSPHRASE_VARIABLE

CLOSE_SECONDS = 0.5
"""How long the engine may take to end by itself before it is killed."""

LOG_BYTES = 1_000_000
"""The log is set aside (one old one is kept) when it is longer than this at a start."""

TAIL_LINES = 12

_UNWRITABLE = frozenset({errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT})
ASK_AGAIN = "Ask again: the engine starts anew by itself. F12 has the end of its log."


def engine_command(
    *, home: Path | None, model: str, offline: bool = False, device: str = "auto", python: str = sys.executable
) -> list[str]:
    """The command line of the real engine."""
    command = [python, "-m", "tui.engine", "--model", model, "--device", device]
    if home is not None:
        command += ["--home", str(home)]
    if offline:
        command.append("--offline")
    return command


class RequestHandle:
    """One request: iterate over it for its events, ``done`` being the last.

    The request is sent when the iteration starts. Iterating raises the engine's error, or EngineError when the
    process dies.
    """

    def __init__(self, client: EngineClient, request: Message) -> None:
        self.client = client
        self.id: int = request["id"]
        self._request = request
        self._events: asyncio.Queue[Message | TokmemError] = asyncio.Queue()
        self._sent = False
        self._cancel_wanted: CancelHow | None = None
        self._ended = False

    def __aiter__(self) -> RequestHandle:
        return self

    async def __anext__(self) -> Message:
        if self._ended:
            raise StopAsyncIteration
        if not self._sent:
            await self.client._send(self._request, self)
            self._sent = True
            if self._cancel_wanted is not None:
                await self.client._cancel(self.id, self._cancel_wanted)
        event = await self._events.get()
        if isinstance(event, TokmemError):
            self._ended = True
            raise event
        if event["event"] == "error":
            self._ended = True
            raise error_from_dict(event["error"])
        self._ended = event["event"] == "done"
        return event

    async def result(self) -> dict[str, Any]:
        """Pass over all events to the result of ``done``."""
        async for event in self:
            if event["event"] == "done":
                return dict(event["result"])
        raise EngineError("The request has ended already.")

    async def cancel(self, how: CancelHow = "keep") -> None:
        """Ask the engine to end this request; it then ends by itself.

        Args:
            how: ``keep`` what it has; a training also knows ``pause`` (keep a checkpoint and no result) and ``drop``.
        """
        self._cancel_wanted = how
        if self._sent and not self._ended:
            await self.client._cancel(self.id, how)

    @property
    def cancelled(self) -> bool:
        """True once ``cancel`` was called."""
        return self._cancel_wanted is not None

    @property
    def sent(self) -> bool:
        """True once the request was sent."""
        return self._sent

    def _put(self, event: Message | TokmemError) -> None:
        self._events.put_nowait(event)


class EngineClient:
    """The engine process of one app or one command.

    Args:
        command: how to start the engine, see ``engine_command``.
        log_file: where its stderr goes; the folder is there.
        environ: replaces the environment of this process.
        shared: the command reaches an engine that others use too (``tui.engine_client.relay``).
    """

    def __init__(
        self,
        command: Sequence[str],
        log_file: Path,
        environ: Mapping[str, str] | None = None,
        *,
        shared: bool = False,
    ) -> None:
        self.log_file = log_file
        self.shared = shared
        self._command = list(command)
        self._environ = dict(os.environ if environ is None else environ)
        for name in (PASSPHRASE_VARIABLE, NEW_PASSPHRASE_VARIABLE):  # the engine needs keys only, and gets them by pipe
            self._environ.pop(name, None)
        self._ids = itertools.count(1)
        self._open: dict[int, RequestHandle] = {}
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._log_start = 0
        self._unkept: IO[bytes] | None = None
        """The log, where its own file cannot be written."""
        self.last_words = ""
        """The end of the log of an engine that ended in the middle of a request, for a report: libraries write there
        too, so no person is shown it as what happened."""
        self._runner: asyncio.Runner | None = None

    @property
    def running(self) -> bool:
        """True while the process lives."""
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int | None:
        """The engine's process id while it lives."""
        return self._process.pid if self._process is not None and self.running else None

    async def start(self) -> None:
        """Start the process now instead of with the first request; a running one is left alone.

        Raises:
            EngineError: it could not be started.
        """
        async with self._starting:
            if self.running:
                return
            if self._reader is not None:
                await self._reader
            log = self._open_log()
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *self._command,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=log,
                    env=self._environ,
                    limit=LINE_LIMIT,
                    start_new_session=True,
                )
            except OSError as caught:
                known = in_words(caught)
                if known is not None and not isinstance(known, StorageError):  # limits; a program that is not there
                    raise known from caught
                raise EngineError(f"The engine could not be started: {caught.strerror or caught}.") from caught
            finally:
                log.close()
            self._reader = asyncio.create_task(self._read(self._process), name="engine-reader")

    def submit(self, op: str, **fields: Any) -> RequestHandle:
        """Prepare a request; iterating over the handle sends it."""
        return RequestHandle(self, {"id": next(self._ids), "op": op, **fields})

    async def request(self, op: str, **fields: Any) -> AsyncIterator[Message]:
        """The events of one request, for callers that never cancel it.

        Raises:
            TokmemError: what the engine reported, or EngineError when it died.
        """
        async for event in self.submit(op, **fields):
            yield event

    async def close(self) -> None:
        """End the process: politely, then by force after ``CLOSE_SECONDS``.

        A request that comes meanwhile waits for the end, and then starts a process anew.
        """
        async with self._starting:
            await self._close()

    async def _close(self) -> None:
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            assert process.stdin is not None
            process.stdin.close()
            try:
                await asyncio.wait_for(process.wait(), CLOSE_SECONDS)
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if self._reader is not None:
            await self._reader
        self._process = self._reader = None

    def kill(self) -> None:
        """End the process at once; needs no event loop."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    def log_tail(self, lines: int = TAIL_LINES) -> str:
        """The end of what this start of the engine wrote to its log."""
        try:
            with open(self.log_file if self._unkept is None else os.dup(self._unkept.fileno()), "rb") as log:
                log.seek(self._log_start)
                text = log.read()[-16_384:].decode("utf-8", "replace")
        except OSError:
            return ""
        return "\n".join(text.strip().splitlines()[-lines:])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._runner is not None:
            self._runner.run(self.close())
            self._runner.close()
            self._runner = None

    async def _send(self, request: Message, handle: RequestHandle) -> None:
        await self.start()
        self._open[handle.id] = handle
        try:
            await self._write(request)
        except ConnectionError:
            # The reader sees the same end of the pipe and fails every open handle.
            return

    async def _cancel(self, target: int, how: CancelHow) -> None:
        if self.running and target in self._open:
            with contextlib.suppress(ConnectionError):
                await self._write({"id": next(self._ids), "op": "cancel", "target": target, "how": how})

    async def _write(self, message: Message) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(encode(message))
        await self._process.stdin.drain()

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        """Hand events to their handles until the pipe ends, then fail the handles that are still open."""
        assert process.stdout is not None
        fault = ""
        try:
            while line := await process.stdout.readline():
                event = decode(line)
                self._deliver(event)
        except (EngineError, ValueError) as caught:  # ValueError: a line beyond LINE_LIMIT
            fault = str(caught)
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        code = await process.wait()
        if not self._open:
            return
        handles, self._open = list(self._open.values()), {}
        self.last_words = self.log_tail()
        if code and not fault and memory_limit() is not None:
            # Libraries end the process in many ways when they get no memory, and hardly ever say so.
            for handle in handles:
                handle._put(out_of_memory())
            return
        message, next_step = fault or f"The engine ended unexpectedly ({_end_of(code)}).", ASK_AGAIN
        if self.shared and code == HUB_GONE:
            message, next_step = "The shared engine is gone.", "Reload the page, or start tokmem-desk web again."
        for handle in handles:
            handle._put(EngineError(message, next_step=next_step))

    def _deliver(self, event: Message) -> None:
        handle = self._open.get(event.get("id", 0))
        if handle is None:  # the answer to a cancel, or to a request that failed meanwhile
            return
        if event["event"] in ("done", "error"):
            del self._open[handle.id]
        handle._put(event)

    def _open_log(self) -> BinaryIO:
        try:
            if self.log_file.exists() and self.log_file.stat().st_size > LOG_BYTES:
                os.replace(self.log_file, self.log_file.with_suffix(".old.log"))
            # 0600: libraries may write what they like there.
            log = os.fdopen(os.open(self.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")
        except OSError as caught:
            if caught.errno not in _UNWRITABLE:
                reason = caught.strerror or str(caught)
                raise EngineError(f"The engine's log {self.log_file} could not be opened: {reason}.") from caught
            # A home that cannot be written to can still be asked: the log then lasts as long as the client.
            self._unkept = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the client
            self._log_start = 0
            return os.fdopen(os.dup(self._unkept.fileno()), "ab")
        self._unkept = None
        self._log_start = self.log_file.stat().st_size
        return log

    def _own_runner(self) -> asyncio.Runner:
        if self._runner is None:
            self._runner = asyncio.Runner()
        return self._runner


def run_blocking(handle: RequestHandle) -> Iterator[Message]:
    """The events of one request for a program without an event loop.

    The first Ctrl-C asks the engine to cancel and goes on to the request's own end, so that nothing is lost: the
    caller sees ``stopped`` or ``cancelled`` in the result. The second one, or one before the engine has got the
    request, gives up.

    Raises:
        TokmemError: what the engine reported, or EngineError when it died.
        InterruptedByUser: Ctrl-C was pressed twice, or before the engine was there; the engine has been killed.
    """
    runner = handle.client._own_runner()
    interrupted = False
    while True:
        try:
            event = runner.run(_next_event(handle))
        except KeyboardInterrupt:
            if interrupted or not handle.sent:
                handle.client.kill()
                raise InterruptedByUser("Stopped before the engine had finished.") from None
            interrupted = True
            runner.run(handle.cancel())
            continue
        if event is None:
            return
        yield event


async def _next_event(handle: RequestHandle) -> Message | None:
    try:
        return await anext(handle)
    except StopAsyncIteration:
        return None


def _end_of(code: int) -> str:
    """A process's return code in words."""
    if code == -9:
        return "killed, often because memory ran out"
    return f"signal {-code}" if code < 0 else f"exit code {code}"
