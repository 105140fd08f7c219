"""Buttons whose words change."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Button


def set_label(button: Button, words: str) -> None:
    """Give a button other words, and the width that they need: Textual keeps the width of the first ones.

    Args:
        button: any.
        words: for people; no markup.
    """
    if str(button.label) != words:
        button.label = Content(words)
        button.refresh(layout=True)
