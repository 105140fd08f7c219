"""What an overlap and a threshold mean, in words and counts; shared by the screens and the command line."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

from tui.engine_client.protocol import Effect, Overlap

LEVELS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
"""Thresholds whose effect is shown side by side."""


def overlap_sentences(overlap: Overlap) -> list[str]:
    """One sentence for each overlap; empty where nothing overlaps."""
    said = []
    of = overlap["pairs"]
    coming = {one["name"]: one for one in overlap["from"]}
    for going in overlap["to"]:
        back = coming.pop(going["name"], None)
        more = f", and {back['count']} of {back['of']} of its pairs would come here" if back is not None else ""
        said.append(f"Overlaps {going['name']}: {going['count']} of {of} pairs would go there{more}.")
    said += [
        f"Overlaps {one['name']}: {one['count']} of {one['of']} of its pairs would come here."
        for one in coming.values()
    ]
    if overlap["none"]:
        they_are = "it is" if overlap["none"] == 1 else "they are"
        said.append(f"{overlap['none']} of {of} pairs would be taken for ordinary chat: {they_are} unlike the others.")
    return said


@dataclass(frozen=True, slots=True)
class EffectCounts:
    """How many messages go to a procedure at one threshold."""

    own: int
    others: int
    chat: int


def counts_at(effect: Effect, threshold: float | None) -> EffectCounts:
    """How many of each kind go to the procedure when it must be at least this probable; None: no threshold."""
    level = threshold or 0.0

    def count(taken: list[float]) -> int:
        ascending = taken[::-1]
        return len(ascending) - bisect_left(ascending, level)

    return EffectCounts(
        own=count(effect["own"]["taken"]),
        others=sum(count(other["taken"]) for other in effect["others"]),
        chat=count(effect["chat"]["taken"]),
    )


def measured_words(effect: Effect) -> str:
    """On what the own messages of an effect were measured."""
    held_out = effect["measured_on"] == "held_out"
    return "held-out pairs" if held_out else "its pairs, each as if it had not been learned"
