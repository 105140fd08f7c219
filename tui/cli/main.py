"""The entry point: parse, run one command, and turn whatever goes wrong into a sentence and an exit code."""

from __future__ import annotations

import argparse
import importlib
import itertools
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tokmem_desk.errors import TokmemError
from tui.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from tui.cli.console import Console

DEBUG_VARIABLE = "TOKMEM_DEBUG"
COMPLETION_VARIABLE = "_ARGCOMPLETE"
"""Set by a shell that asks what may come next."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: replaces ``sys.argv[1:]``.
    """
    from tui.cli.arguments import parse
    from tui.cli.console import Console
    from tui.private_memory import keep_memory_private

    keep_memory_private()
    if COMPLETION_VARIABLE in os.environ and arguments is None:
        from tui.cli.completion import answer_tab

        answer_tab()  # does not return
    _replace_closed_streams()
    _use_utf8()
    console = Console()
    try:
        options = parse(arguments)
        console = Console(quiet=options.quiet, json_output=options.json)
        return _run(options, console)
    except TokmemError as caught:
        return _report(console, caught)
    except KeyboardInterrupt:
        console.end_progress()
        console.error("Stopped.")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        return _closed_output()
    except Exception as caught:
        return _report_unexpected(console, caught, arguments)


def _run(options: argparse.Namespace, console: Console) -> int:
    from tui.cli.context import Context

    with Context(options, console) as context:
        command = getattr(importlib.import_module(f"tui.cli.{options.module}"), options.function)
        code = int(command(context, options))
        sys.stdout.flush()
        return code


def _report(console: Console, error: TokmemError) -> int:
    console.end_progress()
    console.error(str(error))
    if _debugging():
        raise error
    return error.exit_code


def _report_unexpected(console: Console, error: Exception, arguments: Sequence[str] | None) -> int:
    """A mistake of ours: one sentence, and the traceback where it can be found."""
    from tui.cli.crash_log import write_crash_log

    console.end_progress()
    if _debugging():
        raise error
    try:
        home = next((item for item in _homes(sys.argv[1:] if arguments is None else arguments)), None)
        where = f"The details are in {write_crash_log(error, home)}."
    except (TokmemError, OSError):
        where = f"Run it again with {DEBUG_VARIABLE}=1 to see the details."
    console.error(f"Something unexpected happened ({type(error).__name__}: {error}). {where}")
    return ExitCode.FAILED


def _homes(arguments: Sequence[str]) -> list[str]:
    """The values of ``--home``, read without a parser since parsing itself may have failed."""
    apart = [value for name, value in itertools.pairwise(arguments) if name == "--home"]
    return apart + [item.partition("=")[2] for item in arguments if item.startswith("--home=")]


def _closed_output() -> int:
    """The reader of stdout has had enough (``| head``), which is no failure."""
    # Python flushes stdout once more at exit; give it a place where that cannot fail.
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())
    return ExitCode.OK


def _replace_closed_streams() -> None:
    """Give a stream that was closed by the caller (``<&-``) an empty one.

    Otherwise the next file that is opened would take its number, and be read or written in its place.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - open until the end


def _use_utf8() -> None:
    """Text of any script must never stop a command, whatever the locale."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")


def _debugging() -> bool:
    return os.environ.get(DEBUG_VARIABLE, "") not in ("", "0")
