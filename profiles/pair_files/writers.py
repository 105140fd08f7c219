"""Example pairs as text that can be read back, and a template to begin a file with."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

from profiles.files.atomic import write_text
from profiles.pair_files.row_forms import COLUMNS
from tokmem_desk.errors import ConflictError, UsageError
from tokmem_desk.procedures import ExamplePair

SUFFIXES = (".csv", ".tsv", ".jsonl", ".json")

TEMPLATE = (
    ExamplePair("coffee with Ann 3.50", "2025-01-31 | eating out | 3.50"),
    ExamplePair('a text over two lines,\nwith a comma and "quotes"', "its answer\nmay have lines too"),
)
"""The pairs of a template: one plain, one that shows how the form writes what is difficult."""


def pairs_text(pairs: Sequence[ExamplePair], suffix: str) -> str:
    """Pairs in the form that goes with a suffix of ``SUFFIXES``; further right answers are kept in the JSON forms.

    Raises:
        UsageError: another suffix.
    """
    if suffix in (".csv", ".tsv"):
        out = io.StringIO(newline="")
        writer = csv.writer(out, delimiter="," if suffix == ".csv" else "\t")
        writer.writerow(COLUMNS)
        writer.writerows((pair.input, pair.response) for pair in pairs)
        return out.getvalue()
    rows = [_object(pair) for pair in pairs]
    if suffix == ".jsonl":
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    if suffix == ".json":
        procedure = {"name": "my_procedure", "description": "", "train": rows, "test": []}
        return json.dumps(procedure, ensure_ascii=False, indent=2) + "\n"
    raise UsageError(f"There is no form of pairs for {suffix!r}.", next_step=f"Use one of {', '.join(SUFFIXES)}.")


def write_template(path: Path) -> None:
    """Write a file with two pairs to replace, in the form that goes with its suffix.

    Raises:
        UsageError: another suffix than those of ``SUFFIXES``.
        ConflictError: there is a file already; it stays.
        StorageError: the disk refused.
    """
    text = pairs_text(TEMPLATE, path.suffix.lower())
    if path.exists():
        raise ConflictError(f"There is a file {path} already.", next_step="Choose another name.")
    write_text(path, text)


def _object(pair: ExamplePair) -> dict[str, object]:
    more: dict[str, object] = {"references": list(pair.references)} if pair.references else {}
    return {"input": pair.input, "response": pair.response, **more}
