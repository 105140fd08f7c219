"""The app's own two themes; Textual's others can be chosen as well."""

from __future__ import annotations

from collections.abc import Mapping

from textual.color import Color, ColorParseError
from textual.theme import Theme

DARK = Theme(
    name="tokmem-dark",
    primary="#6fc3b2",
    secondary="#8fa8dc",
    accent="#e5b567",
    foreground="#dbe2ea",
    background="#10141a",
    surface="#171d25",
    panel="#202833",
    success="#8fc07a",
    warning="#e5b567",
    error="#e8787f",
    dark=True,
    variables={
        "footer-key-foreground": "#e5b567",
        "footer-background": "#171d25",
        "footer-description-foreground": "#9aa7b5",
        "block-cursor-background": "#2c5b55",
        "block-cursor-foreground": "#f2f7f6",
        "block-cursor-text-style": "none",
        "block-cursor-blurred-background": "#232d38",
        "block-cursor-blurred-foreground": "#dbe2ea",
        "input-selection-background": "#6fc3b2 35%",
    },
)

LIGHT = Theme(
    name="tokmem-light",
    primary="#1f7a6b",
    secondary="#3d5a9e",
    accent="#9a5b00",
    foreground="#1d2733",
    background="#f7f8f6",
    surface="#eef0ec",
    panel="#e0e4de",
    success="#3a7a2a",
    warning="#9a5b00",
    error="#b3323b",
    dark=False,
    variables={
        "footer-key-foreground": "#9a5b00",
        "footer-background": "#eef0ec",
        "block-cursor-background": "#b9dcd4",
        "block-cursor-foreground": "#12201d",
        "block-cursor-text-style": "none",
        "block-cursor-blurred-background": "#dde4df",
        "block-cursor-blurred-foreground": "#1d2733",
    },
)


def muted_of(variables: Mapping[str, str]) -> str:
    """A less prominent colour for text, for any theme."""
    try:
        foreground, background = Color.parse(variables["foreground"]), Color.parse(variables["background"])
    except (KeyError, ColorParseError):
        return "ansi_bright_black"
    if foreground.ansi is not None or background.ansi is not None:  # the terminal's own colours cannot be mixed
        return "ansi_bright_black"
    return foreground.blend(background, 0.38).hex


def theme_words(name: str) -> str:
    """A remark to show behind a theme's name; empty for most."""
    if name in (DARK.name, LIGHT.name):
        return "  · made for this app"
    return "  · the terminal's own 16 colours" if name.startswith("ansi") else ""
