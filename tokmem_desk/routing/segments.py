"""Cut a message into segments, one for each thing that it asks for, and route each of them.

The segment tagger proposes where a further segment may begin. Every stretch between two proposals is run as a
message of its own and routed. Dynamic programming over the log probabilities of marks and routes finds the most
probable cut. So a message is cut only where its language says that something new is asked *and* the pieces have
clear routes of their own. A message without proposals costs nothing beyond its own forward pass; nearly every
message with a single request is one. The stretches of a message together are within a bound, whatever its length.
"""

from __future__ import annotations

import itertools
import math
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tokmem_desk.backbone.prefill import finish
from tokmem_desk.procedures import NONE_ROUTE
from tokmem_desk.routing.routers import Candidate
from tokmem_desk.routing.segment_tagger import BEGIN, CONTENT, JOINT

if TYPE_CHECKING:
    from torch import Tensor

    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.backbone.prefill import Prefilled, Reading
    from tokmem_desk.routing.routers import Router
    from tokmem_desk.routing.segment_tagger import SegmentTagger

PROPOSED_FROM = 0.05
"""Least probability at which a token is considered as the beginning of a segment."""

MOST_PROPOSALS = 8
"""At most so many beginnings of a message are considered, the most probable ones. Bounds the number of segments."""

MOST_TOKENS = 4096
"""All stretches of a message together have at most so many tokens; else fewer beginnings are considered, the most
probable ones. Eight beginnings, evenly spread, are within it up to some 240 tokens. Two stretches have as many tokens
as the message, so a longer message is one request."""

KEPT_TOKENS = 4096
"""Where stretches have more, nothing is kept of them but their routes. Those that are chosen are read again when their
turn comes."""

_TEMPER = 0.35
"""Factor on the log-odds of a beginning. The segment tagger is surer than it is right on text unlike what it was
fitted on (notes of short sentences), so the routes must count for more. See docs/research/composition.md."""

_NONE_DOUBT = 2.0
"""Nats by which ``none`` is less likely for a stretch than for a message of its own."""

_NONE_COST = 1.0
"""Nats that a stretch without a procedure costs all the same: mostly it belongs to the request beside it."""

_SAME_FROM = 0.9
"""Least probability of a beginning at which the request there may go to the procedure that answers the one before
it. What one procedure answers is mostly one request, however many sentences it has; a clear beginning alone says
otherwise."""

_SAME_COST = 1.0
"""Nats that two requests in a row for one procedure cost. With both numbers no single request that was measured
is cut that was whole before; see docs/research/composition.md."""

CLEAR_BEGINNING = 0.98
_ECHO_JOINT = 0.3
"""Where the word that opens a message stands again behind what may be a joint ("buy milk and buy eggs"), a beginning
is at least that probable. The segment tagger was fitted on requests of different kinds; it is too unsure of two
alike."""

_WORD = re.compile(r"[^\W\d_]+")
_TRIMMED = " \t\r\n,;:-&"


@dataclass(frozen=True, slots=True)
class MessageSegment:
    """The part of a message that asks for one thing.

    Attributes:
        text: its own words, joints left out.
        candidates: its routes, the chosen one first.
        prefilled: the forward pass of the text as a query of its own; None where the message is too long to keep it.
    """

    text: str
    candidates: list[Candidate]
    prefilled: Prefilled | None


@dataclass(frozen=True, slots=True)
class _Stretch:
    """From one proposed beginning to another; ``text`` is free of joints at its end."""

    first: int
    after: int
    text: str


@dataclass(frozen=True, slots=True)
class ProposedCuts:
    """Where a message may be cut, and what has to be run to know.

    Attributes:
        stretches: between any two bounds, the whole message left out.
        marks: probability of each proposed beginning, as the segment tagger gives it.
        texts: of the stretches, each once.
        queries: token ids of these texts as messages of their own.
        keeps_states: whether their keys and values are worth their memory.
    """

    stretches: list[_Stretch]
    marks: list[float]
    texts: list[str]
    queries: list[list[int]]
    keeps_states: bool

    @property
    def token_count(self) -> int:
        """Tokens to be read."""
        return sum(map(len, self.queries))


def find_segments(
    backbone: Backbone,
    router: Router,
    segment_tagger: SegmentTagger,
    message: str,
    tokens: Tensor,
    whole: Sequence[Candidate],
) -> list[MessageSegment]:
    """Cut a message into its segments, in their order; empty when the whole message is one segment.

    Args:
        tokens: [t x k] tokens of the message in the segment tagger's space.
        whole: routes of the message as a whole.
    """
    cuts = propose_cuts(backbone, segment_tagger, message, tokens)
    if cuts is None:
        return []
    ran = finish(read_stretches(backbone, router, segment_tagger, cuts))
    return choose_segments(router, cuts, message, ran, whole)


def propose_cuts(
    backbone: Backbone, segment_tagger: SegmentTagger, message: str, tokens: Tensor
) -> ProposedCuts | None:
    """Where the segment tagger sees further requests begin; None where it sees none, and for a very long message.

    Args:
        tokens: [t x k] tokens of the message in the segment tagger's space.
    """
    message = message.strip()
    places = backbone.format.places(message)
    marks = segment_tagger.marks(tokens).clone()
    for token in _echoes(message, places):
        if marks[token - 1, JOINT] >= _ECHO_JOINT:
            marks[token - 1, JOINT] = 1.0
            marks[token, BEGIN] = marks[token, BEGIN].clamp(min=CLEAR_BEGINNING)
    begins = marks[1:, BEGIN]
    if begins.numel() == 0 or float(begins.max()) < PROPOSED_FROM:
        return None
    best = begins.topk(min(MOST_PROPOSALS, begins.numel()))
    likely = [(int(i) + 1, float(p)) for i, p in zip(best.indices, best.values, strict=True) if p >= PROPOSED_FROM]
    while likely and _token_count([0, *sorted(token for token, _ in likely), len(places)]) > MOST_TOKENS:
        likely.pop()
    if not likely:
        return None
    proposals = sorted(likely)
    bounds = [0, *(token for token, _ in proposals), len(places)]
    stretches = _stretches(message, places, bounds, marks)
    texts = list(dict.fromkeys(s.text for s in stretches))
    queries = [backbone.format.query(text) for text in texts]
    return ProposedCuts(stretches, [p for _, p in proposals], texts, queries, sum(map(len, queries)) <= KEPT_TOKENS)


def read_stretches(backbone: Backbone, router: Router, segment_tagger: SegmentTagger, cuts: ProposedCuts) -> Reading:
    """Run every stretch as a message of its own, as ``Backbone.prefill_steps`` does."""
    return backbone.prefill_steps(
        cuts.queries,
        keep_states=cuts.keeps_states,
        feature_layers=router.feature_layers,
        token_space=segment_tagger.space if cuts.keeps_states else None,
    )


def choose_segments(
    router: Router, cuts: ProposedCuts, message: str, ran: Prefilled, whole: Sequence[Candidate]
) -> list[MessageSegment]:
    """The segments of a message, in their order; empty when the whole message is one segment.

    Args:
        ran: the stretches, see ``read_stretches``.
        whole: routes of the message as a whole.
    """
    message, texts = message.strip(), cuts.texts
    routes = {text: _doubting_none(found) for text, found in zip(texts, router.candidates(ran), strict=True)}
    routes[message] = list(whole)
    stretches = [*cuts.stretches, _Stretch(0, len(cuts.marks) + 1, message)]
    chosen = _best_path(stretches, routes, cuts.marks)
    if len(chosen) < 2:
        return []
    order = [texts.index(stretch.text) for stretch in chosen]
    return [MessageSegment(texts[i], routes[texts[i]], ran.row(i) if cuts.keeps_states else None) for i in order]


def _token_count(bounds: Sequence[int]) -> int:
    """Tokens of all stretches between two bounds but the whole."""
    whole = bounds[-1] - bounds[0]
    return sum(after - first for first, after in itertools.combinations(bounds, 2)) - whole


def _echoes(message: str, places: Sequence[tuple[int, int]]) -> list[int]:
    """Tokens at which the word that opens the message, of two letters or more, stands again.

    Not where a number or a mark follows: "Sentence 2:" is a label.
    """
    words = [(found.start(), found.group().lower()) for found in _WORD.finditer(message)]
    again = [
        start
        for start, word in words[2:]
        if word == words[0][1] and len(word) > 1 and message[start + len(word) :].lstrip()[:1].isalpha()
    ]
    ends = [end for _, end in places]
    tokens = (bisect_right(ends, start) for start in again)
    return [token for token in tokens if 0 < token < len(places)]


def _tempered(probability: float) -> float:
    odds = math.log(max(probability, 1e-6) / max(1 - probability, 1e-6))
    return 1 / (1 + math.exp(-_TEMPER * odds))


def _doubting_none(candidates: list[Candidate]) -> list[Candidate]:
    """Routes of a stretch; beside other requests, words without a procedure are rarer than alone."""
    factor = math.exp(-_NONE_DOUBT)
    weights = [c.probability * (factor if c.route == NONE_ROUTE else 1.0) for c in candidates]
    total = sum(weights) or 1.0
    doubted = [Candidate(c.route, w / total) for c, w in zip(candidates, weights, strict=True)]
    return sorted(doubted, key=lambda c: (-c.probability, c.route))


def _stretches(message: str, places: Sequence[tuple[int, int]], bounds: Sequence[int], marks: Tensor) -> list[_Stretch]:
    """Every stretch between two bounds but the whole; those without words of their own are left out."""
    content = (marks.argmax(dim=1) == CONTENT).tolist()
    found = []
    for first in range(len(bounds) - 1):
        for after in range(first + 1, len(bounds)):
            if after - first == len(bounds) - 1:
                continue
            end = bounds[after]
            if after < len(bounds) - 1:
                while end > bounds[first] + 1 and not content[end - 1]:
                    end -= 1
            text = message[places[bounds[first]][0] : places[end - 1][1]].strip(_TRIMMED)
            if text:
                found.append(_Stretch(first, after, text))
    return found


def _best_path(
    stretches: Sequence[_Stretch], routes: dict[str, list[Candidate]], marks: Sequence[float]
) -> list[_Stretch]:
    """The most probable way to cut a message.

    Two stretches in a row have the same procedure only where the second clearly begins; never both none.

    Args:
        marks: probability of each proposed beginning, as the segment tagger gives it.
    """
    begins = [_tempered(mark) for mark in marks]
    last = len(begins) + 1
    # By bound and route of the last stretch: (score, stretches so far).
    best: list[dict[str, tuple[float, list[_Stretch]]]] = [{} for _ in range(last + 1)]
    best[0][""] = (0.0, [])
    for stretch in sorted(stretches, key=lambda s: (s.first, s.after)):
        route = routes[stretch.text][0]
        gain = math.log(max(route.probability, 1e-9))
        if route.route == NONE_ROUTE and stretch.after - stretch.first < last:
            gain -= _NONE_COST
        gain += sum(math.log(max(1e-9, 1 - begins[i - 1])) for i in range(stretch.first + 1, stretch.after))
        if stretch.after < last:
            gain += math.log(begins[stretch.after - 1])
        for before, (score, path) in best[stretch.first].items():
            total = score + gain
            if before == route.route:
                if route.route == NONE_ROUTE or marks[stretch.first - 1] < _SAME_FROM:
                    continue
                total -= _SAME_COST
            known = best[stretch.after].get(route.route)
            if known is None or total > known[0]:
                best[stretch.after][route.route] = (total, [*path, stretch])
    return max(best[last].values(), key=lambda found: found[0])[1] if best[last] else []
