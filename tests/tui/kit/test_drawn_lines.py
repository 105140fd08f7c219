"""No character of a text reaches the terminal as a command, and lines stay as wide as they were laid out."""

from __future__ import annotations

import io

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.color import Color

from tui.kit.drawn_lines import VisibleLines, VisiblePrints
from tui.kit.visible_text import is_plain, json_escaped, visible, visible_line

BLACK = Color(0, 0, 0)


def drawn(*texts: str) -> str:
    segments = VisibleLines().apply([Segment(text) for text in texts], BLACK)
    return "".join(segment.text for segment in segments)


@pytest.mark.parametrize(
    ("texts", "line"),
    [
        (("plain  ",), "plain  "),
        (("a\x1b[31mb", "     ", "│"), "a␛[31mb    │"),
        (("a\x1b\x07\x7fb     ", "│"), "a␛␇␡b  │"),
        (("a\x9bb", " ", "\u202ec", "  ", "│"), "a\ufffdb\ufffdc │"),
        (("\x1b\x1bab", "│"), "␛␛│"),
        (("名\x1b前", " │"), "名␛前│"),
        (("a\tb\n", "   │"), "a b␊ │"),
        (("\udcff name", "  │"), "\ufffd name  │"),
        (("👩\u200d👧 ❤\ufe0f می\u200cخواهم",), "👩\u200d👧 ❤\ufe0f می\u200cخواهم"),
    ],
)
def test_a_line_shows_symbols_and_keeps_its_width(texts: tuple[str, ...], line: str) -> None:
    made = drawn(*texts)
    assert made == line
    assert is_plain(made)
    if "\udcff" not in "".join(texts):
        assert cell_len(made) == sum(cell_len(text) for text in texts)


def test_an_address_behind_a_word_is_looked_at_too() -> None:
    bad, good = Style(link="http://a\x1b\\\x1b]52;c;eA==\x07"), Style(link="http://a/b")
    segments = VisibleLines().apply([Segment("word", bad), Segment("word", good)], BLACK)
    assert [segment.style and segment.style.link for segment in segments] == [None, "http://a/b"]


def test_what_rich_prints_keeps_its_colours_and_no_others() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, color_system="standard", width=60)
    console.push_render_hook(VisiblePrints())
    console.print(Text("no \x1b]0;title\x07 \x9b2J", style="red"))
    assert out.getvalue() == "\x1b[31mno ␛]0;title ‹U+009B›2J\x1b[0m\n"


def test_every_control_is_visible_and_everything_else_is_left_alone() -> None:
    everything = "".join(map(chr, range(0x110000)))
    left = {one for one in visible(everything) if ord(one) < 32 or 0x7F <= ord(one) < 0xA0}
    assert left == {"\n", "\t"}
    assert visible_line("a\n\tb\x1b\u2067") == "a␊␉b␛‹U+2067›"
    for kept in "\u200b\u200c\u200d\ufe0e\ufe0f\U000e0067é☃𝄞":
        assert visible_line(kept) == kept
    assert json_escaped('"\x7f\x9b\u202e\u200d"') == '"\\u007f\\u009b\\u202e\u200d"'
