"""A process that replaces itself: what the next one gets, and what it does not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from profiles.encryption.file_encryption import ProfileKey
from tui.process import restart
from tui.process.restart import VARIABLE, Handover, receive_handover

ROOT = Path(__file__).parents[3]
TWICE = """
import os, sys
from profiles.encryption.file_encryption import ProfileKey
from tui.process.restart import Handover, replace_process, receive_handover
before = receive_handover()
if before is None:
    print("first", os.getpid(), flush=True)
    replace_process(Handover("ann", ProfileKey(b"k" * 32)), (111, 33))
print("second", os.getpid(), before.profile, before.key.raw() == b"k" * 32, receive_handover(), sys.argv[1:],
      os.environ["COLUMNS"], os.environ["ROWS"], [n for n in os.environ if "PASSPHRASE" in n or "ANEW" in n],
      sorted(int(fd) for fd in os.listdir("/proc/self/fd"))[:4] if os.path.isdir("/proc/self/fd") else [])
"""

pytestmark = pytest.mark.skipif(not restart.AVAILABLE, reason="Windows cannot replace a process")


def test_the_same_command_in_the_same_process(tmp_path: Path) -> None:
    script = tmp_path / "twice.py"
    script.write_text(TWICE)
    done = subprocess.run(
        [sys.executable, str(script), "--an", "option"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TOKMEM_PASSPHRASE": "secret", "COLUMNS": "80", "ROWS": "24"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    first, second = done.stdout.splitlines()
    pid = first.split()[1]
    assert second.startswith(f"second {pid} ann True None ['--an', 'option'] 111 33 [] "), second
    assert "secret" not in done.stdout + done.stderr


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"profile": "a", "key": 9999, "echo": false}', "[" * 100])
def test_a_variable_of_somebody_else_changes_nothing(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(VARIABLE, text)
    assert receive_handover() is None and VARIABLE not in os.environ


def test_without_a_key_the_next_process_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, json.dumps({"profile": "ann", "key": None, "echo": True}))
    assert receive_handover() == Handover("ann", None, echo=True)


def test_a_key_is_never_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    key = ProfileKey.new()
    told: list[dict[str, str]] = []
    monkeypatch.setattr(os, "execv", lambda *_: told.append(dict(os.environ)))
    restart.replace_process(Handover("ann", key), (80, 24))
    assert key.text() not in str(told)
    found = receive_handover()
    assert found is not None and found.key is not None and found.key.raw() == key.raw()


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_no_core_file_and_no_look_from_outside() -> None:
    look = (
        "import ctypes, resource\n"
        "from tui.process.private_memory import keep_memory_private\n"
        "keep_memory_private()\n"
        "print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE)[0])"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", look], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "0"]
