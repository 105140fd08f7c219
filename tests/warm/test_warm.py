"""A warm process is, from outside, as one that Python started."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests import warm
from tests.warm import AVAILABLE, ROOT, start_of

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="forks, and waits as Linux does")

ENGINE = "tests.tui.scripted_engine"


def run(*arguments: str, **more: object) -> subprocess.CompletedProcess[bytes]:
    options = {"capture_output": True, "timeout": 60, "check": False, "stdin": subprocess.DEVNULL, **more}
    return subprocess.run([*start_of("tui"), *arguments], **options)


@pytest.fixture(autouse=True)
def own_servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Servers for this test alone: what other tests left running is no fork of theirs."""
    monkeypatch.setattr(warm, "_servers", {})
    yield
    warm.end_servers()


@pytest.fixture
def engine(own_home: Path) -> subprocess.Popen[bytes]:
    """One that has answered."""
    started = subprocess.Popen(
        [*start_of(ENGINE), "--home", str(own_home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert started.stdin is not None and started.stdout is not None
    started.stdin.write(b'{"id": 1, "op": "status"}\n')
    started.stdin.flush()
    assert json.loads(started.stdout.readline())["event"] == "done"
    yield started
    started.stdin.close()
    started.stdout.close()
    started.wait(60)


def test_streams_arguments_and_exit_codes(own_home: Path, tmp_path: Path) -> None:
    done = run("--version")
    assert (done.returncode, done.stderr) == (0, b"") and done.stdout.startswith(b"tokmem-desk ")
    slip = run("trian")
    assert slip.returncode == 2 and slip.stdout == b"" and b"trian" in slip.stderr
    file = tmp_path / "pairs.csv"
    file.write_text("input,response\na,b\nc,d\n")
    assert run("proc", "add", "one", "--pairs", "pairs.csv", cwd=tmp_path).returncode == 0, "its own folder"
    elsewhere = {**os.environ, "TOKMEM_HOME": str(tmp_path / "other")}
    assert json.loads(run("proc", "list", "--json", env=elsewhere).stdout)["procedures"] == [], "its own environment"


def test_it_reads_stdin_to_its_end(engine: subprocess.Popen[bytes]) -> None:
    assert engine.stdin is not None
    engine.stdin.close()
    assert engine.wait(60) == 0


def children_of(parent: int) -> list[int]:
    return [child.pid for child in psutil.Process(parent).children()]


def until(true: Callable[[], object]) -> None:
    for _ in range(3000):
        if true():
            return
        time.sleep(0.02)
    raise AssertionError("never happened")


def forks() -> list[int]:
    return children_of(warm._servers["light"]._process.pid)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_the_fork_and_is_seen(engine: subprocess.Popen[bytes], number: int) -> None:
    assert len(forks()) == 1
    engine.send_signal(number)
    assert engine.wait(60) == -number
    until(lambda: not forks())


def test_a_relay_that_is_killed_as_its_fork_ends_leaves_the_server_whole(engine: subprocess.Popen[bytes]) -> None:
    server = warm._servers["light"]._process
    assert engine.stdin is not None
    [fork] = forks()
    server.send_signal(signal.SIGSTOP)
    try:
        engine.stdin.close()
        until(lambda: psutil.Process(fork).status() == psutil.STATUS_ZOMBIE)
        engine.kill()
        engine.wait(60)
    finally:
        server.send_signal(signal.SIGCONT)  # and now it learns of both at once
    until(lambda: not forks())
    assert run("--version").returncode == 0 and server.poll() is None


def test_a_closed_stream_is_closed_in_the_fork_too() -> None:
    start = " ".join(start_of("tui"))
    done = subprocess.run(["bash", "-c", f"{start} trian 2>&- >&- <&-"], check=False, timeout=60)
    assert done.returncode == 2
    full = subprocess.run(
        ["bash", "-c", f"{start} --version > /dev/full"], check=False, timeout=60, capture_output=True
    )
    assert full.returncode == 1 and b"could not be written" in full.stderr


def test_what_a_fork_cannot_be_is_started_by_python_itself(own_home: Path) -> None:
    start = " ".join(start_of("tui"))
    done = subprocess.run(
        ["bash", "-c", f"ulimit -n 64; {start} --version"],
        check=False,
        timeout=60,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONVERBOSE": "", "PYTHONIOENCODING": "ascii"},
    )
    plain = subprocess.run(
        [sys.executable, "-m", "tui", "--version"], check=False, timeout=60, capture_output=True, cwd=ROOT
    )
    assert (done.returncode, done.stdout) == (0, plain.stdout)
