"""Learn to find references, once per backbone, from shipped examples.

Letters: t tokens, k dimensions of the token space.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tokmem_desk import background
from tokmem_desk.backbone.token_space import IGNORED, fit_space, train_network
from tokmem_desk.background.referring import Mark, Referring, material, referring_messages
from tokmem_desk.references import recipe
from tokmem_desk.references.dossier import Dossier
from tokmem_desk.references.finder import ReferenceFinder
from tokmem_desk.references.networks import (
    ADVERB,
    AROUND,
    COUNTED,
    KINDS,
    LAST,
    MAIN,
    NEW,
    NOUN,
    SAME,
    networks,
)
from tokmem_desk.routing.fit_parts import FitParts

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone

_AT_ONCE = 64
_SPACE_TEXTS = 120
"""Texts that the token space is fitted to."""
_MESSAGE_SEED = 1
_NEAR_TIMES = 3
"""How often texts are shown whose words only look as if they referred to something."""
_PLAIN = {"same": SAME, "new": NEW, "counted": COUNTED, "last": LAST}


def fit_reference_finder(
    backbone: Backbone, count: int = recipe.EXAMPLES, *, folder: Path | None = None
) -> Iterator[float | ReferenceFinder]:
    """Fit the token space and the networks of a backbone; yields the share done, then the finder.

    Args:
        count: examples to fit to.
        folder: keeps what is done until the end, for a fit that goes on after a kill; None keeps nothing.
    """
    examples = referring_messages(count)
    alone = referring_messages(recipe.MESSAGES, _MESSAGE_SEED)
    plain = _plain_texts(count // 2)
    dossiers = [Dossier.of(example.said, example.message) for example in examples]
    texts = [*(d.text for d in dossiers), *(e.message for e in examples), *plain]
    layers = tuple(sorted({round(depth * backbone.layer_count) for depth in recipe.DEPTHS}))
    parts = FitParts(folder, f"{recipe.recipe()} {backbone.fingerprint.digest} {layers} {count}")

    def raw_tokens() -> list[Tensor]:
        sample = [backbone.format.query(text) for text in texts[:: max(1, len(texts) // _SPACE_TEXTS)]]
        ran = backbone.prefill(sample, keep_states=False, token_layers=layers, tokens_alone=True)
        return [row.cpu() for row in ran.tokens]

    space = fit_space(parts.of(0, raw_tokens), layers, backbone.fingerprint.digest).to(backbone.torch_device)

    def tokens_of(queries: list[list[int]]) -> list[Tensor]:
        ran = backbone.prefill(queries, keep_states=False, token_space=space, tokens_alone=True)
        return [row.to(torch.float16).cpu() for row in ran.tokens]

    def read(texts: Sequence[str], first: int, tokens: list[Tensor]) -> Iterator[float]:
        """Put the tokens of texts into a list, the shortest first; yields the share done."""
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        tokens[:] = [torch.empty(0)] * len(texts)
        done = 0
        for start in range(0, len(order), _AT_ONCE):
            group = order[start : start + _AT_ONCE]
            queries = [backbone.format.query(texts[i]) for i in group]
            for i, row in zip(group, parts.of(first + start // _AT_ONCE, partial(tokens_of, queries)), strict=True):
                tokens[i] = row.float()
            done += sum(len(texts[i]) for i in group)
            yield done / max(1, sum(map(len, texts)))

    tokens, of_alone, of_near = list[Tensor](), list[Tensor](), list[Tensor]()
    for share in read(texts, 1, tokens):
        yield 0.7 * share
    for share in read([e.message for e in alone], 1 + len(texts), of_alone):
        yield 0.7 + 0.15 * share
    near = [text for language in material().values() for text in language["plain"]]
    for _ in read(near, 1 + len(texts) + len(alone), of_near):
        yield 0.85
    behind, of_messages, of_plain = (
        tokens[: len(examples)],
        tokens[len(examples) : 2 * len(examples)],
        tokens[2 * len(examples) :],
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        marker, values, mains = networks(space.projection.shape[1])
    targets = [mark_targets(e.marks, backbone.format.places(e.message)) for e in (*examples, *alone)]
    of_plain += of_near * _NEAR_TIMES
    nothing = [torch.zeros(len(row), dtype=torch.long) for row in of_plain]
    places = [backbone.format.places(dossier.text) for dossier in dossiers]
    kinds, roles = zip(*map(value_targets, examples, dossiers, places), strict=True)
    work = (
        (marker, [*of_messages, *of_alone, *of_plain], [*targets, *nothing]),
        (values, behind, kinds),
        (mains, behind, roles),
    )
    for number, (network, inputs, wanted) in enumerate(work):
        steps = train_network(
            network, inputs, wanted, epochs=recipe.EPOCHS, batch_size=32, rate=3e-3, weight_decay=0.02
        )
        for share in steps:
            yield 0.85 + 0.05 * (number + share)
    parts.drop()
    device = backbone.torch_device
    yield ReferenceFinder(space, marker.to(device), values.to(device), mains.to(device))


def mark_targets(marks: Sequence[Mark], places: Sequence[tuple[int, int]]) -> Tensor:
    """[t] long: what each token of a message is marked as."""

    def target(mark: Mark) -> int:
        if mark.kind == "value":
            return (ADVERB if mark.adverb else NOUN) + KINDS.index(mark.of)
        return _PLAIN[mark.kind]

    return torch.tensor(
        [next((target(mark) for mark in marks if mark.start < end <= mark.end), 0) for _, end in places],
        dtype=torch.long,
    )


def value_targets(example: Referring, dossier: Dossier, places: Sequence[tuple[int, int]]) -> tuple[Tensor, Tensor]:
    """[t] long each: kinds of values, and their parts, of the tokens of a dossier.

    Of the message itself only new values are known.
    """
    kinds = torch.zeros(len(places), dtype=torch.long)
    parts = torch.zeros(len(places), dtype=torch.long)

    def inside(start: int, end: int) -> list[int]:
        return [i for i, (first, last) in enumerate(places) if first < end and last > start and last <= end]

    whole = [value for values in example.values for value in values if value.kind == "text"]
    smaller = [value for values in example.values for value in values if value.kind != "text"]
    # The longest last: what stands in another value is a part of it.
    for value in [*sorted(smaller, key=lambda value: len(value.text)), *whole]:
        for words, around in ((value.phrase, True), (value.text, False)):
            # As whole words: a number is no part of another one.
            whole_word = re.compile(rf"(?<!\w){re.escape(words)}(?!\w)", re.IGNORECASE)
            for found in whole_word.finditer(dossier.text, 0, dossier.start) if words else ():
                tokens = inside(*found.span())
                if around:
                    parts[tokens] = AROUND
                elif tokens:
                    first = 1 + 2 * KINDS.index(value.kind)
                    kinds[tokens] = first + 1
                    kinds[tokens[0]] = first
                    parts[tokens] = MAIN if value.main else 0
    message = [i for i, (_, end) in enumerate(places) if end > dossier.start]
    kinds[message] = parts[message] = IGNORED
    for mark in example.marks:
        if mark.kind == "new":
            tokens = inside(dossier.start + mark.start, dossier.start + mark.end)
            if tokens:
                kinds[tokens] = 2 + 2 * KINDS.index(mark.of)
                kinds[tokens[0]] = 1 + 2 * KINDS.index(mark.of)
    return kinds, parts


def _plain_texts(count: int) -> list[str]:
    """Shipped messages that stand for themselves."""
    pools = [text for texts in background.groups().values() for text in texts] + background.chat_for_fitting()
    step = max(1, len(pools) // max(1, count))
    return pools[::step]
