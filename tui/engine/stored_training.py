"""A procedure of a profile that is to be trained: what its training reads of the store, and where the result goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from profiles.files.paths import AppPaths
from profiles.settings.settings import Settings
from profiles.store.checkpoints import checkpoint_file
from profiles.store.store import ProfileStore
from tokmem_desk.errors import NotFoundError
from tokmem_desk.memory.file import memory_to_bytes
from tokmem_desk.procedures import ExamplePair
from trainer.config import TrainConfig, preset
from tui.engine.bank_cache import BankCache
from tui.engine.held_out import Holdout, active_holdout, corrected_inputs, inputs_of
from tui.engine.models import LoadedModel
from tui.engine.other_backbone import advice_on, scores_elsewhere
from tui.engine.previous_memory import unlearned
from tui.engine.procedure_training import LearnedMemory, TrainingWork
from tui.shared.training_times import TrainingTime, TrainingTimes


def wanted_config(fields: Mapping[str, Any], settings: Settings, model: LoadedModel) -> TrainConfig:
    """How to train, by the fields of a request (see ``operations.train``) and what is set."""
    span = fields.get("span") or settings.whole("span") or None
    config = preset(
        str(fields.get("preset") or settings.text("preset")),
        span=None if span is None else int(span),
        form="layers" if model.backbone.rotates_keys else "rows",
        seed=int(fields.get("seed") or 0),
    )
    if (fields.get("router") or settings.text("router")) == "token":
        config = replace(config, router_weight=1.0)
    return config


class StoredTraining:
    """One procedure of a profile, from its pairs to a candidate memory.

    Args:
        store: of the profile.
        settings: in force there.
        paths: where checkpoints, and times of earlier trainings, lie.
        model: loaded and fitted.
        bank_cache: of that model.
        procedure_id: what to train.
        config: how.
        fields: of the request, which choose more; see ``operations.train``.
    """

    def __init__(
        self,
        store: ProfileStore,
        settings: Settings,
        paths: AppPaths,
        model: LoadedModel,
        bank_cache: BankCache,
        procedure_id: int,
        config: TrainConfig,
        fields: Mapping[str, Any],
    ) -> None:
        self._store, self._model = store, model
        self._record = store.procedures.by_id(procedure_id)
        name = self._record.name
        procedure = store.procedures.with_pairs(name)
        fingerprint = model.backbone.fingerprint.digest
        self._checkpoint = checkpoint_file(paths, store, name, fingerprint)
        memories = bank_cache.memories(store)
        self.others = {other: memory for other, memory in memories.items() if other != name}
        """What the other procedures answer with, by name."""
        self.earlier = memories.get(name)
        """The memory that answers so far."""
        self._times = TrainingTimes(paths)
        characters = sum(len(pair.input) + len(pair.response) for pair in procedure.pairs)
        device = model.backbone.device.device.split(":")[0]
        chosen = str(fields.get("preset") or settings.text("preset"))
        self._of_kind = TrainingTime(fingerprint, device, chosen, characters, {})
        then = active_holdout(store, name, fingerprint)
        self.work = TrainingWork(
            self._record.uuid,
            procedure,
            frozenset() if then is None else inputs_of(then[0])[1],
            corrected_inputs(store, name),
            config,
            str(fields.get("router") or settings.text("router")),
            samples=str(fields.get("preset") or "normal") != "quick",
            keeps_form=settings.flag("keep_form"),
            budget_mb=settings.whole("memory_budget_mb"),
            expected=self._times.estimate(fingerprint, chosen, characters, device),
        )

    @property
    def _present_name(self) -> str:
        return self._store.procedures.by_id(self._record.id).name

    def read_checkpoint(self) -> bytes:
        """The state of an interrupted training.

        Raises:
            FileNotFoundError: there is none.
            OSError, BadInputError: it cannot be read.
        """
        return self._store.files.read(self._checkpoint)

    def keep_checkpoint(self, data: bytes) -> None:
        """Keep the state of the training so far."""
        self._store.files.write(self._checkpoint, data)

    def unlearned(self, pairs: Sequence[ExamplePair]) -> tuple[int, tuple[ExamplePair, ...], bool] | None:
        """The version of the memory that answers so far, those of ``pairs`` that it did not learn, and whether that is
        known; None without such a memory or such pairs.
        """
        found = unlearned(self._store, self._present_name, self._model.backbone.fingerprint.digest, pairs)
        return None if self.earlier is None else found

    def earlier_file(self) -> bytes:
        """The memory that answers so far, as a file; there must be one."""
        assert self.earlier is not None
        return memory_to_bytes(self.earlier, self._model.backbone.fingerprint)

    def keep(self, learned: LearnedMemory, job: int | None) -> dict[str, Any]:
        """Store a finished memory as a candidate; its training needs no checkpoint any more.

        Args:
            learned: what came out.
            job: of the queue.

        Returns:
            As ``protocol.Trained``.

        Raises:
            NotFoundError: the procedure was removed meanwhile.
            StorageError: the disk refuses.
        """
        card = learned.card
        self._compare_with_other_backbone(card, learned.holdout)
        kept_out = {pair.input for pair in learned.holdout.kept_out}
        pairs = self.work.procedure.pairs
        file = self._store.memories.write(learned.data)
        try:
            record = self._store.memories.add(
                self._record.id,
                self._model.backbone.fingerprint.digest,
                file,
                pairs,
                {**learned.settings, "backbone": self._model.backbone.model_id},
                card,
                job_id=job,
                learned=[pair.input not in kept_out for pair in pairs],
            )
        except NotFoundError:
            (self._store.memories.folder / file).unlink(missing_ok=True)
            raise
        with suppress(OSError):
            self._checkpoint.unlink(missing_ok=True)
        if learned.seconds is not None:
            self._times.add(replace(self._of_kind, seconds=learned.seconds))
        return {"name": record.procedure, "memory_id": record.id, "scorecard": card}

    def _compare_with_other_backbone(self, card: dict[str, Any], holdout: Holdout) -> None:
        """Set the figures of another model beside these, where this is the procedure's first memory on this one."""
        if self.earlier is not None or "exact_match" not in card:
            return
        fingerprint = self._model.backbone.fingerprint.digest
        found = scores_elsewhere(self._store, self._present_name, fingerprint, holdout)
        if found is not None:
            card["elsewhere"] = found
            card["advice"] = [advice_on(found, card["exact_match"]), *card["advice"]]
