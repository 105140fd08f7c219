"""Replaces the process by a fresh one: the one sure way for the program to forget a key, a passphrase and every text.

Python cannot wipe what it has held: texts are copied by every layer that passes them on. So when a profile is locked,
the process replaces itself by a fresh one, in the same terminal or window, with the same command line. What the new one
must know comes in one variable of the environment; a key comes through a pipe that nobody else has.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from profiles.encryption.file_encryption import KEY_BYTES, ProfileKey
from tokmem_desk.errors import LockedError, TokmemError
from tui.process.passphrase_variables import NEW_PASSPHRASE_VARIABLE, PASSPHRASE_VARIABLE

AVAILABLE = os.name != "nt"
"""Windows cannot replace a process: the shell would take the old one's end for the program's."""

VARIABLE = "TOKMEM_STARTED_ANEW"


@dataclass(frozen=True, slots=True)
class Handover:
    """What the new process begins with."""

    profile: str
    key: ProfileKey | None = None
    """Opens it; without it a locked profile is asked for its passphrase."""
    echo: bool = False
    """The terminal showed what was typed, and shall do so again at the end."""


def receive_handover() -> Handover | None:
    """What the process before this one left; None where there was none. Only the first call finds it."""
    text = os.environ.pop(VARIABLE, None)
    if text is None:
        return None
    try:
        fields = json.loads(text)
        key = None if fields["key"] is None else _received(int(fields["key"]))
        return Handover(str(fields["profile"]), key, bool(fields["echo"]))
    except (ValueError, KeyError, TypeError, OSError, LockedError):  # not ours: begin as ever
        return None


def replace_process(handover: Handover, size: tuple[int, int]) -> None:
    """Replace this process. Nothing may be open that needs to be closed.

    Args:
        handover: what the new process begins with.
        size: columns and rows, for a window whose size only this process knows.

    Raises:
        TokmemError: the system refused; the program must end then, since it may hold what was locked.
    """
    for name in (PASSPHRASE_VARIABLE, NEW_PASSPHRASE_VARIABLE):
        os.environ.pop(name, None)
    fields = {
        "profile": handover.profile,
        "key": None if handover.key is None else _sent(handover.key),
        # What is typed before the new process has the terminal may be a passphrase.
        "echo": _set_echo(on=False),
    }
    os.environ[VARIABLE] = json.dumps(fields)
    if "ROWS" in os.environ:
        os.environ["COLUMNS"], os.environ["ROWS"] = str(size[0]), str(size[1])
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    try:
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - the same command again
    except OSError as caught:
        if fields["echo"]:
            _set_echo(on=True)
        raise TokmemError(
            f"The program could not be started anew after locking ({caught.strerror or caught}).",
            next_step="Start it again.",
        ) from caught


@contextlib.contextmanager
def restoring_terminal(handover: Handover | None) -> Iterator[None]:
    """Give the terminal back as it was before the process that was replaced, whatever happens in the block."""
    try:
        yield
    finally:
        if handover is not None and handover.echo:
            _set_echo(on=True)


def _sent(key: ProfileKey) -> int:
    """The number of a pipe's end at which the key waits; a pipe takes far more than that without a reader."""
    reader, writer = os.pipe()
    os.write(writer, key.raw())
    os.close(writer)
    os.set_inheritable(reader, True)
    return reader


def _received(reader: int) -> ProfileKey:
    with open(reader, "rb", buffering=0) as pipe:
        return ProfileKey(pipe.read(KEY_BYTES))


def _set_echo(*, on: bool) -> bool:
    """Show what is typed, or do not; whether that changed anything."""
    import termios

    try:
        attributes = termios.tcgetattr(0)
        before = attributes[3]
        attributes[3] = before | termios.ECHO if on else before & ~termios.ECHO
        if attributes[3] == before:
            return False
        termios.tcsetattr(0, termios.TCSANOW, attributes)
    except (termios.error, OSError, ValueError):  # no terminal: a window of the browser
        return False
    return True
