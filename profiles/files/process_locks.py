"""One process at a time: a lock on a file beside what it guards, which a kill frees."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from profiles.files.atomic import storage_error
from tokmem_desk.errors import BusyError

SUFFIX = ".guard"


@contextlib.contextmanager
def guarded(file: Path, busy: BusyError, *, seconds: float = 5.0) -> Iterator[None]:
    """Hold the lock for the block.

    Args:
        file: the guard; its name ends in ``.guard``, its folder is there.
        busy: raised when another process has it for longer than ``seconds``.
        seconds: how long to wait.

    Raises:
        BusyError: ``busy``.
        StorageError: the guard cannot be written.
    """
    lock = FileLock(file, timeout=seconds, mode=0o600)
    try:
        lock.acquire()
    except Timeout:
        raise busy from None
    except OSError as caught:
        raise storage_error(f"{file} could not be written", caught) from caught
    try:
        yield
    finally:
        lock.release()
