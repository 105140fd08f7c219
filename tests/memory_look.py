"""The app in a terminal of its own, and a look into the memory of processes: what stands there, and what does not."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import re2

from profiles.encryption.file_encryption import ProfileKey
from profiles.files.paths import AppPaths, private_folder
from profiles.registry.registry import ProfileRegistry
from tokmem_desk.procedures import ExamplePair, Procedure
from tui.process.restart import VARIABLE

ROOT = Path(__file__).parents[1]
PATIENCE = 180.0
PASSPHRASE = "quagga stripes at noon"
PAIR = "ocelot weighs nine kilos"
CHAT = "pangolins like long walks"
CTRL_L, CTRL_Q, ENTER, F5, UP, LEFT = b"\x0c", b"\x11", b"\r", b"\x1b[15~", b"\x1b[A", b"\x1b[D"

ONLY_AS_ROOT = [
    pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's"),
    pytest.mark.skipif(
        not hasattr(os, "geteuid") or os.geteuid() != 0,
        reason="only root may read the memory of these processes, which is the point",
    ),
]


def until(true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.05)


class InTerminal:
    """The app in a terminal of its own.

    Args:
        module: what to run.
        arguments: its command line.
    """

    def __init__(self, module: str, *arguments: str) -> None:
        import termios

        self.mine, self.theirs = os.openpty()
        termios.tcsetwinsize(self.theirs, (40, 120))
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TOKMEM_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=self.theirs, stdout=self.theirs, stderr=self.theirs, start_new_session=True, cwd=ROOT,
            env={**environment, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        self.shown = b""
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def echoes(self) -> bool:
        import termios

        return bool(termios.tcgetattr(self.theirs)[3] & termios.ECHO)

    def type(self, keys: bytes) -> None:
        os.write(self.mine, keys)

    def locked_screens(self) -> int:
        """How many processes have drawn the locked screen."""
        return len(re.findall(rb"\x1b\[\?1049h(?:(?!\x1b\[\?1049h).)*?is locked", self.shown, re.DOTALL))

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        os.close(self.theirs)

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while data := os.read(self.mine, 65536):
                self.shown += data


def children(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                if int(parent) == pid and state != "Z":
                    found.append(int(entry.name))
    return found


def pieces(pid: int) -> Iterator[bytes]:
    """All memory of a process that can be written to, in pieces that overlap."""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps.read().splitlines():
            span, rights = line.split()[:2]
            if "w" not in rights or "[vvar" in line:
                continue
            at, end = (int(number, 16) for number in span.split("-"))
            while at < end:
                with contextlib.suppress(OSError):
                    memory.seek(at)
                    yield memory.read(min(end - at, (1 << 24) + 512))
                at += 1 << 24


def found_in(pid: int, secrets: dict[str, list[bytes]]) -> set[str]:
    """Which secrets stand in a process's memory."""
    forms = [(name, form) for name, written in secrets.items() for form in written]
    bytewise = re2.Options()
    bytewise.encoding = re2.Options.Encoding.LATIN1
    # One pass for all forms. Looked for one by one, those with many zeros are slow in memory that is all zeros.
    any_form = re2.compile(b"|".join(re2.escape(form) for _, form in forms), bytewise)
    return {name for piece in pieces(pid) if any_form.search(piece) for name, form in forms if form in piece}


def of_text(text: str) -> list[bytes]:
    plain = [text.encode(coding) for coding in ("utf-8", "utf-16-le", "utf-32-le")]
    return [*plain, text.encode().hex().encode(), text.encode().hex().upper().encode()]


def of_key(key: bytes) -> list[bytes]:
    written = [key.hex(), key.hex().upper(), base64.b64encode(key).decode().rstrip("=")]
    return [key, *(form for text in written for form in (text.encode(), text.encode("utf-32-le")))]


def secrets_of(key: ProfileKey) -> dict[str, list[bytes]]:
    database = bytes.fromhex(key.database_key()[2:-1])
    return {
        "master key": of_key(key.raw()),
        "database key": of_key(database),
        "passphrase": of_text(PASSPHRASE),
        "pair": of_text(PAIR),
        "chat": of_text(CHAT),
    }


def with_locked_profile(home: Path) -> Path:
    """A home whose first profile is locked and holds a pair; the second has no passphrase."""
    paths = AppPaths.resolve(home)
    (private_folder(paths.state) / "welcomed").touch()
    with ProfileRegistry(paths) as registry:
        with registry.open() as store:
            store.procedures.add(Procedure("animals", (ExamplePair(PAIR, "noted"),)))
        registry.create("anna")
        registry.locks.add("default", PASSPHRASE)
    return home


def unlock_and_chat(app: InTerminal, home: Path, key: ProfileKey) -> int:
    """Type the passphrase and a message; returns the engine's process id once it has answered."""
    until(lambda: app.locked_screens(), "the locked screen")
    app.type(PASSPHRASE.encode() + ENTER)
    until(lambda: children(app.pid), "the engine")
    [engine] = children(app.pid)
    with ProfileRegistry(AppPaths.resolve(home)) as registry, registry.open("default", key=key) as store:

        def answers() -> int:
            found = [message for one in store.chats.list() for message in store.messages.list(one.id)]
            return sum(message.role == "assistant" for message in found)

        before = answers()
        app.type(CHAT.encode() + ENTER)
        until(lambda: answers() > before, "an answer")
    return engine


def started_anew(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return VARIABLE.encode() in Path(f"/proc/{pid}/environ").read_bytes()
    return False
