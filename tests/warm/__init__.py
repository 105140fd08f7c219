"""Programs of ours, started as forks of a process that has imported them: a start takes hundredths of a second.

``start_of("tui.engine")`` is the beginning of a command line and takes the place of ``python -m tui.engine``. What
runs is a small program (``relay``) that hands its streams, arguments, folder and environment to a server; the server
forks, and the fork runs the module as ``python -m`` would. Signals, exit codes and closed streams go both ways, so a
test sees a process like any other. Where something differs that a fork cannot take over (limits, variables that
Python reads at its start), the relay starts Python itself.

For tests in which the start of Python is not what is looked at. Not for those that look at imports, at the memory of
a process, or at odd environments.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).parents[2]
RELAY = Path(__file__).with_name("relay.py")
AVAILABLE = sys.platform == "linux"

Kind = Literal["light", "heavy"]

_KINDS: dict[str, Kind] = {
    "tui": "light",
    "tests.cli.scripted_cli": "light",
    "tests.cli.warm_cli": "light",
    "tests.tui.scripted_engine": "light",
    "tui.engine": "heavy",
    "tests.engine.quick_engine": "heavy",
}
"""Which server runs a module: the heavy one has torch loaded."""


class WarmServer:
    """A server process, until ``end``. It ends by itself when this process does.

    Args:
        kind: what it has imported.
    """

    def __init__(self, kind: Kind) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix=f"warm-{kind}-"))
        self.address = self._folder / "socket"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TOKMEM_")}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.warm.server", kind, str(self.address)],
            cwd=ROOT,
            env={**environment, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != b"ready\n":
            raise RuntimeError(f"the {kind} server of warm processes did not start")

    def end(self) -> None:
        """End it and all that it runs."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        shutil.rmtree(self._folder, ignore_errors=True)


_servers: dict[Kind, WarmServer] = {}


def start_of(module: str) -> list[str]:
    """The beginning of a command line that runs a module of ours; its arguments are to follow."""
    if not AVAILABLE:
        return [sys.executable, "-m", module]
    kind = _KINDS[module]
    if kind not in _servers:
        _servers[kind] = WarmServer(kind)
    return [sys.executable, "-I", "-S", str(RELAY), str(_servers[kind].address), module]


def warmed(command: list[str]) -> list[str]:
    """The same command line, by way of a server; ``command`` is ``python -m MODULE ARGUMENT ...``."""
    python, option, module, *arguments = command
    assert (python, option) == (sys.executable, "-m"), command
    return [*start_of(module), *arguments]


def end_servers() -> None:
    """At the end of the tests."""
    while _servers:
        _servers.popitem()[1].end()
