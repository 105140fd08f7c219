"""The engine's server: one thread, one model, many requests that take turns.

Requests are generators. A reader thread only receives lines and notes cancellations; everything else
happens here, one turn at a time: an answer's next token goes before a training's next step, so chat stays
alive while a memory trains. End-of-file on stdin ends the process, and with it all its memory; so does a client
that no longer reads. No line that arrives can end the reader thread: what cannot be understood is answered with an
error.
"""

from __future__ import annotations

import collections
import logging
import queue
import threading
from collections.abc import Iterator, Mapping
from typing import BinaryIO, get_args

from tokmem_desk.errors import EngineError, InterruptedByUser, TokmemError, UsageError
from tokmem_desk.system.device import is_out_of_memory
from tui.engine.engine import Engine
from tui.engine.operation import Operation, Waits
from tui.engine.request import Request
from tui.engine_client.protocol import (
    LINE_LIMIT,
    Message,
    cancel_how,
    decode,
    encode,
    operation_name,
    whole_number,
)
from tui.process.faults import in_words, out_of_memory

log = logging.getLogger("tui.engine")

_Line = collections.deque[tuple[Request, Iterator[None]]]
"""Requests that wait in the same way, with the steps that are left of each."""


class Server:
    """Serves one client over a pair of pipes.

    Args:
        source: where requests come from.
        sink: where events go.
        operations: what can be asked for, by name.
        engine: what the operations share.
    """

    def __init__(self, source: BinaryIO, sink: BinaryIO, operations: Mapping[str, Operation], engine: Engine) -> None:
        self._source = source
        self._sink = sink
        self._write_lock = threading.Lock()
        self._inbox: queue.Queue[Request | None] = queue.Queue()
        self._known: dict[int, Request] = {}
        self._lines: dict[Waits, _Line] = {waits: collections.deque() for waits in get_args(Waits)}
        """In the order in which they are served."""
        self._operations = operations
        self._engine = engine
        self._ended = False

    def run(self) -> int:
        """Serve until the client closes the pipe or asks for the end; returns the exit code."""
        threading.Thread(target=self._read, name="reader", daemon=True).start()
        while not self._ended:
            self._receive(block=not any(self._lines.values()))
            line = next((line for line in self._lines.values() if line), None)
            if line is not None:
                self._turn(line)
        return 0

    def _read(self) -> None:
        """Read lines until the input ends; runs in the reader thread."""
        try:
            while line := self._source.readline(LINE_LIMIT):
                try:
                    self._take(line)
                except Exception as error:  # the next line may be sound
                    log.exception("a line of the client could not be taken")
                    self._refuse_line(f"{type(error).__name__}: {error}")
        except Exception:  # the input itself is broken: nothing more will come
            log.exception("the client's requests cannot be read any more")
        finally:
            self._client_gone()

    def _take(self, line: bytes) -> None:
        """Take one line of the client: a request, or a cancel."""
        if not line.strip():
            return
        if len(line) >= LINE_LIMIT and not line.endswith(b"\n"):
            while (rest := self._source.readline(LINE_LIMIT)) and not rest.endswith(b"\n"):
                continue
            self._refuse_line(f"A request must be shorter than {LINE_LIMIT // 2**20} MiB.")
            return
        try:
            fields = decode(line)
            number, op = whole_number(fields, "id"), operation_name(fields)
            target = self._known.get(whole_number(fields, "target")) if op == "cancel" else None
        except EngineError as error:
            self._refuse_line(error.message)
            return
        if op == "cancel":
            if target is not None:
                target.how = cancel_how(fields)
                target.cancelled.set()
            self._send({"id": number, "event": "done", "result": {"found": target is not None}})
            return
        if number in self._known:
            # Answered under number 0: the request that has the number goes on.
            self._refuse_line(f"Request number {number} is still open, so {op!r} needs another number.")
            return
        request = Request(number, op, fields, self._send)
        self._known[number] = request
        self._inbox.put(request)

    def _refuse_line(self, reason: str) -> None:
        """Say that a line was not understood; it belongs to no request."""
        self._send({"id": 0, "event": "error", "error": UsageError(reason).as_dict()})

    def _client_gone(self) -> None:
        """Cancel all requests because the client is gone; trainings keep a checkpoint."""
        try:
            for request in list(self._known.values()):
                # Whoever is gone asked for no early result; a training goes on from here another time.
                request.how = "pause"
                request.cancelled.set()
        finally:
            self._inbox.put(None)

    def _receive(self, *, block: bool) -> None:
        while True:
            try:
                request = self._inbox.get(block=block)
            except queue.Empty:
                return
            if request is None or request.op == "shutdown":
                self._ended = True
                if request is not None:
                    request.emit("done", result={})
                return
            operation = self._operations.get(request.op)
            if operation is None:
                self._finish(request, UsageError(f"The engine knows no request {request.op!r}."))
            else:
                self._lines[operation.waits].append((request, operation.begin(self._engine, request)))
            block = False

    def _turn(self, line: _Line) -> None:
        """Run the first request of a line to its next yield.

        Answers that are being written take turns, so that a short one need not wait for a long one; everything
        else in a line finishes one after another.
        """
        request, steps = line[0]
        try:
            next(steps)
            if request.takes_turns:
                line.rotate(-1)
            return
        except StopIteration:
            self._known.pop(request.id, None)
        except TokmemError as error:
            self._finish(request, error)
        except Exception as error:  # an unforeseen error ends the request, not the engine; the log has the traceback
            log.exception("request %s failed", request.op)
            self._finish(request, _in_words(error))
        line.popleft()

    def _finish(self, request: Request, error: TokmemError) -> None:
        self._known.pop(request.id, None)
        if isinstance(error, InterruptedByUser):
            log.info("request %s was stopped", request.op)
        request.emit("error", error=error.as_dict())

    def _send(self, message: Message) -> None:
        """Send one event; where the client is gone, end the engine instead of raising."""
        line = encode(message)
        try:
            with self._write_lock:
                self._sink.write(line)
        except (OSError, ValueError):  # ValueError: the pipe was closed on this side
            self._client_gone()


def _in_words(error: Exception) -> TokmemError:
    if is_out_of_memory(error):
        return out_of_memory()
    known = in_words(error)
    if known is not None:
        return known
    return EngineError(
        f"The engine met something unforeseen ({type(error).__name__}: {error}).",
        next_step="Try again; the engine's log has the details.",
    )
