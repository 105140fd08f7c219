"""A picture of the screen in a file (SVG)."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Protocol

from profiles.files.atomic import write_text

_WEB_FONT = re.compile(r"@font-face \{[^}]*\}\s*")
"""Rich names fonts on the web. A picture must not fetch anything when it is opened; the viewer's own font does."""


class Pictured(Protocol):
    """What has a screen to take a picture of."""

    def export_screenshot(self, *, title: str | None = None) -> str:
        """The screen as an SVG text."""
        ...


def save_screenshot(app: Pictured, folder: Path) -> Path:
    """Write what is on the screen to a new file.

    Args:
        app: its screen in sight is drawn.
        folder: where the file goes.

    Returns:
        The file; only its owner can read it.

    Raises:
        StorageError: it cannot be written there.
    """
    begin = f"tokmem-desk-{datetime.now().astimezone():%Y-%m-%d-%H%M%S}"
    path, number = folder / f"{begin}.svg", 1
    while path.exists():
        number += 1
        path = folder / f"{begin}-{number}.svg"
    write_text(path, _WEB_FONT.sub("", app.export_screenshot(title="tokmem-desk")))
    return path
