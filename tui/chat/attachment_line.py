"""The line above the prompt that names attached files."""

from __future__ import annotations

from textual.widgets import Static


class AttachmentLine(Static):
    """A line for each file. Hidden while there is none."""

    DEFAULT_CSS = """
    AttachmentLine {
        height: auto; max-height: 4; padding: 0 3; color: $text-accent; display: none;
        text-overflow: ellipsis; text-wrap: nowrap;
    }
    """
