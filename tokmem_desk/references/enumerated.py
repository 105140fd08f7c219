"""Items that a message names in a row: "put tea, rusks and jam on the list"."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from tokmem_desk.background.referring import material
from tokmem_desk.references.candidates import Candidate
from tokmem_desk.templates.languages import vocabulary

_FEWEST = 2
_LONGEST = 60
"""Characters of an item between two others."""


def enumerated(text: str, start: int, known: Sequence[Candidate]) -> list[str]:
    """The longest row of items in a message, empty where there is none.

    Commas and words for "and" part them. Where the first begins and the last ends is known of the values alone.

    Args:
        start: where the message stands in the text that ``known`` is of.
    """
    rows: list[list[str]] = [[]]
    joints = [found.span() for found in _joint().finditer(text)]
    if not joints:
        return []
    bounds = [0, *(place for joint in joints for place in joint), len(text)]
    pieces = list(zip(bounds[::2], bounds[1::2], strict=True))
    for place, (begin, end) in enumerate(pieces):
        inside = [one for one in known if start + begin <= one.start and one.end <= start + end]
        first = min((one.start for one in inside if one.end == start + end), default=None)
        last = max((one.end for one in inside if one.start == start + begin), default=None)
        # A value that is a whole piece, or anything short between two of them, goes on with the row.
        between = 0 < place < len(pieces) - 1 and end - begin <= _LONGEST
        if rows[-1] and (last == start + end or (between and last is None)):
            rows[-1].append(text[begin:end])
        elif rows[-1] and last is not None:
            rows[-1].append(text[begin : last - start])
            rows.append([])
        elif first is not None:
            rows.append([text[first - start : end]])
        else:
            rows.append([])
    longest = max(rows, key=len)
    return longest if len(longest) >= _FEWEST else []


@lru_cache(maxsize=1)
def _joint() -> re.Pattern[str]:
    """What stands between two items. Words for "and" are those of languages that references are learned in: what means
    "and" in one language is "in" or an article in another.
    """
    known = [vocabulary(language) for language in material()]
    links = "|".join(sorted({re.escape(one.link) for one in known if one is not None}))
    return re.compile(rf"\s*[,;]\s+(?:(?:{links}|&)\s+)?|\s+(?:{links}|&)\s+", re.IGNORECASE)
