"""Check that files are still what was written, by SHA-256 digests that are kept apart from them.

A ``Ledger`` keeps the digests of one folder's files. A file that it does not know yet, since an earlier version wrote
it, is trusted the first time and known from then on. A file is hashed whenever its size, time or place on the disk has
changed, and after a while even when they have not: a bit that flips on a disk changes no time stamp. The ledger
itself is checked too; a damaged one is begun anew. No torch.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from filelock import FileLock, Timeout

from tokmem_desk.errors import DamagedError, InterruptedByUser
from tokmem_desk.system.disk import remove_stale

Understood = TypeVar("Understood")

Health = Literal["whole", "damaged", "new"]
"""``new``: there is no digest to compare with yet."""

ALWAYS_BELOW = 512 * 2**20
"""Files of fewer bytes are hashed at every load, which takes less time than loading them."""

STALE_SECONDS = 24 * 3600
"""Larger ones, if nothing about them has changed, are hashed when the last time is this long ago."""

_BLOCK = 1 << 20
_LOCK_SECONDS = 5
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class FileState:
    """Size, time and place of a file, by which a new one is told from the old one without reading it."""

    size: int
    time_ns: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> FileState:
        """Of a plain file.

        Raises:
            OSError: there is none, or it is a folder, a pipe or the like.
        """
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, "It is not a file", str(path))
        return cls(found.st_size, found.st_mtime_ns, found.st_ino)


@dataclass(frozen=True, slots=True)
class Entry:
    """The entry of one file in the ledger.

    Attributes:
        sha256: what it may be; two while it is being replaced, so that a kill in between damages nothing.
        state: when it was last hashed; None before that.
        checked: Unix time of that.
        damaged: whether it was another file then.
    """

    sha256: tuple[str, ...]
    state: FileState | None = None
    checked: float = 0.0
    damaged: bool = False


class Ledger:
    """The digests of the files in one folder.

    Args:
        file: where they are kept, a JSON file; need not lie in that folder.
    """

    def __init__(self, file: Path) -> None:
        self.file = file

    def entries(self) -> dict[str, Entry]:
        """What is known, by file name; nothing where the ledger is missing or damaged."""
        try:
            if not stat.S_ISREG(self.file.stat().st_mode):
                return {}
            fields = json.loads(self.file.read_text(encoding="utf-8"))
            files = fields["files"]
            if fields["format"] != _FORMAT or fields["sha256"] != _digest_of_files(files):
                return {}
            return {str(name): _entry(one) for name, one in files.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return {}

    def announce(self, name: str, sha256: str) -> None:
        """Note that a file will be replaced by one of this digest; until ``settle`` both digests are accepted."""
        with self._changing() as entries:
            before = entries.get(name)
            known = () if before is None else before.sha256
            entries[name] = Entry((*(digest for digest in known if digest != sha256), sha256))

    def settle(self, path: Path, sha256: str, *, checked: bool = True) -> None:
        """Note the digest of a file that was written, or is trusted for the first time."""
        with self._changing() as entries, contextlib.suppress(OSError):
            state = FileState.of(path) if checked else None
            entries[path.name] = Entry((sha256,), state, time.time() if checked else 0.0)

    def note(self, path: Path, *, damaged: bool) -> None:
        """Note that a known file was hashed."""
        with self._changing() as entries, contextlib.suppress(OSError):
            known = entries.get(path.name, Entry(()))
            entries[path.name] = replace(known, state=FileState.of(path), checked=time.time(), damaged=damaged)

    def begin_anew(self, *keep: str) -> None:
        """Drop the entries of all files but these."""
        with self._changing() as entries:
            for name in entries.keys() - set(keep):
                del entries[name]

    def forget(self, *names: str) -> None:
        """Files that are gone."""
        with self._changing() as entries:
            for name in names:
                entries.pop(name, None)

    def found_damaged(self, path: Path) -> bool:
        """Whether this very file, unchanged since, has been hashed and was another."""
        known = self.entries().get(path.name)
        if known is None or not known.damaged:
            return False
        try:
            return FileState.of(path) == known.state
        except OSError:
            return False

    def is_fresh(self, path: Path) -> bool:
        """Whether a large file need not be hashed now: nothing about it has changed since it was, not long ago."""
        known = self.entries().get(path.name)
        if known is None or known.damaged or known.state is None:
            return False
        try:
            state = FileState.of(path)
        except OSError:
            return False
        age = time.time() - known.checked
        return state == known.state and state.size >= ALWAYS_BELOW and 0 <= age < STALE_SECONDS

    @contextlib.contextmanager
    def _changing(self) -> Iterator[dict[str, Entry]]:
        """Change the entries under a lock; where nothing can be written, nothing is kept and nobody is disturbed."""
        entries: dict[str, Entry] = {}
        lock = FileLock(self.file.with_name(f"{self.file.name}.lock"))
        try:
            self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock.acquire(timeout=_LOCK_SECONDS)
        except (OSError, Timeout):
            yield entries
            return
        try:
            before = self.entries()
            entries.update(before)
            yield entries
            if entries != before:
                with contextlib.suppress(OSError):
                    self._write(entries)
        finally:
            lock.release()

    def _write(self, entries: dict[str, Entry]) -> None:
        files = {name: _fields(entry) for name, entry in sorted(entries.items())}
        text = json.dumps({"format": _FORMAT, "files": files, "sha256": _digest_of_files(files)}, indent=1)
        remove_stale(self.file)
        handle, temporary = tempfile.mkstemp(dir=self.file.parent, prefix=f".{self.file.name}.", suffix=".part")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(self.file)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
            raise


def fitted_ledger(folder: Path) -> Ledger:
    """What is known of the files in the folder of fitted ones; lies among them."""
    return Ledger(folder / ".checks.json")


def read_plain(path: Path) -> bytes:
    """The bytes of a plain file; never waits for a pipe.

    Raises:
        OSError: there is none, or it is no plain file, or cannot be read.
    """
    FileState.of(path)
    return path.read_bytes()


def read_checked(path: Path, ledger: Ledger, understand: Callable[[bytes], Understood]) -> Understood:
    """What ``understand`` makes of a file that the ledger knows. One it does not know is entered once it is understood.

    Raises:
        FileNotFoundError: there is none.
        OSError: it cannot be read.
        DamagedError: it is another than was written.
        TokmemError: whatever ``understand`` says of it.
    """
    data = read_plain(path)
    found = hashlib.sha256(data).hexdigest()
    known = ledger.entries().get(path.name)
    is_new = known is None or not known.sha256
    if known is not None and not is_new and found not in known.sha256:
        ledger.note(path, damaged=True)
        raise DamagedError(f"{path} is damaged: it is not what was written.")
    understood = understand(data)
    if is_new:
        ledger.settle(path, found)
    return understood


def health(path: Path, ledger: Ledger) -> Health:
    """Read a file and say how it is; an unknown one stays unknown.

    Raises:
        OSError: it cannot be read.
    """
    known = ledger.entries().get(path.name)
    if known is None or not known.sha256:
        FileState.of(path)
        return "new"
    damaged = hash_file(path) not in known.sha256
    ledger.note(path, damaged=damaged)
    return "damaged" if damaged else "whole"


def hash_file(path: Path, cancelled: Callable[[], bool] = lambda: False) -> str:
    """SHA-256 of a plain file, in hex.

    Raises:
        OSError: it cannot be read, or is no plain file.
        InterruptedByUser: cancelled between two blocks.
    """
    FileState.of(path)
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            if cancelled():
                raise InterruptedByUser("Stopped while checking a file.")
            digest.update(block)
    return digest.hexdigest()


def _fields(entry: Entry) -> dict[str, Any]:
    state = None if entry.state is None else [entry.state.size, entry.state.time_ns, entry.state.inode]
    return {"sha256": list(entry.sha256), "state": state, "checked": entry.checked, "damaged": entry.damaged}


def _entry(fields: dict[str, Any]) -> Entry:
    state = None if fields["state"] is None else FileState(*map(int, fields["state"]))
    return Entry(tuple(map(str, fields["sha256"])), state, float(fields["checked"]), bool(fields["damaged"]))


def _digest_of_files(files: object) -> str:
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
