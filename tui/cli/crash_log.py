"""Keeps where an unexpected error arose, without its text, which may quote private data."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path

from profiles.files.paths import AppPaths, private_folder
from tui.process.log_redaction import trace

LOG_NAME = "command.log"
LOG_BYTES = 1_000_000
"""The log is set aside (one old one is kept) when it is longer than this."""


def write_crash_log(error: BaseException, home: str | None) -> Path:
    """Append a traceback to the log and return the log's path.

    Raises:
        StorageError: the folder could not be made.
        OSError: the file could not be written.
    """
    file = private_folder(AppPaths.resolve(Path(home) if home else None).logs) / LOG_NAME
    if file.exists() and file.stat().st_size > LOG_BYTES:
        os.replace(file, file.with_suffix(".old.log"))
    moment = datetime.now(UTC).isoformat(timespec="seconds")
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a", encoding="utf-8") as log:
        log.write(f"{moment} Python {platform.python_version()} on {platform.system()}\n")
        log.write(trace(error) + "\n")
    return file
