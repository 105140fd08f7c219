"""The entry point: parse, run one command, and turn whatever goes wrong into a sentence and an exit code."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tokmem_desk.errors import TokmemError
from tui.cli.exit_codes import ExitCode
from tui.kit.visible_text import guarded, raw_of

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
    from tui.cli.console import Console, writing_output
    from tui.process.private_memory import keep_memory_private

    keep_memory_private()
    _replace_closed_streams()
    _use_utf8()
    if COMPLETION_VARIABLE in os.environ and arguments is None:
        from tui.cli.completion import answer_tab

        with contextlib.suppress(OSError):  # what the shell gave to write to takes nothing
            answer_tab()  # does not return
        os._exit(ExitCode.FAILED)
    _guard_terminal()
    console = Console()
    code = _outcome(console, arguments)
    # Once more, whatever has happened: what stays in the buffer fails at the very end, where nothing can be said.
    try:
        with writing_output():
            sys.stdout.flush()
    except BrokenPipeError:
        _give_up_output()
    except TokmemError as caught:
        _give_up_output()
        if code == ExitCode.OK:
            return _report(console, caught)
    return code


def _outcome(console: Console, arguments: Sequence[str] | None) -> int:
    from tui.cli.arguments import parse
    from tui.cli.console import Console

    try:
        options = parse(arguments)
        console = Console(quiet=options.quiet, json_output=options.json)
        return _run(options, console)
    except SystemExit as caught:  # --help and --version have printed what they had to
        return caught.code if isinstance(caught.code, int) else ExitCode.OK
    except TokmemError as caught:
        return _report(console, caught)
    except KeyboardInterrupt:
        console.end_progress()
        console.error("Stopped.")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:  # the reader of stdout has had enough (``| head``), which is no failure
        return ExitCode.OK
    except Exception as caught:
        return _report_unexpected(console, caught, arguments)


def _run(options: argparse.Namespace, console: Console) -> int:
    from tui.cli.context import Context

    with Context(options, console) as context:
        if options.function is None:
            from tui.cli.app import run

            return run(context, options)
        return int(options.function(context, options))


def _report(console: Console, error: TokmemError) -> int:
    console.end_progress()
    console.error(str(error))
    if _debugging():
        raise error
    return error.exit_code


def _report_unexpected(console: Console, error: Exception, arguments: Sequence[str] | None) -> int:
    """A mistake of ours: one sentence, and the traceback where it can be found."""
    from tui.process.faults import in_words

    console.end_progress()
    if _debugging():
        raise error
    known = in_words(error)
    if known is not None:
        console.error(str(known))
        return known.exit_code
    from tui.cli.crash_log import write_crash_log  # only now: what it needs may be what is missing

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


def _give_up_output() -> None:
    """Python flushes stdout once more at exit; give it a place where that cannot fail."""
    with contextlib.suppress(OSError, ValueError):
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, sys.stdout.fileno())
        os.close(devnull)


def _replace_closed_streams() -> None:
    """Give a stream that was closed by the caller (``<&-``) an empty one.

    Otherwise the next file that is opened would take its number, and be read or written in its place.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - open until the end


def _use_utf8() -> None:
    """Text of any script must never stop a command, whatever the locale."""
    for stream in (raw_of(sys.stdout), raw_of(sys.stderr)):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")


def _guard_terminal() -> None:
    """Whatever is printed to a terminal by whomever, a parser, a warning, a traceback, is shown and never obeyed."""
    sys.stdout, sys.stderr = guarded(sys.stdout), guarded(sys.stderr)


def _debugging() -> bool:
    return os.environ.get(DEBUG_VARIABLE, "") not in ("", "0")
