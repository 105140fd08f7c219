"""Training of chains (``tokmem_desk.paper.chain``) from examples with several procedures.

The loss is that of the whole sequence: on every memory, response token, end of procedure, and on the end of the
turn; none on the query. Only what precedes the first memory is constant, so only that is computed once; behind it
every position has its full logits, with gradient. Where the backbone itself trains (``trainer.paper.adaptation``)
nothing is constant, and the same loss is taken on whole sequences.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tokmem_desk.memory.input_rows import initial_rows
from tokmem_desk.memory.memory import renormalise
from tokmem_desk.paper.chain import Chain, embed_symbols, extra_logits
from trainer.finite_steps import FiniteSteps
from trainer.loop import Progress
from trainer.metrics import known, running_mean
from trainer.query_cache import QueryCache

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.backbone.query_state import QueryState

_IGNORED = -100
_RUNNING_MEAN = 0.8


@dataclass(frozen=True, slots=True)
class ChainConfig:
    """Settings of a run; the defaults are the paper's."""

    epochs: int = 1
    """Passes over the examples."""
    batch_size: int = 4
    """Examples in one optimiser step."""
    learning_rate: float = 5e-3
    """Adam's step."""
    warmup: float = 0.1
    """Share of the steps over which the rate rises linearly; then it falls linearly."""
    clip_norm: float = 1.0
    """Largest gradient norm."""
    eop: bool = True
    """Mark the end of each procedure with a token of its own."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class ChainExample:
    """A query and its segments: (place of the procedure, response)."""

    query: str
    segments: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class ChainSample:
    """The same as ids; ``symbols`` are all that follows the query, see ``chain`` for the extra ids."""

    query: list[int]
    symbols: list[int]


def encode(backbone: Backbone, example: ChainExample, procedures: int, *, eop: bool) -> ChainSample:
    """Ids of an example.

    Raises:
        IncompatibleError: it is longer than the context.
    """
    v = backbone.vocabulary_size
    symbols: list[int] = []
    for owner, response in example.segments:
        symbols += [v + owner, *backbone.format.encode_text(response), *([v + procedures] if eop else [])]
    query = backbone.format.query(example.query)
    backbone.check_length(len(query) + len(symbols) + 1)
    return ChainSample(query, symbols)


def chain_loss(
    backbone: Backbone,
    states: Sequence[QueryState],
    last_hidden: Tensor,
    log_partition: Tensor,
    samples: Sequence[ChainSample],
    table: Tensor,
) -> tuple[Tensor, int]:
    """Summed cross-entropy in nats over cached queries, and the number of labels.

    Args:
        last_hidden: [b x d] state at the end of each query.
        log_partition: [b] logsumexp of the frozen vocabulary's logits there.
        table: [rows x d] extra rows, with gradient.
    """
    device = backbone.torch_device
    batch = backbone.layout.join(states, [None] * len(states))
    symbols, labels = _padded(samples, backbone.format.end_id)
    symbols, labels = symbols.to(device), labels.to(device)
    present = labels != _IGNORED
    hidden = backbone.extend(batch, embed_symbols(backbone, symbols, table), present[:, 1:].long())
    behind = _cross_entropy(backbone, hidden[present[:, 1:]], labels[:, 1:][present[:, 1:]], table)
    scores = extra_logits(backbone, last_hidden, table)
    first = (labels[:, 0] - backbone.vocabulary_size)[:, None]
    at_end = torch.logsumexp(torch.cat([log_partition[:, None], scores], dim=1), dim=1) - scores.gather(1, first)[:, 0]
    return behind + at_end.sum(), int(present.sum())


def plain_chain_loss(backbone: Backbone, samples: Sequence[ChainSample], table: Tensor) -> tuple[Tensor, int]:
    """The same loss on whole sequences: for adaptation, where the query's states change too, and as a yardstick.

    Args:
        samples: a batch.
        table: [m x d] extra rows, float32.

    Returns:
        The loss in nats, summed over all labels, and the number of labels.
    """
    device = backbone.torch_device
    lengths = [len(sample.query) + len(sample.symbols) for sample in samples]
    width = max(lengths)
    symbols = torch.full((len(samples), width), backbone.format.end_id)
    labels = torch.full((len(samples), width), _IGNORED)
    for row, sample in enumerate(samples):
        symbols[row, : lengths[row]] = torch.tensor([*sample.query, *sample.symbols])
        labels[row, len(sample.query) - 1 : lengths[row]] = torch.tensor([*sample.symbols, backbone.format.end_id])
    symbols, labels = symbols.to(device), labels.to(device)
    present = (torch.arange(width, device=device)[None] < torch.tensor(lengths, device=device)[:, None]).long()
    hidden = backbone.run_embeddings(embed_symbols(backbone, symbols, table), present)
    picked = labels != _IGNORED
    return _cross_entropy(backbone, hidden[picked], labels[picked], table), int(picked.sum())


def _padded(samples: Sequence[ChainSample], end_id: int) -> tuple[Tensor, Tensor]:
    """[b x s] symbols behind the query, and [b x (s + 1)] labels: of the end of the query, then of each symbol."""
    width = max(len(sample.symbols) for sample in samples)
    symbols = torch.full((len(samples), width), end_id)
    labels = torch.full((len(samples), width + 1), _IGNORED)
    for row, sample in enumerate(samples):
        symbols[row, : len(sample.symbols)] = torch.tensor(sample.symbols)
        labels[row, : len(sample.symbols) + 1] = torch.tensor([*sample.symbols, end_id])
    return symbols, labels


def _cross_entropy(backbone: Backbone, hidden: Tensor, labels: Tensor, table: Tensor) -> Tensor:
    logits = torch.cat([backbone.logits(hidden), extra_logits(backbone, hidden, table)], dim=-1)
    return F.cross_entropy(logits, labels, reduction="sum")


class ChainTraining:
    """One run; iterate it, then read ``chain()``."""

    def __init__(
        self,
        backbone: Backbone,
        names: Sequence[str],
        examples: Sequence[ChainExample],
        config: ChainConfig,
        *,
        earlier: Chain | None = None,
        eop: Tensor | None = None,
        memory_budget_mb: float = 1024,
    ) -> None:
        """Prepare a run.

        Args:
            names: procedures to train; segments count those of ``earlier`` first.
            earlier: memories trained before; they stay as they are and stand in the softmax.
            eop: a fixed [d] row for the end of procedure (an adapted backbone's); None trains one.
        """
        self._backbone, self._config, self._names = backbone, config, tuple(names)
        self._earlier = earlier
        start = initial_rows(backbone, len(names) + 1, seed=config.seed)
        self.rows = nn.Parameter(start[:-1].clone())
        given = eop if eop is not None else earlier.eop if earlier is not None else None
        self._fixed_eop = None if given is None else given.to(start.device)
        self._own_eop = nn.Parameter(start[-1].clone()) if config.eop and given is None else None
        procedures = len(names) + (len(earlier.names) if earlier is not None else 0)
        self._samples = [encode(backbone, example, procedures, eop=config.eop) for example in examples]
        self._cache = QueryCache(backbone, [s.query for s in self._samples], budget_mb=memory_budget_mb)
        self.steps = config.epochs * math.ceil(len(self._samples) / config.batch_size)

    def table(self) -> Tensor:
        """[m x d] float32: every extra row, with gradient into those in training."""
        parts = [] if self._earlier is None else [self._earlier.rows]
        parts.append(self.rows)
        eop = self._own_eop if self._own_eop is not None else self._fixed_eop
        if self._config.eop and eop is not None:
            parts.append(eop[None])
        return torch.cat(parts)

    def __iter__(self) -> Iterator[Progress]:
        for share in self._cache.fill():
            yield Progress("cache", round(100 * share), 100)
        parameters = [self.rows, *([self._own_eop] if self._own_eop is not None else [])]
        optimiser = torch.optim.AdamW(parameters, lr=self._config.learning_rate, weight_decay=0.0)
        finite = FiniteSteps(self._backbone, self.steps)
        running, began = math.nan, time.monotonic()
        for step in range(self.steps):
            for group in optimiser.param_groups:
                group["lr"] = self._config.learning_rate * rate_at(step, self.steps, self._config.warmup)
            rows = chain_batch(
                [len(s.symbols) for s in self._samples], self._config.batch_size, self._config.seed, step
            )
            samples = [self._samples[i] for i in rows]
            at = torch.tensor(rows, device=self._cache.last_hidden.device)
            with self._backbone.training():
                total, count = chain_loss(
                    self._backbone,
                    self._cache.states(rows),
                    self._cache.last_hidden[at],
                    self._cache.log_partition[at],
                    samples,
                    self.table(),
                )
                loss = total / count
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
            norm = nn.utils.clip_grad_norm_(parameters, self._config.clip_norm)
            if numbers := finite.read([loss, norm]):
                optimiser.step()
                running = running_mean(running, numbers[0], _RUNNING_MEAN)
            pace = (time.monotonic() - began) / (step + 1)
            yield Progress("train", step + 1, self.steps, known(running), seconds_left=pace * (self.steps - step - 1))

    def chain(self, *, renormalised: bool = True) -> Chain:
        """The trained chain, earlier memories first.

        Args:
            renormalised: scale new rows to the mean norm of the earlier ones.
        """
        rows = self.rows.detach()
        names = self._names
        if self._earlier is not None:
            fitted = renormalise(rows, self._earlier.rows) if renormalised else rows
            rows = torch.cat([self._earlier.rows, fitted])
            names = (*self._earlier.names, *names)
        eop = None
        if self._config.eop:
            eop = self._own_eop.detach() if self._own_eop is not None else self._fixed_eop
        return Chain(names, rows, eop)


def rate_at(step: int, steps: int, warmup: float) -> float:
    """Linear rise, then linear fall; a factor on the rate."""
    rise = max(1, round(warmup * steps))
    return (step + 1) / rise if step < rise else max(0.02, (steps - step) / max(1, steps - rise))


def chain_batch(lengths: Sequence[int], size: int, seed: int, step: int) -> list[int]:
    """Places of the examples of a step, a function of the seed alone; like lengths stand together."""
    batches = math.ceil(len(lengths) / size)
    epoch, place = divmod(step, batches)
    rng = random.Random(f"{seed}/{epoch}")
    order = list(range(len(lengths)))
    rng.shuffle(order)
    stretch = 8 * size
    sorted_within = [
        i
        for start in range(0, len(order), stretch)
        for i in sorted(order[start : start + stretch], key=lambda i: lengths[i])
    ]
    starts = list(range(0, len(order), size))
    rng.shuffle(starts)
    return sorted_within[starts[place] : starts[place] + size]
