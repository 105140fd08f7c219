"""The loss of a memory, on cached queries; and the same loss the plain way, as a yardstick.

For a sample of procedure i with query state h (after the final norm, at the last query position), stored
``Z = logsumexp(W h)`` over the frozen vocabulary and addresses a_j:

    routing term    log(e^Z + sum_j e^(a_j . h)) - a_i . h          (TokMem, arXiv 2510.00444, eq. 4)
    response term   cross-entropy of each response token and of the end of the turn (eq. 3)

Both are exactly what training on whole sequences gives; the backbone sees memory and response only.

Letters: b batch, p procedures in training, o other (frozen) procedures, d hidden size, v vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from tokmem_desk.errors import IncompatibleError
from tokmem_desk.memory.input_rows import InputRows, initial_rows
from tokmem_desk.memory.kv_adapter import KVAdapter
from tokmem_desk.memory.kv_positions import KVPositions
from tokmem_desk.memory.steering import Steering, join_memories, kinds
from tokmem_desk.memory.steering_part import TrainedPart

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.backbone.query_state import QueryState
    from tokmem_desk.memory.memory import Memory
    from tokmem_desk.memory.steering_part import InitialTensor
    from trainer.choices import Choices
    from trainer.config import TrainConfig
    from trainer.memory_start import Prior

_IGNORED = -100

_Of = TypeVar("_Of")

OPEN_SHARE = 0.9
"""How much the right token's probability among those that the form allows counts, beside that among all tokens: a
memory also learns the form, a little, for answers that are not held to it."""


class ScaledParameter(nn.Module):
    """A tensor learned as ``start + scale * delta``.

    With ``scale`` set to the root mean square of the start, one learning rate fits keys, values and
    embeddings of any backbone; with 1 it is an ordinary parameter.
    """

    start: Tensor
    scale: Tensor

    def __init__(self, start: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("start", start)
        self.register_buffer("scale", scale)
        self.delta = nn.Parameter(torch.zeros_like(start))

    def forward(self) -> Tensor:
        return self.start + self.scale * self.delta


def _rms(start: Tensor, keep: int) -> Tensor:
    """Root mean square over all dimensions but the first ``keep``, broadcastable to ``start``."""
    dims = tuple(range(keep, start.dim()))
    return start.pow(2).mean(dim=dims, keepdim=True).sqrt().clamp_min(1e-6)


class TrainableMemories(nn.Module):
    """Parameters of one or several procedures that train together.

    Each procedure's tensors are its own; what couples them is the batch and, in the paper's objective,
    the softmax. Which kinds of steering there are to train, and where they start, each kind says itself
    (``tokmem_desk.memory.steering_part``).
    """

    def __init__(
        self,
        backbone: Backbone,
        config: TrainConfig,
        texts: Sequence[Sequence[int]],
        prior: Prior | None = None,
        start: Memory | None = None,
    ) -> None:
        """Start every procedure's memory.

        Args:
            texts: token ids per procedure of the demonstrations that keys and values start from; only
                their count matters for the form ``rows``.
            prior: where memories of this backbone start; None for the demonstrations alone.
            start: the memory to go on from, of one procedure that trains alone; then the prior has no say.

        Raises:
            UsageError: the backbone cannot have such memories.
            IncompatibleError: ``start`` is of another form than the settings say.
        """
        super().__init__()
        self.tied = config.tied
        self._kinds: list[tuple[type[TrainedPart], int]] = []
        parts: list[ScaledParameter] = []
        for kind in kinds():
            if issubclass(kind, TrainedPart) and kind.trained_by(config):
                starts = [kind.initial(backbone, config, ids, config.seed + i) for i, ids in enumerate(texts)]
                stacked = [_stacked(same, config, backbone.torch_device) for same in zip(*starts, strict=True)]
                self._kinds.append((kind, len(stacked)))
                parts += stacked
        self._parts = nn.ModuleList(parts)
        self.address: ScaledParameter | None = None
        if not config.tied:
            address = initial_rows(backbone, len(texts), seed=config.seed)
            self.address = ScaledParameter(address, _scale(address, 0, config))
        if start is not None:
            self._go_on_from(start)
        elif prior is not None and config.form == "layers":
            self._begin_at(prior, config)

    @torch.no_grad()
    def _go_on_from(self, memory: Memory) -> None:
        """Begin at what a memory has learned; the scales stay those of a fresh one.

        Raises:
            IncompatibleError: its tensors have other shapes.
        """
        for kind, parts in self.by_kind(self.parts()).items():
            part = memory.steering.part(kind)
            learned = [] if part is None else list(part.tensors())
            if [tensor.shape for tensor in learned] != [one.start.shape[1:] for one in parts]:
                raise IncompatibleError(
                    f"The memory of {memory.name!r} is of another form than what is trained now.",
                    next_step=f"Train it anew: tokmem-desk train {memory.name}",
                )
            for one, tensor in zip(parts, learned, strict=True):
                one.start.copy_(tensor)
        if self.address is not None:
            self.address.start.copy_(memory.address)

    @torch.no_grad()
    def _begin_at(self, prior: Prior, config: TrainConfig) -> None:
        self.rows.start.add_(self.rows.scale * prior.row)
        keys, values = prior.shifts(config.span - 1)
        for part, shift in zip(self.of(KVPositions), (*keys, *values), strict=True):
            part.start.add_(part.scale * shift)
        if config.lens_rank == prior.kv_adapter.rank:
            for part, start in zip(self.of(KVAdapter), prior.kv_adapter.tensors(), strict=True):
                part.start.copy_(start.expand_as(part.start))

    @property
    def rows(self) -> ScaledParameter:
        """[p x r x d]: the input rows, which every memory has."""
        [rows] = self.of(InputRows)
        return rows

    def parts(self) -> list[ScaledParameter]:
        """What steers: the tensors of each kind that trains, in the order of ``kinds``, stacked over procedures."""
        return cast("list[ScaledParameter]", list(self._parts))

    def of(self, kind: type[TrainedPart]) -> list[ScaledParameter]:
        """Those of ``parts`` that are of one kind; empty where it does not train."""
        return self.by_kind(self.parts()).get(kind, [])

    def by_kind(self, tensors: Sequence[_Of]) -> dict[type[TrainedPart], list[_Of]]:
        """Divide up what goes along with ``parts``, one for one."""
        found: dict[type[TrainedPart], list[_Of]] = {}
        place = 0
        for kind, count in self._kinds:
            found[kind] = list(tensors[place : place + count])
            place += count
        return found

    def addresses(self) -> Tensor:
        """[p x d] float32."""
        rows: Tensor = self.rows()
        return rows[:, 0] if self.address is None else self.address()

    def steering(self) -> list[Steering]:
        """The steering of each procedure; carries gradient."""
        tensors = [part() for part in self.parts()]
        return [self.steering_of([tensor[p] for tensor in tensors]) for p in range(tensors[0].shape[0])]

    def steering_of(self, tensors: Sequence[Tensor]) -> Steering:
        """One procedure's steering from tensors in the order of ``parts``, each without its first dimension [p]."""
        return Steering(kind.of(own) for kind, own in self.by_kind(tensors).items())


def _stacked(same: Sequence[InitialTensor], config: TrainConfig, device: torch.device) -> ScaledParameter:
    """The same tensor of all procedures as one parameter."""
    start = torch.stack([one.start for one in same]).to(device)
    first = same[0]
    if first.scale is not None and not config.absolute_rate:
        return ScaledParameter(start, torch.full((), first.scale, device=device))
    return ScaledParameter(start, _scale(start, first.kept, config))


def _scale(start: Tensor, kept: int, config: TrainConfig) -> Tensor:
    return torch.ones((), device=start.device) if config.absolute_rate else _rms(start, kept)


@dataclass(frozen=True, slots=True)
class ResponseLoss:
    """Sums over a batch, so that averages over several batches are exact.

    Attributes:
        total: scalar, summed cross-entropy in nats.
        tokens: labelled positions.
        correct: positions where the right token is the most probable; counted without gradient only, since a
            look over the vocabulary costs as much as a layer and training does not ask.
    """

    total: Tensor
    tokens: int
    correct: int | None


def response_loss(
    backbone: Backbone,
    states: Sequence[QueryState],
    steering: Sequence[Steering],
    responses: Sequence[Sequence[int]],
    columns: Tensor | None = None,
    choices: Sequence[Choices | None] = (),
) -> ResponseLoss:
    """Cross-entropy of responses under their memories.

    Args:
        states: cached query of each sample.
        steering: memory of each sample; all of one number of rows.
        responses: label ids of each sample, the end of the turn included.
        columns: [m x d] memory columns that stand in the softmax beside the vocabulary, or None.
        choices: of each sample what may stand at each label; none when empty. Where it is known, the probability
            among those counts for ``OPEN_SHARE`` and the probability among all tokens for the rest.
    """
    hidden, labels = _label_states(backbone, states, steering, responses)
    opened: list[Tensor | None] = []
    for response, known in zip(responses, choices, strict=False):
        opened += [None] * len(response) if known is None else known
    return _cross_entropy(backbone, hidden, labels, columns, opened)


def log_probabilities(
    backbone: Backbone, states: Sequence[QueryState], steering: Sequence[Steering], responses: Sequence[Sequence[int]]
) -> list[Tensor]:
    """How probable the labels of responses are under their memories.

    Args:
        states: cached query of each response.
        steering: memory of each response; all of one number of rows.
        responses: label ids, the end of the turn included.

    Returns:
        Of each response [labels] float32, in nats; carries gradient.
    """
    hidden, labels = _label_states(backbone, states, steering, responses)
    found = -F.cross_entropy(backbone.logits(hidden).float(), labels, reduction="none")
    return list(found.split([len(response) for response in responses]))


def _label_states(
    backbone: Backbone, states: Sequence[QueryState], steering: Sequence[Steering], responses: Sequence[Sequence[int]]
) -> tuple[Tensor, Tensor]:
    """[n x d] hidden states that the labels of all responses are read from, one response after the other, and those
    [n] labels.
    """
    device = backbone.torch_device
    batch = join_memories(backbone, states, steering)
    rows = backbone.embed_rows(torch.stack([block.rows for block in steering]))
    width = max(len(response) for response in responses)
    labels = torch.full((len(responses), width), _IGNORED)
    for i, response in enumerate(responses):
        labels[i, : len(response)] = torch.tensor(response)
    labels = labels.to(device)
    present = labels != _IGNORED
    shown = labels.masked_fill(~present, backbone.format.end_id)[:, :-1]
    inputs = torch.cat([rows, backbone.embed_ids(shown)], dim=1)
    there = torch.cat([torch.ones(rows.shape[:2], dtype=torch.long, device=device), present[:, 1:].long()], dim=1)
    hidden = backbone.extend(batch, inputs, there)[:, rows.shape[1] - 1 :]
    return hidden[present], labels[present]


def _cross_entropy(
    backbone: Backbone, hidden: Tensor, targets: Tensor, columns: Tensor | None, choices: Choices = ()
) -> ResponseLoss:
    logits = backbone.logits(hidden)
    if columns is not None:
        logits = torch.cat([logits, backbone.cap_logits(hidden.float() @ columns.T)], dim=-1)
    losses = F.cross_entropy(logits, targets, reduction="none")
    best = None if torch.is_grad_enabled() else logits.argmax(dim=-1)
    if held := [place for place, ids in enumerate(choices) if ids is not None]:
        rows = torch.tensor(held, device=targets.device)
        ids = pad_sequence([ids for ids in choices if ids is not None], batch_first=True, padding_value=-1)
        ids = ids.to(targets.device)
        scores = logits[rows].float().gather(1, ids.clamp_min(0)).masked_fill(ids < 0, float("-inf"))
        among = scores.logsumexp(dim=-1) - logits[rows, targets[rows]].float()
        losses = losses.index_copy(0, rows, torch.lerp(losses[rows], among.to(losses.dtype), OPEN_SHARE))
        if best is not None:
            best[rows] = ids.gather(1, scores.argmax(dim=-1, keepdim=True))[:, 0]
    return ResponseLoss(losses.sum(), int(targets.numel()), None if best is None else int((best == targets).sum()))


def routing_loss(
    backbone: Backbone, hidden: Tensor, log_partition: Tensor, addresses: Tensor, targets: Tensor
) -> Tensor:
    """Summed routing term of a batch, in nats.

    Args:
        hidden: [b x d] float32 state at the end of each query.
        log_partition: [b] float32, Z.
        addresses: [m x d] float32, those in training first or anywhere; targets index into it.
        targets: [b] long.
    """
    scores = backbone.cap_logits(hidden @ addresses.T)
    total = torch.logsumexp(torch.cat([log_partition[:, None], scores], dim=1), dim=1)
    return (total - scores.gather(1, targets[:, None])[:, 0]).sum()


def full_sequence_loss(
    backbone: Backbone,
    queries: Sequence[Sequence[int]],
    targets: Sequence[int],
    memories: TrainableMemories,
    responses: Sequence[Sequence[int]],
    *,
    router_weight: float,
    memory_columns: bool,
    all_logits: bool = False,
) -> tuple[Tensor, int]:
    """The same objective on whole sequences, nothing cached: for tests and as the speed baseline.

    Only for the form ``rows``; with ``all_logits`` the head runs over every position, as the paper's code
    does. Returns the summed loss and the number of labelled positions.
    """
    device = backbone.torch_device
    rows = memories.rows()
    addresses = memories.addresses()
    r = rows.shape[1]
    lengths = [len(q) + r + len(a) - 1 for q, a in zip(queries, responses, strict=True)]
    width = max(lengths)
    inputs = torch.zeros(len(queries), width, backbone.hidden_size, device=device, dtype=backbone.dtype)
    labels = torch.full((len(queries), width), _IGNORED, device=device)
    for i, (query, target, response) in enumerate(zip(queries, targets, responses, strict=True)):
        before = backbone.embed_ids(torch.tensor(list(query), device=device))
        after = backbone.embed_ids(torch.tensor(list(response[:-1]), device=device, dtype=torch.long))
        inputs[i, : lengths[i]] = torch.cat([before, backbone.embed_rows(rows[target]), after])
        first = len(query) + r - 1
        labels[i, first : first + len(response)] = torch.tensor(list(response), device=device)
    present = (torch.arange(width, device=device)[None] < torch.tensor(lengths, device=device)[:, None]).long()
    hidden = backbone.run_embeddings(inputs, present)
    ends = torch.tensor([len(q) - 1 for q in queries], device=device)
    chosen = torch.tensor(list(targets), device=device)
    columns = addresses if memory_columns else None
    at_end = hidden[torch.arange(len(queries), device=device), ends]
    if all_logits:
        logits = backbone.logits(hidden)
        extra = backbone.cap_logits(hidden.float() @ addresses.T)
        everything = torch.cat([logits, extra], dim=-1)
        if router_weight:
            labels[torch.arange(len(queries), device=device), ends] = backbone.vocabulary_size + chosen
        loss = F.cross_entropy(everything.flatten(0, 1), labels.flatten(), ignore_index=_IGNORED, reduction="sum")
        return loss, int((labels != _IGNORED).sum())
    picked = labels != _IGNORED
    answer = _cross_entropy(backbone, hidden[picked], labels[picked], columns)
    loss, count = answer.total, answer.tokens
    if router_weight:
        partition = torch.logsumexp(backbone.logits(at_end), dim=-1)
        loss = loss + router_weight * routing_loss(backbone, at_end.float(), partition, addresses, chosen)
        count += len(queries)
    return loss, count
