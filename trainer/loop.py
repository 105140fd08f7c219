"""The training loop, as a generator of progress.

Whoever drives the generator decides when the next step runs, and so gives chat its turn. Nothing is
printed, no file is touched: checkpoints go to a callback as bytes. Closing the generator, or asking it to
stop, leaves a usable best.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tokmem_desk.errors import IncompatibleError, OutOfMemoryError
from tokmem_desk.memory.memory import Memory, renormalise
from tokmem_desk.memory.steering import Steering
from tokmem_desk.procedures import Procedure
from tokmem_desk.system.device import is_out_of_memory
from tokmem_desk.templates.template import TEMPLATE_SETTING
from trainer.checkpoint import Checkpoint, optimised_state, put_back
from trainer.choices import SharedForms
from trainer.config import TrainConfig
from trainer.finite_steps import FiniteSteps
from trainer.metrics import known, running_mean
from trainer.objective import ResponseLoss, TrainableMemories, response_loss, routing_loss
from trainer.pace import Pace
from trainer.query_cache import QueryCache
from trainer.samples import QueryOf, Sample, batch_at, batch_count, demonstrations, encode_procedures
from trainer.slot_choosers import learn_choosers
from trainer.slot_pointers import learn_pointers
from trainer.slot_rows import learn_rows
from trainer.verdicts import Refinement, VerdictLoss

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.templates.template import AnswerTemplate
    from trainer.memory_start import Prior

_RUNNING_MEAN = 0.8


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of one training step.

    Attributes:
        phase: ``cache`` while queries run once, then ``train``; other runs have names of their own.
        step, steps: optimiser steps done and planned (of the cache: per cent).
        loss: running mean of the training loss, nats per labelled token; None before the first step.
        held_out_loss, best_held_out_loss: the same on held-out pairs, None without such pairs.
        seconds_left: estimate for this phase, None while there is none.
        note: something a person should know (a halved batch), or an empty string.
    """

    phase: str
    step: int
    steps: int
    loss: float | None = None
    held_out_loss: float | None = None
    best_held_out_loss: float | None = None
    seconds_left: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a run leaves.

    Attributes:
        memories: one per procedure, in their order, without router statistics.
        steps: optimiser steps taken.
        loss: last running training loss, nats per token.
        held_out_loss: the best on held-out pairs, or None.
        seconds: wall time of this run (after a resume: of the last part).
        stopped: ``end``, ``early`` (nothing more to gain) or ``cancelled``.
        pooled: [n x f] raw routing features of all inputs, or None.
        owners: the procedure of each row of ``pooled``.
    """

    memories: list[Memory]
    steps: int
    loss: float
    held_out_loss: float | None
    seconds: float
    stopped: str
    pooled: Tensor | None
    owners: list[int]


class Training:
    """One run over one or several procedures; iterate it, then read ``result``.

    Several procedures train in one batch stream. In the app each trains alone, because nothing couples
    them; the paper's objective couples them through the softmax and needs them together.
    """

    def __init__(
        self,
        backbone: Backbone,
        procedures: Sequence[Procedure],
        config: TrainConfig,
        *,
        other_addresses: Tensor | None = None,
        memory_budget_mb: float = 1024,
        feature_layers: Sequence[int] = (),
        resume: Checkpoint | None = None,
        save: Callable[[bytes], None] | None = None,
        save_every: int = 25,
        query_of: QueryOf | None = None,
        prior: Prior | None = None,
        keys: Sequence[str] | None = None,
        held_out: Sequence[str] = (),
        refinement: Refinement | None = None,
    ) -> None:
        """Prepare a run; nothing heavy happens before the first step.

        Args:
            other_addresses: [o x d] frozen addresses that stand in the routing softmax too.
            memory_budget_mb: for cached keys and values.
            feature_layers: hidden states whose pooled features the result should hold.
            resume: state of a killed run with the same pairs and settings.
            save: receives checkpoint bytes every ``save_every`` steps.
            query_of: how a pair becomes a query; the input alone by default.
            prior: what memories of this backbone start from; None for the demonstrations alone.
            keys: what procedures are known by, however they are called; their names by default.
            held_out: what checkpoints are to say of pairs that the run does not get, see ``Checkpoint``.
            refinement: go on from a memory with verdicts on its answers; one procedure alone then.

        Raises:
            BadInputError: no pairs, or a pair longer than the context.
            IncompatibleError: ``resume`` belongs to other pairs or settings.
        """
        self._backbone = backbone
        self._procedures = list(procedures)
        self._config = config
        self._save, self._save_every = save, save_every
        self._stop = False
        self.result: TrainResult | None = None
        as_query = query_of or (lambda _procedure, pair: backbone.format.query(pair.input))
        self._train, self._held_out = encode_procedures(backbone, self._procedures, config, as_query)
        self._shared = SharedForms(backbone, self._procedures, wanted=config.shared_form)
        everything = self._train + self._held_out
        self._cache = QueryCache(
            backbone,
            [s.query for s in everything],
            budget_mb=memory_budget_mb,
            feature_layers=feature_layers,
            token_space=backbone.token_space if config.shared_form and config.pointers else None,
        )
        self._forms: dict[int, AnswerTemplate] = {}
        texts = [demonstrations(backbone, p, at_least=4 * config.span) for p in self._procedures]
        self._memories = TrainableMemories(
            backbone, config, texts, prior, None if refinement is None else refinement.memory
        )
        self._prior = prior.digest if prior is not None and config.form == "layers" else ""
        self._verdicts: VerdictLoss | None = None
        if refinement is not None:
            self._verdicts = VerdictLoss(backbone, refinement, budget_mb=memory_budget_mb, seed=config.seed)
        self._others = other_addresses
        self._optimiser = torch.optim.AdamW(
            self._memories.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self._batch_size = config.batch_size
        self._steps = min(config.max_steps, config.epochs * batch_count(self._train, config.batch_size))
        self._finite = FiniteSteps(backbone, self._steps)
        self._step = 0
        self._loss = math.nan
        self._best_loss: float | None = None
        self._best_accuracy = -1.0
        self._best: list[Tensor] | None = None
        self._checks_without_gain = 0
        names, pairs = [p.name for p in self._procedures], [p.pairs for p in self._procedures]
        began_at = self._prior if refinement is None else refinement.digest
        self._identity = Checkpoint.identify(names if keys is None else keys, pairs, config, began_at)
        # Older checkpoints identify procedures by name; they fit where nothing was renamed since.
        self._identities = {self._identity, Checkpoint.identify(names, pairs, config, began_at)}
        self._kept_out = tuple(held_out)
        if resume is not None:
            self._restore(resume)

    @property
    def planned_steps(self) -> int:
        """Optimiser steps of the whole run, unless it stops early."""
        return self._steps

    # --- driving -----------------------------------------------------------------------------------

    def stop(self) -> None:
        """End at the next step, keeping the best so far."""
        self._stop = True

    def __iter__(self) -> Iterator[Progress]:
        """Run step by step, yielding progress.

        Raises:
            OutOfMemoryError: one pair at a time does not fit into the memory.
            IncompatibleError: the numbers of one step after another overflow.
        """
        began = time.monotonic()
        outcome = "end"
        try:
            for share in self._cache.fill():
                yield Progress("cache", round(100 * share), 100)
                if self._stop:
                    break
            if not self._stop and self._verdicts is not None:
                yield from self._read_verdicts(self._verdicts)
            if not self._stop and self._cache.tokens:
                yield from self._point()
            if not self._stop:
                outcome = yield from self._run()
            if self._stop:
                outcome = "cancelled"
        except BaseException as error:
            # Keep a checkpoint if possible; a failure here must not hide why the run ended.
            with suppress(Exception):
                self.result = self._result(time.monotonic() - began, outcome)
            if isinstance(error, OutOfMemoryError) or not is_out_of_memory(error):
                raise
            raise _too_much() from error
        self.result = self._result(time.monotonic() - began, outcome)

    def _read_verdicts(self, verdicts: VerdictLoss) -> Iterator[Progress]:
        for share in verdicts.fill():
            yield Progress("cache", round(100 * share), 100)
            if self._stop:
                return

    def _point(self) -> Iterator[Progress]:
        """Learn what messages say about the values of each procedure's form: which words, value of a set, lines."""
        for owner, (procedure, form) in enumerate(zip(self._procedures, self._shared.forms, strict=True)):
            # Values from the conversation are in no message, and a schema comes before the form.
            if form is None or procedure.reads_conversation or procedure.output_schema is not None:
                continue
            rows = [row for row, sample in enumerate(self._train) if sample.owner == owner]
            pairs = [(self._train[row].message, self._train[row].text) for row in rows]
            tokens = [self._cache.tokens[row] for row in rows]
            for learn in (learn_pointers, learn_choosers, learn_rows):
                known = self._forms.get(owner, form)
                for found in learn(self._backbone, known, pairs, tokens, self._config.seed):
                    if isinstance(found, float):
                        yield Progress("cache", round(100 * found), 100)
                    else:
                        self._forms[owner] = found
                    if self._stop:
                        return

    def _run(self) -> Generator[Progress, None, str]:
        config = self._config
        check_every = max(1, self._steps // config.checks_per_run) if config.checks_per_run else 0
        pace = Pace(self._step, self._steps, config.floor_loss)
        note = ""
        while self._step < self._steps and not self._stop:
            try:
                loss = self._optimise(batch_at(self._train, config.batch_size, config.seed, self._step))
            # torch.OutOfMemoryError is a RuntimeError; ours comes from messages that are read within the step.
            except (RuntimeError, MemoryError, OutOfMemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if self._batch_size == 1:
                    raise _too_much() from error
                self._batch_size = max(1, self._batch_size // 2)
                self._optimiser.zero_grad(set_to_none=True)
                pairs = "1 pair" if self._batch_size == 1 else f"{self._batch_size} pairs"
                note = f"Memory ran short: going on with {pairs} at a time."
                continue
            self._step += 1
            if loss is None:
                note = f"{note} Left out a step whose numbers overflowed ({self._finite.left_out} so far).".strip()
            else:
                self._loss = running_mean(self._loss, loss, _RUNNING_MEAN)
            held_out = None
            if self._held_out and check_every and (self._step % check_every == 0 or self._step == self._steps):
                held_out = self._check()
            if self._save is not None and loss is not None and self._step % self._save_every == 0:
                self._save(self.checkpoint().to_bytes())
            yield Progress(
                "train",
                self._step,
                self._steps,
                known(self._loss),
                held_out,
                self._best_loss,
                pace.seconds_left(self._step, self._loss),
                note,
            )
            note = ""
            if self._checks_without_gain >= config.patience or self._loss < config.floor_loss:
                return "early"
        return "end"

    # --- one step ----------------------------------------------------------------------------------

    def _optimise(self, rows: list[int]) -> float | None:
        """One step; the loss, or None where it was left out because something was not finite."""
        config = self._config
        for group in self._optimiser.param_groups:
            group["lr"] = config.learning_rate * self._rate(self._step)
        self._optimiser.zero_grad(set_to_none=True)
        labelled = sum(len(self._train[i].response) for i in rows) + (len(rows) if config.router_weight else 0)
        losses: list[Tensor] = []
        for start in range(0, len(rows), self._batch_size):
            part = rows[start : start + self._batch_size]
            with self._backbone.training():
                loss = self._loss_of(part) / labelled
                loss.backward()
            losses.append(loss.detach())
        if self._verdicts is not None:
            with self._backbone.training():
                said = self._verdicts.at(self._step, self._memories.steering()[0])
                if said is not None:
                    said.backward()
        norms: list[Tensor] = []
        for deltas, grads in self._gradients():
            norm = torch.sqrt(sum((g.pow(2).sum() for g in grads), start=torch.zeros((), device=deltas[0].device)))
            norms.append(norm)
            if config.clip_norm:
                factor = torch.clamp(config.clip_norm / (norm + 1e-6), max=1.0)
                for grad in grads:
                    grad.mul_(factor)
        numbers = self._finite.read([*losses, *norms])
        if numbers is None:
            self._optimiser.zero_grad(set_to_none=True)
            return None
        self._optimiser.step()
        return sum(numbers[: len(losses)])

    def _gradients(self) -> Iterator[tuple[list[Tensor], list[Tensor]]]:
        """Gradients per procedure: independent ones must not clip one another. The paper's rows are one."""
        parameters: list[Tensor] = [p for p in self._memories.parameters() if p.grad is not None]
        if self._config.memory_columns:
            yield parameters, [p.grad for p in parameters if p.grad is not None]
            return
        for owner in range(len(self._procedures)):
            yield parameters, [p.grad[owner] for p in parameters if p.grad is not None]

    def _loss_of(self, rows: list[int]) -> Tensor:
        config = self._config
        samples = [self._train[i] for i in rows]
        blocks = self._memories.steering()
        addresses = self._memories.addresses()
        everyone = addresses if self._others is None else torch.cat([addresses, self._others])
        answer = self._responses(rows, samples, [blocks[s.owner] for s in samples], everyone)
        loss = answer.total
        if config.router_weight:
            at = torch.tensor(rows, device=self._cache.last_hidden.device)
            loss = loss + config.router_weight * routing_loss(
                self._backbone,
                self._cache.last_hidden[at],
                self._cache.log_partition[at],
                everyone,
                torch.tensor([s.owner for s in samples], device=at.device),
            )
        return loss

    def _responses(
        self, rows: list[int], samples: list[Sample], blocks: list[Steering], columns: Tensor
    ) -> ResponseLoss:
        return response_loss(
            self._backbone,
            self._cache.states(rows),
            blocks,
            [s.response for s in samples],
            columns if self._config.memory_columns else None,
            [self._shared.choices(sample) for sample in samples],
        )

    def _rate(self, step: int) -> float:
        """Linear warm-up, then linear decay to zero; a factor on the learning rate."""
        rise = max(1, round(self._config.warmup * self._steps))
        if step < rise:
            return (step + 1) / rise
        return max(0.02, (self._steps - step) / max(1, self._steps - rise))

    # --- choosing the best -------------------------------------------------------------------------

    @torch.no_grad()
    def _check(self) -> float:
        """Held-out loss now; keeps the parameters when more tokens are right than ever before.

        Token accuracy comes first because it is what greedy decoding shows: a memory that is sure of a
        wrong token loses little quality and much cross-entropy.
        """
        blocks = [block.detached() for block in self._memories.steering()]
        total, tokens, correct = 0.0, 0, 0
        for start in range(0, len(self._held_out), self._batch_size):
            samples = self._held_out[start : start + self._batch_size]
            rows = [len(self._train) + start + i for i in range(len(samples))]
            part = self._responses(rows, samples, [blocks[s.owner] for s in samples], self._memories.addresses())
            total, tokens, correct = total + float(part.total), tokens + part.tokens, correct + (part.correct or 0)
        loss, accuracy = total / tokens, correct / tokens
        better_loss = self._best_loss is None or loss < self._best_loss
        better = accuracy > self._best_accuracy or (accuracy == self._best_accuracy and better_loss)
        if better and math.isfinite(loss):
            self._best_accuracy = accuracy
            self._best_loss = loss
            self._best = [p.detach().clone() for p in self._memories.parameters()]
            self._checks_without_gain = 0
        else:
            self._checks_without_gain += 1
        return loss

    # --- keeping -----------------------------------------------------------------------------------

    def checkpoint(self) -> Checkpoint:
        """The state from which a resumed run takes the same steps."""
        parameters = list(self._memories.parameters())
        tensors = optimised_state(parameters, self._optimiser)
        for i, tensor in enumerate(self._best or ()):
            tensors[f"best.{i}"] = tensor.detach().cpu().contiguous()
        numbers = {
            "step": self._step,
            "batch_size": self._batch_size,
            "loss": self._loss,
            "best_loss": self._best_loss,
            "best_accuracy": self._best_accuracy,
            "checks_without_gain": self._checks_without_gain,
        }
        names = tuple(procedure.name for procedure in self._procedures)
        return Checkpoint(self._identity, tensors, numbers, self._kept_out, names)

    def _restore(self, checkpoint: Checkpoint) -> None:
        if checkpoint.identity not in self._identities:
            raise IncompatibleError(
                "The interrupted training was of other pairs or settings.", next_step="Start the training anew."
            )
        parameters = list(self._memories.parameters())
        put_back(checkpoint.tensors, parameters, self._optimiser)
        if "best.0" in checkpoint.tensors:
            device = self._backbone.torch_device
            self._best = [checkpoint.tensors[f"best.{i}"].to(device) for i in range(len(parameters))]
        numbers = checkpoint.numbers
        self._step, self._batch_size = int(numbers["step"] or 0), int(numbers["batch_size"] or 1)
        self._loss = math.nan if numbers["loss"] is None else float(numbers["loss"])
        self._best_loss = None if numbers["best_loss"] is None else float(numbers["best_loss"])
        self._best_accuracy = float(numbers["best_accuracy"] or 0.0)
        self._checks_without_gain = int(numbers["checks_without_gain"] or 0)

    @torch.no_grad()
    def snapshot(self) -> list[Memory]:
        """The memories as they are now, one per procedure, without router statistics."""
        addresses = self._memories.addresses().detach()
        if self._others is not None and self._config.router_weight and not self._config.tied:
            addresses = renormalise(addresses, self._others)
        memories = []
        for p, (procedure, block) in enumerate(zip(self._procedures, self._memories.steering(), strict=True)):
            settings = {**self._config.as_dict(), "steps": self._step, "pairs": len(procedure.pairs)}
            if self._prior:
                settings["prior"] = self._prior
            if form := self._forms.get(p, self._shared.forms[p]):
                settings[TEMPLATE_SETTING] = form.as_dict()
            memories.append(
                Memory(procedure.name, block.detached(), addresses[p], self._config.tied, settings=settings)
            )
        return memories

    @torch.no_grad()
    def _result(self, seconds: float, stopped: str) -> TrainResult:
        if self._best is not None:
            for parameter, best in zip(self._memories.parameters(), self._best, strict=True):
                parameter.copy_(best)
        return TrainResult(
            self.snapshot(),
            self._step,
            self._loss,
            self._best_loss,
            seconds,
            stopped,
            self._cache.pooled,
            [s.owner for s in (*self._train, *self._held_out)],
        )


def _too_much() -> OutOfMemoryError:
    return OutOfMemoryError(
        "Training does not fit into the memory, even with one pair at a time.",
        next_step="Close other programs, make the memory shorter, or choose a smaller model.",
    )
