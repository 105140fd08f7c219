"""The command line as a process, with the real engine or the scripted one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.warm import start_of

ROOT = Path(__file__).parents[2]
SCHEMAS = ROOT / "docs" / "schemas"
SECONDS = 400
"""Longest time for one command: these machines are slow and busy."""


REAL_ENGINES = ("tui.engine", "tests.engine.quick_engine")
"""The engine, and the one that fits quickly; both as forks of a warm process."""


@dataclass(frozen=True)
class Ended:
    """What a command left."""

    code: int
    out: str
    err: str

    def json(self, schema: str) -> Any:
        """The one object on stdout, checked against a schema of ``docs/schemas``."""
        assert self.code == 0, self.err
        return checked(self.out, schema)


def checked(line: str, schema: str) -> Any:
    value = json.loads(line)
    jsonschema.validate(value, json.loads((SCHEMAS / f"{schema}.schema.json").read_text("utf-8")))
    return value


class CommandLine:
    """Runs ``tokmem-desk``, as a fork of a warm process where the start of Python is not the point (``tests.warm``).

    Args:
        home: where everything is kept.
        program: Python's arguments that start it.
        options: put before every command.
        engine: the module of the engine that it gets; the program starts the real one by itself without it.
        warm: False where Python itself must start.
    """

    def __init__(
        self,
        home: Path,
        program: Sequence[str] = ("-m", "tui"),
        options: Sequence[str] = (),
        *,
        engine: str | None = None,
        warm: bool = True,
    ) -> None:
        self.home = home
        if engine in REAL_ENGINES:
            program = ("-m", "tests.cli.warm_cli")
        warm = warm and program[0] == "-m"
        self.begin = [*(start_of(program[1]) if warm else (sys.executable, *program)), *options]
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("TOKMEM_")},
            "TOKMEM_HOME": str(home),
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "ignore",
        }
        if engine is not None:
            self.environment["WARM_ENGINE"] = json.dumps(start_of(engine))

    def __call__(self, *arguments: str, stdin: str | bytes = b"", **environment: str) -> Ended:
        """Run a command to its end; whatever it does, it must not show a traceback."""
        done = subprocess.run(
            [*self.begin, *arguments],
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            capture_output=True,
            env={**self.environment, **environment},
            timeout=SECONDS,
            check=False,
        )
        ended = Ended(done.returncode, done.stdout.decode(), done.stderr.decode())
        assert "Traceback" not in ended.err, ended.err
        return ended

    def start(self, *arguments: str, stdin: Any = subprocess.DEVNULL, **environment: str) -> subprocess.Popen[bytes]:
        """Start a command that will be interrupted."""
        return subprocess.Popen(
            [*self.begin, *arguments],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**self.environment, **environment},
            bufsize=0,
        )


def interrupt_when(process: subprocess.Popen[bytes], seen: Callable[[], bool]) -> Ended:
    """Press Ctrl-C once something is seen, and wait for the end."""
    deadline = time.monotonic() + SECONDS
    while not seen():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=SECONDS)
    ended = Ended(process.returncode, out.decode(), err.decode())
    assert "Traceback" not in ended.err, ended.err
    return ended


@pytest.fixture
def tokmem(own_home: Path) -> CommandLine:
    """The command line; its engine would be the real one."""
    return CommandLine(own_home)


@pytest.fixture
def real(own_home: Path) -> CommandLine:
    """The command line with the real engine, warm and quick to fit."""
    return real_at(own_home)


@pytest.fixture
def scripted(own_home: Path) -> CommandLine:
    """The command line with the scripted engine; downloads are agreed to."""
    return scripted_at(own_home)


def scripted_at(home: Path, *options: str, warm: bool = True) -> CommandLine:
    """The command line with the scripted engine and another home or other options."""
    return CommandLine(
        home, ("-m", "tests.cli.scripted_cli"), options or ("--yes",), engine="tests.tui.scripted_engine", warm=warm
    )


def real_at(home: Path, *options: str) -> CommandLine:
    """The command line with the real engine, which fits quickly (``tests.quick_fits``)."""
    return CommandLine(home, options=options, engine="tests.engine.quick_engine")


@pytest.fixture
def pairs_file(tmp_path: Path) -> Path:
    """Eight pairs and two held out, as a procedure's JSON."""
    days = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
    pairs = [
        {"input": f"I need to {what} on {day}", "response": f"( ) {what} due:{day[:3].lower()}"}
        for what in ("call mum", "buy milk")
        for day in days
    ]
    file = tmp_path / "todo.json"
    file.write_text(
        json.dumps({"name": "todo", "description": "One to-do line", "train": pairs[:8], "test": pairs[8:]})
    )
    return file
