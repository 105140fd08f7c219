"""The person's own editor: a text goes out, a text comes back. No trace is left."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from pathlib import Path

from tokmem_desk.errors import UsageError


def edited_text(text: str, folder: Path) -> str:
    """Open ``$VISUAL`` or ``$EDITOR`` with a text, wait, and return what was saved.

    Args:
        text: to begin with.
        folder: private; the file is deleted again.

    Raises:
        UsageError: there is no such editor, or it failed; nothing is lost.
    """
    command = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "nano")
    handle, name = tempfile.mkstemp(suffix=".md", dir=folder)
    os.close(handle)
    file = Path(name)
    try:
        file.write_text(text, encoding="utf-8")
        try:
            done = subprocess.run([*command, name], check=False)
        except OSError as caught:
            raise UsageError(
                f"The editor {command[0]!r} could not be started ({caught.strerror}).",
                next_step="Set EDITOR to one that is installed.",
            ) from caught
        if done.returncode != 0:
            raise UsageError(f"The editor {command[0]!r} ended with code {done.returncode}; the text is as it was.")
        return file.read_text(encoding="utf-8", errors="replace").rstrip("\n")
    finally:
        file.unlink(missing_ok=True)
