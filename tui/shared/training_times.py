"""How long trainings take on this machine. What each one took is kept in a file, and estimates are made of that.

The file holds figures only: no names of profiles or procedures, and no text of theirs.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from profiles.files.atomic import write_text
from profiles.files.paths import AppPaths
from tokmem_desk.errors import StorageError

PHASES = ("cache", "train", "extract", "evaluate")
"""In their order. ``extract`` learns to read answers out of messages; to people it is learning, too."""

KEPT = 60
"""Trainings that are kept at most, the newest ones."""
ALIKE = 5
"""Newest trainings of the same kind that an estimate is made of."""
LEAST_SHARE = 0.05
"""From this share of a phase on, its own pace tells better what is left than earlier trainings do."""

_EPOCHS = {"quick": 10, "normal": 30, "thorough": 60}
"""Passes over the pairs, to scale the time of learning from one preset to another."""
_TYPICAL = {"train": 0.5, "extract": 0.0, "evaluate": 0.48}
"""Learning and measuring beside each other where none was timed here: the samples, default model; decision 90."""


@dataclass(frozen=True, slots=True)
class TrainingTime:
    """What one training took."""

    model: str
    """Digest of the backbone's fingerprint."""
    device: str
    preset: str
    characters: int
    """Of all its pairs."""
    seconds: dict[str, float]
    """Of each phase that there was."""


class TrainingTimes:
    """What the newest trainings on this machine took.

    Args:
        paths: where the file is.
    """

    def __init__(self, paths: AppPaths) -> None:
        self._file = paths.state / "training_times.json"

    def add(self, took: TrainingTime) -> None:
        """Keep what a whole training took. A disk that is full costs the estimate, not the training."""
        kept = [asdict(one) for one in (*self._read(), took)][-KEPT:]
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_text(self._file, json.dumps(kept, indent=1))
        except (OSError, StorageError):
            return

    def estimate(self, model: str, preset: str, characters: int, device: str | None = None) -> dict[str, float] | None:
        """Seconds of each phase of a training to come; None where no training of this model was timed here.

        Args:
            model: digest of the backbone's fingerprint.
            preset: how long it may take; trainings with another one count where there is none with this.
            characters: of all its pairs.
            device: that it runs on; None takes the one of the newest training.
        """
        known = [one for one in self._read() if one.model == model and one.characters > 0]
        if known and device is None:
            device = known[-1].device
        known = [one for one in known if one.device == device]
        alike = ([one for one in known if one.preset == preset] or known)[-ALIKE:]
        if not alike:
            return None
        found = {}
        for phase in PHASES:
            scaled = []
            for one in alike:
                epochs = _EPOCHS.get(preset, 1) / _EPOCHS.get(one.preset, 1) if phase == "train" else 1.0
                scaled.append(one.seconds.get(phase, 0.0) * epochs * characters / one.characters)
            found[phase] = statistics.median(scaled)
        return found

    def _read(self) -> list[TrainingTime]:
        """What is kept; nothing where the file is missing or is not ours."""
        try:
            rows: Sequence[Mapping[str, Any]] = json.loads(self._file.read_text("utf-8"))
            return [
                TrainingTime(
                    str(row["model"]),
                    str(row["device"]),
                    str(row["preset"]),
                    int(row["characters"]),
                    {str(phase): float(took) for phase, took in row["seconds"].items()},
                )
                for row in rows
            ]
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return []


class TimeLeft:
    """How far one training is, and what is left of all its phases together.

    Args:
        expected: what each phase may take, as ``TrainingTimes.estimate`` says; None where nothing is known.
        clock: in seconds; replaced in tests.
    """

    def __init__(self, expected: Mapping[str, float] | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds: dict[str, float] = {}
        """What each phase took so far."""
        self.fraction = 0.0
        """Share of the whole time that is over. It never falls."""
        self.left: float | None = None
        """Seconds until the end, measuring included; None before anything is known."""
        self._expected = expected
        self._clock = clock
        self._phase = ""
        self._first = self._began = self._last = clock()

    def note(self, phase: str, share: float, left: float | None = None) -> None:
        """Take over how far a phase is.

        Args:
            phase: one of ``PHASES``; a later one ends the one before.
            share: of the phase that is done, 0 to 1.
            left: seconds left of the phase, where that is known better than by its share.
        """
        now = self._clock()
        is_first_of_all = self._expected is None and phase == PHASES[0]
        if phase != self._phase:  # what was done since the last news was done in this phase
            self._phase, self._began = phase, self._last
        self._last = now
        took = self.seconds[phase] = now - self._began
        expected = None if self._expected is None else self._expected.get(phase, 0.0)
        if left is None and share >= LEAST_SHARE:
            left = took * (1 - share) / share
        elif left is None and expected is not None and expected > took:
            left = expected - took
        if left is None or is_first_of_all:  # reading the examples says nothing about how long learning them takes
            self.left = None
            return
        over = now - self._first
        self.left = left + self._of_later_phases(took + left)
        self.fraction = min(1.0, max(self.fraction, over / (over + self.left) if over + self.left else 0.0))

    def _of_later_phases(self, this_phase: float) -> float:
        """Seconds of the phases behind the present one, which takes ``this_phase`` seconds in all."""
        here = PHASES.index(self._phase)
        if self._expected is not None:
            return sum(self._expected.get(phase, 0.0) for phase in PHASES[here + 1 :])
        before = sum(took for phase, took in self.seconds.items() if phase in PHASES[1:here])
        typical, typical_later = (sum(map(_TYPICAL.__getitem__, p)) for p in (PHASES[1 : here + 1], PHASES[here + 1 :]))
        return (before + this_phase) * typical_later / typical
