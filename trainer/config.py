"""Settings of a training run with their units, the app's presets and the paper's setting."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from tokmem_desk.errors import UsageError
from tokmem_desk.memory.steering import kinds
from tokmem_desk.memory.steering_part import SteeringKind, TrainedPart

PRESETS = ("quick", "normal", "thorough")

DEFAULT_SPAN = 16
"""Positions of a memory unless somebody asks for another number."""


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Settings of one training run. The defaults are the app's preset ``normal``."""

    form: SteeringKind = "layers"
    """``layers``: keys and values in every layer and one row; ``rows``: input embeddings alone (paper)."""
    span: int = DEFAULT_SPAN
    """Positions the memory takes in the context."""
    lens_rank: int = 8
    """Rank of the KV adapter (``tokmem_desk.memory.kv_adapter``); 0 for none. Only with ``layers``."""
    kinds: tuple[str, ...] = ()
    """Names of further kinds of steering to train, beside those that ``form`` stands for."""
    epochs: int = 30
    """Passes over the example pairs."""
    max_steps: int = 600
    """Optimiser steps at most, whatever the epochs say."""
    batch_size: int = 8
    """Example pairs in one optimiser step."""
    learning_rate: float = 0.02
    """Adam's step. Relative to the initial values' root mean square, unless ``absolute_rate``."""
    absolute_rate: bool = False
    """Take ``learning_rate`` as it is (the paper's meaning)."""
    warmup: float = 0.1
    """Share of the steps over which the rate rises linearly; then it falls linearly."""
    weight_decay: float = 1.0
    """Decoupled decay toward the initial values, per step and unit of rate. Keeps two dozen pairs from being
    learned by heart, see docs/research/learning.md."""
    clip_norm: float = 1.0
    """Largest gradient norm of a procedure's parameters; 0 for no limit."""
    router_weight: float = 0.0
    """Weight of the routing term for the address (paper eq. 4); 0 trains no address."""
    tied: bool = False
    """The address is row 0 of the steering (the paper's default)."""
    memory_columns: bool = False
    """Memory columns stand in the softmax at response positions too (the paper's objective)."""
    patience: int = 6
    """Checks of the held-out pairs without a gain before training stops."""
    checks_per_run: int = 20
    """How often the held-out pairs are looked at during a whole run."""
    floor_loss: float = 0.02
    """Stop when the running loss, in nats per token, has fallen below: there is nothing left to learn."""
    shared_form: bool = True
    """Hold answers to the form that all pairs share, where they share one (``tokmem_desk.templates.induction``)."""
    pointers: bool = True
    """Learn which words of a message the values of that form are (``trainer.slot_pointers``)."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.span < 1:
            raise UsageError(f"A memory of {self.span} places is not possible.", next_step="Use --span 1 or more.")
        if unknown := sorted(set(self.kinds) - {kind.name for kind in kinds() if issubclass(kind, TrainedPart)}):
            raise UsageError(
                f"There is no kind of steering {unknown[0]!r} that can be trained.",
                next_step="Leave it out, or update tokmem-desk.",
            )
        if self.form == "layers" and self.span < 2:
            raise UsageError(
                "A memory with keys and values in every layer needs 2 places or more.",
                next_step="Use --span 2 or more; one place is enough for the form 'rows' alone.",
            )

    def as_dict(self) -> dict[str, Any]:
        """The settings as they are kept with a memory; plain JSON values."""
        found = asdict(self)
        further = found.pop("kinds")
        # No step of the training depends on it, so what is kept of interrupted ones still fits.
        del found["pointers"]
        # Only where it says something: settings without it, and digests over them, stay what they were.
        return {**found, "kinds": list(further)} if further else found


PAPER = TrainConfig(
    form="rows",
    span=1,
    lens_rank=0,
    epochs=1,
    max_steps=10**6,
    batch_size=4,
    learning_rate=5e-3,
    absolute_rate=True,
    weight_decay=0.0,
    clip_norm=1.0,
    router_weight=1.0,
    tied=True,
    memory_columns=True,
    patience=10**6,
    checks_per_run=0,
    floor_loss=0.0,
    shared_form=False,
    pointers=False,
)
"""TokMem as published: one tied row, token router, AdamW 5e-3, batch 4, 10 % warm-up then linear, one epoch."""


def preset(name: str, *, span: int | None = None, form: SteeringKind = "layers", seed: int = 0) -> TrainConfig:
    """The settings of an app preset.

    Args:
        name: ``quick`` (a look at whether it can work), ``normal``, or ``thorough``.
        span: positions of the memory; None takes the preset's. A span of 1 implies the form ``rows``.

    Raises:
        UsageError: no such preset, or a span that cannot be.
    """
    epochs = {"quick": 10, "normal": 30, "thorough": 60}
    steps = {"quick": 200, "normal": 600, "thorough": 2000}
    if name not in PRESETS:
        raise UsageError(f"There is no preset {name!r}.", next_step=f"Use one of {', '.join(PRESETS)}.")
    if span == 1:
        form = "rows"
    return TrainConfig(form=form, span=span or DEFAULT_SPAN, epochs=epochs[name], max_steps=steps[name], seed=seed)
