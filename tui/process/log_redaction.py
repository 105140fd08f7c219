"""Tracebacks for logs: where an error arose and of what kind it was, without its text, which may quote private data."""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from types import TracebackType


def trace(error: BaseException) -> str:
    """The frames of an error and of those that led to it, each ended by the name of its class."""
    parts: list[str] = []
    seen: set[int] = set()
    step: BaseException | None = error
    while step is not None and id(step) not in seen:
        seen.add(id(step))
        kind = type(step)
        number = f" {step.errno}" if isinstance(step, OSError) and step.errno is not None else ""
        frames = "".join(traceback.format_tb(step.__traceback__))
        parts.append(f"Traceback (most recent call last):\n{frames}{kind.__module__}.{kind.__qualname__}{number}\n")
        step = step.__cause__ or (None if step.__suppress_context__ else step.__context__)
    return "and then\n".join(reversed(parts))


class QuietFormatter(logging.Formatter):
    """Formats records with ``trace`` instead of full tracebacks."""

    def formatException(  # noqa: N802 - the library's name
        self, ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
    ) -> str:
        """The error without its text."""
        return trace(ei[1]).rstrip() if ei[1] is not None else ""


def log_quietly() -> None:
    """Have this process log to stderr, also errors that nobody caught, with no text of theirs."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(QuietFormatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    sys.excepthook = _process_fails
    threading.excepthook = _thread_fails


def _process_fails(_: type[BaseException], error: BaseException, __: TracebackType | None) -> None:
    logging.critical("the process fails\n%s", trace(error).rstrip())


def _thread_fails(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None:
        logging.critical("a thread fails\n%s", trace(args.exc_value).rstrip())
