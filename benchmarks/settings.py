"""The baselines' settings: committed in ``settings.json``, found with ``--tune``, reused otherwise.

The file holds, per benchmark and method, the chosen values, and per method the grid they were chosen from.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from profiles.files.atomic import write_text

SETTINGS_FILE = Path(__file__).with_name("settings.json")
EVERY_MODEL = "*"
"""Settings that hold where none were searched for a model."""

Values = dict[str, Any]


def chosen(benchmark: str, model_id: str, file: Path = SETTINGS_FILE) -> dict[str, Values]:
    """Settings by method for a benchmark on a model."""
    tuned: dict[str, dict[str, dict[str, Values]]] = _read(file)["chosen"][benchmark]
    return {method: {**by_model.get(model_id, by_model[EVERY_MODEL])} for method, by_model in tuned.items()}


def grids(file: Path = SETTINGS_FILE) -> dict[str, list[Values]]:
    """The points to search, by method; each overrides the chosen settings."""
    found: dict[str, list[Values]] = _read(file)["grids"]
    return found


def keep(benchmark: str, model_id: str, method: str, values: Values, file: Path = SETTINGS_FILE) -> None:
    """Write what a search chose."""
    document = _read(file)
    document["chosen"][benchmark][method][model_id] = values
    write_text(file, json.dumps(document, indent=2) + "\n")


def _read(file: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return document
