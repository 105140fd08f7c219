"""The other side: a process that has loaded the model once and trains one procedure after another.

Knows no Ray, no profile and no key. Nothing of what it gets is written to a disk. Torch is imported when it begins, so
that this module can be read before its environment is set.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokmem_desk.errors import EngineError, IncompatibleError, TokmemError
from tokmem_desk.system.threads import wait_asleep
from tui.engine.cluster.task import Neighbours, Sent, TrainingTask, WorkerSetup, versions
from tui.process.faults import in_words
from tui.process.private_memory import keep_memory_private

if TYPE_CHECKING:
    from torch import Tensor

    from tokmem_desk.generation.recall import Bank
    from tokmem_desk.memory.memory import Memory
    from tui.engine.held_out import Holdout
    from tui.engine.models import LoadedModel
    from tui.engine.previous_memory import PreviousMemory
    from tui.engine_client.protocol import CancelHow

_PROGRESS_SECONDS = 0.5
"""How often to tell that nothing but a number has changed: each step of each worker would be thousands of messages."""


class Worker:
    """Trains on this computer for another one."""

    def __init__(self, setup: WorkerSetup, neighbours: Neighbours) -> None:
        """Nothing is loaded yet.

        Args:
            neighbours: of all procedures to come.
        """
        self._setup, self._neighbours = setup, neighbours
        self._model: LoadedModel | None = None
        self._ending: CancelHow | None = None

    def introduce(self) -> dict[str, Any]:
        """Load the model and say what this worker is; ``error`` is there where it is of no use.

        Returns:
            ``host``, ``pid``, ``device``, ``dtype``; or ``host``, ``pid`` and ``error``, as ``TokmemError.as_dict``.
        """
        about: dict[str, Any] = {"host": socket.gethostname(), "pid": os.getpid()}
        keep_memory_private()
        try:
            self._refuse_other_versions()
            model = self._model = self._load()
        except Exception as caught:  # noqa: BLE001 - whatever it is, the others go on without this worker
            error = in_words(caught) or EngineError(f"The model could not be loaded ({type(caught).__name__}).")
            return {**about, "error": error.as_dict()}
        return {**about, "device": model.choice.device, "dtype": model.choice.compute_dtype}

    def _refuse_other_versions(self) -> None:
        for name, there in self._setup.versions.items():
            here = versions().get(name)
            if here != there:
                raise IncompatibleError(
                    f"It has {name} {here}, and the computer that asks has {there}: memories could differ.",
                    next_step=f"Install {name} {there} on all computers of the cluster.",
                )

    def _load(self) -> LoadedModel:
        wait_asleep()
        from tokmem_desk.system.lean_imports import import_torch_leanly

        import_torch_leanly()
        from profiles.files.paths import AppPaths
        from tui.engine.cluster.fits import take_fits
        from tui.engine.models import LoadedModel

        setup, paths = self._setup, AppPaths.resolve()
        if Path(setup.cache).is_dir():  # the same computer, or a disk that both share
            paths = replace(paths, cache=Path(setup.cache))
        model = LoadedModel(paths, setup.model, setup.device, offline=True)
        for _ in model.load_to_chat(lambda _phase, _share, _text: None, lambda: False):
            pass
        found = model.backbone.fingerprint.digest
        if found != setup.fingerprint:
            raise IncompatibleError(
                f"Its model {model.backbone.model_id} has other weights, or another tokenizer, than the one here "
                f"({found[:12]} instead of {setup.fingerprint[:12]}).",
                next_step=f"Fetch the same one there: tokmem-desk model pull {setup.model}",
            )
        take_fits(model, setup.fits)
        return model

    def end(self, how: CancelHow) -> None:
        """Ask what runs for an end; may be called while ``train`` runs."""
        self._ending = how

    def train(self, task: TrainingTask) -> Iterator[Sent]:
        """Train one procedure; the last of what is sent is ``learned`` or ``error``."""
        from tui.engine.procedure_training import ProcedureTraining

        self._ending = None
        assert self._model is not None
        try:
            place = _Place(self, self._model, task, self._neighbours)
            training = ProcedureTraining(task.work, self._model, place)
            # One by one: Ray sends into this generator, which a list cannot take.
            for _ in training.steps():
                for sent in place.take():
                    yield sent
            for sent in place.take():
                yield sent
            yield "learned", training.learned
        except TokmemError as caught:
            yield "error", caught.as_dict()
        except Exception as caught:  # noqa: BLE001 - it ends this procedure, and the others go on
            error = in_words(caught) or EngineError(
                f"The worker met something unforeseen ({type(caught).__name__}: {caught}).", next_step="Try again."
            )
            yield "error", error.as_dict()

    @property
    def ending(self) -> CancelHow | None:
        """How what runs was asked to end."""
        return self._ending


class _Place:
    """This worker as a training meets it: a ``TrainingPlace``."""

    def __init__(self, worker: Worker, model: LoadedModel, task: TrainingTask, neighbours: Neighbours) -> None:
        self._worker, self._model, self._task = worker, model, task
        self._others = {n: m for n, m in neighbours.memories.items() if n != task.work.procedure.name}
        self._corrections, self._examples = neighbours.corrections, neighbours.examples
        self._outbox: list[Sent] = []
        self._told_at, self._told_phase = 0.0, ""

    def take(self) -> list[Sent]:
        """What is to be sent since the last time."""
        sent, self._outbox = self._outbox, []
        return sent

    @property
    def ending(self) -> CancelHow | None:
        return self._worker.ending

    def tell(self, **fields: Any) -> None:
        now, phase = time.monotonic(), str(fields["phase"])
        says_more = any(fields[name] is not None for name in ("sample", "note", "held_out_loss"))
        if says_more or phase != self._told_phase or now - self._told_at >= _PROGRESS_SECONDS:
            self._told_at, self._told_phase = now, phase
            self._outbox.append(("progress", fields))

    def read_checkpoint(self) -> bytes:
        if self._task.checkpoint is None:
            raise FileNotFoundError
        return self._task.checkpoint

    def keep_checkpoint(self, data: bytes) -> None:
        self._outbox.append(("checkpoint", data))

    def other_addresses(self) -> Tensor | None:
        import torch

        device = self._model.backbone.torch_device
        addresses = [one.address.to(device) for one in self._others.values()]
        return torch.stack(addresses) if addresses else None

    def bank(self, memory: Memory) -> Bank:
        from tokmem_desk.generation.recall import Bank
        from tokmem_desk.memory.memory import Memory
        from tokmem_desk.memory.steering import Steering
        from tokmem_desk.routing.routers import DiscriminantRouter, Router, TokenRouter

        backbone, basis = self._model.backbone, self._model.basis
        # Nobody answers under the others here: they are routed to.
        memories = {
            name: Memory(name, Steering(()), one.address.to(backbone.torch_device), one.tied, one.statistics)
            for name, one in self._others.items()
        } | {memory.name: memory}
        router: Router
        if self._task.work.router == "token":
            router = TokenRouter(backbone, list(memories.values()))
        else:
            statistics = {name: one.statistics for name, one in memories.items() if one.statistics is not None}
            router = DiscriminantRouter(
                basis, backbone.hidden_size, statistics, None, list(self._corrections), self._examples.get
            )
        return Bank(memories, router, segment_tagger=self._model.segment_tagger, references=self._model.references)

    def previous(self, holdout: Holdout) -> PreviousMemory | None:
        from tokmem_desk.memory.file import memory_from_bytes
        from tui.engine.previous_memory import PreviousMemory

        earlier, work = self._task.earlier, self._task.work
        pairs = () if earlier is None else tuple(pair for pair in holdout.held_out if pair.input in earlier.fresh)
        if earlier is None or not pairs:
            return None
        name = work.procedure.name
        memory = replace(memory_from_bytes(earlier.data, self._model.backbone, f"The memory of {name!r}"), name=name)
        answering = memory if work.keeps_form else memory.without_answer_template()
        return PreviousMemory(name, earlier.version, answering, pairs, self.bank(memory), earlier.known)
