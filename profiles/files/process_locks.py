"""One process at a time: a lock file beside what it protects; the death of a process frees it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from profiles.files.atomic import storage_error
from tokmem_desk.errors import BusyError

SUFFIX = ".guard"


@contextlib.contextmanager
def process_lock(file: Path, busy: BusyError, *, seconds: float = 5.0) -> Iterator[None]:
    """Hold the lock for the block.

    Args:
        file: the lock file; its name ends in ``.guard``, its folder is there.
        busy: raised when another process holds the lock for longer than ``seconds``.
        seconds: how long to wait.

    Raises:
        BusyError: ``busy``.
        StorageError: the lock file cannot be written.
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
