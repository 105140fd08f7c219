"""Run commands of the program in children of a process that has everything imported: many a second, each anew.

A command is a fork of this process, which therefore opens no database and starts no thread. Its engine is a fork of
another one, which has torch loaded. Both can be told to end in the middle (``hooks``).
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import pkgutil
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tests.chaos.hooks import Countdown

Engine = Literal["none", "scripted", "real"]
RELAY = Path(__file__).with_name("relay.py")
SECONDS = 300.0
"""Longest time for one command, however busy the machine."""

_NO_TORCH = ("adapt", "demo", "serve", "web", "app", "llm_plugin")
"""Commands that are not run here, and whose modules need not be loaded."""


@dataclass(frozen=True, slots=True)
class Moment:
    """When a command is killed.

    Attributes:
        event: before which of its changes to files or databases; 0 for none.
        engine_event: the same of its engine.
        seconds: after how much time; 0 for never.
        both: whether command and engine end together; otherwise the other one ends by itself.
    """

    event: int = 0
    engine_event: int = 0
    seconds: float = 0.0
    both: bool = True


NEVER = Moment()


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended.

    Attributes:
        code: its exit code; negative where a signal ended it.
        out, err: what it said.
        events, engine_events: the changes it made, where it came to its end.
        seconds: it took.
    """

    code: int
    out: str
    err: str
    events: int
    engine_events: int
    seconds: float

    @property
    def killed(self) -> bool:
        """Whether it was ended from outside."""
        return self.code < 0

    @property
    def lines(self) -> int:
        """How much it said."""
        return len((self.out + self.err).splitlines())


def import_everything() -> None:
    """Load what commands need, so that no fork has to."""
    import tui.cli

    for module in pkgutil.iter_modules(tui.cli.__path__):
        if module.name not in _NO_TORCH:
            importlib.import_module(f"tui.cli.{module.name}")
    for name in (
        "tests.tui.scripted_engine",
        "profiles.store.checkpoints",
        "cryptography.hazmat.primitives.kdf.argon2",
    ):
        importlib.import_module(name)
    with contextlib.suppress(ImportError):
        importlib.import_module("sqlcipher3.dbapi2")
    # What makes passphrases slow to guess is not what is looked at here, and every look at a locked profile pays it.
    from profiles.encryption import keyring

    keyring._MEMORY_KIB, keyring._ITERATIONS = 256, 1


def run(
    arguments: list[str],
    home: Path,
    work: Path,
    *,
    engine: Engine = "none",
    engines: Path | None = None,
    moment: Moment = NEVER,
    stdin: bytes = b"",
    environ: dict[str, str] | None = None,
) -> Ended:
    """Run ``tokmem-desk`` with these arguments, to its end or to the moment it is killed.

    Args:
        arguments: the command line.
        home: where everything is kept.
        work: a folder for what it says and counts; the home lies in it.
        engine: which one it gets.
        engines: the socket of ``serve_engines``.
        moment: when to kill it.
        stdin: what it reads.
        environ: added to its environment.
    """
    for name in ("events", "engine-events", "engine-pid"):
        (work / name).unlink(missing_ok=True)
    (work / "stdin").write_bytes(stdin)
    begun = time.monotonic()
    pid = os.fork()
    if pid == 0:
        _be_the_command(arguments, home, work, engine, engines, moment, environ or {})
    code = os.waitstatus_to_exitcode(_wait(pid))
    took = time.monotonic() - begun
    _end_engine(work, engine=engine != "none", at_once=code < 0 and moment.both)
    counts = [_number(work / name) for name in ("events", "engine-events")]
    out, err = ((work / name).read_text("utf-8", "replace") for name in ("stdout", "stderr"))
    return Ended(code, out, err, counts[0], counts[1], took)


def in_child(do: Callable[[], Any]) -> Any:
    """The result of a function, computed in a fork, as JSON; an exception there is ``{"error": ...}``."""
    [result] = in_children([do])
    return result


def in_children(tasks: Sequence[Callable[[], Any]]) -> list[Any]:
    """The results of functions that run side by side, as ``in_child``."""
    pipes: list[int] = []
    for do in tasks:
        reading, writing = os.pipe()
        if os.fork() == 0:
            os.close(reading)
            for other in pipes:
                os.close(other)
            _answer(do, writing)
        os.close(writing)
        pipes.append(reading)
    results = []
    for reading in pipes:
        with os.fdopen(reading, "rb") as pipe:
            data = pipe.read()
        os.wait()
        results.append(json.loads(data) if data else {"error": "the child ended without a result"})
    return results


def _answer(do: Callable[[], Any], writing: int) -> None:
    """In a fork: never returns."""
    try:
        result = do()
    except BaseException as caught:  # noqa: BLE001 - the other side of the pipe shows it
        where = traceback.extract_tb(caught.__traceback__)[-1]
        result = {"error": f"{type(caught).__name__}: {caught} ({Path(where.filename).name}:{where.lineno})"}
    with contextlib.suppress(BaseException), os.fdopen(writing, "wb") as pipe:
        pipe.write(json.dumps(result).encode())
    os._exit(0)


def _be_the_command(
    arguments: list[str],
    home: Path,
    work: Path,
    engine: Engine,
    engines: Path | None,
    moment: Moment,
    environ: dict[str, str],
) -> None:
    """In a fork: never returns."""
    code = 99
    try:
        _replace_streams(
            os.open(work / "stdin", os.O_RDONLY),
            *(os.open(work / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) for name in ("stdout", "stderr")),
        )
        for name in [name for name in os.environ if name.startswith("TOKMEM_")]:
            del os.environ[name]
        os.environ |= {"TOKMEM_HOME": str(home), **environ}
        os.environ |= {
            "CHAOS_ENGINE_AT": str(moment.engine_event),
            "CHAOS_ALSO": str(os.getpid() if moment.engine_event and moment.both else 0),
            "CHAOS_WORK": str(work),
        }
        from tui.cli import engine_session
        from tui.cli.main import main
        from tui.engine_client.client import engine_command

        if engine != "none":

            def command(**options: Any) -> list[str]:
                given = engine_command(**options)[3:] if engine == "real" else ["--home", str(home)]
                return [sys.executable, "-I", "-S", str(RELAY), str(engines), engine, *given]

            engine_session.engine_command = command  # type: ignore[attr-defined]
        countdown = Countdown(moment.event, 0, str(work))
        countdown.install()
        sys.stdout, sys.stderr = (_Counted(os.fdopen(os.dup(number), "wb", 0), countdown) for number in (1, 2))
        if moment.seconds:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)  # which ends a process as abruptly as a kill
            signal.setitimer(signal.ITIMER_REAL, moment.seconds)
        code = main(arguments)
        signal.setitimer(signal.ITIMER_REAL, 0)
        sys.stdout.flush()
        sys.stderr.flush()
        (work / "events").write_text(str(countdown.count))
    except BaseException:  # noqa: BLE001 - a fork must never go on as its parent
        with contextlib.suppress(BaseException):
            traceback.print_exc()
            sys.stderr.flush()
    finally:
        os._exit(code)


class _Counted(io.TextIOWrapper):
    """A stream of which every piece is an event, once it has been written: then it was acknowledged."""

    def __init__(self, raw: Any, countdown: Countdown) -> None:
        super().__init__(raw, encoding="utf-8", write_through=True)
        self._countdown = countdown

    def write(self, text: str) -> int:
        written = super().write(text)
        self.flush()
        self._countdown.step()
        return written


def _replace_streams(*handles: int) -> None:
    for number, handle in enumerate(handles):
        os.dup2(handle, number)
        if handle > 2:
            os.close(handle)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - open until the end
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = io.TextIOWrapper(open(2, "wb", 0, closefd=False), encoding="utf-8", write_through=True)  # noqa: SIM115


def _wait(pid: int) -> int:
    deadline = time.monotonic() + SECONDS
    pause = 0.0005
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return status
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise TimeoutError(f"a command did not end within {SECONDS:g} seconds")
        time.sleep(pause)
        pause = min(0.01, pause * 1.5)


def _end_engine(work: Path, *, engine: bool, at_once: bool) -> None:
    """Wait for the engine, which ends when nobody is left to ask it."""
    if engine and not (work / "engine-pid").exists():
        time.sleep(0.05)  # it may be on its way
    pid = _number(work / "engine-pid")
    deadline = time.monotonic() + SECONDS
    while pid and _alive(pid):
        if at_once:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise TimeoutError("an engine did not end with its command")
        time.sleep(0.002)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _number(file: Path) -> int:
    try:
        return int(file.read_text() or 0)
    except FileNotFoundError:
        return 0


@contextlib.contextmanager
def serving_engines(folder: Path) -> Iterator[Path]:
    """A process from which engines are forked, with torch loaded; gives its socket."""
    path = folder / "engines"
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen(8)
    pid = os.fork()
    if pid == 0:
        try:
            _serve_engines(server)
        finally:
            os._exit(1)
    server.close()
    try:
        yield path
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _serve_engines(server: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for engines
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    loaded = False
    while True:
        connection, _ = server.accept()
        with connection:
            _, handles, _, _ = socket.recv_fds(connection, 1, 3)
            data = b""
            while not data.endswith(b"\n"):
                data += connection.recv(1 << 16)
            wanted = json.loads(data)
            if wanted["kind"] == "real" and not loaded:
                _load_libraries()
                loaded = True
            if os.fork() == 0:
                server.close()
                _be_the_engine(connection, handles, wanted)
            for handle in handles:
                os.close(handle)


def _load_libraries() -> None:
    from tokmem_desk.system.threads import wait_asleep

    wait_asleep()
    for name in ("transformers.models.llama.modeling_llama", "tokenizers", "tui.engine.server", "tui.engine.models"):
        importlib.import_module(name)


def _be_the_engine(connection: socket.socket, handles: list[int], wanted: dict[str, Any]) -> None:
    """In a fork: never returns."""
    code = 99
    try:
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        work = Path(wanted["environ"]["CHAOS_WORK"])
        (work / "engine-pid").write_text(str(os.getpid()))
        _replace_streams(*handles)
        os.environ.clear()
        os.environ |= {**wanted["environ"], "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        sys.argv = ["engine", *wanted["arguments"]]
        from tests.tui import scripted_engine
        from tui.engine import __main__ as real_engine

        engine: Callable[[], int | None] = real_engine.main if wanted["kind"] == "real" else scripted_engine.main
        countdown = Countdown(int(os.environ["CHAOS_ENGINE_AT"]), int(os.environ["CHAOS_ALSO"]), str(work))
        countdown.install()
        code = engine() or 0
        (work / "engine-events").write_text(str(countdown.count))
    except BaseException:  # noqa: BLE001 - a fork must never go on as its parent
        with contextlib.suppress(BaseException):
            traceback.print_exc()
            sys.stderr.flush()
    finally:
        with contextlib.suppress(OSError):
            connection.sendall(str(code).encode())
        os._exit(code)
