"""Rows: input embeddings that stand right behind the query, the paper's memory tokens (arXiv 2510.00444, eq. 2).

No torch at the head, see ``steering_part``.

Letters: r rows, d hidden size, v vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from tokmem_desk.memory.steering_part import InitialTensor, KeyShapes, StoredTensor, TrainedPart, TrainSettings

if TYPE_CHECKING:
    from torch import Tensor

    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.memory.stored_tensors import StoredTensors


@dataclass(frozen=True, slots=True)
class InputRows(TrainedPart):
    """Input embeddings, the last positions of a memory; every memory has one or more.

    Attributes:
        rows: [r x d] float32 in the scale of the embedding matrix, r >= 1.
    """

    name = "rows"
    tensor_names = ("steering",)
    field = "rows"
    required = True
    optional_field = False
    largest_count = 4096

    rows: Tensor

    def tensors(self) -> list[Tensor]:
        return [self.rows]

    @classmethod
    def of(cls, tensors: Sequence[Tensor]) -> Self:
        [rows] = tensors
        return cls(rows)

    def stored(self) -> dict[str, Tensor]:
        return {"steering": self.rows}

    @classmethod
    def read(cls, stored: StoredTensors) -> Self:
        return cls(stored.checked("steering", None, stored.backbone.hidden_size))

    @classmethod
    def stored_tensors(cls, hidden_size: int, key_shapes: KeyShapes) -> tuple[StoredTensor, ...]:
        return (StoredTensor("steering", (), (hidden_size,)),)

    @classmethod
    def trained_by(cls, settings: TrainSettings) -> bool:
        return True

    @classmethod
    def initial(
        cls, backbone: Backbone, settings: TrainSettings, text_ids: Sequence[int], seed: int
    ) -> list[InitialTensor]:
        if settings.form == "rows":
            # The mean of all rows, where they start, is 1.5 to 2.5 times shorter than a row in trained models: where
            # rows are all of a memory, steps have the size of the matrix's own numbers.
            rows = initial_rows(backbone, settings.span, seed=seed)
            return [InitialTensor(rows, scale=_rms_of_matrix(backbone.input_rows))]
        return [InitialTensor(initial_rows(backbone, 1, seed=seed))]

    @property
    def span(self) -> int:
        return self.rows.shape[0]

    def input_rows(self) -> Tensor:
        return self.rows


def _rms_of_matrix(matrix: Tensor) -> float:
    """Root mean square of the numbers of an embedding matrix, by a sample of its rows."""
    sample = matrix[:: max(1, matrix.shape[0] // 4096)].float()
    return max(float(sample.pow(2).mean().sqrt()), 1e-6)


def initial_rows(backbone: Backbone, count: int, *, text_ids: Sequence[int] = (), seed: int = 0) -> Tensor:
    """[count x d] float32 rows to start from.

    Without a text every row is the mean of the embedding matrix (the paper's choice) with a little
    noise, lest equal rows stay equal; with one, the embeddings of its first tokens, repeated if short.
    """
    import torch

    matrix = backbone.input_rows
    if text_ids:
        ids = torch.tensor([text_ids[i % len(text_ids)] for i in range(count)], device=matrix.device)
        return matrix[ids].float()
    mean = matrix.float().mean(dim=0, keepdim=True)
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, matrix.shape[1], generator=generator).to(matrix.device)
    std = matrix[:: max(1, matrix.shape[0] // 4096)].float().std()
    return mean.repeat(count, 1) + 0.01 * std * noise
