"""Where a bank's files come from: a zip, a zip under a passphrase, or a plain folder; all read, none unpacked.

No name inside an archive ever becomes a path, so there is nothing to break out of. Sizes are limited before anything is
read, and ``bank.safetensors`` must be stored uncompressed, so that any place in it can be read and nothing can swell.
"""

from __future__ import annotations

import io
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from tokmem_desk.bank.encryption import MAGIC, ProtectedReader, is_protected
from tokmem_desk.bank.manifest import (
    CARD_FILE,
    CORRECTION_FILE,
    MANIFEST_FILE,
    PAIR_FILE,
    PLAN_FILE,
    PROBE_FILE,
    TENSOR_FILE,
)
from tokmem_desk.bank.validation import damaged
from tokmem_desk.errors import BadInputError, NotFoundError, StorageError, TokmemError
from tokmem_desk.system.file_limits import Allowance

SUFFIX = ".tokmem"

LIMITS = {
    MANIFEST_FILE: 256 * 2**20,
    PROBE_FILE: 16 * 2**20,
    PAIR_FILE: 512 * 2**20,
    CORRECTION_FILE: 64 * 2**20,
    PLAN_FILE: 64 * 2**20,
    CARD_FILE: 2**20,
    TENSOR_FILE: 2**40,
}
"""Largest size of each file, in bytes; others may have as many as the card."""

_MOST_FILES = 64
_LONGEST_CONTENTS = 2**20
"""Bytes of a zip's table of contents; 64 files take some kilobytes."""
_BLOCK = 2**20
_LARGEST_RATIO = 200
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")

AskPassphrase = Callable[[str], str]
"""Gets the passphrase of the file it is given the name of."""


def needs_passphrase(path: Path) -> bool:
    """Whether a file is under a passphrase; False also when there is no such file."""
    try:
        with _open_plain(path) as file:
            return is_protected(file.read(len(MAGIC)))
    except (OSError, ValueError, BadInputError):
        return False


def _open_plain(path: Path) -> BinaryIO:
    """Open a file, and nothing that waits for somebody at its other end.

    Raises:
        BadInputError: it is a pipe, a device or the like.
        OSError: it cannot be opened.
    """
    refused = BadInputError(f"{path} is not a plain file.", next_step="Give a file that 'bank export' wrote.")
    if not stat.S_ISREG(path.stat().st_mode):
        raise refused
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    file = os.fdopen(os.open(path, flags), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):  # it was changed in between
        file.close()
        raise refused
    return file


class BankSource(Protocol):
    """The files of one bank."""

    name: str
    protected: bool
    allowance: Allowance

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of each file, by name."""

    def read(self, name: str) -> bytes:
        """All of a small file.

        Raises:
            BadInputError: it is missing, damaged or too large.
        """

    def blocks(self, name: str) -> Iterator[bytes]:
        """All of a file in blocks, of which one at a time is in memory.

        Raises:
            BadInputError: it is missing, damaged or too large.
        """

    def read_at(self, offset: int, size: int) -> bytes:
        """Exactly ``size`` bytes of the tensor file.

        Raises:
            BadInputError: it ends before.
        """

    def close(self) -> None:
        """Let go of the files."""


@contextmanager
def open_source(path: Path, ask_passphrase: AskPassphrase | None = None) -> Iterator[BankSource]:
    """Open a bank file or a folder with the files of one.

    Args:
        ask_passphrase: called when the file is protected; None refuses such files.

    Raises:
        NotFoundError: there is nothing at ``path``.
        BadInputError: it is no bank, it is damaged, or the passphrase is wrong.
        StorageError: the disk refuses.
    """
    source = _opened(path, ask_passphrase)
    try:
        yield source
    finally:
        source.close()


def _opened(path: Path, ask_passphrase: AskPassphrase | None) -> BankSource:
    try:
        if path.is_dir():
            return _Folder(path)
        file = _open_plain(path)
    except FileNotFoundError:
        raise NotFoundError(f"There is no file {path}.", next_step="Check the path.") from None
    except (OSError, ValueError) as error:
        raise StorageError(
            f"{path} cannot be read ({getattr(error, 'strerror', None) or error}).", next_step="Check the file."
        ) from error
    try:
        if not is_protected(file.read(len(MAGIC))):
            return _Zip(file, file, path.name, protected=False)
        if ask_passphrase is None:
            raise BadInputError(
                f"{path.name} is protected by a passphrase.", next_step="Give it: --passphrase or --passphrase-file."
            )
        plain = ProtectedReader(file, ask_passphrase(path.name), path.name)
        return _Zip(plain, file, path.name, protected=True)
    except BaseException:
        file.close()
        raise


class _Zip:
    """A zip archive, plain or behind a ``ProtectedReader``."""

    def __init__(self, data: BinaryIO | ProtectedReader, file: BinaryIO, name: str, *, protected: bool) -> None:
        self.name, self.protected = name, protected
        self._data, self._file = data, file
        self.allowance = Allowance(name, os.fstat(file.fileno()).st_size)
        with self._errors():
            opening: Any = _Opening(data, name)
            self._archive = zipfile.ZipFile(opening, "r")
            self._archive.fp = data  # type: ignore[assignment]
            self._entries = self._checked_entries()
            self._start = self._place_of_tensors()

    @property
    def sizes(self) -> dict[str, int]:
        return {name: entry.file_size for name, entry in self._entries.items()}

    def read(self, name: str) -> bytes:
        entry = self._entries.get(name)
        if entry is None:
            raise damaged(self.name, f"{name} is missing")
        _refuse_large(self.name, name, entry.file_size)
        # Twice: while it grows there is a copy.
        self.allowance.check(2 * entry.file_size, name)
        with self._errors(), self._archive.open(entry) as opened:
            # One byte more than promised, so that an entry that swells shows and cannot fill the memory.
            data = opened.read(entry.file_size + 1)
        if len(data) != entry.file_size:
            raise damaged(self.name, f"{name} has another size than promised")
        return data

    def blocks(self, name: str) -> Iterator[bytes]:
        entry = self._entries.get(name)
        if entry is None:
            raise damaged(self.name, f"{name} is missing")
        _refuse_large(self.name, name, entry.file_size)
        left = entry.file_size
        with self._errors(), self._archive.open(entry) as opened:
            while block := opened.read(min(_BLOCK, left + 1)):
                left -= len(block)
                if left < 0:
                    break
                yield block
        if left:
            raise damaged(self.name, f"{name} has another size than promised")

    def read_at(self, offset: int, size: int) -> bytes:
        with self._errors():
            self._data.seek(self._start + offset)
            data = self._data.read(size)
        if len(data) != size:
            raise damaged(self.name, f"{TENSOR_FILE} ends too soon")
        return data

    def close(self) -> None:
        self._archive.close()
        self._file.close()

    def _checked_entries(self) -> dict[str, zipfile.ZipInfo]:
        listed = self._archive.infolist()
        if len(listed) > _MOST_FILES:
            raise damaged(self.name, f"it holds {len(listed)} files")
        entries: dict[str, zipfile.ZipInfo] = {}
        listed = [entry for entry in listed if not _of_file_browser(entry.filename)]
        folder = _common_folder(listed)
        for entry in listed:
            if folder and entry.filename == folder:
                continue
            name = entry.filename[len(folder) :]
            if _unplain(name) or _unplain(entry.orig_filename[len(folder) :]) or entry.is_dir():
                raise damaged(self.name, f"it holds {entry.filename[:80]!r}, and may hold plain files only")
            if stat.S_ISLNK(entry.external_attr >> 16):
                raise damaged(self.name, f"{entry.filename} in it is a link")
            if name in entries:
                raise damaged(self.name, f"it holds {entry.filename} twice")
            if entry.flag_bits & 0x1:
                raise damaged(self.name, f"{entry.filename} is locked by another program's password")
            if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise damaged(self.name, f"{entry.filename} is compressed in an unknown way")
            if entry.file_size > max(1000, entry.compress_size) * _LARGEST_RATIO:
                raise damaged(self.name, f"{entry.filename} would swell beyond measure")
            entries[name] = entry
        return entries

    def _place_of_tensors(self) -> int:
        entry = self._entries.get(TENSOR_FILE)
        if entry is None and len(self._entries) == 1 and (inside := next(iter(self._entries))).endswith(".tokmem"):
            raise BadInputError(
                f"{self.name} is a zip file with a file of procedures in it, {inside}.",
                next_step=f"Unpack it and give {inside}.",
            )
        if entry is None:
            raise damaged(self.name, f"{TENSOR_FILE} is missing")
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
            raise BadInputError(
                f"{self.name} was packed by another program: {TENSOR_FILE} is compressed, "
                "and it must be stored as it is.",
                next_step="Unpack it and give the folder instead, or ask for the file as it was exported.",
            )
        self._data.seek(entry.header_offset)
        head = self._data.read(_LOCAL_HEADER.size)
        if len(head) != _LOCAL_HEADER.size or head[:4] != b"PK\x03\x04":
            raise damaged(self.name, f"{TENSOR_FILE} is not where it should be")
        name_bytes, extra_bytes = _LOCAL_HEADER.unpack(head)[-2:]
        return entry.header_offset + _LOCAL_HEADER.size + int(name_bytes) + int(extra_bytes)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Everything that reading a broken archive can raise, as ours."""
        try:
            yield
        except TokmemError:
            raise
        except OSError as error:
            raise StorageError(
                f"{self.name} cannot be read ({error.strerror or error}).", next_step="Check the disk."
            ) from error
        except (
            zipfile.BadZipFile,
            zipfile.LargeZipFile,
            zlib.error,
            struct.error,
            EOFError,
            NotImplementedError,
            RuntimeError,
            ValueError,
            OverflowError,
            IndexError,
            KeyError,
        ) as error:
            reason = str(error)[:100] or type(error).__name__
            raise BadInputError(
                f"{self.name} is no file of procedures, or it is damaged ({reason}).",
                next_step="Ask for the file again.",
            ) from error


class _Opening:
    """A file while its table of contents is read, which a bank's cannot be long."""

    def __init__(self, data: Any, name: str) -> None:
        self._data, self._name = data, name

    def read(self, size: int = -1) -> bytes:
        if size > _LONGEST_CONTENTS:
            raise damaged(self._name, "its table of contents is too long")
        # Without a size it is the end of the file that is read.
        return bytes(self._data.read(size if size >= 0 else _LONGEST_CONTENTS))

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return int(self._data.seek(offset, whence))

    def tell(self) -> int:
        return int(self._data.tell())

    def seekable(self) -> bool:
        return True


class _Folder:
    """A plain folder with the same files."""

    protected = False

    def __init__(self, folder: Path) -> None:
        self.name = folder.name or str(folder)
        self._folder = folder
        self._tensors: BinaryIO | None = None
        # What begins with a dot belongs to the system's own file browser.
        plain = (entry for entry in folder.iterdir() if not entry.name.startswith("."))
        entries = sorted(islice(plain, _MOST_FILES + 1))
        if not (folder / MANIFEST_FILE).is_file():
            raise BadInputError(
                f"{folder} is a folder without a {MANIFEST_FILE}.", next_step="Give a file that 'bank export' wrote."
            )
        self._sizes: dict[str, int] = {}
        for entry in entries[: _MOST_FILES + 1]:
            found = entry.lstat()
            if not stat.S_ISREG(found.st_mode):
                raise damaged(self.name, f"{entry.name[:80]!r} in it is not a plain file")
            self._sizes[entry.name] = found.st_size
        if len(entries) > _MOST_FILES:
            raise damaged(self.name, f"it holds more than {_MOST_FILES} files")
        self.allowance = Allowance(self.name, sum(self._sizes.values()))
        if TENSOR_FILE not in self._sizes:
            raise damaged(self.name, f"{TENSOR_FILE} is missing")

    @property
    def sizes(self) -> dict[str, int]:
        return dict(self._sizes)

    def read(self, name: str) -> bytes:
        if name not in self._sizes:
            raise damaged(self.name, f"{name} is missing")
        _refuse_large(self.name, name, self._sizes[name])
        self.allowance.check(2 * self._sizes[name], name)
        with self._opened(name) as opened:
            data = opened.read(self._sizes[name] + 1)
        if len(data) != self._sizes[name]:
            raise damaged(self.name, f"{name} changed while it was read")
        return data

    def blocks(self, name: str) -> Iterator[bytes]:
        if name not in self._sizes:
            raise damaged(self.name, f"{name} is missing")
        _refuse_large(self.name, name, self._sizes[name])
        left = self._sizes[name]
        with self._opened(name) as opened:
            while left >= 0 and (block := opened.read(min(_BLOCK, left + 1))):
                left -= len(block)
                yield block
        if left:
            raise damaged(self.name, f"{name} changed while it was read")

    def read_at(self, offset: int, size: int) -> bytes:
        if self._tensors is None:
            self._tensors = self._opened(TENSOR_FILE)
        try:
            self._tensors.seek(offset)
            data = self._tensors.read(size)
        except OSError as error:
            raise self._refused(TENSOR_FILE, error) from error
        if len(data) != size:
            raise damaged(self.name, f"{TENSOR_FILE} ends too soon")
        return data

    def close(self) -> None:
        if self._tensors is not None:
            self._tensors.close()

    def _opened(self, name: str) -> BinaryIO:
        try:
            # A link that took the file's place meanwhile is not followed.
            flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
            handle = os.open(self._folder / name, flags)
            return io.FileIO(handle, "rb")
        except OSError as error:
            raise self._refused(name, error) from error

    def _refused(self, name: str, error: OSError) -> StorageError:
        return StorageError(
            f"{name} in {self.name} cannot be read ({error.strerror or error}).", next_step="Check the disk."
        )


_OF_FILE_BROWSERS = (".DS_Store", ".localized", "Thumbs.db", "desktop.ini", ".directory")


def _of_file_browser(name: str) -> bool:
    """Whether an entry is one that a file browser added when a person packed the folder again."""
    parts = name.split("/")
    return parts[0] == "__MACOSX" or parts[-1] in _OF_FILE_BROWSERS or parts[-1].startswith("._")


def _common_folder(entries: list[zipfile.ZipInfo]) -> str:
    """The folder that all entries lie in, with its slash, where a person packed a folder; else nothing."""
    tops = {entry.filename.partition("/")[0] for entry in entries}
    inside = all("/" in entry.filename and "/" in entry.orig_filename for entry in entries)
    return f"{tops.pop()}/" if inside and len(tops) == 1 else ""


def _unplain(name: str) -> bool:
    """Anything but letters, digits, dots, dashes and underscores has no place in a bank."""
    return not name or name.startswith(".") or not all(c.isascii() and (c.isalnum() or c in "._-") for c in name)


def _refuse_large(source: str, name: str, size: int) -> None:
    limit = LIMITS.get(name, LIMITS[CARD_FILE])
    if size > limit:
        raise damaged(source, f"{name} has {size:,} bytes, and {limit:,} are allowed")
