"""Tables and plots from result files: ``python -m benchmarks.report FILE.json …``.

Writes ``FILE.md`` and ``FILE.*.png`` beside each result and prints the tables.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.options import run_program
from benchmarks.plots import draw_plots
from profiles.files.atomic import write_text
from tokmem_desk.errors import BadInputError

COLUMNS = {
    "error": "error",
    "corrections": "corrections",
    "messages": "messages",
    "stream_error": "error while talking",
    "late_stream_error": "in the last fifth",
    "repeat_error": "corrected, still wrong",
    "rouge_l": "ROUGE-L",
    "exact_match": "exact",
    "form_valid": "form",
    "e2e_rouge_l": "e2e ROUGE-L",
    "e2e_exact_match": "e2e exact",
    "e2e_form_valid": "e2e form",
    "exact_at_half": "exact, surer half",
    "answer_calibration_error": "calibration error, answer",
    "edits_per_answer": "edits",
    "e2e_edits_per_answer": "e2e edits",
    "tool_f1": "tool F1",
    "argument_f1": "argument F1",
    "call_list_exact": "call lists",
    "steps_exact": "functions in order",
    "branches_right": "branches",
    "branches_right_given_value": "branches, value given",
    "routing_accuracy": "routing",
    "none_auroc": "none AUROC",
    "known_recall": "known recall",
    "false_trigger_rate": "false triggers",
    "chat_false_trigger_rate": "false triggers, chat",
    "calibration_error": "calibration error",
    "trained_parameters": "parameters",
    "prompt_tokens": "prompt tokens",
    "train_seconds": "train s",
    "query_seconds": "query s",
    "seconds_to_first": "time, first is 1",
    "rank_seconds": "rank s",
    "fit_seconds": "fit s",
    "router_mb": "router MB",
    "nearest_cosine": "cosine to the nearest",
    "first_round_accuracy": "routing, first round",
    "latest_norm": "norm, latest",
    "earlier_norm": "norm, earlier",
    "first_rouge_l": "ROUGE-L of the first",
    "first_known_recall": "known recall of the first",
    "add_seconds": "add s",
    "peak_memory_mb": "peak MB",
}
"""Keys of results in the order of the table's columns."""

_WHOLE = ("corrections", "messages", "trained_parameters", "prompt_tokens", "peak_memory_mb")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description="Tables and plots from results.")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.json")
    parser.add_argument("--no-plots", action="store_true", help="tables only")
    given = parser.parse_args(arguments)

    def work() -> None:
        for file in given.files:
            document = read_result(file)
            plots = [] if given.no_plots else draw_plots(document, file)
            text = to_markdown(document, [plot.name for plot in plots])
            write_text(file.with_suffix(".md"), text)
            print(text)

    return run_program(work)


def read_result(file: Path) -> dict[str, Any]:
    """A result file.

    Raises:
        BadInputError: it is none.
    """
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInputError(f"{file} cannot be read ({error}).") from error
    if not isinstance(document, dict) or "benchmark" not in document:
        raise BadInputError(f"{file} is not a result of a benchmark.")
    return document


def to_markdown(document: Mapping[str, Any], plots: Sequence[str] = ()) -> str:
    """The whole report of one result."""
    backbone = document.get("backbone") or {}
    parts = [
        f"# {document['benchmark']}",
        f"Backbone {backbone.get('id', 'none')} ({backbone.get('quantization', '')}, {backbone.get('reason', '')}). "
        f"Data: {_inline(document.get('data') or {})}. Seeds: {len(document.get('seeds', []))}; "
        "figures are means, ± standard deviation over seeds.",
    ]
    sweep = document.get("sweep") or [{"setting": {}, "methods": document.get("methods", {})}]
    for entry in sweep:
        if entry["setting"]:
            parts.append(f"## {_inline(entry['setting'])}")
        parts.append(_method_table(entry["methods"]))
        parts += _halves(entry["methods"])
        parts += _per_procedure(entry["methods"])
    for key in ("training", "first_token", "device", "start"):
        if key in document:
            parts.append(f"## {key.replace('_', ' ')}")
            parts.append(_table(["figure", "value"], [[k, _number(v)] for k, v in _flat(document[key])]))
    parts += [f"![{name}]({name})" for name in plots]
    return "\n\n".join(part for part in parts if part) + "\n"


def _method_table(methods: Mapping[str, Any]) -> str:
    used = [key for key in COLUMNS if any(m["metrics"].get(key) is not None for m in methods.values())]
    if not used:
        return ""
    rows = [[name, *(_with_spread(m, key) for key in used)] for name, m in methods.items()]
    return _table(["method", *(COLUMNS[key] for key in used)], rows)


def _halves(methods: Mapping[str, Any]) -> list[str]:
    """A table of the half of the procedures that choose settings, and one of those that do not."""
    parts = []
    halves = dict.fromkeys(half for method in methods.values() for half in _of_halves(method))
    for half in halves if len(halves) > 1 else ():
        found = {n: {"metrics": m["halves"][half], "spread": {}} for n, m in methods.items() if half in _of_halves(m)}
        parts += [f"The half that {'is ' if half == 'looked at' else ''}{half}:", _method_table(found)]
    return parts


def _of_halves(method: Mapping[str, Any]) -> Mapping[str, Any]:
    halves: Mapping[str, Any] = method.get("halves") or {}
    return halves


def _with_spread(method: Mapping[str, Any], key: str) -> str:
    value, spread = method["metrics"].get(key), method["spread"].get(key)
    if value is None:
        return "–"
    text = f"{value:,.0f}" if key in _WHOLE else _number(value)
    # The spread of sizes and times says nothing about a method.
    return f"{text} ± {spread:.3f}" if spread and key not in _WHOLE and not key.endswith("_seconds") else text


def _per_procedure(methods: Mapping[str, Any]) -> list[str]:
    key = next((k for k in ("rouge_l", "known_recall") if any(_has(m, k) for m in methods.values())), None)
    names = list(dict.fromkeys(p for m in methods.values() for p in m["per_procedure"]))
    if key is None or len(names) < 2:
        return []
    rows = [[p, *(_number(m["per_procedure"].get(p, {}).get(key)) for m in methods.values())] for p in names]
    return [f"{COLUMNS[key]} by procedure:", _table(["procedure", *methods], rows)]


def _has(method: Mapping[str, Any], key: str) -> bool:
    return any(figures.get(key) is not None for figures in method["per_procedure"].values())


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [list(head), ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _number(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3f}" if value == 0 or 0.001 <= abs(value) < 1000 else f"{value:.3g}"
    return str(value)


def _flat(part: Mapping[str, Any], prefix: str = "") -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = []
    for key, value in part.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{key} · ")
        else:
            rows.append((prefix + key, ", ".join(map(str, value)) if isinstance(value, list) else value))
    return rows


def _inline(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key.replace('_', ' ')} {'all' if v is None else v}" for key, v in values.items() if v != {})


if __name__ == "__main__":
    sys.exit(main())
