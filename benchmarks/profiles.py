"""How long it takes to switch between two profiles of many procedures, until the next message could be routed.

Memories are random numbers in the shapes of the default model. One switch opens the other profile, lists its
procedures, and puts its bank together in the engine (``first``: every memory read and checked, once per memory and
router; ``cold``: the engine has not seen the profile yet; ``kept``: it has). A locked profile is opened with its key:
what the passphrase costs is a figure of its own. The backbone is not loaded: a switch does not touch it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import torch

from benchmarks.bank import DIMENSIONS, FINGERPRINT, HEAD_SIZE, HEADS, HIDDEN, LAYERS, fill
from benchmarks.options import positive, run_program, say
from profiles.encryption.file_encryption import ProfileKey
from profiles.files.atomic import write_text
from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from tokmem_desk.routing.features import FeatureLayers, RouterBasis
from tokmem_desk.routing.none_calibration import Calibration
from tui.engine.bank_cache import BankCache

if TYPE_CHECKING:
    from tui.engine.models import LoadedModel

PASSPHRASE = "four words of mine"  # noqa: S105 - of two profiles that live for a minute
NAMES = ("ann", "bob")


class _Basis(RouterBasis):
    """A router space that claims to be the one of the made-up memories."""

    @property
    def digest(self) -> str:
        return "a" * 64


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.profiles", description=__doc__)
    parser.add_argument("--procedures", type=positive, default=1000, metavar="N", help="in each (default: 1000)")
    parser.add_argument("--form", choices=("rows", "layers"), default="layers", help="of the memories")
    parser.add_argument("--switches", type=positive, default=6, metavar="N", help="of each kind (default: 6)")
    parser.add_argument("--folder", type=Path, help="where the profiles lie meanwhile (default: the system's own)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.json", help="the result")
    given = parser.parse_args(arguments)
    return run_program(lambda: run(given))


def run(given: argparse.Namespace) -> None:
    """Measure and write the result."""
    place = Path(tempfile.mkdtemp(prefix="tokmem-profiles-", dir=given.folder))
    try:
        kinds = _measure(AppPaths.resolve(place), given)
    finally:
        shutil.rmtree(place)
    document = {
        "benchmark": "profiles",
        "machine": {"cpus": os.cpu_count(), "load": round(os.getloadavg()[0], 1), "python": platform.python_version()},
        "procedures": given.procedures,
        "form": given.form,
        "switch_seconds": kinds,
    }
    say(json.dumps(document, indent=1))
    given.out.parent.mkdir(parents=True, exist_ok=True)
    write_text(given.out, json.dumps(document, indent=1) + "\n")


def _measure(paths: AppPaths, given: argparse.Namespace) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with ProfileRegistry(paths) as registry:
        for name in NAMES:
            registry.create(name)
            say(f"filling {name} with {given.procedures} procedures")
            with registry.open(name) as store:
                fill(store, given.form, given.procedures)
        keys: dict[str, ProfileKey | None] = dict.fromkeys(NAMES)
        found["plain"] = _switches(registry, keys, given.switches)
        for name in NAMES:
            say(f"locking {name}")
            began = time.perf_counter()
            registry.locks.add(name, PASSPHRASE)
            found["lock_seconds"] = round(time.perf_counter() - began, 2)
            began = time.perf_counter()
            keys[name] = registry.locks.key(name, PASSPHRASE)
            found["passphrase_seconds"] = round(time.perf_counter() - began, 3)
        found["locked"] = _switches(registry, keys, given.switches)
    return found


def _switches(registry: ProfileRegistry, keys: dict[str, ProfileKey | None], count: int) -> dict[str, Any]:
    model = _model()
    first = [_switch(registry, name, keys[name], BankCache(model)) for name in NAMES]
    cold = [_switch(registry, NAMES[at % 2], keys[NAMES[at % 2]], BankCache(model)) for at in range(count)]
    bank_cache = BankCache(model)
    kept = [_switch(registry, NAMES[at % 2], keys[NAMES[at % 2]], bank_cache) for at in range(count + 2)][2:]
    return {name: _spread(seconds) for name, seconds in (("first", first), ("cold", cold), ("kept", kept))}


def _switch(registry: ProfileRegistry, name: str, key: ProfileKey | None, bank_cache: BankCache) -> tuple[float, float]:
    """Seconds for one switch: by the clock, and of the processor, which busy neighbours do not lengthen."""
    began, worked = time.perf_counter(), time.process_time()
    registry.switch(name)
    with registry.open(name, key=key) as store:
        listed = store.procedures.list()
        bank = bank_cache.bank(store, "discriminant", 0.0)
        seconds = time.perf_counter() - began, time.process_time() - worked
        assert len(bank.memories) == len(listed), bank_cache.problems(store)[:1]
    return seconds


def _spread(seconds: Sequence[tuple[float, float]]) -> dict[str, float]:
    clock, processor = zip(*seconds, strict=True)
    figures = {"best": min(clock), "median": statistics.median(clock), "worst": max(clock)}
    figures["processor"] = statistics.median(processor)
    return {name: round(value, 3) for name, value in figures.items()}


def _model() -> LoadedModel:
    """What the bank cache asks of a loaded model while no message is read."""
    drawn = torch.Generator().manual_seed(0)
    chat = torch.randn(600, DIMENSIONS, generator=drawn)
    empty = torch.zeros(0)
    basis = _Basis(
        FeatureLayers((1,), (1,)),
        empty,
        empty,
        empty,
        torch.zeros(8, DIMENSIONS),
        chat / chat.norm(dim=1, keepdim=True),
        Calibration(10.0, (6.0, 0.0, 0.0, 0.0, 0.0, 0.0, -2.0, -1.0)),
        FINGERPRINT.digest,
    )
    backbone = SimpleNamespace(
        fingerprint=FINGERPRINT,
        model_id=FINGERPRINT.model_id,
        hidden_size=HIDDEN,
        torch_device=torch.device("cpu"),
        key_shapes=((LAYERS, HEADS, HEAD_SIZE, HEAD_SIZE),),
        longest_row=1e6,  # the made-up addresses are long
    )
    return cast("LoadedModel", SimpleNamespace(backbone=backbone, basis=basis, segment_tagger=None, references=None))


if __name__ == "__main__":
    sys.exit(main())
