"""What ``personal`` and ``atomic`` share: methods side by side over folders of procedures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import settings
from benchmarks.data import TaskData, choose_procedures, draw, half_of, load_tasks
from benchmarks.kept import KeptMemories
from benchmarks.measure import measure
from benchmarks.methods import METHODS, SEEDLESS, Context
from benchmarks.models import load
from benchmarks.options import Options, add_method_options, make_parser, say
from benchmarks.result import ResultFile, Run
from benchmarks.tuning import search
from tokmem_desk.procedures import Procedure

_DEVELOPMENT_SEED = 0


def parse(benchmark: str, description: str | None, arguments: Sequence[str] | None) -> Options:
    """Read the command line."""
    parser = make_parser(benchmark, description)
    add_method_options(parser, list(METHODS))
    parser.add_argument("--descriptions", action="store_true", help="put the description into every query")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep memories of ours there, and go on with those")
    parser.add_argument("--tune", action="store_true", help="search the baselines' settings anew and keep them")
    return Options(**vars(parser.parse_args(arguments)))


def run(benchmark: str, options: Options, *, sequential: bool) -> None:
    """Run all settings and write the result.

    Args:
        sequential: procedures arrive one after the other; everything is measured after the last.

    Raises:
        TokmemError: the data or the model cannot be used.
    """
    data = load_tasks(options.data)
    loaded = load(options)
    kept = None if options.keep is None else KeptMemories(options.keep, loaded.backbone)
    context = Context(loaded, settings.chosen(benchmark, loaded.backbone.model_id), sequential, kept=kept)
    if options.tune:
        _tune(benchmark, options, data, context)
    head = {
        "benchmark": benchmark,
        "backbone": loaded.facts,
        "data": {
            "folder": options.data.name,
            "skipped": data.skipped,
            "descriptions": options.descriptions,
            "pairs": options.pairs,
            "limit": options.limit,
            "none_messages": len(_none_messages(data, options)),
        },
        "seeds": list(range(options.seeds)),
    }
    with ResultFile(options.out, head) as result:
        for count in options.procedures or (None,):
            for shots in options.shots or (options.pairs,):
                _run_setting(options, data, context, count, shots, result)


def _none_messages(data: TaskData, options: Options) -> list[str]:
    if options.limit is None:
        return data.none_messages
    return data.none_messages[: options.limit * len(data.procedures)]


def drawn(options: Options, data: TaskData, count: int | None, shots: int | None, seed: int) -> list[Procedure]:
    """The chosen procedures, each with its pairs and test pairs as drawn by a seed."""
    return [
        draw(p, pairs=shots, limit=options.limit, seed=seed, described=options.descriptions)
        for p in choose_procedures(data.procedures, options, count)
    ]


def _run_setting(
    options: Options, data: TaskData, context: Context, count: int | None, shots: int | None, result: ResultFile
) -> None:
    setting: dict[str, Any] = {"procedures": len(choose_procedures(data.procedures, options, count)), "pairs": shots}
    runs: dict[str, list[Run]] = {}
    for method in options.methods:
        first: list[Procedure] = []
        for seed in range(options.seeds):
            procedures = drawn(options, data, count, shots, seed)
            if method in SEEDLESS and procedures == first:
                runs[method].append(runs[method][0])
                result.add(setting, runs)
                continue
            first = first or procedures
            say(f"{method}, seed {seed}, {len(procedures)} procedures, {shots or 'all'} pairs")
            none = _none_messages(data, options)
            measured = measure(METHODS[method], context, procedures, none, seed, half_of(data.procedures))
            runs.setdefault(method, []).append(measured.run)
            result.predict({"setting": setting, "method": method, "seed": seed, **row} for row in measured.predictions)
            result.add(setting, runs)
            say("  " + "  ".join(f"{k} {v:.3f}" for k, v in measured.run.metrics.items() if v is not None))


def _tune(benchmark: str, options: Options, data: TaskData, context: Context) -> None:
    shots = max(options.shots) if options.shots else options.pairs
    procedures = drawn(options, data, None, shots, _DEVELOPMENT_SEED)
    for method, grid in settings.grids().items():
        if method in options.methods:
            say(f"Searching the settings of {method}")
            values = search(method, grid, context, procedures)
            context.settings[method] = values
            settings.keep(benchmark, context.backbone.model_id, method, values)
