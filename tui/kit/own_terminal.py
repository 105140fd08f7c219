"""Hands the terminal to another program and takes it back, however that program ends.

Textual's ``App.suspend`` comes back to the screen only if its block ends without an exception. Otherwise the terminal
would stay without screen and without keys.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from textual.app import App

_FOR_THE_PROGRAM = ("SIGINT", "SIGQUIT")
"""Signals of keys: the terminal sends them to both processes, and the person means the program in sight."""


def run_in_terminal(app: App[Any], vector: Sequence[str]) -> int:
    """Leave the screen, run a program in the terminal, wait for its end, and come back.

    Args:
        app: whose screen is left.
        vector: the program and its arguments.

    Returns:
        The exit status; negative: the signal that ended it.

    Raises:
        OSError: the program could not be started. The screen is back.
        SuspendNotSupported: the app has no terminal that it could hand over. Nothing was run.
    """
    with _left_screen(app), _keys_for_the_program(), _same_terminal_afterwards():
        return subprocess.run(vector, check=False).returncode


def was_killed(status: int) -> bool:
    """Whether a program was ended by a signal. A shell that ran it for us says so with a number above 128."""
    return status < 0 or status > 128


@contextlib.contextmanager
def _left_screen(app: App[Any]) -> Iterator[None]:
    """As ``App.suspend``, but the screen is back after an exception too."""
    suspended = app.suspend()
    suspended.__enter__()
    try:
        yield
    finally:
        suspended.__exit__(None, None, None)  # told of an exception, Textual would not come back


@contextlib.contextmanager
def _keys_for_the_program() -> Iterator[None]:
    r"""Let Ctrl+C and Ctrl+\ end the program that runs, not this one.

    The signals get a handler that does nothing. If they were ignored, the program would inherit that.
    """
    numbers = [getattr(signal, name) for name in _FOR_THE_PROGRAM if hasattr(signal, name)]
    before = {number: signal.signal(number, lambda *_: None) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


@contextlib.contextmanager
def _same_terminal_afterwards() -> Iterator[None]:
    """Set the terminal back to what it was: an editor that is killed leaves it without echo and line ends."""
    if sys.platform == "win32":
        yield
        return
    import termios

    stream = sys.__stdin__
    try:
        terminal = -1 if stream is None else stream.fileno()
        attributes = termios.tcgetattr(terminal)
    except (termios.error, OSError, ValueError):  # no terminal
        yield
        return
    try:
        yield
    finally:
        # A program that took the terminal for a process group of its own has left it there. To take it back from the
        # background is answered with SIGTTOU, which would stop this process.
        before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        try:
            with contextlib.suppress(OSError):
                os.tcsetpgrp(terminal, os.getpgrp())
            with contextlib.suppress(termios.error, OSError):
                termios.tcsetattr(terminal, termios.TCSADRAIN, attributes)
        finally:
            signal.signal(signal.SIGTTOU, before)
