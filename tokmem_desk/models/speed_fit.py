"""How fast each model of the catalogue would be on this computer, from a measurement of two seconds and counts.

The measurement (``tokmem_desk.backbone.machine_speed``) tells how fast matrices are multiplied, 4-bit weights unpacked
and memory read, and what a small operation costs by itself. Here the operations of a message, a word and a training
are counted and divided by that. Estimates are rough: docs/howto/choose-a-model.md says how far off they were.

Loads no torch; the measurement is kept in the cache folder, and made again for another device.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tokmem_desk.models.catalogue import CATALOGUE, DEFAULT_ID, CatalogueEntry

FILE_NAME = "speed.json"

MESSAGE_TOKENS = 60
"""Of a typical message, with the tokens around it."""

PLEASANT_FIRST_SECONDS = 1.5
PLEASANT_TOKENS_PER_SECOND = 8.0
PLEASANT_TRAINING_MINUTES = 2.0
"""Bounds within which one stays with a model."""

WORDS_PER_TOKEN = 0.75

PAIRS = 20
"""Of the procedure whose training is estimated."""

_PAIR_TOKENS = 35
_EPOCHS, _BATCH = 30, 4
"""Of the preset ``normal``, see ``trainer.config``."""

_STEP_TOKENS = 17 * _BATCH
"""That each step runs forward and backward: a memory's rows and a response, without the message."""

_OPERATIONS_PER_LAYER = 70
"""Small operations that one layer starts, whatever its size: a pass of the default model over its layers."""

_OPERATIONS_PER_STEP_LAYER = 16
"""The same of a step that is written out (``tokmem_desk.backbone.lean_step``), whose overhead is between a quarter and
a fifth: benchmarks/results/speed-llama.json."""

_OPERATIONS_PER_TRAINED_LAYER = 350
"""The same with a backward pass and an optimiser: training of the default model over its layers."""

UNPACKED_LIMIT_BYTES = 2**29
"""Up to this size a copy of the 4-bit weights is kept unpacked on a CPU; see ``unpacked_limit``."""

_SHARE_UNPACKED = 8
"""Where nothing else makes single rows quick, a larger copy may take one part in so many of the free memory."""

_MEASURED_ANSWERS, _ANSWER_TOKENS = 12, 30
"""Answers of a scorecard, and their length."""


def unpacked_limit(free_bytes: int, *, packs: bool) -> int:
    """Most bytes of an unpacked copy of the weights, see ``tokmem_desk.backbone.weight_formats``.

    Args:
        free_bytes: memory that nobody uses.
        packs: whether the processor has a kernel for single rows of packed weights. Without it, each word of an answer
            unpacks all weights anew unless there is a copy.
    """
    return UNPACKED_LIMIT_BYTES if packs else max(UNPACKED_LIMIT_BYTES, free_bytes // _SHARE_UNPACKED)


@dataclass(frozen=True, slots=True)
class MachineSpeed:
    """What a device reaches.

    Attributes:
        device, dtype: what it was measured on, as ``DeviceChoice`` names them.
        flops: floating point operations a second, in products of matrices as large as a message's.
        unpacked: weights a second, from 4 bit to 16.
        one_row: weights a second that a product with a single row goes through, in the form that decoding uses.
        bytes_per_second: of reading a matrix of 16 bit in a product with a single row, as an output head is.
        operation_seconds: what starting a small operation costs.
    """

    device: str
    dtype: str
    flops: float
    unpacked: float
    one_row: float
    bytes_per_second: float
    operation_seconds: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """How a model would be to work with.

    Attributes:
        first_word_seconds: from a typical message to the first word of its answer.
        words_per_second: of an answer.
        training_minutes: for a procedure of ``PAIRS`` pairs, scorecard included.
        memory_bytes: while it trains.
    """

    first_word_seconds: float
    words_per_second: float
    training_minutes: float
    memory_bytes: int

    @property
    def tokens_per_second(self) -> float:
        return self.words_per_second / WORDS_PER_TOKEN

    @property
    def pleasant(self) -> bool:
        """Whether one would stay with it."""
        return (
            self.first_word_seconds <= PLEASANT_FIRST_SECONDS
            and self.tokens_per_second >= PLEASANT_TOKENS_PER_SECOND
            and self.training_minutes <= PLEASANT_TRAINING_MINUTES
        )


def estimate(entry: CatalogueEntry, speed: MachineSpeed) -> Estimate | None:
    """Count a model's operations and divide; None where the catalogue does not know its layers."""
    if not (entry.layers and entry.hidden_size and entry.vocabulary):
        return None
    table = entry.vocabulary * entry.hidden_size
    body = max(0, entry.parameters - table * (1 if entry.tied else 2))
    size = 4 if speed.dtype == "float32" else 2
    head = size * table / speed.bytes_per_second
    unpacked = size * body / speed.bytes_per_second
    keeps_unpacked = size * body <= UNPACKED_LIMIT_BYTES
    started = entry.layers * _OPERATIONS_PER_LAYER * speed.operation_seconds

    def run(tokens: int) -> float:
        read = unpacked if keeps_unpacked else body / speed.unpacked
        return started + read + 2 * body * tokens / speed.flops

    step_started = entry.layers * _OPERATIONS_PER_STEP_LAYER * speed.operation_seconds
    row = body / speed.one_row
    token = step_started + (min(row, unpacked) if keeps_unpacked else row) + head
    # A small model is trained through an unpacked copy; a large one is unpacked on the way there and back.
    weights = 2 * (unpacked if keeps_unpacked else body / speed.unpacked)
    # Gradients of what flows through, none of weights: one product back for each forward.
    step = (
        entry.layers * _OPERATIONS_PER_TRAINED_LAYER * speed.operation_seconds
        + weights
        + 2 * 2 * (body + table) * _STEP_TOKENS / speed.flops
    )
    steps = _EPOCHS * -(-PAIRS // _BATCH)
    training = PAIRS * run(_PAIR_TOKENS) + steps * step + _MEASURED_ANSWERS * _ANSWER_TOKENS * token
    return Estimate(run(MESSAGE_TOKENS) + head, WORDS_PER_TOKEN / token, training / 60, entry.memory_bytes)


def most_pleasant(
    speed: MachineSpeed, free_bytes: int, catalogue: Sequence[CatalogueEntry] = CATALOGUE
) -> tuple[CatalogueEntry, str]:
    """The largest model that fits and stays pleasant, and why; the default where none does.

    Only models that are free to use, ask for no account, are made for chat and have attention in every layer.
    """
    default = next(entry for entry in catalogue if entry.id == DEFAULT_ID)
    best = default
    for entry in catalogue:
        found = estimate(entry, speed)
        allowed = entry.chat and not entry.gated and not entry.recurrent and entry.licence in _FREE
        fits = entry.memory_bytes <= free_bytes
        if found is not None and found.pleasant and allowed and fits and entry.parameters > best.parameters:
            best = entry
    found = estimate(best, speed)
    assert found is not None, "the default's layers are known"
    kind = "the largest that stays pleasant" if best is not default or found.pleasant else "the quickest there is"
    return best, f"{kind} on {speed.device}: {in_words(found)}"


_FREE = ("Apache-2.0", "MIT")


def in_words(found: Estimate) -> str:
    """An estimate as a line for people."""
    minutes = found.training_minutes
    learns = f"{minutes * 60:.0f} s" if minutes < 1 else f"{minutes:.1f} min"
    return (
        f"about {found.first_word_seconds:.1f} s to the first word, {found.words_per_second:.0f} words a second, "
        f"{learns} to learn {PAIRS} pairs"
    )


def keep(folder: Path, speed: MachineSpeed) -> None:
    """Write a measurement to the cache folder; where that cannot be written, nothing is kept."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FILE_NAME).write_text(json.dumps(asdict(speed)), encoding="utf-8")
    except OSError:
        return


def kept(folder: Path) -> MachineSpeed | None:
    """The last measurement; None where there is none that makes sense."""
    try:
        fields = json.loads((folder / FILE_NAME).read_bytes()[:10_000])
        speed = MachineSpeed(**fields)
        numbers = [speed.flops, speed.unpacked, speed.one_row, speed.bytes_per_second, speed.operation_seconds]
        sound = all(isinstance(one, (int, float)) and 0 < one < 1e20 for one in numbers)
        return speed if sound and isinstance(speed.device, str) and isinstance(speed.dtype, str) else None
    except (OSError, ValueError, TypeError, RecursionError):
        return None
