"""How far something is, drawn the same everywhere.

Textual's own bar rounds by the width that it has at the moment of its update, so the same share can be drawn half a
cell apart; it also moves while a share is unknown, and a picture of it depends on the moment.
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
