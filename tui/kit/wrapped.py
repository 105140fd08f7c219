"""Text broken into lines of a width, fast enough to do for thousands of cells."""

from __future__ import annotations

import re
import textwrap

from rich.cells import cell_len, chop_cells

_CONTROLS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f]")
_HIDDEN = {"\t": "    "}


def shown(text: str) -> str:
    """Text without what a terminal would obey: tabs become spaces, other controls a replacement character."""
    return _CONTROLS.sub(lambda found: _HIDDEN.get(found[0], "\ufffd"), text)


def wrapped(text: str, width: int, most: int) -> list[str]:
    """Lines of at most ``width`` cells, at least one; past ``most`` lines the last one ends in ``…``.

    Args:
        text: of any kind; see ``shown`` for what becomes of controls.
        width: in cells, at least 2.
        most: lines.
    """
    lines: list[str] = []
    # Only the part of a long text that can be shown is looked at.
    for paragraph in shown(text[: width * (most + 1) * 2].replace("\r\n", "\n").replace("\r", "\n")).split("\n"):
        lines += _broken(paragraph, width)
        if len(lines) > most:
            break
    if len(lines) > most or len(text) > width * (most + 1) * 2:
        lines = lines[:most]
        last = lines[-1]
        while cell_len(last) >= width:
            last = last[:-1]
        lines[-1] = f"{last}…"
    return lines


def one_line(text: str, width: int) -> str:
    """The whole text on one line of at most ``width`` cells; line ends are shown as ``⏎``."""
    return wrapped(text[: width * 4].replace("\n", "⏎"), width, 1)[0] if width >= 2 else ""


def _broken(paragraph: str, width: int) -> list[str]:
    if paragraph.isascii():
        if len(paragraph) <= width:
            return [paragraph]
        return textwrap.wrap(paragraph, width, replace_whitespace=False, drop_whitespace=True) or [""]
    if cell_len(paragraph) <= width:
        return [paragraph]
    lines = [""]
    for word in re.findall(r"\S+\s*|\s+", paragraph):
        if cell_len(lines[-1] + word.rstrip()) <= width:
            lines[-1] += word
            continue
        pieces = chop_cells(word.rstrip(), width) or [""]
        lines += pieces if lines[-1].strip() else pieces[1:]
        if not lines[-1].strip():
            lines[-1] = pieces[0]
        if cell_len(lines[-1]) < width and word[-1:].isspace():
            lines[-1] += " "
    return [line.rstrip() for line in lines]
