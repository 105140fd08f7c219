"""Markdown as lines of a width, by Rich: no widget for each paragraph, so that long chats stay light."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from markdown_it import MarkdownIt
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import CodeBlock, Markdown, MarkdownElement
from rich.segment import Segment
from rich.style import Style
from rich.syntax import Syntax
from rich.theme import Theme

_PARSER = MarkdownIt("gfm-like", {"html": False, "linkify": False})
"""Without HTML: tags that a model writes would vanish."""

_STYLES = {
    "heading": ("h1", "h2", "h3", "h4", "h5", "h6", "h7", "table.header"),
    "code": ("code", "kbd"),
    "fence": ("code_block",),
    "mark": ("item.bullet", "item.number", "block_quote", "hr", "table.border", "link", "link_url"),
}
"""Our looks, and the names that Rich gives to what has them."""


class _Code(CodeBlock):
    """On the background of our look, where Rich has one of its own."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        background = console.get_style("markdown.code_block").bgcolor
        yield Syntax(
            str(self.text).rstrip(),
            self.lexer_name,
            theme=self.theme,
            word_wrap=True,
            padding=(0, 1),
            background_color="default" if background is None else background.get_truecolor().hex,
        )


class _Markdown(Markdown):
    elements: ClassVar[dict[str, type[MarkdownElement]]] = {**Markdown.elements, "fence": _Code, "code_block": _Code}


def markdown_lines(
    source: str, width: int, console: Console, options: ConsoleOptions, base: Style, look: Callable[[str], Style]
) -> list[list[Segment]]:
    """Lay Markdown out.

    Args:
        source: the text.
        width: in cells.
        console: that the app draws on.
        options: of that console.
        base: style of plain text, background included.
        look: gives the style of ``heading``, ``code``, ``fence`` or ``mark``, to be added to ``base``.

    Returns:
        The lines, each of ``width`` cells; none for blank text.
    """
    styles = {f"markdown.{name}": look(what) for what, names in _STYLES.items() for name in names}
    markdown = _Markdown("", code_theme="ansi_dark" if _is_dark(base) else "ansi_light", hyperlinks=False)
    markdown.parsed = _PARSER.parse(source)
    with console.use_theme(Theme(styles)):
        return console.render_lines(
            markdown, options.update(width=max(1, width), height=None, highlight=False), style=base
        )


def _is_dark(style: Style) -> bool:
    background = style.bgcolor
    if background is None:
        return True
    return sum(background.get_truecolor()) < 3 * 128
