"""What goes to a worker and what comes back: plain data, and no key.

A worker gets the pairs of one procedure at a time. Of the other procedures it gets what the router keeps: names, and
numbers from which no text can be read back word by word. No chat, no file and no setting of theirs.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import Tensor

    from tokmem_desk.memory.router_statistics import RouterStatistics
    from tokmem_desk.routing.routers import Correction
    from tui.engine.procedure_training import TrainingWork


def versions() -> dict[str, str]:
    """What must be the same on both sides."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return {name: version(name) for name in ("tokmem-desk", "torch", "transformers")} | {"Python": python}


@dataclass(frozen=True, slots=True)
class WorkerSetup:
    """What a worker is given once.

    Attributes:
        model: as the person named it.
        fingerprint: digest of the backbone that it must turn out to be.
        device: the setting of that name.
        cache: folder of prepared models on the computer that asks; workers that see it use it, others their own.
        fits: what was fitted to the model there, by name; fitting it anew would give a space turned otherwise.
        versions: see ``versions``.
    """

    model: str
    fingerprint: str
    device: str
    cache: str
    fits: Mapping[str, bytes | None]
    versions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Of another procedure's memory what routes messages to it."""

    address: Tensor
    tied: bool
    statistics: RouterStatistics | None


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The rest of a profile as the run found it, so that no result depends on which procedure was trained before.

    Attributes:
        memories: active ones, by name.
        corrections: what people said of routes, as features.
        examples: [n x k] features of messages of procedures that corrections are about, by name.
    """

    memories: Mapping[str, Neighbour]
    corrections: Sequence[Correction]
    examples: Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Earlier:
    """The memory that a procedure answers with so far.

    Attributes:
        data: its file.
        version: its number.
        fresh: inputs that it did not learn.
        known: whether that is known for sure.
    """

    data: bytes
    version: int
    fresh: frozenset[str]
    known: bool


@dataclass(frozen=True, slots=True)
class TrainingTask:
    """One procedure on its way to a worker.

    Attributes:
        earlier: None where there is nothing fair to compare with.
        checkpoint: of an interrupted training; None without one.
    """

    work: TrainingWork
    earlier: Earlier | None
    checkpoint: bytes | None


Kind = Literal["progress", "checkpoint", "learned", "error"]

Sent = tuple[Kind, Any]
"""What a worker sends: fields of a ``progress`` event, bytes of a checkpoint, a ``LearnedMemory`` or None at the end,
or ``TokmemError.as_dict``.
"""
