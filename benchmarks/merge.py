"""Join results of runs of one benchmark: ``python -m benchmarks.merge A.json B.json --out C.json``.

Runs that share backbone and data, that is: long benchmarks can be run method by method, or setting by setting, on
whatever machine is free. Where the runs had different seeds, every method's ``settings`` say which were its own. Raw
predictions are joined too. Figures of time and memory compare within one run only.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.options import run_program
from benchmarks.report import read_result
from benchmarks.result import predictions_path
from profiles.files.atomic import write_text
from tokmem_desk.errors import BadInputError

_OF_THE_RUN = ("threads", "reason")
"""What may differ between runs on one backbone."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.merge", description="Join results of one benchmark.")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.json")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.json", help="where the joined result goes")
    given = parser.parse_args(arguments)
    return run_program(lambda: merge_files(given.files, given.out))


def merge_files(files: Sequence[Path], out: Path) -> None:
    """Join result files, and what they have of raw predictions.

    Raises:
        BadInputError: they are of different benchmarks, backbones or data, or the same method occurs twice.
    """
    document = merge([read_result(file) for file in files])
    predictions = [predictions_path(file) for file in files]
    rows = "".join(path.read_text(encoding="utf-8") for path in predictions if path.exists())
    write_text(out, json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    if rows:
        write_text(predictions_path(out), rows)


def merge(documents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One result out of several."""
    first = documents[0]
    for other in documents[1:]:
        if _subject(other) != _subject(first):
            raise BadInputError(
                "These results are not of one benchmark on one backbone and the same data.",
                next_step="Join runs that differ in methods, settings or seeds only.",
            )
    alike = all(d["seeds"] == first["seeds"] for d in documents)
    sweep: list[dict[str, Any]] = []
    for document in documents:
        for entry in document["sweep"]:
            place = next((e for e in sweep if e["setting"] == entry["setting"]), None)
            if place is None:
                place = {"setting": entry["setting"], "methods": {}}
                sweep.append(place)
            for name, method in entry["methods"].items():
                if name in place["methods"]:
                    raise BadInputError(f"{name} was measured twice with the same setting: {entry['setting']}.")
                settings = method["settings"] if alike else {**method["settings"], "seeds": document["seeds"]}
                place["methods"][name] = {**method, "settings": settings}
    seeds = sorted({seed for document in documents for seed in document["seeds"]})
    return {**first, "seeds": seeds, "methods": sweep[-1]["methods"], "sweep": sweep}


def _subject(document: Mapping[str, Any]) -> tuple[object, ...]:
    """What must be alike."""
    backbone = {k: v for k, v in document["backbone"].items() if k not in _OF_THE_RUN}
    data = {k: v for k, v in document["data"].items() if k != "pairs"}
    return document["benchmark"], backbone, data


if __name__ == "__main__":
    sys.exit(main())
