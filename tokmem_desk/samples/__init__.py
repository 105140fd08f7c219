"""Three sample procedures that ship with the program, with pairs held out for measuring."""

from __future__ import annotations

import json
from importlib import resources

from tokmem_desk.procedures import ExamplePair, Procedure

SAMPLE_NAMES = ("todo_line", "contact_card", "mood_log")


def sample_procedures() -> list[Procedure]:
    """The samples, in a fixed order."""
    return [_load(name) for name in SAMPLE_NAMES]


def _load(name: str) -> Procedure:
    data = json.loads(resources.files(__name__).joinpath(f"{name}.json").read_text(encoding="utf-8"))
    pairs, held_out = (
        tuple(ExamplePair(e["input"], e["response"], tuple(e.get("references", ()))) for e in data[part])
        for part in ("train", "test")
    )
    return Procedure(data["name"], pairs, held_out, data["description"], data.get("pattern"))
