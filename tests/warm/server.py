"""A process with our modules imported that forks for every program it is asked to run: ``server KIND SOCKET``.

It opens no database and starts no thread, so that a fork of it is as good as a fresh process. It ends when its stdin
does, and what it runs ends with it. A program whose relay is gone was killed, and is killed too.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import json
import os
import pkgutil
import random
import runpy
import selectors
import signal
import socket
import sys
import threading
import traceback
from typing import Any

from tests.small_costs import lower_costs
from tests.warm import ROOT
from tests.warm.limits import FORK_CANNOT_CHANGE, limits

LIGHT = ("tests.tui.scripted_engine", "tests.cli.scripted_cli", "profiles.store.checkpoints", "tui.engine_client.link")
HEAVY = (
    "transformers.models.llama.modeling_llama",
    "transformers.integrations.bitsandbytes",
    "bitsandbytes",
    "accelerate",
    "tokenizers",
    "tui.engine.server",
    "tui.engine.models",
    "trainer.loop",
    "tests.quick_fits",
)
_LEFT_OUT = ("adapt", "demo", "web", "serve", "app", "llm_plugin")
"""Commands whose modules bring much that others do not need, and what needs a library of others."""


def import_for(kind: str) -> None:
    """Load what programs of this kind need, so that no fork has to."""
    lower_costs()
    if kind == "light":
        import tui.cli

        names = [module.name for module in pkgutil.iter_modules(tui.cli.__path__) if module.name not in _LEFT_OUT]
        for name in (*(f"tui.cli.{name}" for name in names), *LIGHT):
            importlib.import_module(name)
        return
    from tokmem_desk.system.threads import wait_asleep

    wait_asleep()
    for name in HEAVY:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    from tui.engine import operations

    operations.discover()


class Server:
    """Listens, forks, and tells each relay how its fork ended."""

    def __init__(self, address: str) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(address)
        self._listener.listen(64)
        self._selector = selectors.DefaultSelector()
        self._selector.register(0, selectors.EVENT_READ)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._running: dict[int, tuple[int, socket.socket]] = {}
        """Process ids and relays, by the descriptor that says when the process has ended."""
        self._environment = {name: os.environ.get(name) for name in FORK_CANNOT_CHANGE}
        self._limits = limits()

    def run(self) -> int:
        """Serve until stdin ends; in a fork, the exit code of its program."""
        while True:
            for key, _ in self._selector.select():
                if key.fileobj == 0:
                    self._end()
                    return 0
                if key.fileobj is self._listener:
                    asked = self._accept()
                    if asked is not None:
                        return run_program(*asked)
                # Of a fork and its relay, what is done for the one may have let go of the other in this very round.
                elif self._selector.get_map().get(key.fd) != key:
                    continue
                elif key.data is None:
                    self._has_ended(key.fd)
                else:
                    self._relay_is_gone(key.fileobj, key.data)

    def _accept(self) -> tuple[dict[str, Any], list[int]] | None:
        """Fork for a relay; in the fork, what it asks for and its streams."""
        connection, _ = self._listener.accept()
        try:
            head, streams, _, _ = socket.recv_fds(connection, 8, 3)
            with connection.makefile("rb") as reader:
                asked = json.loads(reader.read(int.from_bytes(head, "big")))
        except (OSError, ValueError):  # it was killed at once
            connection.close()
            return None
        if not self._can(asked):
            with contextlib.suppress(OSError):
                connection.sendall(b"0\n")
            connection.close()
            for handle in streams:
                os.close(handle)
            return None
        pid = os.fork()
        if pid == 0:
            self._let_go()
            connection.close()
            return asked, streams
        for handle in streams:
            os.close(handle)
        with contextlib.suppress(OSError):
            connection.sendall(f"{pid}\n".encode())
        ended = os.pidfd_open(pid)
        self._running[ended] = (pid, connection)
        self._selector.register(ended, selectors.EVENT_READ)
        self._selector.register(connection, selectors.EVENT_READ, pid)
        return None

    def _can(self, asked: dict[str, Any]) -> bool:
        wanted = asked["environment"]
        path = wanted.get("PYTHONPATH", str(ROOT)).split(os.pathsep)
        same = all(wanted.get(name) == value for name, value in self._environment.items())
        return same and asked["limits"] == self._limits and path[0] == str(ROOT)

    def _has_ended(self, ended: int) -> None:
        pid, connection = self._running.pop(ended)
        self._selector.unregister(ended)
        os.close(ended)
        _, status = os.waitpid(pid, 0)
        with contextlib.suppress(OSError):
            connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
        with contextlib.suppress(KeyError):
            self._selector.unregister(connection)
        connection.close()

    def _relay_is_gone(self, connection: Any, pid: int) -> None:
        self._selector.unregister(connection)
        if any(pid == running for running, _ in self._running.values()):
            os.kill(pid, signal.SIGKILL)

    def _end(self) -> None:
        for pid, _ in self._running.values():
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def _let_go(self) -> None:
        """In a fork: close what is the server's."""
        self._selector.close()
        self._listener.close()
        for ended, (_, connection) in self._running.items():
            os.close(ended)
            connection.close()


def run_program(asked: dict[str, Any], handles: list[int]) -> int:
    """In a fork: run the module as ``python -m`` does; returns its exit code."""
    os.setsid()
    random.seed()
    _take_streams(dict(zip(asked["streams"], handles, strict=True)))
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.umask(asked["mask"])
    if asked["folder"]:
        with contextlib.suppress(OSError):
            os.chdir(asked["folder"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in asked["ignored"]:
        signal.signal(number, signal.SIG_IGN)
    sys.argv = ["", *asked["arguments"]]
    code: object = 0
    try:
        runpy.run_module(asked["module"], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
    except KeyboardInterrupt:
        traceback.print_exc()
        code = 130
    except BaseException:  # noqa: BLE001 - a fork must never go on as its parent
        traceback.print_exc()
        code = 1
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    print(code, file=sys.stderr)
    return 1


def _take_streams(handles: dict[int, int]) -> None:
    """Put streams where a program expects them, as Python does at its start."""
    # Numbers below 3 may be among those that came: first all of them out of the way.
    safe = {number: os.dup2(handle, 100 + number) for number, handle in handles.items()}
    for handle in handles.values():
        os.close(handle)
    for number in (0, 1, 2):
        if number in safe:
            os.dup2(safe[number], number)
            os.close(safe[number])
        else:
            with contextlib.suppress(OSError):
                os.close(number)
    sys.stdin = sys.__stdin__ = _text(0, "r") if 0 in safe else None  # type: ignore[assignment, misc]
    sys.stdout = sys.__stdout__ = _text(1, "w") if 1 in safe else None  # type: ignore[assignment, misc]
    sys.stderr = sys.__stderr__ = _text(2, "w") if 2 in safe else None  # type: ignore[assignment, misc]


def _text(number: int, mode: str) -> io.TextIOWrapper:
    if number == 0:
        return open(0, mode, encoding="utf-8", errors="surrogateescape" if _ascii() else "strict", closefd=False)
    raw = open(number, "wb", closefd=False)  # noqa: SIM115 - open until the end
    errors = "backslashreplace" if number == 2 else "surrogateescape" if _ascii() else "strict"
    return io.TextIOWrapper(raw, encoding="utf-8", errors=errors, line_buffering=number == 2 or os.isatty(number))


def _ascii() -> bool:
    """Whether Python is lenient about text because the locale is the C locale."""
    return os.environ.get("LC_ALL") in ("C", "POSIX")


def end_as_python_ends(code: int) -> None:
    """Let threads and exit handlers finish, flush, and end without taking the libraries apart."""
    import atexit

    with contextlib.suppress(BaseException):
        threading._shutdown()  # type: ignore[attr-defined]
    with contextlib.suppress(BaseException):
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            code = 120 if stream is sys.stdout else code
    os._exit(code)


def main() -> None:
    """Import, listen, fork."""
    kind, address = sys.argv[1:]
    import_for(kind)
    server = Server(address)
    os.write(1, b"ready\n")
    gc.collect()
    gc.freeze()  # what is never collected is never copied
    end_as_python_ends(server.run())


if __name__ == "__main__":
    main()
