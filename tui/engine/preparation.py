"""``prepare`` in the engine: learn where memories of the loaded model start, and take that into use."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

from profiles.files.paths import AppPaths, private_folder
from trainer.checkpoint import Checkpoint
from trainer.prior.training import PriorConfig, PriorTraining
from tui.engine.models import LoadedModel
from tui.engine.request import Request
from tui.engine.resuming import Save, begin, drive


def prepare(request: Request, paths: AppPaths, model: LoadedModel) -> Iterator[None]:
    """Learn a prior; a run that was stopped or killed goes on where it was. Ends with ``done``.

    Raises:
        IncompatibleError: memories of this model are rows alone.
        TokmemError: what training and writing know.
    """
    backbone = model.backbone
    checkpoint = private_folder(paths.checkpoints / "prepare") / f"{backbone.fingerprint.digest[:16]}.safetensors"
    steps = request.fields.get("steps")
    config = PriorConfig() if steps is None else PriorConfig(steps=int(steps))

    def make(resume: Checkpoint | None, save: Save) -> PriorTraining:
        return PriorTraining(backbone, config, resume=resume, save=save)

    began = time.monotonic()
    run = begin(request, "prior", checkpoint, make)
    yield from drive(request, checkpoint, run, model.keep_prior)
    cancelled = run.result is None
    request.emit(
        "done",
        result={
            "id": backbone.model_id,
            "cancelled": cancelled,
            "steps": run.steps,
            "loss": None if math.isnan(run.loss) else run.loss,
            "seconds": time.monotonic() - began,
            "digest": None if cancelled or model.prior is None else model.prior.digest,
            "file": str(model.prior_file),
        },
    )
