"""How long it takes to export a bank of many procedures and to import it, without the engine's probes.

Memories are random numbers in the shapes of the default model, in both forms: ``rows`` (the paper's memory tokens) and
``layers`` (keys and values in every layer and a KV adapter, the app's default), and they lie in profiles on the disk as
trained ones do.
Export reads them and writes the file; import checks all of it, puts the memories into quarantine, syncs them and writes
the rows. Each figure is the best of several runs: what the disk does beside us is not ours to measure. Every run checks
that the memories came back bit for bit.
"""

from __future__ import annotations

import argparse
import base64
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
from typing import Any

import numpy as np

from benchmarks.options import positive, run_program, say
from profiles.files.atomic import write_text
from profiles.store.banks import Incoming, IncomingMemory, IncomingProcedure, place_names
from profiles.store.store import ProfileStore
from tokmem_desk.backbone.fingerprint import Fingerprint
from tokmem_desk.bank.jsonl import Probe
from tokmem_desk.bank.reader import open_bank
from tokmem_desk.memory.file_bytes import Block, MemoryParts, put_together, take_apart
from tokmem_desk.memory.kv_adapter import kv_adapter_size
from tokmem_desk.procedures import pairs_digest
from tui.banks.transfer import choose, incoming, prepare_export, stage, write_export

HIDDEN, LAYERS, HEADS, HEAD_SIZE, DIMENSIONS = 576, 30, 3, 64, 512
"""Of SmolLM2-135M-Instruct, the default model, and of its router."""
LOW_RANK_ROWS, ANCHORS, SPAN, LENS_RANK = 4, 600, 16, 8
FORMS = ("rows", "layers")
RECIPE = "a" * 64
FINGERPRINT = Fingerprint(
    model_id="benchmark",
    revision="",
    family="llama",
    hidden_size=HIDDEN,
    vocabulary_size=49_152,
    tied=True,
    config_sha256="1" * 64,
    tokenizer_sha256="2" * 64,
    layout_sha256="3" * 64,
    embedding_sha256="4" * 64,
    weights_sha256="5" * 64,
    quantization="nf4-double",
    compute_dtype="bfloat16",
)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.bank", description=__doc__)
    parser.add_argument("--procedures", type=positive, default=1000, metavar="N", help="in the bank (default: 1000)")
    parser.add_argument("--forms", type=_forms, default=FORMS, metavar="A,B", help=", ".join(FORMS))
    parser.add_argument("--runs", type=positive, default=3, metavar="N", help="of each form (default: 3)")
    parser.add_argument(
        "--folder", type=Path, help="where profiles and banks lie meanwhile (default: the system's own)"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.json", help="the result")
    given = parser.parse_args(arguments)
    return run_program(lambda: run(given))


def _forms(text: str) -> tuple[str, ...]:
    found = tuple(text.split(","))
    if unknown := [form for form in found if form not in FORMS]:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)} is none of {', '.join(FORMS)}")
    return found


def run(given: argparse.Namespace) -> None:
    """Measure and write the result."""
    document: dict[str, Any] = {
        "benchmark": "bank",
        "machine": {"cpus": os.cpu_count(), "load": round(os.getloadavg()[0], 1), "python": platform.python_version()},
        "procedures": given.procedures,
        "span": SPAN,
        "forms": {},
    }
    for form in given.forms:
        say(f"{form}: {given.runs} runs with {given.procedures} procedures")
        runs = [_measure(form, given.procedures, given.folder) for _ in range(given.runs)]
        document["forms"][form] = {
            "megabytes": runs[0]["megabytes"],
            "bit_identical": all(one["bit_identical"] for one in runs),
            **{
                what: {"best": min(one[what] for one in runs), "median": statistics.median(one[what] for one in runs)}
                for what in ("export_seconds", "import_seconds", "total_seconds", "processor_seconds")
            },
        }
        say(f"  {document['forms'][form]}")
        given.out.parent.mkdir(parents=True, exist_ok=True)
        write_text(given.out, json.dumps(document, indent=1) + "\n")


def _measure(form: str, count: int, folder: Path | None) -> dict[str, Any]:
    place = Path(tempfile.mkdtemp(prefix="tokmem-bank-", dir=folder))
    try:
        with ProfileStore(place / "from") as store, ProfileStore(place / "to") as other:
            fill(store, form, count)
            file = place / "all.tokmem"
            began, worked = time.perf_counter(), time.process_time()
            memories = choose(store, FINGERPRINT.digest, ())
            write_export(file, prepare_export(store, "benchmark", memories, _probed(store), with_pairs=False))
            exported = time.perf_counter()
            with open_bank(file) as bank, other.banks.quarantine() as quarantine:
                placements = place_names(bank.manifest.names, (), "rename")
                fields = stage(bank, placements, other, quarantine, bank.manifest.router.digest)
                files = {one["uuid"]: one["file"] for one in fields["memories"]}
                other.banks.add(incoming(bank, placements, files), quarantine)
            ended, processor = time.perf_counter(), time.process_time() - worked
            return {
                "megabytes": round(file.stat().st_size / 1e6, 1),
                "export_seconds": round(exported - began, 2),
                "import_seconds": round(ended - exported, 2),
                "total_seconds": round(ended - began, 2),
                "processor_seconds": round(processor, 2),
                "bit_identical": _same(store, other),
            }
    finally:
        shutil.rmtree(place)


def fill(store: ProfileStore, form: str, count: int) -> None:
    """A profile with that many trained procedures."""
    generator = np.random.default_rng(0)
    with store.banks.quarantine() as folder:
        procedures = []
        for at in range(count):
            file = store.memories.write(_memory(generator, form, f"procedure_{at}"), folder)
            memory = IncomingMemory(file, FINGERPRINT.digest, 24, pairs_digest(()), {"span": SPAN}, {"rouge_l": 0.5})
            procedures.append(IncomingProcedure(f"{at:032x}", f"procedure_{at}", "A procedure", memory=memory))
        store.banks.add(Incoming("benchmark", procedures), folder)


def _memory(generator: np.random.Generator, form: str, name: str) -> bytes:
    def numbers(*shape: int, length: float | None = None) -> Block:
        drawn = generator.standard_normal(shape, dtype=np.float32)
        if length is not None:
            drawn *= length / np.linalg.norm(drawn)
        return Block("F32", shape, drawn.astype("<f4").tobytes())

    blocks = {
        "steering": numbers(SPAN if form == "rows" else 1, HIDDEN),
        "address": numbers(HIDDEN),
        # Such as inputs can have (``statistics_rules``): a mean of length one half, and the scatter that goes with it.
        "router.mean": numbers(DIMENSIONS, length=0.5),
        "router.sketch": numbers(LOW_RANK_ROWS, DIMENSIONS, length=2.0),
        "router.scatter": Block("F32", (1,), np.array([24 * 0.75], dtype="<f4").tobytes()),
        "router.count": Block("I32", (1,), np.array([24], dtype="<i4").tobytes()),
    }
    if form == "layers":
        for what in ("keys.0", "values.0"):
            blocks[what] = numbers(LAYERS, HEADS, SPAN - 1, HEAD_SIZE)
        blocks["lens"] = numbers(kv_adapter_size([(LAYERS, HEADS, HEAD_SIZE, HEAD_SIZE)], LENS_RANK))
    return put_together(MemoryParts(name, False, {"form": form}, FINGERPRINT.as_dict(), RECIPE, blocks))


def _probed(store: ProfileStore) -> dict[str, Any]:
    """What the engine would say, with one made-up probe."""
    uuid = store.procedures.list()[0].uuid
    anchors = np.zeros((ANCHORS, DIMENSIONS), dtype="<f4").tobytes()
    return {
        "probes": [Probe(uuid, "hello", "none", 1.0, 0.0, ((1, -1.0),)).as_dict()],
        "recipe": RECIPE,
        "configuration": {},
        "calibration": {},
        "anchors": base64.b64encode(anchors).decode(),
    }


def _same(store: ProfileStore, other: ProfileStore) -> bool:
    """Whether every tensor of every memory is the same in both profiles."""

    def tensors(of: ProfileStore) -> dict[str, dict[str, bytes]]:
        return {
            record.procedure: {
                name: bytes(block.data) for name, block in take_apart(of.memories.read(record.file), "x").blocks.items()
            }
            for record in of.memories.all_active(FINGERPRINT.digest)
        }

    return tensors(store) == tensors(other)


if __name__ == "__main__":
    sys.exit(main())
