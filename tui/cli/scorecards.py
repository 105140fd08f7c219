"""Scorecards and measurements as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tui.cli.console import number, table
from tui.engine_client.protocol import Confusion, Trained
from tui.kit.verdict import chat_taken, verdict_of
from tui.kit.words import count, duration, part_of, shortened

_METRICS = {
    "routing_accuracy": "the best procedure is the right one (none left aside)",
    "known_recall": "a procedure's messages routed to it, with none in the contest",
    "none_auroc": "how well known and other messages are told apart (0.5 is chance)",
    "false_trigger_rate": "ordinary messages that got a procedure",
    "calibration_error": "how far probabilities are from the truth",
    "exact_match": "answers exactly right, with the right route given",
    "rouge_l": "likeness to the right answer, with the right route given",
    "form_valid": "answers of the right form",
    "e2e_exact_match": "answers exactly right, routed by itself",
    "e2e_rouge_l": "likeness to the right answer, routed by itself",
}
"""The measurements in the order in which they are shown."""


_COUNTS = ("known_recall", "exact_match", "form_valid", "e2e_exact_match")
"""Measurements that are parts of a procedure's pairs."""


def scorecard_table(trained: Sequence[Trained]) -> str:
    """One line for each procedure, each measurement beside the untrained backbone's."""
    rows = []
    for one in trained:
        # A training that was stopped early keeps its memory unmeasured.
        card: Mapping[str, Any] = one["scorecard"]
        base: Mapping[str, Any] = card.get("base") or {}
        total = int(card.get("held_out") or 0)
        taken, chat = chat_taken(card)
        rows.append(
            (
                one["name"],
                card.get("pairs"),
                _held_out(card),
                part_of(card.get("routing_accuracy"), total),
                "-" if card.get("false_trigger_rate") is None else f"{taken} of {chat}",
                f"{part_of(card.get('exact_match'), total)} / {part_of(base.get('exact_match'), total)}",
                f"{number(card.get('rouge_l'))} / {number(base.get('rouge_l'))}",
                duration(card["seconds"]),
            )
        )
    headings = ("procedure", "pairs", "held out", "routed", "false", "exact / untrained", "alike / untrained", "time")
    lines = [table(headings, rows, right=(1, 2, 3, 4, 5, 6, 7))]
    if any(one["scorecard"].get("held_out_source") == "split" for one in trained):
        lines.append("* set aside from the pairs themselves, since there were none held out")
    lines.append(
        "routed: its held-out messages that found it; false: ordinary messages that got some procedure; "
        "alike: how near answers are to the right ones, 1 being the same words"
    )
    return "\n".join(lines)


def _held_out(card: Mapping[str, Any]) -> str | None:
    """How many pairs measured it; a star marks those taken from its own."""
    return f"{card['held_out']}{'*' if card['held_out_source'] == 'split' else ''}" if "held_out" in card else None


def advice_lines(trained: Sequence[Trained]) -> list[str]:
    """Of each scorecard the verdict, then what would help."""
    lines = []
    for one in trained:
        verdict = verdict_of(one["scorecard"])
        lines += [f"{one['name']}: {text}" for text in (verdict.sentence, *verdict.proposals)]
    return lines


def evaluation_text(result: Mapping[str, Any]) -> str:
    """The result of ``eval``: measurements, one line for each procedure, and who was taken for whom."""
    rows = [(key, number(result[key]), meaning) for key, meaning in _METRICS.items() if result.get(key) is not None]
    per_procedure: Mapping[str, Mapping[str, Any]] = result.get("per_procedure") or {}
    total = sum(int(one.get("tests") or 0) for one in per_procedure.values())
    parts = [table(("measure", "value", "meaning"), rows, right=(1,))]
    if total:
        parts.append(f"Measured on {count(total, 'pair')}.")
    keys = [key for key in _METRICS if any(one.get(key) is not None for one in per_procedure.values())]
    if per_procedure and keys:
        lines = [(name, one.get("tests"), *(_measure(key, one) for key in keys)) for name, one in per_procedure.items()]
        parts.append(table(("procedure", "pairs", *keys), lines, right=range(1, len(keys) + 2)))
    if unsure := sorted(name for name, one in per_procedure.items() if one.get("held_out_known") is False):
        parts.append(
            f"{', '.join(unsure)}: trained before it was kept which pairs were held out. They were chosen again as "
            "they probably were then, and some may have been learned. Train again for figures you can rely on."
        )
    if result.get("confusion"):
        parts.append(confusion_text(result["confusion"]))
    return "\n\n".join(parts)


def _measure(key: str, one: Mapping[str, Any]) -> str:
    """A measurement of one procedure: as ``2 of 4`` where it counts pairs."""
    if key in _COUNTS and one.get("tests"):
        return part_of(one.get(key), int(one["tests"]))
    return number(one.get(key))


def confusion_text(confusion: Confusion) -> str:
    """Which messages went where: a row for each true route; empty columns and rows are left out."""
    labels, counts = confusion["labels"], confusion["counts"]
    places = [at for at in range(len(labels)) if sum(counts[at]) or any(row[at] for row in counts)]
    rows = [(labels[at], *(counts[at][to] or "." for to in places)) for at in places]
    headings = ("messages of", *(shortened(labels[to], 16) for to in places))
    return table(headings, rows, right=range(1, len(places) + 1))
