"""Train procedures one after another, from pairs to a candidate memory with its scorecard."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from profiles.files.paths import AppPaths
from profiles.settings.settings import Settings
from profiles.store.checkpoints import checkpoint_file
from profiles.store.store import ProfileStore
from tokmem_desk.errors import BadInputError, NotFoundError, TokmemError
from tokmem_desk.generation.recall import answer_messages
from tokmem_desk.memory.extractor import Extractor
from tokmem_desk.memory.file import memory_to_bytes
from tokmem_desk.memory.memory import Memory
from tokmem_desk.memory.router_statistics import RouterStatistics
from tokmem_desk.procedures import ExamplePair
from tokmem_desk.templates.json_schema import read_schema
from trainer.checkpoint import Checkpoint
from trainer.config import TrainConfig, preset
from trainer.evaluate import answer_tokens
from trainer.extractor import extractable, train_extractor, with_extractor
from trainer.loop import Progress, Training, TrainResult
from tui.engine.bank_cache import BankCache
from tui.engine.evaluation import Scored, scorecard
from tui.engine.held_out import (
    Holdout,
    active_holdout,
    choose_holdout,
    corrected_inputs,
    input_digest,
    inputs_of,
    restore_holdout,
)
from tui.engine.models import LoadedModel
from tui.engine.previous_memory import PreviousMemory, unlearned

if TYPE_CHECKING:
    from tui.engine.request import Request

_SAMPLES_PER_RUN = 6
_SAMPLED_PAIRS = 3
"""Held-out pairs that are answered in turn while a memory learns."""


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
    config = _config(request, settings, model)
    router = str(request.fields.get("router") or settings.text("router"))
    trained: list[dict[str, Any]] = []
    for procedure_id in ids:
        if request.cancelled.is_set():
            break
        run = _OneTraining(request, store, settings, paths, model, bank_cache, procedure_id, config, router)
        yield from run.steps()
        if run.trained is not None:
            trained.append(run.trained)
    request.emit("done", result={"cancelled": request.cancelled.is_set(), "trained": trained})


def _config(request: Request, settings: Settings, model: LoadedModel) -> TrainConfig:
    span = request.fields.get("span") or settings.whole("span") or None
    config = preset(
        str(request.fields.get("preset") or settings.text("preset")),
        span=None if span is None else int(span),
        form="layers" if model.backbone.rotates_keys else "rows",
        seed=int(request.fields.get("seed") or 0),
    )
    if (request.fields.get("router") or settings.text("router")) == "token":
        config = replace(config, router_weight=1.0)
    return config


class _OneTraining:
    """Training, measuring and storing of one procedure."""

    def __init__(
        self,
        request: Request,
        store: ProfileStore,
        settings: Settings,
        paths: AppPaths,
        model: LoadedModel,
        bank_cache: BankCache,
        procedure_id: int,
        config: TrainConfig,
        router: str,
    ) -> None:
        self._request, self._store, self._model, self._bank_cache = request, store, model, bank_cache
        self._wanted, self._router = config, router
        self._record = store.procedures.by_id(procedure_id)
        self._name = self._record.name
        """Its name at the start; it may be renamed meanwhile."""
        self._procedure = store.procedures.with_pairs(self._name)
        self._budget = settings.whole("memory_budget_mb")
        self._keeps_form = settings.flag("keep_form")
        fingerprint = model.backbone.fingerprint.digest
        self._checkpoint = checkpoint_file(paths, store, self._name, fingerprint)
        memories = bank_cache.memories(store)
        self._others = {n: m for n, m in memories.items() if n != self._name}
        self._earlier = memories.get(self._name)
        then = active_holdout(store, self._name, fingerprint)
        self._corrected = corrected_inputs(store, self._name)
        earlier = () if then is None else inputs_of(then[0])[1]
        self._take(choose_holdout(self._procedure, earlier, self._corrected))
        self.trained: dict[str, Any] | None = None

    def _take(self, holdout: Holdout) -> None:
        """Go on with this choice of what to learn and what to measure on."""
        self._holdout = holdout
        self._read = extractable(holdout.procedure.pairs) is not None
        self._reads_alone = self._read and not self._record.reads_conversation
        # Where an extractor alone will answer, the steering only has to be there.
        self._config = replace(self._wanted, epochs=1, max_steps=1) if self._reads_alone else self._wanted

    def steps(self) -> Iterator[None]:
        """Yield between steps; leaves ``trained`` when a memory came out."""
        training = self._start()
        sample_at = self._sample_steps(training)
        for progress in training:
            sample = None
            if progress.phase == "train" and progress.step in sample_at:
                sample = self._sample(training, self._holdout.held_out[sample_at[progress.step]])
            self._emit(progress, sample)
            yield
            if self._gives_up:
                if self._request.how == "pause" and progress.phase == "train":
                    self._store.files.write(self._checkpoint, training.checkpoint().to_bytes())
                return
            if self._request.cancelled.is_set() and not self._reads_alone:
                training.stop()  # a run of one step is finished: without it there is no memory to keep
        result = training.result
        assert result is not None
        if result.steps == 0:
            return
        memory = replace(result.memories[0], name=self._name, statistics=self._statistics(result))
        if self._read:
            note = "Its answers stand in the messages: learning to read them."
            for done in train_extractor(
                self._model.backbone,
                self._model.segment_tagger.space,
                self._holdout.procedure.pairs,
                self._config.seed,
                alone=self._reads_alone,
                # Its best so far is what a first pass has taught it, some seconds after it was asked to end.
                stop=self._request.cancelled.is_set,
            ):
                if isinstance(done, Extractor):
                    memory = with_extractor(memory, done)
                else:
                    self._emit(Progress("train", round(100 * done), 100, note=note), None)
                    note = ""
                    yield
                if self._gives_up:
                    return
        if self._gives_up:
            return
        yield from self._keep(memory, result)
        if self.trained is not None:
            with suppress(OSError):
                self._checkpoint.unlink(missing_ok=True)

    @property
    def _gives_up(self) -> bool:
        """Whether it was cancelled with ``pause`` or ``drop``, so that there is no result."""
        return self._request.cancelled.is_set() and self._request.how != "keep"

    def _start(self) -> Training:
        resume = None
        try:
            resume = Checkpoint.from_bytes(self._store.files.read(self._checkpoint))
        except FileNotFoundError:
            pass
        except (OSError, BadInputError) as error:
            self._note(f"Starting anew: {error}")
        if resume is None:
            return self._training(None)
        fresh = self._holdout
        begun = resume.names[0] if resume.names else self._name
        self._take(restore_holdout(self._procedure, begun, resume.held_out, self._corrected))
        try:
            training = self._training(resume, begun)
        except TokmemError:
            # Pairs or settings changed since: that state is of no use any more.
            self._take(fresh)
            return self._training(None)
        self._note(f"Going on where the interrupted training stopped, at step {int(resume.numbers['step'] or 0)}.")
        return training

    def _training(self, resume: Checkpoint | None, begun: str | None = None) -> Training:
        """A run, or the rest of one.

        Args:
            resume: its state so far.
            begun: the procedure's name when it began, which the order of its batches depends on.
        """
        others = None
        if self._config.router_weight and self._others:
            others = torch.stack([m.address for m in self._others.values()])
        return Training(
            self._model.backbone,
            [replace(self._holdout.procedure, name=begun or self._name)],
            self._config,
            other_addresses=others,
            memory_budget_mb=self._budget,
            feature_layers=self._model.basis.layers.pooled,
            resume=resume,
            save=lambda data: self._store.files.write(self._checkpoint, data),
            prior=self._model.prior,
            keys=[self._record.uuid],
            held_out=[input_digest(pair.input) for pair in self._holdout.kept_out],
        )

    def _statistics(self, result: TrainResult) -> RouterStatistics:
        backbone, basis = self._model.backbone, self._model.basis
        if result.pooled is None:
            return self._bank_cache.statistics([pair.input for pair in self._holdout.procedure.pairs])
        vectors = basis.project(result.pooled, backbone.hidden_size)
        return RouterStatistics.of(vectors, basis.digest)

    def _keep(self, memory: Memory, result: TrainResult) -> Iterator[None]:
        """Store the memory first, then measure it: a kill in between loses figures, not work."""
        name = self._name
        scored: Scored | None = None
        if not self._request.cancelled.is_set():
            bank = self._bank_cache.assemble(self._store, {**self._others, name: memory}, self._router)
            measuring = scorecard(
                self._model.backbone,
                self._holdout,
                memory,
                bank,
                result,
                with_prompt=self._wants_prompt,
                keep_form=self._keeps_form,
                previous=self._previous_memory(),
            )
            for step in measuring:
                if isinstance(step, Scored):
                    scored = step
                else:
                    self._emit_measuring(step)
                    yield
                if self._gives_up:  # the last checkpoint is a few steps old, and measuring begins anew
                    return
                if self._request.cancelled.is_set():
                    break
        card: dict[str, Any] = {"seconds": result.seconds, "steps": result.steps, "advice": []}
        if scored is not None:
            card, memory = scored.card, scored.memory
        file = self._store.memories.write(memory_to_bytes(memory, self._model.backbone.fingerprint))
        try:
            kept_out = {pair.input for pair in self._holdout.kept_out}
            record = self._store.memories.add(
                self._record.id,
                self._model.backbone.fingerprint.digest,
                file,
                self._procedure.pairs,
                {**memory.settings, "backbone": self._model.backbone.model_id},
                card,
                job_id=self._request.fields.get("job"),
                learned=[pair.input not in kept_out for pair in self._procedure.pairs],
            )
        except NotFoundError:
            (self._store.memories.folder / file).unlink(missing_ok=True)
            raise
        self.trained = {"name": record.procedure, "memory_id": record.id, "scorecard": card}
        yield

    def _previous_memory(self) -> PreviousMemory | None:
        """The memory that answers so far, where there is something fair to compare on."""
        earlier, name = self._earlier, self._store.procedures.by_id(self._record.id).name
        found = unlearned(self._store, name, self._model.backbone.fingerprint.digest, self._holdout.held_out)
        if earlier is None or found is None:
            return None
        version, pairs, known = found
        name = self._name
        bank = self._bank_cache.assemble(self._store, {**self._others, name: earlier}, self._router)
        return PreviousMemory(name, version, self._answering(earlier), pairs, bank, known)

    def _answering(self, memory: Memory) -> Memory:
        """The memory as it will answer under the settings in force."""
        return memory if self._keeps_form else memory.without_answer_template()

    @property
    def _wants_prompt(self) -> bool:
        return str(self._request.fields.get("preset") or "normal") != "quick"

    # --- talking -----------------------------------------------------------------------------------

    def _sample_steps(self, training: Training) -> dict[int, int]:
        """After which steps to answer which of the held-out pairs."""
        if not self._wants_prompt or not self._holdout.held_out:
            return {}
        total, pairs = training.planned_steps, min(_SAMPLED_PAIRS, len(self._holdout.held_out))
        return {total * i // (_SAMPLES_PER_RUN + 1): (i - 1) % pairs for i in range(1, _SAMPLES_PER_RUN + 1)}

    def _sample(self, training: Training, pair: ExamplePair) -> dict[str, str]:
        """The present answer to one held-out pair."""
        backbone = self._model.backbone
        limit, memory = answer_tokens(backbone, [pair]), self._answering(training.snapshot()[0])
        text = self._procedure.output_schema
        schemas = [None if text is None else read_schema(text)]
        got = answer_messages(backbone, [pair.input], [memory], schemas=schemas, max_tokens=limit, rows_at_once=1)
        return {"input": pair.input, "expected": pair.response, "got": got[0]}

    def _emit(self, progress: Progress, sample: dict[str, str] | None) -> None:
        self._request.emit(
            "progress",
            procedure=self._name,
            phase=progress.phase,
            step=progress.step,
            steps=progress.steps,
            loss=progress.loss,
            held_out_loss=progress.held_out_loss,
            best_held_out_loss=progress.best_held_out_loss,
            eta_s=progress.seconds_left,
            sample=sample,
            note=progress.note or None,
        )

    def _emit_measuring(self, share: float) -> None:
        self._emit(Progress("evaluate", round(100 * share), 100), None)

    def _note(self, text: str) -> None:
        self._emit(Progress("cache", 0, 100, note=text), None)
