"""Train one procedure, from its pairs to a measured memory. Knows no store: what it needs is given, what it makes is
taken.

So the same code trains in the engine, which reads a profile (``tui.engine.training``), and on another computer, which
has what was sent to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from tokmem_desk.errors import BadInputError, TokmemError
from tokmem_desk.generation.recall import Bank, answer_messages
from tokmem_desk.memory.extractor import Extractor
from tokmem_desk.memory.file import memory_to_bytes
from tokmem_desk.memory.memory import Memory
from tokmem_desk.memory.router_statistics import RouterStatistics
from tokmem_desk.procedures import ExamplePair, Procedure
from tokmem_desk.templates.json_schema import read_schema
from trainer.checkpoint import Checkpoint
from trainer.config import TrainConfig
from trainer.evaluate import answer_tokens
from trainer.extractor import extractable, train_extractor, with_extractor
from trainer.loop import Progress, Training, TrainResult
from tui.engine.bank_cache import BankCache
from tui.engine.evaluation import Scored, scorecard
from tui.engine.held_out import Holdout, choose_holdout, input_digest, restore_holdout
from tui.engine.models import LoadedModel
from tui.engine.previous_memory import PreviousMemory
from tui.engine.training_progress import TrainingProgress
from tui.shared.training_times import TimeLeft

if TYPE_CHECKING:
    from torch import Tensor

    from tui.engine_client.protocol import CancelHow

_SAMPLES_PER_RUN = 6
_SAMPLED_PAIRS = 3
"""Held-out pairs that are answered in turn while a memory learns."""


@dataclass(frozen=True, slots=True)
class TrainingWork:
    """What the training of one procedure depends on, beside the model and the other procedures. Plain data.

    Attributes:
        uuid: of the procedure, however it is called.
        procedure: under its present name, with all its pairs.
        earlier: inputs that an earlier training held out.
        corrected: inputs that are never held out.
        config: how to train.
        router: ``discriminant`` or ``token``.
        samples: answer held-out pairs on the way, and compare with the pairs in a prompt.
        keeps_form: whether the form of the pairs holds answers at present.
        budget_mb: for cached keys and values.
        expected: seconds that each phase may take; None where nothing is known.
    """

    uuid: str
    procedure: Procedure
    earlier: frozenset[str]
    corrected: frozenset[str]
    config: TrainConfig
    router: str
    samples: bool
    keeps_form: bool
    budget_mb: int
    expected: Mapping[str, float] | None = None


class TrainingPlace(Protocol):
    """What a training meets where it runs."""

    @property
    def ending(self) -> CancelHow | None:
        """How it was asked to end; None where it goes on."""
        ...

    def tell(self, **fields: Any) -> None:
        """Take the fields of a ``progress`` event."""
        ...

    def read_checkpoint(self) -> bytes:
        """The state of an interrupted training.

        Raises:
            FileNotFoundError: there is none.
            OSError, BadInputError: it cannot be read.
        """
        ...

    def keep_checkpoint(self, data: bytes) -> None:
        """Keep the state so far."""
        ...

    def other_addresses(self) -> Tensor | None:
        """[o x d] addresses of the other procedures' memories; None without any."""
        ...

    def bank(self, memory: Memory) -> Bank:
        """What this memory is measured in: it, and the memories of the other procedures."""
        ...

    def previous(self, holdout: Holdout) -> PreviousMemory | None:
        """The memory that answers so far, where there is something fair to compare on."""
        ...


@dataclass(frozen=True, slots=True)
class LearnedMemory:
    """What a training made. Plain data.

    Attributes:
        data: the memory as a file, with its statistics.
        settings: of the memory; they stand in the file too.
        card: its scorecard, in the form of ``protocol.Scorecard``.
        holdout: what it learned, and what measured it.
        seconds: that each phase took; None where that says little, as of the rest of an interrupted training.
    """

    data: bytes
    settings: dict[str, object]
    card: dict[str, Any]
    holdout: Holdout
    seconds: dict[str, float] | None


class ProcedureTraining:
    """Training and measuring of one procedure.

    Args:
        work: what to train.
        model: loaded and fitted.
        place: where it runs.
    """

    def __init__(self, work: TrainingWork, model: LoadedModel, place: TrainingPlace) -> None:
        self._work, self._model, self._place = work, model, place
        self._name, self._procedure = work.procedure.name, work.procedure
        self._take(choose_holdout(self._procedure, work.earlier, work.corrected))
        self._clock = TimeLeft(work.expected)
        self._progress = TrainingProgress(place.tell, self._name, self._clock)
        self._is_whole = True
        """Whether this run does all of the training: none before it did a part, and nobody cut it short."""
        self.learned: LearnedMemory | None = None
        """What came out; None until the end, and where nothing did."""

    def _take(self, holdout: Holdout) -> None:
        """Go on with this choice of what to learn and what to measure on."""
        wanted = self._work.config
        self._holdout = holdout
        self._read = extractable(holdout.procedure.pairs) is not None
        self._reads_alone = self._read and not self._procedure.reads_conversation
        # Where an extractor alone will answer, the steering only has to be there.
        self._config = replace(wanted, epochs=1, max_steps=1) if self._reads_alone else wanted

    def steps(self) -> Iterator[None]:
        """Yield between steps; leaves ``learned`` when a memory came out.

        Raises:
            TokmemError: it cannot be trained.
        """
        training = self._start()
        sample_at = self._sample_steps(training)
        for progress in training:
            sample = None
            if progress.phase == "train" and progress.step in sample_at:
                sample = self._sample(training, self._holdout.held_out[sample_at[progress.step]])
            self._progress.tell(progress, sample)
            yield
            if self._gives_up():
                if self._place.ending == "pause" and progress.phase == "train":
                    self._place.keep_checkpoint(training.checkpoint().to_bytes())
                return
            if self._ends() and not self._reads_alone:
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
                stop=self._ends,
            ):
                if isinstance(done, Extractor):
                    memory = with_extractor(memory, done)
                else:
                    self._progress.tell(Progress("train", round(100 * done), 100, note=note), timed_as="extract")
                    note = ""
                    yield
                if self._gives_up():
                    return
        if self._gives_up():
            return
        yield from self._measure(memory, result)

    def _ends(self) -> bool:
        """Whether it was asked to end."""
        return self._place.ending is not None

    def _gives_up(self) -> bool:
        """Whether it was cancelled with ``pause`` or ``drop``, so that there is no result."""
        return self._place.ending not in (None, "keep")

    def _start(self) -> Training:
        resume = None
        try:
            resume = Checkpoint.from_bytes(self._place.read_checkpoint())
        except FileNotFoundError:
            pass
        except (OSError, BadInputError) as error:
            self._progress.note(f"Starting anew: {error}")
        if resume is None:
            return self._training(None)
        fresh = self._holdout
        begun = resume.names[0] if resume.names else self._name
        self._take(restore_holdout(self._procedure, begun, resume.held_out, self._work.corrected))
        try:
            training = self._training(resume, begun)
        except TokmemError:
            # Pairs or settings changed since: that state is of no use any more.
            self._take(fresh)
            return self._training(None)
        self._is_whole = False
        step = int(resume.numbers["step"] or 0)
        self._progress.note(f"Going on where the interrupted training stopped, at step {step}.")
        return training

    def _training(self, resume: Checkpoint | None, begun: str | None = None) -> Training:
        """A run, or the rest of one.

        Args:
            resume: its state so far.
            begun: the procedure's name when it began, which the order of its batches depends on.
        """
        return Training(
            self._model.backbone,
            [replace(self._holdout.procedure, name=begun or self._name)],
            self._config,
            other_addresses=self._place.other_addresses() if self._config.router_weight else None,
            memory_budget_mb=self._work.budget_mb,
            feature_layers=self._model.basis.layers.pooled,
            resume=resume,
            save=self._place.keep_checkpoint,
            prior=self._model.prior,
            keys=[self._work.uuid],
            held_out=[input_digest(pair.input) for pair in self._holdout.kept_out],
        )

    def _statistics(self, result: TrainResult) -> RouterStatistics:
        backbone, basis = self._model.backbone, self._model.basis
        if result.pooled is None:
            return BankCache(self._model).statistics([pair.input for pair in self._holdout.procedure.pairs])
        vectors = basis.project(result.pooled, backbone.hidden_size)
        return RouterStatistics.of(vectors, basis.digest)

    def _measure(self, memory: Memory, result: TrainResult) -> Iterator[None]:
        scored: Scored | None = None
        if not self._ends():
            measuring = scorecard(
                self._model.backbone,
                self._holdout,
                memory,
                self._place.bank(memory),
                result,
                with_prompt=self._work.samples,
                keep_form=self._work.keeps_form,
                previous=self._place.previous(self._holdout),
            )
            for step in measuring:
                if isinstance(step, Scored):
                    scored = step
                else:
                    self._progress.measuring(step)
                    yield
                if self._gives_up():  # the last checkpoint is a few steps old, and measuring begins anew
                    return
                if self._ends():
                    break
        card: dict[str, Any] = {"seconds": result.seconds, "steps": result.steps, "advice": []}
        if scored is not None:
            card, memory = scored.card, scored.memory
            card["measuring_seconds"] = self._clock.seconds.get("evaluate", 0.0)
        seconds = self._clock.seconds if self._is_whole and not self._ends() else None
        self.learned = LearnedMemory(
            memory_to_bytes(memory, self._model.backbone.fingerprint),
            memory.settings,
            card,
            self._holdout,
            seconds,
        )

    def _sample_steps(self, training: Training) -> dict[int, int]:
        """After which steps to answer which of the held-out pairs."""
        if not self._work.samples or not self._holdout.held_out:
            return {}
        total, pairs = training.planned_steps, min(_SAMPLED_PAIRS, len(self._holdout.held_out))
        return {total * i // (_SAMPLES_PER_RUN + 1): (i - 1) % pairs for i in range(1, _SAMPLES_PER_RUN + 1)}

    def _sample(self, training: Training, pair: ExamplePair) -> dict[str, str]:
        """The present answer to one held-out pair."""
        backbone, memory = self._model.backbone, training.snapshot()[0]
        if not self._work.keeps_form:
            memory = memory.without_answer_template()
        text = self._procedure.output_schema
        schemas = [None if text is None else read_schema(text)]
        limit = answer_tokens(backbone, [pair])
        got = answer_messages(backbone, [pair.input], [memory], schemas=schemas, max_tokens=limit, rows_at_once=1)
        return {"input": pair.input, "expected": pair.response, "got": got[0]}
