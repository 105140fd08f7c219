"""A progress bar as text.

Textual's own bar is not used, because its picture depends on the moment: it rounds by the width that it has when it is
updated, and it moves while the share is unknown.
"""

from __future__ import annotations

from textual.content import Content


def bar(share: float, colour: str = "$primary", *, cells: int = 34, knob: str = "") -> Content:
    """A line that is filled as far as ``share`` says.

    Args:
        share: 0 to 1.
        colour: of what is filled.
        cells: of the whole line, without the knob.
        knob: what stands where the filled part ends.
    """
    filled = round(share * cells)
    return Content.assemble(
        Content.styled("━" * filled + knob, colour), Content.styled("─" * (cells - filled), "$panel-lighten-2")
    )
