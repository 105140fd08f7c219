"""Text files that go with a message: their paths as people type, paste and drop them, and their text."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from profiles.files.atomic import storage_error
from profiles.store.pair_rules import MAX_TEXT_CHARACTERS
from tokmem_desk.errors import BadInputError, NotFoundError, UsageError
from tokmem_desk.system.disk import typed_path
from tui.kit.words import size

_BYTES_A_CHARACTER = 4
"""At most, in UTF-8."""

_WHOLE_PATH = re.compile(r"/|~|file:|[A-Za-z]:[\\/]")
"""The beginning of a path that does not depend on the working folder."""

_GAP = "\n\n"
"""Between what was typed and the text of each file."""


@dataclass(frozen=True, slots=True)
class TextFile:
    """A file that was read."""

    path: Path
    text: str


def paths_in(written: str) -> list[Path]:
    """The paths in a text as it is typed, pasted or dropped.

    Files that are dropped on a terminal arrive quoted, with backslashes before blanks, or as ``file://`` addresses,
    several of them with blanks or line breaks between.

    Raises:
        UsageError: it is no path, or an address of another computer.
    """
    whole = written.strip()
    if not whole:
        raise UsageError("No file is named.", next_step="Type its path.")
    # A path with blanks that nobody has quoted is one path where there is such a file.
    if not whole.startswith("file:") and _is_file(whole):
        return [typed_path(whole)]
    return [_path(word) for word in _words(whole)]


def pasted_paths(text: str) -> list[Path]:
    """The files that a paste stands for; empty where any of it is something else.

    Only whole paths count, so that a word that happens to be a file's name stays a word.
    """
    whole = text.strip()
    # Looked at before the disk is: most pastes are prose.
    if len(whole) > MAX_TEXT_CHARACTERS or not all(map(_WHOLE_PATH.match, _words(whole))):
        return []
    try:
        paths = paths_in(whole)
        return paths if all(path.is_file() for path in paths) else []
    except (UsageError, OSError):
        return []


def read_text_file(path: Path) -> TextFile:
    """Read a file that is to go with a message.

    Raises:
        NotFoundError: there is none.
        BadInputError: it is a folder or a device, holds no text, is not UTF-8, or is too long for a message.
        StorageError: it may not be read, or the disk fails.
    """
    try:
        if not path.exists():
            raise NotFoundError(f"There is no file {path}.", next_step="Check the path.")
        if not path.is_file():
            kind = "a folder" if path.is_dir() else "no ordinary file"
            raise BadInputError(f"{path} is {kind}.", next_step="Choose a text file.")
        with path.open("rb") as file:
            data = file.read(MAX_TEXT_CHARACTERS * _BYTES_A_CHARACTER + 1)
    except OSError as caught:
        raise storage_error(f"{path} could not be read", caught) from caught
    if len(data) > MAX_TEXT_CHARACTERS * _BYTES_A_CHARACTER:
        raise _too_long(path, size(path.stat().st_size))
    text = _decoded(path, data)
    if not text.strip():
        raise BadInputError(f"{path} is empty.", next_step="Choose another file.")
    if len(text) > MAX_TEXT_CHARACTERS:
        raise _too_long(path, f"{len(text):,} characters long")
    return TextFile(path, text.replace("\r\n", "\n").replace("\r", "\n").strip("\n"))


def with_files(message: str, files: Sequence[TextFile]) -> str:
    """The message with the text of the files behind it: what routes, procedures and plain chat read."""
    return _GAP.join(part for part in (message.strip(), *(file.text for file in files)) if part)


def _decoded(path: Path, data: bytes) -> str:
    marks = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))  # Windows writes this mark, so nothing is guessed
    encoding = next((name for mark, name in marks if data.startswith(mark)), "utf-8-sig")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        text = "\0"
    if "\0" not in text:
        return text
    if b"\0" in data:
        raise BadInputError(f"{path} is not a text file.", next_step="Save its text as a .txt file, or copy it.")
    raise BadInputError(f"{path} is not UTF-8 text.", next_step="Save it as UTF-8 and try again.")


def _too_long(path: Path, length: str) -> BadInputError:
    return BadInputError(
        f"{path} is {length}; a message may have {MAX_TEXT_CHARACTERS:,} characters.",
        next_step="Attach the part that matters.",
    )


def _words(whole: str) -> list[str]:
    """The words of a text, quotes and backslashes undone as a shell does."""
    try:
        words = shlex.split(whole, posix=os.name != "nt")
    except ValueError:  # a quote that is not closed, as in a name with an apostrophe
        return [whole]
    return [word.strip("\"'") if os.name == "nt" else word for word in words]


def _path(word: str) -> Path:
    if not word.startswith("file:"):
        return typed_path(word)
    address = urlsplit(word)
    if address.netloc not in ("", "localhost"):
        raise UsageError(f"{word} is on another computer.", next_step="Copy the file to this one.")
    name = unquote(address.path)
    return typed_path(name[1:] if os.name == "nt" and name[2:3] == ":" else name)


def _is_file(written: str) -> bool:
    try:
        return typed_path(written).is_file()
    except UsageError:
        return False
