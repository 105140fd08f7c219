"""Running a call's command: exactly the vector, bounded in time and output, nothing of ours in it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from profiles.store.commands import CommandRecord
from tokmem_desk.errors import BadInputError, NotFoundError
from tui.shared.command_run import OUTPUT_BYTES, CommandRun, prepare, run, run_of

SCHEMA = '{"type": "object", "properties": {"text": {"type": "string"}}}'
COMMAND = CommandRecord("todo", (sys.executable, "-c", "pass", "{text}"), None, "now")


def python(code: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code, *arguments)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A killed child of a killed parent may wait to be collected.
    return "\tZ" not in Path(f"/proc/{pid}/status").read_text().replace("State:\tZ", "\tZ")


def test_what_would_run_is_the_full_path_and_the_filled_arguments() -> None:
    prepared = prepare(replace(COMMAND, template=("python3", "x.py", "{text}")), SCHEMA, {"text": "a b"})
    assert Path(prepared.vector[0]).is_absolute() and prepared.vector[1:] == ("x.py", "a b")
    assert not prepared.allowed
    with pytest.raises(NotFoundError, match="no program 'no-such-program'"):
        prepare(replace(COMMAND, template=("no-such-program",)), SCHEMA, {})
    with pytest.raises(BadInputError, match="read as an option"):
        prepare(COMMAND, SCHEMA, {"text": "-x"})


def test_consent_is_for_this_template_program_and_schema() -> None:
    digest = prepare(COMMAND, SCHEMA, {"text": "a"}).digest
    allowed = replace(COMMAND, allowed=digest)
    assert prepare(allowed, SCHEMA, {"text": "another"}).allowed
    assert not prepare(allowed, SCHEMA.replace("string", "number"), {"text": "a"}).allowed
    assert not prepare(replace(allowed, template=(*COMMAND.template, "x")), SCHEMA, {"text": "a"}).allowed


async def test_output_and_status_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKMEM_PASSPHRASE", "secret")
    code = (
        "import os, sys; print(sys.argv[1]); print('oh', file=sys.stderr); "
        "print(sorted(n for n in os.environ if n.startswith('TOKMEM'))); print(repr(sys.stdin.read())); sys.exit(3)"
    )
    done = await run(python(code, "é ; $x"), 30)
    assert done.stdout.splitlines() == ["é ; $x", "[]", "''"]
    assert (done.stderr, done.exit_status, done.timed_out, done.truncated) == ("oh\n", 3, False, False)
    assert not done.ok and done.words() == "exit status 3"
    assert run_of(done.as_dict()) == done


async def test_too_long_ends_it_and_what_it_started(tmp_path: Path) -> None:
    note = tmp_path / "pids"
    code = (
        "import os, signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "
        f"open({str(note)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}'); print('begun', flush=True); time.sleep(600)"
    )
    done = await run(python(code), 3)
    assert done.timed_out and done.stdout == "begun\n" and not done.ok and "too long" in done.words()
    pids = [int(pid) for pid in note.read_text().split()]
    for _ in range(100):
        if not any(map(alive, pids)):
            break
        await asyncio.sleep(0.1)
    assert not any(map(alive, pids))


async def test_a_flood_is_cut_and_the_program_goes_on() -> None:
    done = await run(python("print('x' * 5_000_000); import sys; print('y' * 9, file=sys.stderr)"), 60)
    assert done.ok and done.truncated and len(done.stdout) == OUTPUT_BYTES and done.stderr == "yyyyyyyyy\n"


async def test_a_child_that_keeps_the_pipe_open_is_not_waited_for() -> None:
    code = (
        "import subprocess, sys; "
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); print(child.pid)"
    )
    done = await run(python(code), 60)
    child = int(done.stdout)
    assert done.ok and alive(child), "what a program leaves running on purpose runs on"
    os.kill(child, signal.SIGKILL)


async def test_what_cannot_be_started_is_told(tmp_path: Path) -> None:
    done = await run((str(tmp_path / "nothing"),), 5)
    assert isinstance(done, CommandRun) and done.exit_status is None and done.words() == "could not be started"
    assert "No such file" in done.stderr


async def test_cancelling_ends_the_program(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = f"import os, time; open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    task = asyncio.create_task(run(python(code), 600))
    while not (note.exists() and note.read_text()):
        await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not alive(int(note.read_text()))
