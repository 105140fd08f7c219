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

from profiles.files.atomic import storage_error
from tokmem_desk.errors import StorageError

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


def refuse_links(folder: Path, *, second_names: bool = False) -> None:
    """Refuse to go on where a file of a profile lies elsewhere in truth: it could neither be encrypted nor erased.

    Args:
        folder: looked at with all below it; one that is not there is fine.
        second_names: refuse files that have another name too (hard links), under which they would stay readable.

    Raises:
        StorageError: there is one, or the folder cannot be looked at.
    """

    def fails(caught: OSError) -> None:
        if not isinstance(caught, FileNotFoundError):
            raise storage_error(f"{caught.filename} could not be looked at", caught) from caught

    if folder.is_symlink():
        raise _elsewhere(folder)
    for root, folders, names in os.walk(folder, onerror=fails):
        for path in (Path(root) / name for name in (*folders, *names)):
            try:
                state = os.lstat(path)
            except FileNotFoundError:  # a file of SQLite's that has just gone
                continue
            except OSError as caught:
                raise storage_error(f"{path} could not be looked at", caught) from caught
            if stat.S_ISLNK(state.st_mode):
                raise _elsewhere(path)
            if second_names and stat.S_ISREG(state.st_mode) and state.st_nlink > 1:
                raise StorageError(
                    f"{path} has a second name somewhere (a hard link), under which it would stay readable.",
                    next_step="Remove the other name, or put a copy in place of this one. Nothing was changed.",
                )


def _elsewhere(link: Path) -> StorageError:
    try:
        target = f" to {link.readlink()}"
    except OSError:
        target = ""
    return StorageError(
        f"{link} is a link{target}: what lies there is not tokmem-desk's to rewrite or erase.",
        next_step="Put what it points to in its place, or remove the link. Nothing was changed.",
    )


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
