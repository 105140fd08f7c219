"""Progress of one training, from the engine's events. It is stored with the job and shown after a restart."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any, cast

from tui.engine_client.protocol import Message, TrainSample

PHASES = {"cache": "reading the examples", "train": "learning", "evaluate": "measuring"}
_SHARES = {"cache": (0.0, 0.1), "train": (0.1, 0.8), "evaluate": (0.8, 1.0)}
"""Which share of the whole training a phase takes, from and to, roughly: for progress that older versions kept."""
_MOST_POINTS = 400
"""Points of a curve at most; more than any terminal has columns."""


@dataclass(slots=True)
class Progress:
    """The training of one procedure."""

    phase: str = ""
    step: int = 0
    """Within the phase."""
    steps: int = 0
    """Of the phase, as far as it is known."""
    train_step: int = 0
    """Of the phase ``train``."""
    train_steps: int = 0
    """Of the phase ``train``."""
    loss: float | None = None
    held_out_loss: float | None = None
    best_held_out_loss: float | None = None
    eta_s: float | None = None
    """Seconds left of the whole training, measuring included."""
    done: float | None = None
    """Share of the whole time that is over, 0 to 1."""
    losses: list[tuple[int, float]] = field(default_factory=list)
    """Step and running loss of the phase ``train``."""
    held_out_losses: list[tuple[int, float]] = field(default_factory=list)
    """Step and loss on the held-out pairs."""
    samples: list[TrainSample] = field(default_factory=list)
    """The newest state of each held-out pair that was shown, first seen first."""
    notes: list[str] = field(default_factory=list)
    """What a person should know, such as a halved batch."""

    @property
    def fraction(self) -> float:
        """Share of the whole that is done, 0 to 1."""
        if self.done is not None:
            return self.done
        begin, end = _SHARES.get(self.phase, (0.0, 0.0))
        return begin + (end - begin) * (min(1.0, self.step / self.steps) if self.steps else 0.0)

    def take(self, event: Message) -> None:
        """Take over what a ``progress`` event of the request ``train`` says."""
        if note := event.get("note"):
            self.notes = [*(known for known in self.notes if known != note), str(note)]
        if not event.get("procedure"):
            return
        self.eta_s, self.done = event.get("eta_s"), event.get("fraction")
        self.phase = str(event.get("phase") or self.phase)
        self.step, self.steps = int(event.get("step") or 0), int(event.get("steps") or 0)
        for key in ("loss", "held_out_loss", "best_held_out_loss"):
            if event.get(key) is not None:
                setattr(self, key, float(event[key]))
        if self.phase == "train":
            self._take_losses(event)
        if event.get("sample"):
            self._take_sample(cast(TrainSample, event["sample"]))

    def _take_losses(self, event: Message) -> None:
        if self.step <= self.train_step:  # it goes on from an earlier checkpoint: what came after that is lost
            self.losses = [point for point in self.losses if point[0] < self.step]
            self.held_out_losses = [point for point in self.held_out_losses if point[0] < self.step]
        self.train_step, self.train_steps = self.step, self.steps
        for key, curve in (("loss", self.losses), ("held_out_loss", self.held_out_losses)):
            if event.get(key) is not None:
                curve.append((self.step, float(event[key])))
                if len(curve) > _MOST_POINTS:
                    del curve[1:-1:2]

    def _take_sample(self, sample: TrainSample) -> None:
        for place, known in enumerate(self.samples):
            if known["input"] == sample["input"]:
                self.samples[place] = sample
                return
        self.samples.append(sample)

    def as_dict(self) -> dict[str, Any]:
        """As it is stored in the job's row."""
        return asdict(self)

    @classmethod
    def from_dict(cls, kept: dict[str, Any] | None) -> Progress:
        """Read what ``as_dict`` wrote; None is a fresh start. Fields that this version does not know are ignored."""
        known = {one.name for one in fields(cls)}
        made = cls(**{key: value for key, value in (kept or {}).items() if key in known})
        made.losses = [(int(step), float(loss)) for step, loss in made.losses]
        made.held_out_losses = [(int(step), float(loss)) for step, loss in made.held_out_losses]
        return made
