"""The model that writes drafts is the largest one here that chats and fits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from tokmem_desk.models.catalogue import GIB, find_entry
from tokmem_desk.models.hardware_fit import Machine
from tokmem_desk.models.store import ModelInfo
from tui.shared.drafting_model import larger_than, largest_that_fits


@dataclass
class _Record:
    size: int


def _info(model: str, size: int, damage: str = "") -> ModelInfo:
    record = cast(Any, _Record(size))
    return ModelInfo(model, model, "", find_entry(model), record, Path(), damage=damage)


def test_the_largest_that_fits() -> None:
    models = [
        _info("smollm2-135m-instruct", GIB // 10),
        _info("gemma-3-270m", GIB // 4),
        _info("Qwen/Qwen2.5-0.5B-Instruct", GIB // 3),
        _info("Qwen/Qwen2.5-7B-Instruct", 5 * GIB),
        _info("own/model", 2 * GIB, damage="a file is another"),
    ]
    free = {1.6: "smollm2-135m-instruct", 4: "Qwen/Qwen2.5-0.5B-Instruct", 16: "Qwen/Qwen2.5-7B-Instruct"}
    machines = {gib: Machine(4, "x", 16 * GIB, int(gib * GIB)) for gib in free}
    assert {gib: largest_that_fits(models, machine) for gib, machine in machines.items()} == free
    assert largest_that_fits(models[1:2], machines[16]) is None
    assert largest_that_fits(models, Machine(4, "x", GIB, GIB // 4)) is None


def test_a_smaller_one_than_the_model_in_use_does_not_write_in_its_place() -> None:
    small, middle = _info("smollm2-135m-instruct", GIB // 10), _info("Qwen/Qwen2.5-0.5B-Instruct", GIB // 3)
    # Larger than what is free now, as a model in use may be once it is loaded.
    in_use = _info("Qwen/Qwen2.5-7B-Instruct", 5 * GIB)
    machine = Machine(4, "x", 16 * GIB, 4 * GIB)
    assert larger_than(in_use.id, [small, middle, in_use], machine) is None
    assert larger_than(middle.id, [small, middle], machine) is None
    assert larger_than(small.id, [small, middle, in_use], machine) == middle.id
    assert larger_than("not/here-yet", [small], machine) == small.id
