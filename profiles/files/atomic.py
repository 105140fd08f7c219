"""Files that are either the old or the new, never half: written beside, synced, renamed.

Does not make folders and does not lock: two writers at once leave the whole work of one of them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tokmem_desk.errors import StorageError
from tokmem_desk.system.disk import remove_stale, sync

_REASONS = {
    errno.ENOSPC: ("the disk is full", "Free some space, then try again; what was there before is unchanged."),
    errno.EDQUOT: ("the disk quota is used up", "Free some space, then try again; what was there before is unchanged."),
    errno.EACCES: ("there is no permission", "Check who owns the folder, or choose another one with --home."),
    errno.EPERM: ("there is no permission", "Check who owns the folder, or choose another one with --home."),
    errno.EROFS: ("the disk is read-only", "Choose another place with --home."),
    errno.ENOTDIR: ("a file is where a folder should be", "Move that file away, or choose another place with --home."),
    errno.EEXIST: ("a file is where a folder should be", "Move that file away, or choose another place with --home."),
}


def storage_error(what_failed: str, caught: OSError) -> StorageError:
    """Turn an OSError into a sentence: ``what_failed``, the reason, the next step."""
    reason, next_step = _REASONS.get(
        caught.errno or 0, (caught.strerror or str(caught), "Check the disk and the folder, then try again.")
    )
    return StorageError(f"{what_failed}: {reason}.", next_step=next_step)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path in the folder of ``path``; on success sync it and rename it to ``path``.

    The temporary file exists, empty and 0600, so a writer that takes a path or opens one will do. When the block
    raises, the temporary file is removed and ``path`` stays as it was. What a writer that was killed has left goes with
    the next one.

    Raises:
        StorageError: the disk is full, or there is no permission. OSErrors of the block itself are mapped too.
    """
    temporary: Path | None = None
    remove_stale(path)
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        os.close(handle)
        temporary = Path(name)
        yield temporary
        # A writer may have replaced the file by one with the mode of the umask.
        os.chmod(temporary, 0o600)
        sync(temporary)
        os.replace(temporary, path)
        temporary = None
        sync(path.parent)
    except OSError as caught:
        raise storage_error(f"{path} could not be written", caught) from caught
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Put ``data`` at ``path``, all of it or nothing.

    Raises:
        StorageError: the disk refused; ``path`` is unchanged.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Put ``text`` at ``path`` as UTF-8, all of it or nothing.

    Raises:
        StorageError: the disk refused; ``path`` is unchanged.
    """
    write_bytes(path, text.encode("utf-8"))
