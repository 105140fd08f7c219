"""What a kind of steering says of itself: one declaration, from which files, banks, training and answers follow.

A kind is a subclass of ``SteeringPart`` (of ``TrainedPart``, where the trainer trains it) in a module of its own,
listed in ``tokmem_desk.memory.steering.KINDS``. An instance is what one memory has of that kind. Nothing else in the
program lists kinds: memory files, bank files, the trainer, the join of a batch and the engine's lazy reading ask the
declaration.

No torch at the head of these modules, only inside functions: bank files are written and read without it.

Letters: l layers of a group, k key-value heads, e head size, q query tokens, d hidden size.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.backbone.query_state import LayerKeysValues, QueryState
    from tokmem_desk.memory.stored_tensors import StoredTensors

SteeringKind = Literal["rows", "layers"]
"""``rows``: input embeddings alone, as in the paper. ``layers``: keys and values in every layer, then one row.

It says which of two forms a whole memory has. The kinds in ``steering.KINDS`` are classes, and one memory may have
parts of several of them.
"""

KeyShapes = Sequence[tuple[int, int, int, int]]
"""Layers, key-value heads, key size and value size of each layer group."""


class TrainSettings(Protocol):
    """What a kind may ask of the settings of a training; ``trainer.config.TrainConfig`` has them."""

    @property
    def form(self) -> SteeringKind:
        """What a memory is made of."""

    @property
    def span(self) -> int:
        """Positions the memory takes in the context."""

    @property
    def lens_rank(self) -> int:
        """Rank of the KV adapter; 0 for none."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """Names of further kinds that are trained beside those that ``form`` stands for."""


@dataclass(frozen=True, slots=True)
class InitialTensor:
    """Where one trained tensor of one procedure starts, and how long its steps are.

    The learning rate is relative: a step of rate 1 is ``scale`` long. So one rate fits tensors of any size, and a kind
    that wants to learn faster or slower than the others says so here instead of having a rate of its own.

    Attributes:
        start: float32; initial values for one procedure, without an axis for procedures.
        kept: how many axes of the stack have scales of their own. The trainer stacks the starts of all procedures along
            a new first axis; the scale is the root mean square over all axes behind the first ``kept``. 0: one scale
            for everything. 2: one for each procedure and each index of the start's first axis (a layer).
        scale: a fixed scale, for a start that does not tell how long good steps are (zeros, for instance); None
            computes it as ``kept`` says.
    """

    start: Tensor
    kept: int = 0
    scale: float | None = None


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """Name and shape of one tensor of a kind, in memory files and in bank files.

    ``count`` is how much of it one memory has: positions, rows, or single numbers. A memory file has the tensor as
    [*leading, count, *trailing]. In a bank file the tensors of all memories are flattened to rows of ``trailing`` and
    joined: [sum of counts · product of leading, *trailing]. All numbers are F32 when written; BF16 can be read.
    """

    name: str
    leading: tuple[int, ...] = ()
    trailing: tuple[int, ...] = ()

    @property
    def rows(self) -> int:
        """Rows in a bank's tensor for each one that ``count`` counts."""
        return math.prod(self.leading)

    def shape(self, count: int) -> tuple[int, ...]:
        """Its shape in a memory file."""
        return (*self.leading, count, *self.trailing)


class SteeringPart(ABC):
    """What one memory has of one kind of steering.

    Class attributes (the declaration):
        name: of the kind, in code, in ``TrainSettings.kinds`` and in errors.
        tensor_names: names of its tensors in files, without the layer group behind a dot.
        field: of a procedure in a bank's manifest: where its numbers are, as offset and count.
        settings_field: key in a memory's settings and field in a manifest of whatever is not numbers (plain JSON
            values); None without.
        needs_layer_groups: its shapes depend on the sizes of the backbone's layer groups. The writer of a bank takes
            these from ``KVPositions``, so a memory with this kind can be exported only if it has those too.
        required: every memory has it.
        optional_field: a manifest may leave its field out; then the count is 0.
        largest_count: of one memory in a bank; None for no limit but the file's.
        memory_version: the first version of memory files that has it. A file gets the highest of its kinds, and
            ``file_bytes.VERSION`` at least.
        bank_version: the same of bank files. A reader of an earlier first number refuses the bank, and says so.
    """

    __slots__ = ()

    name: ClassVar[str]
    tensor_names: ClassVar[tuple[str, ...]]
    field: ClassVar[str]
    settings_field: ClassVar[tuple[str, str] | None] = None
    needs_layer_groups: ClassVar[bool] = False
    required: ClassVar[bool] = False
    optional_field: ClassVar[bool] = True
    largest_count: ClassVar[int | None] = None
    memory_version: ClassVar[int] = 1
    bank_version: ClassVar[str] = "1.0.0"

    def parameter_count(self) -> int:
        """Trained numbers that steer the model."""
        return 0

    @abstractmethod
    def detached(self) -> Self:
        """The same numbers without gradient."""

    @abstractmethod
    def to(self, device: torch.device) -> Self:
        """The same on another device."""

    # --- memory files ------------------------------------------------------------------------------

    @abstractmethod
    def stored(self) -> dict[str, Tensor]:
        """Its tensors in a memory file, by name; float32, in the shapes of ``stored_tensors``."""

    @classmethod
    @abstractmethod
    def read(cls, stored: StoredTensors) -> Self | None:
        """Check and read its tensors of a memory file; None where there are none.

        Raises:
            BadInputError: they are damaged, or do not fit the backbone.
        """

    @classmethod
    def holds(cls, tensor: str) -> bool:
        """Whether a tensor of a file, such as ``keys.0``, is of this kind."""
        return tensor.partition(".")[0] in cls.tensor_names

    # --- bank files --------------------------------------------------------------------------------

    @classmethod
    @abstractmethod
    def stored_tensors(cls, hidden_size: int, key_shapes: KeyShapes) -> tuple[StoredTensor, ...]:
        """All its tensors in files, for a backbone of these sizes; the order is that of a bank file."""

    @classmethod
    def count_fault(cls, count: int, key_shapes: KeyShapes) -> str | None:
        """Why no memory can have that many of it, as the rest of a sentence; None where one can."""
        return None

    @classmethod
    def memory_fault(cls, settings: Mapping[str, Any]) -> bool:
        """Whether a memory with these settings cannot have this kind, for instance for want of its settings."""
        return cls.settings_field is not None and cls.settings_field[0] not in settings

    # --- acting ------------------------------------------------------------------------------------

    @property
    def span(self) -> int:
        """Positions it takes in the context."""
        return 0

    def edit_query(self, backbone: Backbone, state: QueryState) -> QueryState:
        """Before the join: what was kept of a query, as this memory sees it; carries gradient.

        Args:
            backbone: ``backbone.rotate`` takes positions out of keys and puts them back.
            state: ``keys`` and ``values`` are one [l x k x q x e] tensor per layer group, compute dtype. Keys have
                their positions rotated in; e may differ between keys and values. A group of sliding layers has kept
                the last tokens only: its q can be less than ``state.length``.

        Returns:
            A new state of the same shapes and dtypes (``dataclasses.replace``).
        """
        return state

    def keys_values(self, backbone: Backbone, position: int) -> LayerKeysValues | None:
        """At the join: keys and values that stand in every layer from ``position`` on; None without."""
        return None

    def input_rows(self) -> Tensor | None:
        """Behind the join: [r x d] float32 input embeddings, in the scale of the embedding matrix; None without."""
        return None


class TrainedPart(SteeringPart):
    """A part whose tensors the trainer trains, together with those of other kinds."""

    __slots__ = ()

    @abstractmethod
    def tensors(self) -> Sequence[Tensor]:
        """What is trained, float32, in the order of ``of`` and ``initial``."""

    @classmethod
    @abstractmethod
    def of(cls, tensors: Sequence[Tensor]) -> Self:
        """The inverse of ``tensors``."""

    @classmethod
    def trained_by(cls, settings: TrainSettings) -> bool:
        """Whether a training with these settings trains this kind."""
        return cls.name in settings.kinds

    @classmethod
    @abstractmethod
    def initial(
        cls, backbone: Backbone, settings: TrainSettings, text_ids: Sequence[int], seed: int
    ) -> list[InitialTensor]:
        """Where one procedure's tensors start, in the order of ``tensors``.

        Args:
            text_ids: token ids of the procedure's demonstrations.
            seed: for random numbers; each procedure has its own.

        Raises:
            UsageError: the backbone cannot have this kind.
        """

    def parameter_count(self) -> int:
        return sum(tensor.numel() for tensor in self.tensors())

    def detached(self) -> Self:
        return self._mapped(lambda tensor: tensor.detach())

    def to(self, device: torch.device) -> Self:
        return self._mapped(lambda tensor: tensor.to(device))

    def _mapped(self, change: Callable[[Tensor], Tensor]) -> Self:
        return self.of([change(tensor) for tensor in self.tensors()])
