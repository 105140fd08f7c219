"""Overlap of a procedure with the others: which messages would go where, at which threshold.

The ``overlap`` and ``effect`` requests. Both read a procedure's present pairs, trained or not, as the router would see
them after a training: its statistics are made of their inputs, and a pair that is judged is left out of them, or it
would always seem to belong. Texts are read in batches between which chat has its turn, and each is read once.
"""

from __future__ import annotations

import random
from collections import Counter, OrderedDict
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from profiles.settings.settings import Settings
from profiles.store.store import ProfileStore
from tokmem_desk import background
from tokmem_desk.errors import BadInputError, InterruptedByUser
from tokmem_desk.memory.router_statistics import RouterStatistics
from tokmem_desk.procedures import NONE_ROUTE
from tokmem_desk.routing.routers import Candidate, DiscriminantRouter, RouterTuning

if TYPE_CHECKING:
    from torch import Tensor

    from tui.engine.bank_cache import BankCache
    from tui.engine.models import LoadedModel
    from tui.engine.request import Request

MOST_PAIRS = 200
"""At most so many pairs of the procedure are looked at; more take seconds and change little."""

NEIGHBOURS = 3
"""Other procedures, the nearest by their means, whose own pairs are looked at."""

PAIRS_OF_A_NEIGHBOUR = 24
_FOLDS = 8
"""A pair is judged by what the other seven eighths of the pairs say."""

_BATCH = 16
_KEPT_VECTORS = 8192


class TextVectors:
    """Features of texts, kept: 2 KB each."""

    def __init__(self, bank_cache: BankCache) -> None:
        self._bank_cache = bank_cache
        self._kept: OrderedDict[str, Tensor] = OrderedDict()

    def read(self, texts: Sequence[str]) -> Iterator[float]:
        """Read those that are not known yet; yields the share done after each batch."""
        fresh = [text for text in dict.fromkeys(texts) if text not in self._kept]
        for start in range(0, len(fresh), _BATCH):
            part = fresh[start : start + _BATCH]
            self._kept.update(zip(part, self._bank_cache.features(part), strict=True))
            yield (start + len(part)) / len(fresh)
        for text in texts:
            self._kept.move_to_end(text)
        while len(self._kept) > max(_KEPT_VECTORS, len(set(texts))):
            self._kept.popitem(last=False)

    def of(self, texts: Sequence[str]) -> Tensor:
        """[n x k] unit vectors of texts that were read just before."""
        return torch.stack([self._kept[text] for text in texts])


@dataclass(frozen=True, slots=True)
class _Subject:
    """The procedure that is asked about: its statistics from its present pairs, and the others of the bank."""

    name: str
    inputs: list[str]
    """Inputs of the pairs that are looked at."""
    places: list[int]
    """Indices of these among all its train pairs."""
    vectors: Tensor
    others: dict[str, RouterStatistics]
    model: LoadedModel
    bank_cache: BankCache
    store: ProfileStore
    tuning: RouterTuning

    @property
    def statistics(self) -> RouterStatistics:
        """Router statistics of all its vectors."""
        return RouterStatistics.of(self.vectors, self.model.basis.digest)

    def router(self, own: RouterStatistics) -> DiscriminantRouter:
        """A router over the others and this procedure, with the given statistics."""
        return DiscriminantRouter(
            self.model.basis,
            self.model.backbone.hidden_size,
            {**self.others, self.name: own},
            self.tuning,
            self.bank_cache.corrections(self.store),
        )

    def own_routes(self) -> list[Candidate]:
        """The chosen route of each of its pairs, that pair (and those judged with it) left out of the statistics."""
        count = int(self.vectors.shape[0])
        if count < 2:
            return [ranked[0] for ranked in self.router(self.statistics).rank(self.vectors)]
        chosen: dict[int, Candidate] = {}
        for fold in range(min(_FOLDS, count)):
            judged = torch.arange(fold, count, _FOLDS)
            rest = torch.ones(count, dtype=torch.bool).index_fill(0, judged, False)
            left_out = RouterStatistics.of(self.vectors[rest], self.model.basis.digest)
            ranked = self.router(left_out).rank(self.vectors[judged])
            chosen.update({place: candidates[0] for place, candidates in zip(judged.tolist(), ranked, strict=True)})
        return [chosen[place] for place in range(count)]

    def nearest(self, count: int) -> list[str]:
        """Names of the procedures whose means are most like its own."""
        if not self.others:
            return []
        names = sorted(self.others)
        means = torch.nn.functional.normalize(torch.stack([self.others[name].mean for name in names]), dim=1)
        likeness = means @ torch.nn.functional.normalize(self.statistics.mean, dim=0).to(means.device)
        return [names[place] for place in likeness.argsort(descending=True)[:count].tolist()]


def overlap(
    request: Request,
    store: ProfileStore,
    settings: Settings,
    model: LoadedModel,
    bank_cache: BankCache,
    vectors: TextVectors,
) -> Iterator[None]:
    """Tell where a procedure's pairs would go, and which of its neighbours' pairs would come to it.

    Raises:
        NotFoundError: no procedure of that name.
        BadInputError: it has no pairs.
    """
    subject = yield from _read_subject(request, store, settings, model, bank_cache, vectors, RouterTuning())
    chosen = subject.own_routes()
    yield
    places: dict[str, list[int]] = {}
    for place, candidate in zip(subject.places, chosen, strict=True):
        places.setdefault(candidate.route, []).append(place)
    coming = []
    router = subject.router(subject.statistics)
    for name in subject.nearest(NEIGHBOURS):
        texts = _sampled([pair.input for pair in store.pairs.list(name)], PAIRS_OF_A_NEIGHBOUR)[1]
        yield from _read(request, vectors, texts)
        routes = Counter(ranked[0].route for ranked in router.rank(vectors.of(texts))) if texts else Counter[str]()
        if routes[subject.name]:
            coming.append({"name": name, "count": routes[subject.name], "of": len(texts)})
    going = [
        {"name": route, "count": len(found), "pairs": found}
        for route, found in sorted(places.items(), key=lambda item: (-len(item[1]), item[0]))
        if route not in (subject.name, NONE_ROUTE)
    ]
    request.emit(
        "done",
        result={
            "name": subject.name,
            "pairs": len(chosen),
            "own": len(places.get(subject.name, ())),
            "none": len(places.get(NONE_ROUTE, ())),
            "none_pairs": places.get(NONE_ROUTE, []),
            "to": going,
            "from": coming,
        },
    )


def effect(
    request: Request,
    store: ProfileStore,
    settings: Settings,
    model: LoadedModel,
    bank_cache: BankCache,
    vectors: TextVectors,
) -> Iterator[None]:
    """Tell with which probabilities messages go to a procedure, so that any threshold's effect can be counted.

    ``own`` are its held-out pairs, or without any its pairs, each left out of the mean; ``others`` are pairs of the
    nearest procedures, ``chat`` ordinary messages that the router was not fitted on. Each has ``of``, how many were
    looked at, and ``taken``, the probabilities of those that would go there without a threshold, highest first.

    Raises:
        NotFoundError: no procedure of that name.
        BadInputError: it has no pairs.
    """
    name = request.text("name")
    record = store.procedures.get(name)
    thresholds = {p.name: p.threshold for p in store.procedures.list() if p.threshold is not None and p.name != name}
    tuning = RouterTuning(settings.number("none_bias"), thresholds)
    subject = yield from _read_subject(request, store, settings, model, bank_cache, vectors, tuning)
    router = subject.router(subject.statistics)

    def taken(texts: Sequence[str]) -> list[float]:
        ranked = router.rank(vectors.of(texts)) if texts else []
        return _descending([candidates[0] for candidates in ranked], name)

    held_out = [pair.input for pair in store.pairs.list(name, "held_out")][:MOST_PAIRS]
    yield from _read(request, vectors, held_out)
    own = taken(held_out) if held_out else _descending(subject.own_routes(), name)
    others: list[dict[str, Any]] = []
    for other in subject.nearest(NEIGHBOURS):
        texts = _sampled([pair.input for pair in store.pairs.list(other)], PAIRS_OF_A_NEIGHBOUR)[1]
        yield from _read(request, vectors, texts)
        others.append({"name": other, "of": len(texts), "taken": taken(texts)})
    chat = background.chat_for_measuring()
    yield from _read(request, vectors, chat)
    request.emit(
        "done",
        result={
            "name": name,
            "threshold": record.threshold,
            "measured_on": "held_out" if held_out else "left_out",
            "own": {"of": len(held_out) or len(subject.inputs), "taken": own},
            "others": others,
            "chat": {"of": len(chat), "taken": taken(chat)},
        },
    )


def _read_subject(
    request: Request,
    store: ProfileStore,
    settings: Settings,
    model: LoadedModel,
    bank_cache: BankCache,
    vectors: TextVectors,
    tuning: RouterTuning,
) -> Generator[None, None, _Subject]:
    """Read the procedure's pairs; the bank's other procedures are as they answer now."""
    name = request.text("name")
    store.procedures.get(name)
    places, inputs = _sampled([pair.input for pair in store.pairs.list(name)], MOST_PAIRS)
    if not inputs:
        raise BadInputError(f"{name!r} has no pairs yet.", next_step="Write some first.")
    yield from _read(request, vectors, inputs)
    memories = bank_cache.bank(store, "discriminant", settings.number("none_bias"), settings.flag("keep_form")).memories
    others = {other: m.statistics for other, m in memories.items() if m.statistics is not None and other != name}
    return _Subject(name, inputs, places, vectors.of(inputs), others, model, bank_cache, store, tuning)


def _read(request: Request, vectors: TextVectors, texts: Sequence[str]) -> Iterator[None]:
    """Read texts with progress events.

    Raises:
        InterruptedByUser: the request was cancelled.
    """
    for share in vectors.read(texts):
        request.emit("progress", phase="route", fraction=share, text="Reading")
        yield
        if request.cancelled.is_set():
            raise InterruptedByUser("Stopped.")


def _sampled(texts: Sequence[str], count: int) -> tuple[list[int], list[str]]:
    """Places and texts of at most ``count`` of them, the same ones every time, in their order."""
    places = list(range(len(texts)))
    if len(places) > count:
        places = sorted(random.Random(0).sample(places, count))
    return places, [texts[place] for place in places]


def _descending(chosen: Sequence[Candidate], name: str) -> list[float]:
    return sorted((candidate.probability for candidate in chosen if candidate.route == name), reverse=True)
