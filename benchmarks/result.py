"""The result file: means and spread over seeds, in the form that docs/benchmarks.md describes, and raw predictions.

``NAME.json`` is written anew after every setting, ``NAME.predictions.jsonl`` row by row: a run that is cut short
leaves what it had.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.sureness import Sureness, answer_calibration_error
from profiles.files.atomic import write_text

Metrics = dict[str, float | None]


@dataclass(frozen=True, slots=True)
class Run:
    """One method with one seed.

    Attributes:
        metrics: figures by key; None where a figure does not apply.
        per_procedure: the same per procedure.
        settings: how the method was set.
        halves: the same for each half of the procedures, see ``data.halves``; empty where they are not parted.
        sureness: of its answers, by procedure; empty for a method that gives no probability of being right.
        half_of: the half of each procedure.
    """

    metrics: Metrics
    per_procedure: dict[str, Metrics] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    halves: Mapping[str, Metrics] = field(default_factory=dict)
    sureness: dict[str, list[Sureness]] = field(default_factory=dict)
    half_of: Mapping[str, str] = field(default_factory=dict)


def mean_over(runs: Sequence[Mapping[str, float | None]]) -> Metrics:
    """Mean of each key over the runs that have a value."""
    return {key: statistics.fmean(values) if values else None for key, values in _columns(runs).items()}


def spread_over(runs: Sequence[Mapping[str, float | None]]) -> Metrics:
    """Standard deviation (of a sample) of each key; 0 for a single value."""
    return {
        key: (statistics.stdev(values) if len(values) > 1 else 0.0) if values else None
        for key, values in _columns(runs).items()
    }


def _columns(runs: Sequence[Mapping[str, float | None]]) -> dict[str, list[float]]:
    keys = dict.fromkeys(key for run in runs for key in run)
    values = {key: [run.get(key) for run in runs] for key in keys}
    return {key: [v for v in column if v is not None and math.isfinite(v)] for key, column in values.items()}


def summarise(runs: Mapping[str, Sequence[Run]]) -> dict[str, Any]:
    """The ``methods`` object: per method, over its seeds."""
    methods: dict[str, dict[str, Any]] = {}
    for name, of_method in runs.items():
        procedures = dict.fromkeys(p for run in of_method for p in run.per_procedure)
        methods[name] = {
            "metrics": mean_over([run.metrics for run in of_method]),
            "spread": spread_over([run.metrics for run in of_method]),
            "per_procedure": {
                p: mean_over([run.per_procedure[p] for run in of_method if p in run.per_procedure]) for p in procedures
            },
            "settings": of_method[-1].settings,
        }
        halves = dict.fromkeys(half for run in of_method for half in run.halves)
        if halves:
            methods[name]["halves"] = {
                half: mean_over([run.halves[half] for run in of_method if half in run.halves]) for half in halves
            }
        _take_together(methods[name], of_method)
    return methods


def _take_together(method: dict[str, Any], runs: Sequence[Run]) -> None:
    """Replace the mean calibration error by that over the answers of all seeds together.

    The fewer answers in a bin, the more of the error is chance; and one answer of each seed is as good as another.
    """
    answers = [
        (run.half_of.get(name), answer) for run in runs for name, found in run.sureness.items() for answer in found
    ]
    if not answers:
        return
    method["metrics"]["answer_calibration_error"] = answer_calibration_error([answer for _, answer in answers])
    for half, figures in method.get("halves", {}).items():
        figures["answer_calibration_error"] = answer_calibration_error(
            [answer for of_half, answer in answers if of_half == half]
        )


def predictions_path(out: Path) -> Path:
    """Where the raw predictions of a result lie."""
    return out.with_name(f"{out.stem}.predictions.jsonl")


class ResultFile:
    """Writes a result while it grows. A context manager."""

    def __init__(self, out: Path, head: dict[str, Any]) -> None:
        """Begin a result.

        Args:
            head: ``benchmark``, ``backbone``, ``data``, ``seeds`` and whatever else stands on top.
        """
        self._out = out
        self._head = head
        self._sweep: list[dict[str, Any]] = []
        out.parent.mkdir(parents=True, exist_ok=True)
        self._predictions = predictions_path(out).open("w", encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._predictions.close()

    def predict(self, rows: Iterable[dict[str, Any]]) -> None:
        """Keep raw predictions."""
        for row in rows:
            self._predictions.write(json.dumps(row, ensure_ascii=False) + "\n")
        self._predictions.flush()

    def add(self, setting: dict[str, Any], runs: Mapping[str, Sequence[Run]]) -> None:
        """Keep the figures of one setting; a later call with the same setting takes its place."""
        entry = {"setting": setting, "methods": summarise(runs)}
        self._sweep = [e for e in self._sweep if e["setting"] != setting] + [entry]
        document = {**self._head, "methods": entry["methods"], "sweep": self._sweep}
        write_text(self._out, json.dumps(document, indent=1, ensure_ascii=False) + "\n")
