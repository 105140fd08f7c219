"""Improve a procedure's memory from verdicts on its answers, beside its pairs; ends in a candidate with a scorecard.

Some verdicts are held out, as some pairs are, and both measure the memory before and the new one. Verdicts come from
the chat, and what a person has corrected there is to be learned: so once they have measured, a short last run learns
the held-out verdicts too. Pairs that are held out stay so.

What is paused goes on from a checkpoint of the first run, which is the long one; measuring and the last run begin anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from profiles.files.paths import AppPaths
from profiles.settings.settings import Settings
from profiles.store.checkpoints import checkpoint_file
from profiles.store.store import ProfileStore
from tokmem_desk.errors import BadInputError, NotFoundError, TokmemError
from tokmem_desk.generation.single import answer_single
from tokmem_desk.memory.extractor import Extractor
from tokmem_desk.memory.file import memory_to_bytes
from tokmem_desk.memory.memory import Memory
from tokmem_desk.memory.router_statistics import RouterStatistics
from tokmem_desk.procedures import AnswerVerdict, ExamplePair
from tokmem_desk.templates.json_schema import read_schema
from trainer.checkpoint import Checkpoint
from trainer.evaluate import answer_tokens
from trainer.extractor import extractable
from trainer.loop import Training, TrainResult
from trainer.metrics import exact_match, rouge_l
from trainer.verdicts import FINISHING_EPOCHS, Refinement, refinement_config
from tui.engine.bank_cache import BankCache
from tui.engine.evaluation import Scored, scorecard
from tui.engine.held_out import active_holdout, choose_holdout, corrected_inputs, inputs_of
from tui.engine.models import LoadedModel
from tui.engine.previous_memory import PreviousMemory, unlearned
from tui.engine.training_progress import TrainingProgress
from tui.shared.improvable import check_improvable
from tui.shared.training_times import TimeLeft

if TYPE_CHECKING:
    from tui.engine.request import Request

_HELD_OUT = 5
"""One in so many messages with a verdict measures."""
_FEWEST_HELD_OUT = 2


@dataclass(frozen=True, slots=True)
class _Scores:
    """How often answers are as the person wants them, and how near they come, 0 to 1."""

    right: float
    alike: float


def held_out_verdicts(verdicts: Sequence[AnswerVerdict]) -> list[AnswerVerdict]:
    """Those that measure: of a fifth of the messages, two at least, chosen by the messages alone."""
    messages = sorted({one.input for one in verdicts}, key=lambda text: hashlib.sha256(text.encode()).digest())
    chosen = set(messages[: max(_FEWEST_HELD_OUT, len(messages) // _HELD_OUT)])
    return [one for one in verdicts if one.input in chosen]


class Improvement:
    """The improvement of one procedure; ``trained`` is what came out, None where it was stopped.

    Args:
        request: of the operation ``train``.
        procedure_id: whose memory.
        router: how memories are chosen.

    Raises:
        TokmemError: there is no memory or no verdicts; see ``check_improvable``.
    """

    def __init__(
        self,
        request: Request,
        store: ProfileStore,
        settings: Settings,
        paths: AppPaths,
        model: LoadedModel,
        bank_cache: BankCache,
        procedure_id: int,
        router: str,
    ) -> None:
        self._request, self._store, self._model, self._bank_cache = request, store, model, bank_cache
        self._settings, self._router = settings, router
        self._record = store.procedures.by_id(procedure_id)
        self._name = name = self._record.name
        self._fingerprint = model.backbone.fingerprint.digest
        self._verdicts = check_improvable(store, name, self._fingerprint)
        memories = bank_cache.memories(store)
        if name not in memories:
            raise NotFoundError(
                f"The memory of {name!r} cannot be read, or the procedure is disabled.",
                next_step=f"Enable it, or train it anew: tokmem-desk train {name}",
            )
        self._earlier = memories[name]
        self._others = {n: m for n, m in memories.items() if n != name}
        self._procedure = store.procedures.with_pairs(name)
        then = active_holdout(store, name, self._fingerprint)
        earlier = () if then is None else inputs_of(then[0])[1]
        self._holdout = choose_holdout(self._procedure, earlier, corrected_inputs(store, name))
        self._schema = None if self._procedure.output_schema is None else read_schema(self._procedure.output_schema)
        if extractable(self._holdout.procedure.pairs) is not None and not self._record.reads_conversation:
            raise BadInputError(
                f"The answers of {name!r} are copied out of the messages; verdicts do not change how.",
                next_step=f"Train it: what was corrected is learned as a pair (tokmem-desk train {name}).",
            )
        self._checkpoint = checkpoint_file(paths, store, name, self._fingerprint, improving=True)
        self._clock = TimeLeft(None)
        self._progress = TrainingProgress(partial(request.emit, "progress"), name, self._clock)
        self._steps_done = 0
        self.trained: dict[str, Any] | None = None

    def steps(self) -> Iterator[None]:
        """Yield between steps; leaves ``trained`` when a memory came out."""
        measuring = held_out_verdicts(self._verdicts)
        aside = {one.input for one in measuring}
        learned = [one for one in self._verdicts if one.input not in aside]
        pairs = self._holdout.procedure.pairs
        first = tuple(pair for pair in pairs if pair.input not in aside)
        memory, result = self._earlier, None
        before = yield from self._score(memory, measuring)
        now = before
        for run_pairs, verdicts, epochs in ((first, learned, None), (pairs, self._verdicts, FINISHING_EPOCHS)):
            if not run_pairs:
                continue
            result = yield from self._train(memory, run_pairs, verdicts, epochs)
            if self._request.cancelled.is_set() or result is None:
                return
            memory = self._with_what_stays(result.memories[0])
            if epochs is None:
                now = yield from self._score(memory, measuring)
                if now.alike < before.alike or self._request.cancelled.is_set():
                    break
        if self._request.cancelled.is_set() or result is None:
            return
        said = {
            "learned": len(self._verdicts),
            "held_out": len(measuring),
            "before": {"right": before.right, "alike": before.alike},
            "now": {"right": now.right, "alike": now.alike},
        }
        yield from self._keep(replace(memory, statistics=self._statistics(result)), result, said)

    def _train(
        self, start: Memory, pairs: tuple[ExamplePair, ...], verdicts: Sequence[AnswerVerdict], epochs: int | None
    ) -> Generator[None, None, TrainResult | None]:
        training = self._begun(start, pairs, verdicts, epochs)
        for progress in training:
            # To whoever looks on, the last run goes on with the steps of the first one, whatever it reads anew.
            if progress.phase == "train":
                self._steps_done += 1
                whole = self._steps_done + progress.steps - progress.step
                self._progress.tell(replace(progress, step=self._steps_done, steps=whole, seconds_left=None))
            elif epochs is None:
                self._progress.tell(progress)
            yield
            if self._request.cancelled.is_set():
                if self._request.how == "pause" and epochs is None and progress.phase == "train":
                    self._save(training.checkpoint().to_bytes())
                training.stop()
        if epochs is None and not self._request.cancelled.is_set():
            self._save(training.checkpoint().to_bytes())  # all of its steps: what is paused later takes none of them
        return training.result

    def _begun(
        self, start: Memory, pairs: tuple[ExamplePair, ...], verdicts: Sequence[AnswerVerdict], epochs: int | None
    ) -> Training:
        """A run, or the rest of the first one where it was broken off with the same pairs and verdicts."""
        config = refinement_config(start)

        def run(resume: Checkpoint | None) -> Training:
            return Training(
                self._model.backbone,
                [replace(self._holdout.procedure, pairs=pairs)],
                config if epochs is None else replace(config, epochs=epochs),
                memory_budget_mb=self._settings.whole("memory_budget_mb"),
                feature_layers=self._model.basis.layers.pooled,
                resume=resume,
                save=self._save if epochs is None else None,
                keys=[self._record.uuid],
                refinement=Refinement(start, tuple(one for one in verdicts if one.rejected is not None)),
            )

        if epochs is not None:
            return run(None)
        try:
            kept = Checkpoint.from_bytes(self._store.files.read(self._checkpoint))
            training = run(kept)
        except (OSError, TokmemError):  # there is none, it is damaged, or something else was said since
            return run(None)
        self._steps_done = int(kept.numbers["step"] or 0)
        self._progress.note(f"Going on where the interrupted training stopped, at step {self._steps_done}.")
        return training

    def _save(self, data: bytes) -> None:
        self._store.files.write(self._checkpoint, data)

    def _with_what_stays(self, memory: Memory) -> Memory:
        """The memory with what no verdict trains: the part that copies out of messages."""
        extractor = self._earlier.steering.part(Extractor)
        steering = memory.steering if extractor is None else memory.steering.with_part(extractor)
        return replace(memory, name=self._name, steering=steering)

    def _score(self, memory: Memory, verdicts: Sequence[AnswerVerdict]) -> Generator[None, None, _Scores]:
        """How a memory does on held-out verdicts, by the chat's own code."""
        answering = memory if self._settings.flag("keep_form") else memory.without_answer_template()
        said = [ExamplePair(one.input, one.accepted or one.rejected or "") for one in verdicts]
        limit = answer_tokens(self._model.backbone, said)
        right, alike = 0.0, 0.0
        for one in verdicts:
            answer, _ = answer_single(self._model.backbone, answering, one.input, schema=self._schema, max_tokens=limit)
            if one.accepted is not None:
                right += exact_match(answer, [one.accepted])
                alike += rouge_l(answer, [one.accepted])
            else:
                other = float(bool(answer.strip()) and answer.strip() != (one.rejected or "").strip())
                right, alike = right + other, alike + other
            yield
        return _Scores(right / len(verdicts), alike / len(verdicts))

    def _statistics(self, result: TrainResult) -> RouterStatistics:
        assert result.pooled is not None
        vectors = self._model.basis.project(result.pooled, self._model.backbone.hidden_size)
        return RouterStatistics.of(vectors, self._model.basis.digest)

    def _keep(self, memory: Memory, result: TrainResult, said: dict[str, Any]) -> Iterator[None]:
        name, backbone = self._name, self._model.backbone
        bank = self._bank_cache.assemble(self._store, {**self._others, name: memory}, self._router)
        scored: Scored | None = None
        for step in scorecard(
            backbone,
            self._holdout,
            memory,
            bank,
            result,
            with_prompt=False,
            keep_form=self._settings.flag("keep_form"),
            previous=self._previous_memory(),
        ):
            if isinstance(step, Scored):
                scored = step
            else:
                self._progress.measuring(step)
                yield
            if self._request.cancelled.is_set():
                return
        assert scored is not None
        card = {**scored.card, "verdicts": said, "measuring_seconds": self._clock.seconds.get("evaluate", 0.0)}
        settings = {**scored.memory.settings, "backbone": backbone.model_id, "verdicts": len(self._verdicts)}
        earlier = self._store.memories.active(name, self._fingerprint)
        file = self._store.memories.write(memory_to_bytes(scored.memory, backbone.fingerprint))
        kept_out = {pair.input for pair in self._holdout.kept_out}
        try:
            record = self._store.memories.add(
                self._record.id,
                self._fingerprint,
                file,
                self._procedure.pairs,
                settings,
                card,
                job_id=self._request.fields.get("job"),
                learned=[pair.input not in kept_out for pair in self._procedure.pairs],
            )
        except NotFoundError:
            (self._store.memories.folder / file).unlink(missing_ok=True)
            raise
        with suppress(OSError):
            self._checkpoint.unlink(missing_ok=True)
        # The memory before too: where it stays, the same verdicts would bring the same again.
        self._store.verdicts.mark([record.id, *([] if earlier is None else [earlier.id])], self._verdicts)
        self.trained = {"name": record.procedure, "memory_id": record.id, "scorecard": card}
        yield

    def _previous_memory(self) -> PreviousMemory | None:
        found = unlearned(self._store, self._name, self._fingerprint, self._holdout.held_out)
        if found is None:
            return None
        version, pairs, known = found
        bank = self._bank_cache.assemble(self._store, {**self._others, self._name: self._earlier}, self._router)
        keeps_form = self._settings.flag("keep_form")
        answering = self._earlier if keeps_form else self._earlier.without_answer_template()
        return PreviousMemory(self._name, version, answering, pairs, bank, known)
