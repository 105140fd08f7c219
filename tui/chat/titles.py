"""What a conversation is called: by rule from its first message, in any language, and what of a model's proposal is
taken. Knows no engine and no widget.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

TITLE_CHARACTERS = 60
TITLE_WORDS = 9
"""A proposal of more words is a sentence, not a title."""

_FENCE = re.compile(r"^\s*(?:```|~~~).*?(?:^\s*(?:```|~~~)\s*$|\Z)", re.MULTILINE | re.DOTALL)
_LINE_MARKS = re.compile(r"^\s*(?:[#>*+•–—-]+|\d+[.)])\s+|^\s*#+")
_INLINE_MARKS = re.compile(r"[`*]+|(?<!\w)_+|_+(?!\w)|\[(?=[^\]]*\]\()|\]\([^)]*\)|<[^<>\s][^<>]*>")
_LABEL = re.compile(r"^(?:title|titel|titre|título|titolo)\s*[:：-]\s*", re.IGNORECASE)
_QUOTES = "\"'“”„‟«»‹›‘’「」『』 "


def rule_title(question: str) -> str:
    """The first line with letters that is not quoted, without markup, cut at a word."""
    lines = _FENCE.sub("\n", question).splitlines() or [""]
    own = [line for line in lines if not line.lstrip().startswith(">")]
    for candidates in (own, lines, question.splitlines()):
        for line in candidates:
            plain = _plain(line)
            if any(sign.isalpha() for sign in plain):
                return cut_at_word(plain, TITLE_CHARACTERS)
    first = next((line.strip() for line in question.splitlines() if line.strip()), "")
    return cut_at_word(first, TITLE_CHARACTERS)


def cut_at_word(text: str, length: int) -> str:
    """At most ``length`` characters, with ``…`` at the end where something is left out."""
    if len(text) <= length:
        return text
    cut = text[:length]
    at = cut.rfind(" ")
    # A script without blanks, or one endless word, is cut anywhere.
    kept = cut[:at] if at >= length // 2 else cut[: length - 1]
    return kept.rstrip(" ,;:.–—-") + "…"


def proposed_title(proposal: str, question: str, answer: str) -> str:
    """A model's proposal as a title, or an empty text where it is none.

    It must be one short line with letters, must not say one thing over and over, and has a word in common with the
    conversation: small models write about something else readily.
    """
    line = next((one for one in proposal.strip().splitlines() if one.strip()), "")
    title = _LABEL.sub("", _plain(line)).strip(_QUOTES).rstrip(" .:;,…")
    words = _words(title)
    if not words or len(title) > TITLE_CHARACTERS or len(title.split()) > TITLE_WORDS:
        return ""
    if len(words) > 2 and len(set(words)) * 2 <= len(words):
        return ""
    said = set(_words(question)) | set(_words(answer))
    blanks = " " in question.strip()
    shared = any(word in said for word in words if len(word) > 3) if blanks else bool(set(title) & set(question))
    return title if shared else ""


def short_titles(titles: Sequence[tuple[str, str]], cells: int) -> list[str]:
    """Titles for a narrow list, no two of them alike.

    Titles that begin alike and would be cut to the same words show the words in which they differ; titles that are
    the same to their ends have their day behind them.

    Args:
        titles: each with the time of its last use, in ISO 8601.
        cells: longest one shown.
    """
    shown = [cut_at_word(title, cells) for title, _ in titles]
    for cut in {one for one in shown if shown.count(one) > 1}:
        places = [place for place, one in enumerate(shown) if one == cut]
        whole = [titles[place][0].split() for place in places]
        common = 0
        while all(len(words) > common for words in whole) and len({words[common] for words in whole}) == 1:
            common += 1
        for place, words in zip(places, whole, strict=True):
            rest = " ".join(words[common:])
            if rest and sum(other == words for other in whole) == 1:
                shown[place] = cut_at_word(f"… {rest}", cells) if common else cut_at_word(" ".join(words), cells)
            else:
                day = titles[place][1][5:16].replace("T", " ")
                shown[place] = f"{cut_at_word(titles[place][0], cells - len(day) - 1)} {day}"
    return shown


def _plain(line: str) -> str:
    previous = None
    while previous != line:
        previous, line = line, _LINE_MARKS.sub("", line)
    return " ".join(_INLINE_MARKS.sub("", line).split()).strip(_QUOTES)


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", text.casefold())
