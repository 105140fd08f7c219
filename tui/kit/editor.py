"""The person's own editor: a text goes out, a text comes back. No trace is left."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Any

from textual.app import App

from tokmem_desk.errors import StorageError, UsageError
from tui.kit.own_terminal import run_in_terminal, was_killed

EDITORS = ("nano", "vim", "vi", "emacs", "notepad")
"""Where neither ``VISUAL`` nor ``EDITOR`` is set, the first one that is installed."""

_CHOOSE = "Set EDITOR to one that is installed, as with 'export EDITOR=vim', and start the app again."
_UNCHANGED = "Your text is as it was."


def edited_text(app: App[Any], text: str, folder: Path) -> str:
    """Open ``$VISUAL`` or ``$EDITOR`` with a text, wait, and return what was saved.

    An editor that was killed after it had saved gives back what it saved, and a notice says so.

    Args:
        app: whose screen is left meanwhile.
        text: to begin with.
        folder: private; the file is deleted again.

    Raises:
        UsageError: there is no such editor, or it failed; nothing is lost.
        StorageError: the file cannot be written or read; nothing is lost.
        SuspendNotSupported: the app has no terminal that it could hand over.
    """
    command = _editor()
    try:
        handle, name = tempfile.mkstemp(suffix=".md", dir=folder)
    except OSError as caught:
        raise _refused(caught, folder) from caught
    os.close(handle)
    file = Path(name)
    try:
        _write(file, text)
        try:
            status = run_in_terminal(app, [*command, name])
        except OSError as caught:
            raise UsageError(
                f"The editor {command[0]!r} could not be started ({caught.strerror}). {_UNCHANGED}", next_step=_CHOOSE
            ) from caught
        if status == 0:
            return _read(file)
        if not was_killed(status):
            raise UsageError(
                f"The editor {command[0]!r} ended with code {status}. {_UNCHANGED}",
                next_step="Save and leave it the usual way to take the text over.",
            )
        how = f"The editor {command[0]!r} was ended by {_signal_name(status)}"
        saved = _read(file)
        if saved == text.rstrip("\n"):
            raise UsageError(f"{how} before it saved anything. {_UNCHANGED}")
        app.notify(f"{how}; this is what it had saved.", markup=False)
        return saved
    finally:
        with contextlib.suppress(OSError):  # its folder is gone, or may not be written to any more
            file.unlink()


def _editor() -> list[str]:
    """The editor's command.

    Raises:
        UsageError: there is none. Found before the screen is left.
    """
    wanted = os.environ.get("VISUAL", "").strip() or os.environ.get("EDITOR", "").strip()
    if not wanted:
        found = next((name for name in EDITORS if shutil.which(name)), None)
        if found is None:
            raise UsageError("No editor is set, and none of the usual ones is installed.", next_step=_CHOOSE)
        return [found]
    try:
        command = shlex.split(wanted)
    except ValueError as caught:
        raise UsageError(f"The editor cannot be read from {wanted!r} ({caught}).", next_step=_CHOOSE) from caught
    if shutil.which(command[0]) is None:
        raise UsageError(f"The editor {command[0]!r} could not be started (there is none).", next_step=_CHOOSE)
    return command


def _signal_name(status: int) -> str:
    number = -status if status < 0 else status - 128
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8", errors="replace")
    except OSError as caught:
        raise _refused(caught, file) from caught


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace").rstrip("\n")
    except OSError as caught:
        raise _refused(caught, file) from caught


def _refused(error: OSError, place: Path) -> StorageError:
    return StorageError(
        f"{place} for the editor: {(error.strerror or str(error)).lower()}. {_UNCHANGED}",
        next_step="Check the disk and the folder, then try again.",
    )
