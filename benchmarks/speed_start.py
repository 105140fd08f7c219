"""How fast the program starts: ``--help``, the first frame of the app in a terminal of its own, and a first answer."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

REPEATS = 5
_FRAME_TIMEOUT = 30.0
_QUIT = b"\x11"
_ESCAPES = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|P[^\x1b]*\x1b\\|[ -/]*[0-~])")
_FRAME_CHARACTERS = 40
"""Visible characters from which on a screen counts as drawn; before it come only control sequences."""


_MESSAGE = "What is the capital of Norway?"
_ANSWER_TOKENS = 8


def measure_start(home: Path | None = None, model: str = "default") -> dict[str, Any]:
    """Seconds until ``--help`` ends, until the app has drawn, and until a message is answered; when torch is loaded.

    Args:
        home: the app's home whose models serve; its procedures take part in the answer.
        model: that answers; it is there and fitted already.
    """
    result: dict[str, Any] = {"repeats": REPEATS, "first_answer": _first_answers(home, model)}
    with tempfile.TemporaryDirectory() as empty:
        environment = {**os.environ, "TOKMEM_HOME": empty, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
        helps = [_help_seconds(environment) for _ in range(REPEATS)]
        result["help_seconds"] = statistics.median(helps)
        result["help_loads_torch"] = _help_loads_torch(environment)
        if sys.platform == "linux":
            frames = [_first_frame(environment) for _ in range(REPEATS)]
            drawn = [seconds for seconds, _ in frames if seconds is not None]
            result["first_frame_seconds"] = statistics.median(drawn) if drawn else None
            result["first_frame_loads_torch"] = any(torch for _, torch in frames)
    return result


def _first_answers(home: Path | None, model: str) -> dict[str, float | int]:
    """A command that starts, loads the model and answers a short message in plain chat: seconds, of which at work.

    What a person waits for is the time on the clock. The processor's time is told beside it, because it stays where
    other programs share the machine.
    """
    command = [sys.executable, "-m", "tui", "ask", _MESSAGE, "--route", "none", "--max-tokens", str(_ANSWER_TOKENS)]
    command += ["--offline", "--quiet", "--json", "--model", model, *([] if home is None else ["--home", str(home)])]
    waited, worked = [], []
    for _ in range(REPEATS):
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        waited.append(time.perf_counter() - began)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        worked.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return {
        "seconds": statistics.median(waited),
        "least_seconds": min(waited),
        "processor_seconds": statistics.median(worked),
        "tokens": _ANSWER_TOKENS,
    }


def _help_seconds(environment: dict[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "tui", "--help"], env=environment, check=True, capture_output=True)
    return time.perf_counter() - began


def _help_loads_torch(environment: dict[str, str]) -> bool:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "tui", "--help"],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return any(line.rsplit("|", 1)[-1].strip() == "torch" for line in done.stderr.splitlines())


def _first_frame(environment: dict[str, str]) -> tuple[float | None, bool]:
    """Seconds to the first drawn screen (None: none came), and whether torch was loaded by then."""
    with _spawned(["--offline"], environment) as (app, ours, began):
        seconds = _wait_for_frame(ours, began)
        return seconds, _has_torch(app.pid)


@contextlib.contextmanager
def in_terminal(options: list[str], environment: dict[str, str]) -> Iterator[tuple[int, Callable[[float], int]]]:
    """The app in a terminal of its own: its process id, and a function that reads for some seconds what it writes.

    The function returns how many bytes came.
    """
    with _spawned(options, environment) as (app, ours, _):
        yield app.pid, lambda seconds: _drain(ours, seconds)


def _drain(terminal: int, seconds: float) -> int:
    deadline, count = time.monotonic() + seconds, 0
    while (left := deadline - time.monotonic()) > 0:
        if select.select([terminal], [], [], left)[0]:
            count += len(os.read(terminal, 65536))
    return count


@contextlib.contextmanager
def _spawned(options: list[str], environment: dict[str, str]) -> Iterator[tuple[subprocess.Popen[bytes], int, float]]:
    """Process, our end of its terminal, and when it was started."""
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    began = time.perf_counter()
    app = subprocess.Popen(
        [sys.executable, "-m", "tui", *options],
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield app, ours, began
    finally:
        _end(app, ours)
        os.close(ours)


def _wait_for_frame(terminal: int, began: float) -> float | None:
    seen = b""
    while time.perf_counter() - began < _FRAME_TIMEOUT:
        ready, _, _ = select.select([terminal], [], [], 0.05)
        if not ready:
            continue
        try:
            seen += os.read(terminal, 65536)
        except OSError:
            return None
        visible = _ESCAPES.sub(b"", seen).split()
        # The alternate screen is a program that draws; an error would be printed without it.
        if b"\x1b[?1049h" in seen and sum(map(len, visible)) >= _FRAME_CHARACTERS:
            return time.perf_counter() - began
    return None


def _has_torch(pid: int) -> bool:
    try:
        return "libtorch" in Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return False


def _end(app: subprocess.Popen[bytes], terminal: int) -> None:
    """Quit as a person would; end what is left of the process and its engine."""
    with contextlib.suppress(OSError):
        os.write(terminal, _QUIT)
    deadline = time.monotonic() + 10
    while app.poll() is None and time.monotonic() < deadline:
        # Whoever fills a terminal that nobody reads waits for ever.
        if select.select([terminal], [], [], 0.05)[0]:
            with contextlib.suppress(OSError):
                os.read(terminal, 65536)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(app.pid, signal.SIGKILL)
    app.wait()
