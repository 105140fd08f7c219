"""Make what was written last through a power cut. Knows no place: every path is an argument."""

from __future__ import annotations

import os
from pathlib import Path


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
