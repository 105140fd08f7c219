"""What is trained for one procedure: an address, by which it is found, and a steering block, by which it acts.

A memory stands right after the query. Its first positions exist in every layer's keys and values only (``keys``,
``values``: trained directly, like a prefix, but placed behind the query). Its last positions are rows read as input
embeddings (``rows``), the paper's memory tokens. A ``kv_adapter`` edits what they and the response see of the query.
The paper's own case (TokMem, arXiv 2510.00444, eq. 2) is rows alone. Appended rows have ids v, v+1, …: no reserved
token is used, the vocabulary is never resized, and no text encodes to one.

No optimiser and no file here: see ``trainer`` and ``bank_file``.

Letters: r rows, m positions with keys and values, l layers of a group, k key-value heads, e head size,
d hidden size, n memories.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from tokmem_desk.backbone.kv_state import LayerRows
from tokmem_desk.errors import UsageError
from tokmem_desk.memory.router_statistics import RouterStatistics
from tokmem_desk.templates.template import TEMPLATE_SETTING, AnswerTemplate, template_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.backbone.kv_state import JoinedBatch, QueryState
    from tokmem_desk.memory.extractor import Extractor
    from tokmem_desk.memory.kv_adapter import KVAdapter

SteeringKind = Literal["rows", "layers"]
"""``rows``: input embeddings alone, as in the paper. ``layers``: keys and values in every layer, then one row."""


@dataclass(frozen=True, slots=True)
class Steering:
    """The block that makes the backbone act.

    Attributes:
        rows: [r x d] float32 input embeddings in the scale of the embedding matrix, r >= 1.
        keys: one [l x k x m x e] float32 tensor per layer group, free of position; empty without them.
        values: as ``keys``.
        kv_adapter: how the memory sees the query; None leaves the query as it is.
        extractor: reads the response off the message where the pairs allow it; the rest does not act then.
    """

    rows: Tensor
    keys: tuple[Tensor, ...] = ()
    values: tuple[Tensor, ...] = ()
    kv_adapter: KVAdapter | None = None
    extractor: Extractor | None = None

    @property
    def span(self) -> int:
        """Positions the memory takes in the context: m + r."""
        return self.rows.shape[0] + (self.keys[0].shape[-2] if self.keys else 0)

    @property
    def kind(self) -> SteeringKind:
        """What the block is made of. In settings this is called ``form``."""
        return "layers" if self.keys else "rows"

    def parameter_count(self) -> int:
        """Trained numbers."""
        kv_adapter = self.kv_adapter.tensors() if self.kv_adapter is not None else []
        return sum(t.numel() for t in (self.rows, *self.keys, *self.values, *kv_adapter))

    def layer_rows(self, backbone: Backbone, position: int) -> LayerRows | None:
        """Keys and values as they stand from ``position`` on; None when the memory has rows only.

        Keys are kept free of position and rotated to where the query ends, so that the distance
        between query, memory and response is always the trained one.
        """
        if not self.keys:
            return None
        places = torch.arange(position, position + self.keys[0].shape[-2], device=self.keys[0].device)
        keys = tuple(backbone.rotate(k.float(), places, g).to(backbone.dtype) for g, k in enumerate(self.keys))
        return LayerRows(keys, tuple(v.to(backbone.dtype) for v in self.values))

    def detached(self) -> Steering:
        """The same numbers without gradient."""
        return Steering(
            self.rows.detach(),
            tuple(k.detach() for k in self.keys),
            tuple(v.detach() for v in self.values),
            None if self.kv_adapter is None else self.kv_adapter.detached(),
            self.extractor,
        )

    def to(self, device: torch.device) -> Steering:
        """The same block on another device."""
        return Steering(
            self.rows.to(device),
            tuple(k.to(device) for k in self.keys),
            tuple(v.to(device) for v in self.values),
            None if self.kv_adapter is None else self.kv_adapter.to(device),
            None if self.extractor is None else self.extractor.to(device),
        )


def join_memories(backbone: Backbone, states: Sequence[QueryState], blocks: Sequence[Steering | None]) -> JoinedBatch:
    """Queries, each as its memory sees it and followed by the memory's keys and values, as one batch.

    The rows are not in it yet: they are the first input. Gradient flows into the blocks and nowhere else.
    """
    pairs = list(zip(states, blocks, strict=True))
    seen = [
        s if block is None or block.kv_adapter is None else block.kv_adapter.apply(backbone, s) for s, block in pairs
    ]
    rows = [None if block is None else block.layer_rows(backbone, s.length) for s, block in pairs]
    return backbone.layout.join(seen, rows)


@dataclass(frozen=True, slots=True)
class Memory:
    """One procedure's memory.

    Attributes:
        name: the procedure's name.
        steering: how it acts.
        address: [d] float32 output row, how the token router finds it (paper eq. 4).
        tied: True when ``address`` is row 0 of the steering (the paper's default; decoupled otherwise).
        statistics: how the discriminant router finds it; None where it was never measured.
        settings: how it was trained, for people and reports; plain JSON values.
    """

    name: str
    steering: Steering
    address: Tensor
    tied: bool
    statistics: RouterStatistics | None = None
    settings: dict[str, object] = field(default_factory=dict)

    @property
    def answer_template(self) -> AnswerTemplate | None:
        """The form that the answers of its pairs share; None where they share none, or it cannot be read."""
        return template_in(self.settings)

    def without_answer_template(self) -> Memory:
        """The same memory, whose answers are free."""
        if TEMPLATE_SETTING not in self.settings:
            return self
        return replace(self, settings={key: value for key, value in self.settings.items() if key != TEMPLATE_SETTING})


def renormalise(new: Tensor, old: Tensor) -> Tensor:
    """Scale new rows to the mean norm of the old ones (TokMem eq. 5 and 6).

    A freshly trained address tends to be longer than the older ones and would win every softmax.

    Args:
        new: [n x d] rows just trained.
        old: [o x d] rows trained before; with none, ``new`` is returned as it is.

    Returns:
        [n x d] rows, each of the mean norm of ``old``.
    """
    if old.shape[0] == 0:
        return new
    target = old.norm(dim=1).mean()
    return new * (target / new.norm(dim=1, keepdim=True).clamp_min(1e-12))


def initial_rows(backbone: Backbone, count: int, *, text_ids: Sequence[int] = (), seed: int = 0) -> Tensor:
    """[count x d] float32 rows to start from.

    Without a text every row is the mean of the embedding matrix (the paper's choice) with a little
    noise, lest equal rows stay equal; with one, the embeddings of its first tokens, repeated if short.
    """
    matrix = backbone.input_rows
    if text_ids:
        ids = torch.tensor([text_ids[i % len(text_ids)] for i in range(count)], device=matrix.device)
        return matrix[ids].float()
    mean = matrix.float().mean(dim=0, keepdim=True)
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, matrix.shape[1], generator=generator).to(matrix.device)
    std = matrix[:: max(1, matrix.shape[0] // 4096)].float().std()
    return mean.repeat(count, 1) + 0.01 * std * noise


def initial_layer_rows(backbone: Backbone, count: int, text_ids: Sequence[int]) -> LayerRows:
    """Keys and values to start from: those of the last ``count`` tokens of a text, read by the backbone.

    The text is made of demonstrations, so that an untrained memory already looks like the tail of a
    prompt that holds them.

    Raises:
        UsageError: the backbone's keys cannot be moved, so there is no such form.
    """
    if not backbone.rotates_keys:
        raise UsageError(
            f"Memories with keys and values in every layer do not work on {backbone.model_id}.",
            next_step="Train with the form 'rows'.",
        )
    window = backbone.layout.smallest_window
    # Keys beyond a window have been dropped by then; a text repeated to the needed length has none missing.
    wanted = list(text_ids)
    while len(wanted) < count:
        wanted += list(text_ids)
    if window is not None:
        wanted = wanted[-(window - 1) :]
    free = backbone.free_keys_of(wanted)
    keys = tuple(k[..., -count:, :].contiguous() for k in free.keys)
    values = tuple(v[..., -count:, :].contiguous() for v in free.values)
    return LayerRows(keys, values)
