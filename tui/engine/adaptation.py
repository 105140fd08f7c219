"""The adaptation phase in the engine: run it, keep its checkpoint, write the adapter beside the model."""

from __future__ import annotations

import time
from collections.abc import Iterator

from profiles.files.paths import AppPaths, private_folder
from tokmem_desk.errors import IncompatibleError
from tokmem_desk.models.catalogue import ADAPTED
from trainer.checkpoint import Checkpoint
from trainer.paper.adaptation import Adaptation, AdaptationConfig
from tui.engine.models import LoadedModel
from tui.engine.request import Request
from tui.engine.resuming import Save, begin, drive


def adapt(request: Request, paths: AppPaths, model: LoadedModel) -> Iterator[None]:
    """Adapt the loaded model; a run that was stopped or killed goes on where it was. Ends with ``done``."""
    backbone = model.backbone
    if model.adapted:
        raise IncompatibleError(
            f"{backbone.model_id} is adapted already.",
            next_step=f"Adapt the plain model: --model {backbone.model_id.removesuffix(ADAPTED)}",
        )
    folder = private_folder(paths.checkpoints / "adapt")
    checkpoint = folder / f"{backbone.fingerprint.digest[:16]}.safetensors"
    examples = request.fields.get("examples")
    config = AdaptationConfig() if examples is None else AdaptationConfig(examples=int(examples))

    def make(resume: Checkpoint | None, save: Save) -> Adaptation:
        return Adaptation(backbone, config, resume=resume, save=save)

    run = begin(request, "adapt", checkpoint, make)
    began = time.monotonic()
    try:
        yield from drive(request, checkpoint, run, model.keep_adapter)
    finally:
        run.close()
    request.emit(
        "done",
        result={
            "id": backbone.model_id + ADAPTED,
            "cancelled": run.result is None,
            "steps": run.steps,
            "loss": run.loss,
            "seconds": time.monotonic() - began,
            "file": str(model.adapter_file),
        },
    )
