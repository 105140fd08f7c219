"""Flush files to the disk so that they survive a power cut, and read paths that people type. Knows no file location."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from tokmem_desk.errors import UsageError

STALE_SECONDS = 3600.0
"""A temporary file this old, in seconds, was left by a writer that was killed."""


def typed_path(text: str | Path) -> Path:
    """A path as a person writes it, with ``~``; it can be asked about afterwards, whether something is there or not.

    Raises:
        UsageError: nothing can be there: an unknown ``~name``, a name too long, a folder that may not be entered.
    """
    try:
        path = Path(text).expanduser()
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return path
    except (OSError, RuntimeError, ValueError) as caught:  # RuntimeError: no such ~name; ValueError: a NUL
        reason = caught.strerror if isinstance(caught, OSError) else str(caught)
        raise UsageError(
            f"{str(text)[:200]} cannot be used as a path ({reason}).", next_step="Give another one."
        ) from caught
    return path


def sync(path: Path) -> None:
    """Flush a file, or the names in a folder, to the disk. Folders cannot be opened on Windows and need it less there.

    Raises:
        OSError: the disk refused.
    """
    if os.name == "nt" and path.is_dir():
        return
    # Windows flushes only what may be written.
    handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_files(folder: Path) -> None:
    """Flush every file of a folder and the folder itself, not what lies in folders below.

    Raises:
        OSError: the disk refused.
    """
    for file in folder.iterdir():
        sync(file)
    sync(folder)


def remove_stale(path: Path) -> None:
    """Remove the temporary files (``.NAME.*.part``) that writers of ``path`` left when they were killed.

    A file that cannot be removed stays: the next write reports what is wrong with the folder.
    """
    oldest = time.time() - STALE_SECONDS
    with contextlib.suppress(OSError):
        for entry in os.scandir(path.parent):
            if entry.name.startswith(f".{path.name}.") and entry.name.endswith(".part"):
                with contextlib.suppress(OSError):
                    if entry.is_file(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_mtime < oldest:
                        Path(entry.path).unlink()
