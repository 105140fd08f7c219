"""What every method is: it learns procedures, then answers and, where it can, routes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from benchmarks.kept import KeptMemories
from benchmarks.minilm import Embedder, MiniLm
from benchmarks.models import Loaded
from benchmarks.routers import Ranking
from benchmarks.settings import Values

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.procedures import Procedure


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, the tokens of the prompt beyond the message and the template, and how sure the method is of it.

    Attributes:
        probability: that it is right to the letter, 0 to 1; None for a method that does not say.
    """

    text: str
    prompt_tokens: int
    probability: float | None = None


@dataclass
class Context:
    """What methods work with.

    Attributes:
        sequential: procedures arrive one after the other, and one learner takes them all.
        settings: by method.
        kept: memories of earlier runs; None where each is trained anew.
    """

    loaded: Loaded
    settings: dict[str, Values]
    sequential: bool = False
    given_embedder: Embedder | None = None
    kept: KeptMemories | None = None

    @property
    def backbone(self) -> Backbone:
        return self.loaded.backbone

    @cached_property
    def embedder(self) -> Embedder:
        """The retriever; loaded when first asked for."""
        return self.given_embedder or MiniLm(self.loaded.cache, str(self.backbone.torch_device))


@dataclass
class Learned(ABC):
    """A method that has learned.

    Attributes:
        trained_parameters: trained numbers, over all procedures.
        seconds: time that learning took, per procedure; a joint run in equal shares.
        settings: how it was set.
        answers_alike: an answer under a given route is the same whether the route was given or chosen.
    """

    trained_parameters: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    answers_alike: bool = True

    @abstractmethod
    def answer(self, route: str, messages: Sequence[str], limit: int) -> list[Reply]:
        """Answers under a given route (``none``: the untrained backbone), of ``limit`` tokens at most."""

    def answer_routed(self, route: str, messages: Sequence[str], limit: int) -> list[Reply]:
        """Answers under the method's own choice."""
        return self.answer(route, messages, limit)

    def rank(self, messages: Sequence[str]) -> list[Ranking] | None:
        """Routes per message, best first, ``none`` among them; None for a method without a router."""
        return None

    def close(self) -> None:  # noqa: B027 - most methods leave nothing behind
        """Leave the backbone as it was."""


Learner = Callable[[Context, "Sequence[Procedure]", int], Learned]
"""Learns procedures, in order, with a seed."""
