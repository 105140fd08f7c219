"""Fit what finds references with the default model, and write the file that comes with the program.

Enter the digest that is printed in ``tokmem_desk.models.shipped``. It computes in float32, which is faster than the
app's bfloat16 on a CPU that emulates that; the benchmark ``references`` measures the file as the app uses it.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import torch

from benchmarks.options import say
from profiles.files.paths import AppPaths
from tokmem_desk.backbone.backbone import load_backbone
from tokmem_desk.models.store import ModelStore
from tokmem_desk.references.finder import ReferenceFinder
from tokmem_desk.references.fitting import fit_reference_finder
from tokmem_desk.system.device import DeviceChoice


def main() -> None:
    """Write the file, and say its digest."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ship_references", description=__doc__)
    parser.add_argument("--home", type=Path, help="the app's home; its model cache is used")
    parser.add_argument(
        "--parts", type=Path, help="folder that keeps what is done, so that a run that was ended goes on"
    )
    given = parser.parse_args()
    device = DeviceChoice("cpu", "float32", "to fit what ships")
    store = ModelStore(AppPaths.resolve(given.home).models)
    folder = store.ensure("default", device, lambda *_: None)
    backbone = load_backbone(folder, device, store.resolve("default").id)
    for done in fit_reference_finder(backbone, folder=given.parts):
        if isinstance(done, ReferenceFinder):
            data = done.to_bytes(torch.float16)
            file = Path("tokmem_desk/fitted/references.safetensors")
            file.write_bytes(data)
            say(f'"{file.name}": "{hashlib.sha256(data).hexdigest()}"')


if __name__ == "__main__":
    main()
