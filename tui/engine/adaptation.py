"""The adaptation phase in the engine: run it, keep its checkpoint, write the adapter beside the model."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from profiles.atomic import write_bytes
from profiles.paths import AppPaths, private_folder
from tokmem_desk.catalogue import ADAPTED
from tokmem_desk.errors import IncompatibleError, TokmemError
from trainer.adaptation import Adaptation, AdaptationConfig
from trainer.checkpoint import Checkpoint
from tui.engine.models import LoadedModel
from tui.engine.server import Request


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
    run = _start(request, model, config, checkpoint)
    began = time.monotonic()
    try:
        for progress in run:
            request.emit(
                "progress",
                phase=progress.phase,
                step=progress.step,
                steps=progress.steps,
                loss=progress.loss,
                eta_s=progress.seconds_left,
            )
            yield
            if request.cancelled.is_set():
                run.stop()
        if run.result is None:
            write_bytes(checkpoint, run.checkpoint().to_bytes())
        else:
            write_bytes(model.adapter_file, run.result)
            with suppress(OSError):
                checkpoint.unlink(missing_ok=True)
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


def _start(request: Request, model: LoadedModel, config: AdaptationConfig, path: Path) -> Adaptation:
    def save(data: bytes) -> None:
        write_bytes(path, data)

    try:
        resume = Checkpoint.from_bytes(path.read_bytes())
        run = Adaptation(model.backbone, config, resume=resume, save=save)
    except FileNotFoundError:
        return Adaptation(model.backbone, config, save=save)
    except (OSError, TokmemError) as error:
        request.emit("progress", phase="adapt", note=f"Starting anew: {error}")
        return Adaptation(model.backbone, config, save=save)
    request.emit("progress", phase="adapt", note="Going on where the interrupted adaptation stopped.")
    return run
