"""Train procedures one after another, from pairs to a candidate memory with its scorecard."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch

from profiles.files.paths import AppPaths
from profiles.settings.settings import Settings
from profiles.store.store import ProfileStore
from tokmem_desk.generation.recall import Bank
from tokmem_desk.memory.memory import Memory
from tui.engine.bank_cache import BankCache
from tui.engine.held_out import Holdout
from tui.engine.improving import Improvement
from tui.engine.models import LoadedModel
from tui.engine.previous_memory import PreviousMemory
from tui.engine.procedure_training import ProcedureTraining
from tui.engine.stored_training import StoredTraining, wanted_config

if TYPE_CHECKING:
    from torch import Tensor

    from tui.engine.request import Request
    from tui.engine_client.protocol import CancelHow


def train(
    request: Request,
    store: ProfileStore,
    settings: Settings,
    paths: AppPaths,
    model: LoadedModel,
    bank_cache: BankCache,
) -> Iterator[None]:
    """Train the named procedures, or all that are new or changed; ends with ``done``.

    Raises:
        BusyError: another process trains in this profile.
    """
    with store.jobs.training():
        yield from _train(request, store, settings, paths, model, bank_cache)


def _train(
    request: Request,
    store: ProfileStore,
    settings: Settings,
    paths: AppPaths,
    model: LoadedModel,
    bank_cache: BankCache,
) -> Iterator[None]:
    fingerprint = model.backbone.fingerprint.digest
    names = request.fields.get("names")
    if names is None:
        names = store.procedures.to_train(fingerprint)
    # From here on by their ids: whatever is renamed meanwhile is found again.
    job = request.fields.get("job")
    ids = [store.procedures.get(name).id for name in names] if job is None else [store.jobs.get(int(job)).procedure_id]
    config = wanted_config(request.fields, settings, model)
    trained: list[dict[str, Any]] = []
    for procedure_id in ids:
        if request.cancelled.is_set():
            break
        if request.fields.get("improve"):
            router = str(request.fields.get("router") or settings.text("router"))
            improvement = Improvement(request, store, settings, paths, model, bank_cache, procedure_id, router)
            yield from improvement.steps()
            if improvement.trained is not None:
                trained.append(improvement.trained)
            continue
        stored = StoredTraining(store, settings, paths, model, bank_cache, procedure_id, config, request.fields)
        training = ProcedureTraining(stored.work, model, _HerePlace(request, store, bank_cache, stored))
        yield from training.steps()
        if training.learned is not None:
            trained.append(stored.keep(training.learned, job))
            yield
    request.emit("done", result={"cancelled": request.cancelled.is_set(), "trained": trained})


class _HerePlace:
    """The engine that has the profile open, as a training meets it: a ``TrainingPlace``."""

    def __init__(self, request: Request, store: ProfileStore, bank_cache: BankCache, stored: StoredTraining) -> None:
        self._request, self._store, self._bank_cache, self._stored = request, store, bank_cache, stored
        self.read_checkpoint, self.keep_checkpoint = stored.read_checkpoint, stored.keep_checkpoint

    @property
    def ending(self) -> CancelHow | None:
        return self._request.how if self._request.cancelled.is_set() else None

    def tell(self, **fields: Any) -> None:
        self._request.emit("progress", **fields)

    def other_addresses(self) -> Tensor | None:
        others = self._stored.others
        return torch.stack([memory.address for memory in others.values()]) if others else None

    def bank(self, memory: Memory) -> Bank:
        memories = {**self._stored.others, self._stored.work.procedure.name: memory}
        return self._bank_cache.assemble(self._store, memories, self._stored.work.router)

    def previous(self, holdout: Holdout) -> PreviousMemory | None:
        earlier, found = self._stored.earlier, self._stored.unlearned(holdout.held_out)
        if earlier is None or found is None:
            return None
        version, pairs, known = found
        work = self._stored.work
        answering = earlier if work.keeps_form else earlier.without_answer_template()
        return PreviousMemory(work.procedure.name, version, answering, pairs, self.bank(earlier), known)
