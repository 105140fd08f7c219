"""Plots of results. Needs matplotlib, out of the extra ``bench``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

_QUALITY = {"personal": "rouge_l", "atomic": "rouge_l", "routing": "known_recall"}
_TITLES = {
    "rouge_l": "ROUGE-L, right route given",
    "routing_accuracy": "accuracy",
    "none_auroc": "none-vs-known AUROC",
    "known_recall": "recall of known",
}


def draw_plots(document: Mapping[str, Any], file: Path) -> list[Path]:
    """Draw what a result has the figures for; returns the files, which lie beside it."""
    import matplotlib as mpl

    # No screen is needed, and none may be there.
    mpl.use("agg")
    drawn: list[Path] = []
    benchmark = str(document["benchmark"])
    if benchmark == "correction":
        return _against_corrections(document.get("sweep") or [], file)
    if benchmark == "plans":
        return _against_depth(document.get("sweep") or [], file)
    if benchmark not in _QUALITY:
        return drawn
    if benchmark != "routing":
        drawn += _against_parameters(document["methods"], file)
    sweep = document.get("sweep") or []
    for setting in ("shots", "pairs", "procedures"):
        points = [e for e in sweep if e["setting"].get(setting) is not None]
        if len({e["setting"][setting] for e in points}) > 1:
            keys = ("routing_accuracy", "none_auroc", "known_recall") if benchmark == "routing" else ("rouge_l",)
            drawn += [_against_setting(points, setting, key, file) for key in keys]
    return drawn


def _against_parameters(methods: Mapping[str, Any], file: Path) -> list[Path]:
    from matplotlib import pyplot as plt

    points = [
        (name, m["metrics"].get("trained_parameters"), m["metrics"].get("rouge_l")) for name, m in methods.items()
    ]
    known = [(name, parameters, quality) for name, parameters, quality in points if None not in (parameters, quality)]
    if not known:
        return []
    figure, axes = plt.subplots(figsize=(6, 4))
    for name, parameters, quality in known:
        axes.scatter([parameters], [quality])
        axes.annotate(name, (parameters, quality), xytext=(4, 4), textcoords="offset points")
    # Methods without training have none: a scale that is linear near zero shows them too.
    axes.set_xscale("symlog", linthresh=100)
    axes.set(xlabel="trained parameters, all procedures", ylabel=_TITLES["rouge_l"])
    return [_save(figure, file, "parameters")]


def _against_setting(points: list[dict[str, Any]], setting: str, key: str, file: Path) -> Path:
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4))
    for name in dict.fromkeys(m for entry in points for m in entry["methods"]):
        line = sorted(
            (
                entry["setting"][setting],
                entry["methods"][name]["metrics"].get(key),
                entry["methods"][name]["spread"].get(key) or 0.0,
            )
            for entry in points
            if name in entry["methods"] and entry["methods"][name]["metrics"].get(key) is not None
        )
        if line:
            x, y, spread = zip(*line, strict=True)
            axes.errorbar(x, y, yerr=spread, marker="o", capsize=2, label=name)
    axes.set_xscale("log", base=2)
    ticks = sorted({entry["setting"][setting] for entry in points})
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set(xlabel=setting if setting == "procedures" else f"{setting} per procedure", ylabel=_TITLES[key])
    axes.legend(fontsize="small")
    return _save(figure, file, f"{setting}-{key}")


def _against_corrections(sweep: list[dict[str, Any]], file: Path) -> list[Path]:
    """Error on held-out messages against the number of corrections, one picture per number of shots."""
    from matplotlib import pyplot as plt

    drawn = []
    for shots in dict.fromkeys(entry["setting"]["shots"] for entry in sweep):
        points = [entry for entry in sweep if entry["setting"]["shots"] == shots]
        figure, axes = plt.subplots(figsize=(6, 4))
        for name in points[-1]["methods"]:
            metrics = [entry["methods"][name]["metrics"] for entry in points]
            spread = [entry["methods"][name]["spread"]["error"] for entry in points]
            x = [one["corrections"] for one in metrics]
            axes.errorbar(x, [one["error"] for one in metrics], yerr=spread, marker="o", capsize=2, label=name)
        axes.set(xlabel=f"corrections ({shots} pairs per procedure at first)", ylabel="error on held-out messages")
        axes.set_xscale("symlog", linthresh=5, base=2)
        ticks = sorted({entry["setting"]["corrections"] for entry in points})
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.set_ylim(bottom=0)
        axes.legend(fontsize="small")
        drawn.append(_save(figure, file, f"{shots}-shots"))
    return drawn


def _against_depth(sweep: list[dict[str, Any]], file: Path) -> list[Path]:
    """How right plans are against their depth, one picture for each half; a panel for each figure."""
    from matplotlib import pyplot as plt

    drawn = []
    titles = {"steps_exact": "functions right, in order", "tool_f1": "functions F1", "argument_f1": "values F1"}
    points = [entry for entry in sweep if isinstance(entry["setting"].get("depth"), int)]
    for half in dict.fromkeys(entry["setting"]["half"] for entry in points):
        figure, panels = plt.subplots(1, len(titles), figsize=(9, 3), sharey=True)
        for axes, (key, title) in zip(panels, titles.items(), strict=True):
            for name in dict.fromkeys(name for entry in points for name in entry["methods"]):
                line = sorted(
                    (entry["setting"]["depth"], entry["methods"][name]["metrics"][key])
                    for entry in points
                    if entry["setting"]["half"] == half and name in entry["methods"]
                )
                axes.plot(*zip(*line, strict=True), marker="o", label=name)
            axes.set(xlabel="depth", title=title, ylim=(-0.03, 1.03))
        panels[0].legend(fontsize="small")
        drawn.append(_save(figure, file, "looked-at" if half else "chosen"))
    return drawn


def _save(figure: Any, file: Path, what: str) -> Path:
    from matplotlib import pyplot as plt

    path = file.with_name(f"{file.stem}.{what}.png")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return path
