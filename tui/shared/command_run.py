"""Hand a call's arguments to its local program: what would run, and running it.

Runs in the process of the app or of the command line, never in the engine: a program has nothing to do with the
model's memory. It gets an argument vector, no shell, no input, none of our own variables (a passphrase may be among
them), a limited time, and what it prints is kept up to a limit. Asks nobody: whoever calls ``run`` has the consent.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from profiles.store.commands import CommandRecord
from tokmem_desk.errors import BadInputError, NotFoundError
from tokmem_desk.generation.answer_segment import AnswerSegment
from tokmem_desk.templates.command_line import ANSWER_SLOT, check_template, consent_digest, fill

OUTPUT_BYTES = 64 * 1024
"""How much of stdout and of stderr is kept, each. A program that prints more runs on; the rest is dropped."""

GRACE_SECONDS = 2
"""How long a program has to end after it was asked to; then it is killed."""

_READ_BYTES = 16 * 1024
_POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class PreparedCommand:
    """Exactly what would run."""

    procedure: str
    vector: tuple[str, ...]
    """The program's full path and its arguments."""
    digest: str
    """Digest that a consent for this command is bound to."""
    allowed: bool
    """Whether the person said that it may always run."""


@dataclass(frozen=True, slots=True)
class CommandRun:
    """The outcome of running a command."""

    vector: tuple[str, ...]
    exit_status: int | None
    """Exit code of the program; negative: the signal that ended it; None: it could not be started."""
    stdout: str
    stderr: str
    truncated: bool
    """True when more was printed than is kept."""
    timed_out: bool
    seconds: float

    @property
    def ok(self) -> bool:
        return self.exit_status == 0 and not self.timed_out

    def as_dict(self) -> dict[str, Any]:
        """As it is kept in the conversation and shown with ``--json``."""
        return {
            "vector": list(self.vector),
            "exit_status": self.exit_status,
            "stdout": self.stdout,
            "stderr": self.stderr,
            "truncated": self.truncated,
            "timed_out": self.timed_out,
            "seconds": self.seconds,
        }

    def words(self) -> str:
        """How it ended, in a few words."""
        if self.timed_out:
            return f"stopped after {self.seconds:.0f} s: it took too long"
        if self.exit_status is None:
            return "could not be started"
        if self.exit_status < 0:
            return f"ended by signal {-self.exit_status}"
        return f"exit status {self.exit_status}"


def run_of(fields: Mapping[str, Any]) -> CommandRun:
    """Read what ``as_dict`` wrote."""
    return CommandRun(
        tuple(fields.get("vector") or ()),
        fields.get("exit_status"),
        str(fields.get("stdout", "")),
        str(fields.get("stderr", "")),
        bool(fields.get("truncated")),
        bool(fields.get("timed_out")),
        float(fields.get("seconds", 0.0)),
    )


def values_of(segment: AnswerSegment, schema: str | None) -> dict[str, Any] | None:
    """What a segment of an answer has for the slots of its procedure's command; None: nothing to hand over.

    Args:
        segment: with its answer whole.
        schema: the procedure's, as stored; None where its answers are free text.
    """
    if schema is not None:
        return segment.arguments
    return {ANSWER_SLOT: segment.response} if segment.response.strip() else None


def refusal(command: CommandRecord, schema: str | None) -> str:
    """Why a stored command may not run; empty if it may.

    A command was checked when it was set, perhaps by an older version that knew less, or before a link led elsewhere.

    Args:
        command: as kept.
        schema: the procedure's, as stored; None where its answers are free text.
    """
    try:
        check_template(command.template, None if schema is None else json.loads(schema))
    except BadInputError as caught:
        return caught.message
    return ""


def prepare(command: CommandRecord, schema: str | None, arguments: Mapping[str, Any]) -> PreparedCommand:
    """Fill a procedure's command with the values of an answer. Runs nothing.

    Args:
        command: as kept.
        schema: the procedure's, as stored; None where its answers are free text.
        arguments: as ``values_of`` has them.

    Raises:
        BadInputError: the command may not run, or a value cannot be handed over.
        NotFoundError: there is no such program.
    """
    if reason := refusal(command, schema):
        raise BadInputError(
            f"The command of {command.procedure} does not run. {reason}",
            next_step=f"Set another: tokmem-desk proc command {command.procedure} -- …, or F3 and o in the app.",
        )
    vector = fill(command.template, arguments)
    program = shutil.which(vector[0])
    if program is None:
        raise NotFoundError(
            f"There is no program {vector[0]!r}.",
            next_step=f"Install it, or set another command: tokmem-desk proc command {command.procedure} -- …",
        )
    program = str(Path(program).absolute())
    if os.name == "nt" and program.lower().endswith((".bat", ".cmd")):
        # Windows hands these to its shell, which reads the values again.
        raise BadInputError(
            f"{program} is a batch file, which a shell would run.", next_step="Name a program, or python and a script."
        )
    digest = consent_digest(command.template, program, schema or "")
    return PreparedCommand(command.procedure, (program, *vector[1:]), digest, command.allowed == digest)


async def run(vector: tuple[str, ...], timeout_seconds: float) -> CommandRun:
    """Run a command to its end. Cancelling the task ends the program too."""
    began = time.monotonic()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TOKMEM_")}
    try:
        process = await asyncio.create_subprocess_exec(
            *vector,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            # Its own group, so that what it starts ends with it, and a Ctrl-C meant for us is not its.
            start_new_session=os.name != "nt",
        )
    except (OSError, ValueError) as error:
        return CommandRun(vector, None, "", str(error), False, False, time.monotonic() - began)
    assert process.stdout is not None and process.stderr is not None
    outputs = _Output(), _Output()
    readers = [
        asyncio.create_task(output.fill(stream))
        for output, stream in zip(outputs, (process.stdout, process.stderr), strict=True)
    ]
    timed_out = False
    try:
        await asyncio.wait_for(_exit(process), timeout_seconds)
    except TimeoutError:
        timed_out = True
    finally:
        if process.returncode is None:
            await asyncio.shield(_end(process))
        # What it left running in the background may hold the pipes open. It is not waited for.
        _, late = await asyncio.wait(readers, timeout=GRACE_SECONDS)
        for reader in late:
            reader.cancel()
        # asyncio has no public way to let go of such pipes; without it the loop's end would complain.
        getattr(process, "_transport").close()  # noqa: B009
    return CommandRun(
        vector,
        process.returncode,
        outputs[0].text,
        outputs[1].text,
        any(output.truncated for output in outputs),
        timed_out,
        time.monotonic() - began,
    )


class _Output:
    """The beginning of what a program prints; the rest is read too, or the program would wait for us."""

    def __init__(self) -> None:
        self._kept = b""
        self.truncated = False

    @property
    def text(self) -> str:
        return self._kept.decode("utf-8", "replace")

    async def fill(self, stream: asyncio.StreamReader) -> None:
        while data := await stream.read(_READ_BYTES):
            room = OUTPUT_BYTES - len(self._kept)
            self._kept += data[:room]
            self.truncated = self.truncated or len(data) > room


async def _exit(process: asyncio.subprocess.Process) -> None:
    """Wait for a program's own end. ``Process.wait`` would wait for its pipes too, which a child may keep open."""
    while process.returncode is None:
        await asyncio.sleep(_POLL_SECONDS)


async def _end(process: asyncio.subprocess.Process) -> None:
    _signal(process, kill=False)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(_exit(process), GRACE_SECONDS)
    # Kill what did not end by itself, with all that the program had started.
    _signal(process, kill=True)
    await _exit(process)


def _signal(process: asyncio.subprocess.Process, *, kill: bool) -> None:
    """Ask a program and its children to end; kill them if they do not."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if os.name != "nt":
            os.killpg(process.pid, signal.SIGKILL if kill else signal.SIGTERM)
        elif process.returncode is None:
            process.kill() if kill else process.terminate()
