"""What computing in bfloat16 and in float32 costs on this processor, with the same 4-bit weights.

The model is loaded once in each. Timed are the reading of a message, a decoded token, and a training step; the two
take turns. Told is processor time, which stays where other programs share the machine, on one thread.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.options import make_parser, run_program, say
from profiles.files.atomic import write_text
from profiles.files.paths import AppPaths
from tokmem_desk.samples import sample_procedures
from tokmem_desk.system.device import DeviceChoice, choose_device

if TYPE_CHECKING:
    import argparse

    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.procedures import Procedure

TYPES = ("bfloat16", "float32")
REPEATS = 3
_TOKENS = 16
_STEPS = 1


def main(arguments: Sequence[str] | None = None) -> int:
    parser = make_parser("number_types", __doc__)
    given = parser.parse_args(arguments)
    return run_program(lambda: run(given))


def run(given: argparse.Namespace) -> None:
    """Measure and write the result.

    Raises:
        TokmemError: the model is not there, or cannot be loaded.
    """
    import torch

    from tokmem_desk.backbone.backbone import load_backbone
    from tokmem_desk.models.store import ModelStore

    torch.set_num_threads(1)
    store = ModelStore(AppPaths.resolve(given.home).models, offline=True)
    model = store.resolve(given.model)
    backbones = {}
    for name in TYPES:
        say(f"Loading {model.id} in {name}")
        backbones[name] = load_backbone(store.folder / model.slug, DeviceChoice("cpu", name, "asked for"), model.id)
    document: dict[str, Any] = {
        "benchmark": "number_types",
        "backbone": model.id,
        "processor": choose_device("cpu").reason,
        "chosen": choose_device("cpu").compute_dtype,
        "repeats": REPEATS,
    }
    procedure = sample_procedures()[0]
    for kind, make in (("message", _reading), ("token", _decoding), ("training_step", _training)):
        say(f"Timing a {kind.replace('_', ' ')}")
        document[kind] = _compared({name: make(backbone, procedure) for name, backbone in backbones.items()})
    given.out.parent.mkdir(parents=True, exist_ok=True)
    write_text(given.out, json.dumps(document, indent=1) + "\n")


def _compared(runs: dict[str, Callable[[], int]]) -> dict[str, float]:
    """Median processor milliseconds of one unit in each number type, and how often the second fits into the first.

    Args:
        runs: each does its work once and returns how many units that were.
    """
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(REPEATS + 1):
        for name, once in runs.items():
            began = time.process_time()
            units = once()
            if repeat:  # the first one sets things up
                taken[name].append(1000 * (time.process_time() - began) / units)
    medians = {name: statistics.median(values) for name, values in taken.items()}
    bfloat16, float32 = (medians[name] for name in TYPES)
    return {**{f"{name}_ms": round(value, 2) for name, value in medians.items()}, "ratio": round(bfloat16 / float32, 2)}


def _reading(backbone: Backbone, procedure: Procedure) -> Callable[[], int]:
    query = backbone.format.query(" ".join(pair.input for pair in procedure.pairs[:4]))

    def once() -> int:
        backbone.prefill([query])
        return 1

    return once


def _decoding(backbone: Backbone, procedure: Procedure) -> Callable[[], int]:
    import torch

    from tokmem_desk.generation.decoding import step

    with torch.no_grad():
        prefilled = backbone.prefill([backbone.format.query(procedure.pairs[0].input)])
        batch = backbone.layout.join(prefilled.states, [None])

    @torch.no_grad()
    def once() -> int:
        token = backbone.format.end_id
        for _ in range(_TOKENS):
            token = int(step(backbone, batch, token).argmax())
        return _TOKENS

    return once


def _training(backbone: Backbone, procedure: Procedure) -> Callable[[], int]:
    from trainer.config import preset
    from trainer.loop import Training

    steps = (one for one in Training(backbone, [procedure], preset("normal")) if one.phase == "train")

    def once() -> int:
        for _ in range(_STEPS):
            next(steps)
        return _STEPS

    return once


if __name__ == "__main__":
    sys.exit(main())
