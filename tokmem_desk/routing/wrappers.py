"""What stands around a message and says nothing of what it asks for: time stamps, names, greetings, quotes, blocks.

Editors, bots and mail put such things around what a person typed, and the means over all of it are then those of
another text. Where a message has any, what is left without them is routed as well; the message itself stays what is
answered.
Found by layout and marks, not by words: no list of greetings or names.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tokmem_desk.procedures import NONE_ROUTE
from tokmem_desk.routing.near import near_routes

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.routing.routers import Candidate, Router

_BLOCK = re.compile(r"\A\s*(?:```.*?```|~~~.*?~~~|<([A-Za-z][\w-]*)\b[^>\n]*>.*?</\1>)\s*", re.DOTALL)
_BLOCK_BEHIND = re.compile(r"(?:```.*?```|~~~.*?~~~|<([A-Za-z][\w-]*)\b[^>\n]*>.*?</\1>)\Z", re.DOTALL)
_LABEL = re.compile(r"\A\s*[^\n]{1,60}:[ \t]*\n(?=\s*(?:```|~~~|<|>|\|))")
"""A line that ends in a colon in front of a block or a quote."""
_QUOTE = re.compile(r"\A\s*(?:^[ \t]*[>|][^\n]*(?:\n|\Z))+\s*", re.MULTILINE)
_DATE = r"\d{1,4}[-./]\d{1,2}[-./]\d{2,4}"
_TIME = r"\d{1,2}[:.]\d{2}(?::\d{2}(?:[.,]\d+)?)?(?:[ ]?[ap]\.?m\.?|Z|[+-]\d{2}:?\d{2})?"
_STAMP = re.compile(
    rf"\A\s*(?:[\[(]\s*[^\])\n]{{0,20}}\b(?:{_DATE}|{_TIME})[^\])\n]{{0,20}}[\])]|{_DATE}[T ,]+{_TIME}|{_DATE}|{_TIME})"
    r"\s*(?:[-\u2013|,:]\s*)?(?=\S)",
    re.IGNORECASE,
)
_WORDS = r"[^\W\d_][\w.'\u2019-]{0,24}(?: [^\W\d_][\w.'\u2019-]{0,24}){0,2}"
_NAME = re.compile(
    rf"\A\s*(?:[<@#]?\s?{_WORDS}>?(?:\s*[\[(][^\])\n]{{1,30}}[\])])?\s*:\s+|<\s?{_WORDS}>\s+|@[\w.-]{{1,30}}[,:]?\s+)(?=\S)"
)
"""Who speaks, or is spoken to: ``Ann:``, ``Ann (09:14):``, ``<ann>``, ``@bot``."""
_GREETING = re.compile(r"\A\s*[^\W\d_][\w'\u2019-]*(?: [\w'\u2019-]+){0,2}[!,.]+\s+(?=\S)")
"""Up to three words and a mark, in front of everything else."""
_SIGNATURE = re.compile(
    r"\n[ \t]{0,40}\n(?:[^\n]{1,40}\n?){1,4}\Z|\n--[ \t]{0,40}\n.*\Z|\n[-\u2013\u2014] ?[^\n]{1,40}\Z", re.DOTALL
)
_QUOTE_BEHIND = re.compile(r"(?:\n[^\n]{1,60}:[ \t]*)?(?:\n[ \t]{0,40}[>|][^\n]*)+\Z")
_LETTER = re.compile(
    r"\A[^\n]{1,40}[,!.:]?[ \t]{0,40}\n\s*(?P<body>\S.*?)\n[ \t]{0,40}\n[^\n]{1,30}[,!.]?\n[^\n]{1,30}\Z", re.DOTALL
)
"""A line of greeting, the message, and behind an empty line two short lines."""
_TAGGED = re.compile(r"\A\s*<([A-Za-z][\w-]*)\b[^>\n]*>(?P<body>[^<]*)</\1>\s*\Z")
_STAMPED_NAME = re.compile(
    rf"\A\s*[<@#]?\s?{_WORDS}>?\s*[\[(][^\])\n]{{0,20}}\b(?:{_DATE}|{_TIME})[^\])\n]{{0,20}}[\])]\s*:\s+(?=\S+\s+\S)",
    re.IGNORECASE,
)
_LONGEST = 8000
"""Characters; expressions take as long as the square of what they look through, and a long paste is no frame."""
_FEWEST = 2
"""Words that must be left."""
_SIGNATURE_WORDS = 8
_INNER = 0.9
"""Weight of what is left without a frame against the whole message, in the sum of logarithms of probabilities."""
_LEAST = 1e-6
_MOST_TOKENS = 512
"""What is left of longer messages is not read again."""


def without_frame(message: str) -> str:
    """A message without stamps, names behind them, blocks, quotes and signatures; itself where it has none of them."""
    return _stripped(message.strip(), _without_framing)


def without_address(message: str) -> str:
    """A message without a name, a few words of greeting or a label in front; itself where it has none of them.

    These may as well be part of what is said ("milk, eggs and bread"), so they count for less.
    """
    return _stripped(message.strip(), lambda text: _without_first(text, (_NAME, _GREETING)))


def _stripped(text: str, shorter: Callable[[str], str]) -> str:
    for _ in range(8 if len(text) <= _LONGEST else 0):
        left = shorter(text).strip()
        if left == text:
            break
        text = left
    return text


def _without_framing(text: str) -> str:
    """Without one thing that stands around it."""
    if found := _STAMP.match(text):
        behind = text[found.end() :]
        named = _NAME.match(behind)
        rest = behind[named.end() :] if named else behind
        return rest.strip() if len(rest.split()) >= _FEWEST else text
    if found := _STAMPED_NAME.match(text):
        return text[found.end() :].strip()
    left = _without_first(text, (_LABEL, _BLOCK, _QUOTE))
    if left != text:
        return left
    for pattern in (_BLOCK_BEHIND, _QUOTE_BEHIND):
        if (found := pattern.search(text)) and len(text[: found.start()].split()) >= _FEWEST:
            return text[: found.start()].rstrip(" \t\n:")
    if (found := _LETTER.match(text)) and len(found.group("body").split()) >= _FEWEST:
        return found.group("body").strip()
    if (found := _SIGNATURE.search(text)) and len(found.group().split()) <= _SIGNATURE_WORDS:
        return text[: found.start()].strip()
    if (found := _TAGGED.match(text)) and len(found.group("body").split()) >= _FEWEST:
        return found.group("body").strip()
    return text


def _without_first(text: str, patterns: Sequence[re.Pattern[str]]) -> str:
    for pattern in patterns:
        if (found := pattern.match(text)) and len(text[found.end() :].split()) >= _FEWEST:
            return text[found.end() :].strip()
    return text


def framed(whole: list[Candidate], inner: list[Candidate]) -> list[Candidate]:
    """The routes of a message in a frame, where the two disagree: mostly what is left decides.

    Args:
        whole: of the whole message.
        inner: of what is left without the frame.
    """
    if inner[0].route == whole[0].route:
        return whole
    likely = [{c.route: c.probability for c in routes} for routes in (whole, inner)]
    weighed = {
        route: math.prod(
            max(of.get(route, 0.0), _LEAST) ** weight for of, weight in zip(likely, (1 - _INNER, _INNER), strict=True)
        )
        for route in likely[0] | likely[1]
    }
    total = sum(weighed.values())
    # Thresholds and guests have been looked at in each: one of the two that they chose is taken.
    first = max((whole[0].route, inner[0].route), key=lambda route: weighed[route])
    ranked = sorted(weighed.items(), key=lambda one: (one[0] != first, -one[1], one[0]))
    return [replace(inner[0], route=route, probability=weight / total) for route, weight in ranked]


def addressed(whole: list[Candidate], inner: list[Candidate]) -> list[Candidate]:
    """The routes of a message with something like an address: those of what is left where they are clear and likelier.

    Args:
        whole: of the whole message.
        inner: of what is left without the address.
    """
    if inner[0].route in (NONE_ROUTE, whole[0].route) or near_routes([(c.route, c.probability) for c in inner]):
        return whole
    return whole if whole[0].route != NONE_ROUTE and whole[0].probability >= inner[0].probability else inner


def decisive_text(backbone: Backbone, message: str) -> str:
    """The text that decides about the route of a message: without its frame, where that is read again."""
    body = without_frame(message)
    return body if len(backbone.format.query(body)) <= _MOST_TOKENS else message


def route_inner(
    backbone: Backbone, router: Router, messages: Sequence[str], whole: list[list[Candidate]]
) -> list[list[Candidate]]:
    """The routes of messages, with what is left of those around which something stands looked at too.

    Args:
        whole: routes of the whole messages.
    """
    bodies = [without_frame(message) for message in messages]
    cores = [without_address(body) for body in bodies]
    texts = dict.fromkeys(
        text
        for message, body, core in zip(messages, bodies, cores, strict=True)
        for text in (body, core)
        if text != message.strip()
    )
    queries = {text: backbone.format.query(text) for text in texts}
    queries = {text: query for text, query in queries.items() if len(query) <= _MOST_TOKENS}
    if not queries:
        return whole
    done = backbone.prefill(list(queries.values()), keep_states=False, feature_layers=router.feature_layers)
    known = dict(zip(queries, router.candidates(done), strict=True))
    found = []
    for message, body, core, routes in zip(messages, bodies, cores, whole, strict=True):
        if body != message.strip() and body in known:
            routes = framed(routes, known[body])
        if core != body and core in known:
            routes = addressed(routes, known[core])
        found.append(routes)
    return found
