"""Small banks for tests: memories of random numbers for a made-up backbone, as files and as a bank."""

from __future__ import annotations

import io
import random
import struct
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import benchmarks.bank
from tokmem_desk.bank.jsonl import BankCorrection, BankPlan, PairSet, Probe
from tokmem_desk.bank.writer import ExportBank, ExportProcedure, write_bank
from tokmem_desk.memory.file_bytes import Block, MemoryParts, put_together
from tokmem_desk.procedures import ExamplePair, pairs_digest

HIDDEN, DIMENSIONS, LAYERS, HEADS, SIZE = 8, 6, 2, 2, 4
ROUTER_DIGEST = "ab" * 32
FINGERPRINT = replace(
    benchmarks.bank.FINGERPRINT,
    model_id="made-up/Tiny-Instruct",
    revision="r1",
    hidden_size=HIDDEN,
    vocabulary_size=100,
)
CARD = {
    "rouge_l": 0.75,
    "exact_match": 0.5,
    "base": {"rouge_l": 0.1, "exact_match": 0.0, "text": "a private base"},
    "advice": ["a private advice"],
    "seconds": 42.0,
    "samples": [{"input": "a private sample", "got": "x"}],
    "confusion": {"labels": ["another_name"]},
}


def numbers(generator: random.Random, *shape: int) -> Block:
    count = 1
    for size in shape:
        count *= size
    return Block("F32", shape, struct.pack(f"<{count}f", *(generator.uniform(-2, 2) for _ in range(count))))


def memory_file(seed: int = 0, *, rows: int = 1, positions: int = 3, lens: bool = True, **changes: Any) -> bytes:
    """A memory file as a training leaves it; ``positions=0`` makes one of rows alone."""
    generator = random.Random(seed)
    blocks = {
        "steering": numbers(generator, rows, HIDDEN),
        "address": numbers(generator, HIDDEN),
        "router.mean": numbers(generator, DIMENSIONS),
        "router.sketch": numbers(generator, 1 + seed % 2, DIMENSIONS),
        "router.scatter": Block("F32", (1,), struct.pack("<f", 0.5 + seed)),
        "router.count": Block("I32", (1,), struct.pack("<i", 5 + seed)),
    }
    settings: dict[str, Any] = {"form": "layers", "span": rows + positions, "seed": seed}
    if seed % 3 == 2:
        blocks["reader"] = numbers(generator, 7 + seed)
        settings["reader"] = {"slots": [["who", "text", False]], "order": None}
    if lens and seed % 3 == 0:
        settings["answer_form"] = {
            "parts": [{"kind": "text", "values": ["done "]}, {"kind": "taken", "ways": ["number"], "tokens": 1}],
            "repeated": False,
        }
    if positions:
        for g in range(2):
            blocks[f"keys.{g}"] = numbers(generator, LAYERS, HEADS, positions, SIZE)
            blocks[f"values.{g}"] = numbers(generator, LAYERS, HEADS, positions, SIZE + 1)
    if lens and positions and seed % 3 == 0:
        blocks["lens"] = numbers(generator, 2 * 2 * LAYERS * HEADS * (SIZE + SIZE + 1) * (1 + seed % 2))
    parts = MemoryParts(
        f"memory{seed}", seed % 2 == 1, settings,
        FINGERPRINT.as_dict(), ROUTER_DIGEST, blocks,
    )  # fmt: skip
    return put_together(replace(parts, **changes))


def uuid_of(place: int) -> str:
    return f"{place + 1:032x}"


def procedures(count: int = 3, *, with_pairs: bool = False, lens: bool = True) -> list[ExportProcedure]:
    """``count`` procedures, the second one without keys and values."""
    made = []
    for place in range(count):
        data = memory_file(place, rows=1 + place % 3, positions=0 if place == 1 else 2 + place % 4, lens=lens)
        pairs = tuple(ExamplePair(f"do {place} {i}", f"done {place} {i}", ("also",) * (i == 0)) for i in range(3))
        made.append(
            ExportProcedure(
                uuid_of(place),
                f"proc{place}",
                lambda data=data: data,  # type: ignore[misc]
                description=f"Does thing {place}",
                pattern=r"done \d.*" if place == 0 else None,
                threshold=0.6 if place == 0 else None,
                version=place + 1,
                pair_count=3,
                pairs_digest=pairs_digest(pairs),
                scorecard=CARD,
                trained="2026-01-02T03:04:05Z",
                pairs=PairSet(pairs, pairs[:1]) if with_pairs else None,
                output_schema='{"type": "object", "properties": {"a": {"type": "string"}}}' if place == 2 else None,
                reads_conversation=place == 1,
                group="things I do" if place == 0 else "",
            )
        )
    return made


def probes(count: int = 3) -> list[Probe]:
    return [
        Probe(
            uuid_of(place),
            f"message {place}",
            f"proc{place}" if place % 2 else "none",
            probability=0.9,
            likeness=0.5,
            tokens=((7, -0.1), (9, -3.0)),
        )
        for place in range(count)
    ]


PLANS = (
    BankPlan(
        uuid_of(0),
        "proc1: {message}\nif {message.number} > 5\n  ask me: Really?\n  outside\nelse\n  none: hello",
        {"proc1": uuid_of(1), "outside": "f" * 32},
    ),
    BankPlan(uuid_of(1), then=uuid_of(2)),
    BankPlan(uuid_of(2), ""),
)
"""A plan that names a procedure of the bank and one that is in none, a chain, and a plan that is taught."""


def bank(count: int = 3, *, with_pairs: bool = False, **changes: Any) -> ExportBank:
    made = ExportBank(
        "A bank of tests",
        procedures(count, with_pairs=with_pairs),
        probes(min(count, 3)),
        ROUTER_DIGEST,
        licence="CC0-1.0",
        backbone_licence="Apache-2.0",
        configuration={"dimensions": DIMENSIONS},
        calibration={"sharpness": 9.5, "weights": [0.5] * 8},
        anchors=struct.pack(f"<{4 * DIMENSIONS}f", *([0.25] * 4 * DIMENSIONS)),
        corrections=[BankCorrection("do 1 please", "none", "proc1")] if with_pairs else [],
        generator={"tokmem-desk": "0.1.0"},
    )
    return replace(made, **changes)


def bank_bytes(made: ExportBank | None = None, passphrase: str | None = None) -> bytes:
    target = io.BytesIO()
    write_bank(target, made or bank(), passphrase)
    return target.getvalue()


def write(path: Path, made: ExportBank | None = None, passphrase: str | None = None) -> Path:
    path.write_bytes(bank_bytes(made, passphrase))
    return path


def unpacked(folder: Path, data: bytes) -> Path:
    """The files of a bank in a plain folder."""
    import zipfile

    folder.mkdir()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for name in archive.namelist():
            (folder / name).write_bytes(archive.read(name))
    return folder


def files_of(data: bytes) -> dict[str, bytes]:
    import zipfile

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(files: dict[str, bytes] | Sequence[tuple[str, bytes]], compression: int = 0) -> bytes:
    """A zip of files, in order; duplicates allowed when given as pairs."""
    import warnings
    import zipfile

    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", compression) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, data in files.items() if isinstance(files, dict) else files:
            archive.writestr(name, data)
    return target.getvalue()
