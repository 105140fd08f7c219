"""The replayed user of ``correction``: a profile on disk, the app's bank over it, and verdicts on wrong routes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import TYPE_CHECKING, Any, Self

import torch

from benchmarks.routers import Ranking
from benchmarks.routing_features import Features, ProjectedBasis
from profiles.store.store import ProfileStore
from tokmem_desk.memory.memory import Memory
from tokmem_desk.memory.router_statistics import RouterStatistics
from tokmem_desk.memory.steering import Steering
from tokmem_desk.procedures import NONE_ROUTE, ExamplePair, Procedure
from tokmem_desk.routing.routers import Router
from tui.engine.bank_cache import BankCache

if TYPE_CHECKING:
    from torch import Tensor

    from tokmem_desk.routing.features import RouterBasis

Ranker = Callable[[Sequence[str]], list[Ranking]]
"""Routes by probability, for each text."""


@dataclass(frozen=True, slots=True)
class Said:
    """A message and the route that is right for it."""

    text: str
    route: str


class _CacheOfKnownTexts(BankCache):
    """The app's bank cache, with the features of every text at hand already."""

    def __init__(self, model: Any, features: Features, *, borders: bool) -> None:
        super().__init__(model)
        self._features = features
        self._borders = borders
        self._rows = {text: row for row, text in enumerate(features.texts)}

    def rows(self, messages: Sequence[str]) -> list[int]:
        return [self._rows[message] for message in messages]

    def _examples(self, store: ProfileStore, names: Collection[str]) -> Callable[[str], Tensor | None]:
        return super()._examples(store, names) if self._borders else lambda _name: None

    def decisive(self, messages: Sequence[str]) -> list[str]:
        # What is at hand are features of whole messages, and those are what is routed here.
        return list(messages)

    def features(self, messages: Sequence[str]) -> Tensor:
        return self._features.projected[self.rows(messages)]


@dataclass(frozen=True, slots=True)
class Method:
    """What becomes of a verdict.

    Attributes:
        kept: it is written to the profile, as the app does.
        example: its message becomes an example of the right procedure instead, and nothing else.
        borders: near-misses tell where the messages of a procedure end.
    """

    kept: bool = False
    example: bool = False
    borders: bool = True


METHODS: dict[str, Method] = {
    "uncorrected": Method(),
    "examples": Method(example=True),
    "without-borders": Method(kept=True, borders=False),
    "ours": Method(kept=True),
}


class Replay:
    """One user. A context manager; the profile is open inside.

    Args:
        method: what becomes of verdicts.
        folder: for the profile.
        features: of every text that will be said.
        known: texts of each procedure at the start.
    """

    def __init__(
        self,
        method: Method,
        folder: Path,
        features: Features,
        basis: RouterBasis,
        hidden_size: int,
        known: Mapping[str, Sequence[str]],
    ) -> None:
        self.corrected: list[Said] = []
        self._method = method
        self._features = features
        # Routes of any data need not be names of procedures.
        self._names = {route: f"p{place}" for place, route in enumerate(known)} | {NONE_ROUTE: NONE_ROUTE}
        self._routes = {name: route for route, name in self._names.items()}
        self._known = {self._names[route]: list(texts) for route, texts in known.items()}
        model = SimpleNamespace(backbone=SimpleNamespace(hidden_size=hidden_size), basis=ProjectedBasis.over(basis))
        self._bank_cache = _CacheOfKnownTexts(model, features, borders=method.borders)
        self._digest = basis.digest
        self._store = ProfileStore(folder)
        for name, texts in self._known.items():
            self._store.procedures.add(Procedure(name, tuple(ExamplePair(text, name) for text in texts)))
        self._router = self._assemble()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._store.close()

    @property
    def corrections(self) -> int:
        """Verdicts so far."""
        return len(self.corrected)

    def say(self, said: Said) -> str:
        """Route a message, correct it if that is wrong, and return the route it got."""
        route = self.rank([said.text])[0][0][0]
        if route != said.route:
            self.corrected.append(said)
            if self._method.kept:
                self._store.corrections.add(said.text, self._names[route], self._names[said.route])
            elif self._method.example and said.route != NONE_ROUTE:
                self._known[self._names[said.route]].append(said.text)
            if self._method.kept or self._method.example:
                self._router = self._assemble()
        return route

    def rank(self, texts: Sequence[str]) -> list[Ranking]:
        """Routes by probability, for each text."""
        candidates = self._router.candidates(self._features.prefilled(self._bank_cache.rows(texts)))
        return [[(self._routes[one.route], one.probability) for one in ranked] for ranked in candidates]

    def _assemble(self) -> Router:
        return self._bank_cache.router(self._store, self._memories(), "discriminant")

    def _memories(self) -> dict[str, Memory]:
        """Memories that can be found and never act: only routing is measured."""
        nothing = torch.zeros(1, 1)
        found = {}
        for name, texts in self._known.items():
            statistics = RouterStatistics.of(self._bank_cache.features(texts), self._digest)
            found[name] = Memory(name, Steering.of(nothing), nothing[0], tied=True, statistics=statistics)
        return found
