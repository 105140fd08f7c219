"""Remove private files so that they are not merely unlinked: overwritten once, flushed, then removed.

That helps on disks that write in place. On SSDs and on file systems that copy on write the old blocks may live on until
the disk reuses them; docs/privacy.md says so.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from pathlib import Path

_BLOCK = bytes(1 << 20)


def erase_tree(folder: Path) -> None:
    """Remove a folder with everything in it; one that is not there is fine. Can be cut off and done again.

    Raises:
        OSError: something could not be removed.
    """
    for root, _, names in os.walk(folder):
        for name in names:
            # A file that cannot be overwritten (open elsewhere on Windows) is reported by its removal below.
            with contextlib.suppress(OSError):
                _overwrite(Path(root) / name)
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)


def erase_file(file: Path) -> None:
    """Overwrite and remove one file; one that is not there is fine.

    Raises:
        OSError: it could not be removed.
    """
    with contextlib.suppress(OSError):  # its removal below reports it
        _overwrite(file)
    file.unlink(missing_ok=True)


def _overwrite(file: Path) -> None:
    state = os.lstat(file)
    # A second name of the same file may be somebody's backup.
    if not stat.S_ISREG(state.st_mode) or state.st_nlink > 1:
        return
    with open(file, "r+b", buffering=0) as stream:
        left = state.st_size
        while left > 0:
            left -= stream.write(_BLOCK[: min(left, len(_BLOCK))])
        os.fsync(stream.fileno())
