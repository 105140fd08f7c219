"""Train an extractor: find each value of the pairs' responses in their messages, and learn to mark it there."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import Tensor

from tokmem_desk.backbone.token_space import train_network
from tokmem_desk.memory.extractor import Extractor, new_network, write
from tokmem_desk.memory.slot_values import Slot
from tokmem_desk.memory.spans import cuts_words

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.backbone.token_space import TokenSpace
    from tokmem_desk.memory.memory import Memory
    from tokmem_desk.procedures import ExamplePair

READABLE_SHARE = 0.97
"""Least share of values that must stand in their messages."""

VERBATIM_SHARE = 0.95
"""Least share of responses that an extractor would write exactly so: an odd one is a slip, more are another form."""

FEWEST_PAIRS = 6

INNER_SHARE = 0.05
"""A slot's values may begin or end within a word where more pairs than this have one that does: fewer are slips."""

_AT_ONCE = 32
_EPOCHS = 30
_FEWEST_STEPS = 200

Place = tuple[int, int, int]
"""Slot, first character, character after the last."""


def extractable(pairs: Sequence[ExamplePair]) -> Extractor | None:
    """The form of an extractor for these pairs, its network untrained; None when their responses cannot be read.

    They can be read when they are flat JSON objects whose values, but for constants, stand word for word in the
    messages, and that an extractor would write as they are written.
    """
    objects = [_object(pair.response) for pair in pairs]
    if len(pairs) < FEWEST_PAIRS or any(found is None for found in objects):
        return None
    known = [found for found in objects if found is not None]
    same = {
        compact: sum(
            write(found, compact=compact) == pair.response.strip() for pair, found in zip(pairs, known, strict=True)
        )
        for compact in (False, True)
    }
    compact = same[True] > same[False]
    if same[compact] < VERBATIM_SHARE * len(pairs):
        return None
    names = list(dict.fromkeys(name for found in known for name in found))
    constants = {
        name: known[0][name]
        for name in names
        if all(name in found and found[name] == known[0][name] for found in known)
    }
    slots = []
    for name in names:
        if name in constants:
            continue
        values = [found[name] for found in known if name in found]
        flat = [item for value in values for item in _several(value)]
        if all(isinstance(item, int | float) and not isinstance(item, bool) for item in flat):
            kind = "number"
        elif all(isinstance(item, str) for item in flat):
            kind = "text"
        else:
            return None
        always_list = all(isinstance(value, list) for value in values)
        single = all(len(_several(value)) <= 1 for value in values)
        slots.append(Slot(name, kind, always_list, single, inner=False))
    if not slots:
        return None
    there = wanted = ordered = 0
    cut = [0] * len(slots)
    for pair, found in zip(pairs, known, strict=True):
        places = locate(pair.input.strip(), found, slots)
        there += len(places)
        for index, start, end in places:
            cut[index] += cuts_words(pair.input.strip(), start, end, number=slots[index].kind == "number")
        wanted += sum(len(_several(value)) for name, value in found.items() if name not in constants)
        met = list(dict.fromkeys(slot for slot, _, _ in sorted(places, key=lambda place: place[1])))
        ordered += [slots[slot].name for slot in met] == [name for name in found if name not in constants]
    if wanted == 0 or there < READABLE_SHARE * wanted:
        return None
    order = None if ordered >= 0.8 * len(pairs) and list(known[0])[: len(constants)] == list(constants) else names
    if order is not None:
        rank = {name: statistics.fmean(list(f).index(name) for f in known if name in f) for name in names}
        order = sorted(order, key=lambda name: rank[name])
    slots = [replace(slot, inner=count > INNER_SHARE * len(pairs)) for slot, count in zip(slots, cut, strict=True)]
    network = new_network(1, len(slots))
    return Extractor(tuple(slots), constants, None if order is None else tuple(order), compact, network, "")


def locate(message: str, found: dict[str, Any], slots: Sequence[Slot]) -> list[Place]:
    """Where each value stands in a message; what stands nowhere is left out.

    A value that stands at several places takes one at the borders of words, behind the value before it.
    """
    number = {slot.name: i for i, slot in enumerate(slots)}
    taken: list[Place] = []
    behind = 0
    for name, value in found.items():
        if name not in number:
            continue
        for item in _several(value):
            text = item if isinstance(item, str) else json.dumps(item)
            options = []
            start = message.find(text) if text else -1
            while start >= 0:
                end = start + len(text)
                if not any(first < end and start < after for _, first, after in taken):
                    beside = (message[max(0, start - 1) : start], message[end : end + 1])
                    borders = sum(not letter.isalnum() for letter in beside)
                    options.append((borders, start >= behind, -abs(start - behind), start, end))
                start = message.find(text, start + 1)
            if options:
                *_, start, end = max(options)
                taken.append((number[name], start, end))
                behind = end
    return taken


def mark_tokens(places: Sequence[tuple[int, int]], values: Sequence[Place]) -> Tensor:
    """[t] long marks of a message's tokens, see ``Extractor.network``."""
    marks = torch.zeros(len(places), dtype=torch.long)
    for slot, start, end in values:
        inside = [i for i, (_, after) in enumerate(places) if start < after <= end]
        # A token that reaches beyond the value still holds its last letters.
        inside = inside or [i for i, (first, after) in enumerate(places) if first < end and start < after]
        for place, i in enumerate(inside):
            marks[i] = 1 + 2 * slot + (place > 0)
    return marks


def train_extractor(
    backbone: Backbone,
    space: TokenSpace,
    pairs: Sequence[ExamplePair],
    seed: int = 0,
    *,
    alone: bool = True,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[float | Extractor]:
    """Train an extractor for pairs that are ``extractable``; yields the share done, and at the end the extractor.

    Takes one pass over the messages and some seconds.

    Args:
        alone: the steering beside it is not trained, see ``Extractor``.
        stop: whether to end early; the extractor is then what it has become by the end of the pass that runs, the first
            at least.
    """
    form = extractable(pairs)
    assert form is not None
    projected: list[Tensor] = []
    marks: list[Tensor] = []
    for start in range(0, len(pairs), _AT_ONCE):
        part = pairs[start : start + _AT_ONCE]
        done = backbone.prefill(
            [backbone.format.query(pair.input) for pair in part], keep_states=False, token_space=space
        )
        for pair, tokens in zip(part, done.tokens, strict=True):
            projected.append(tokens)
            values = locate(pair.input.strip(), _object(pair.response) or {}, form.slots)
            marks.append(mark_tokens(backbone.format.places(pair.input), values))
        yield 0.5 * len(projected) / len(pairs)
    size = min(16, max(4, len(pairs) // 8))
    batches = -(-len(pairs) // size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = new_network(space.projection.shape[1], len(form.slots)).to(backbone.torch_device)
    epochs = max(_EPOCHS, -(-_FEWEST_STEPS // batches))
    for share in train_network(
        network, projected, marks, epochs=epochs, batch_size=size, rate=3e-3, weight_decay=0.05, seed=seed
    ):
        yield 0.5 + 0.5 * share
        if stop():
            network.requires_grad_(False).eval()
            break
    yield Extractor(form.slots, form.constants, form.order, form.compact, network, space.digest, alone)


def with_extractor(memory: Memory, extractor: Extractor) -> Memory:
    """The memory, answering by reading."""
    return replace(
        memory,
        steering=memory.steering.with_part(extractor),
        settings={**memory.settings, "reader": extractor.describe()},
    )


def _object(response: str) -> dict[str, Any] | None:
    """A flat JSON object, or None."""
    try:
        found = json.loads(response, parse_constant=_refuse)
    except ValueError:
        return None
    if not isinstance(found, dict):
        return None
    flat = all(not isinstance(item, dict | list) for value in found.values() for item in _several(value))
    return found if flat else None


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
