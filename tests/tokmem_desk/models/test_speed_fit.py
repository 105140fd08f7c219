"""Estimates of speed grow with the model and shrink with the machine, and recommend what stays pleasant."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tokmem_desk.backbone.machine_speed import measure_speed
from tokmem_desk.models.catalogue import CATALOGUE, DEFAULT_ID, find_entry
from tokmem_desk.models.speed_fit import (
    UNPACKED_LIMIT_BYTES,
    MachineSpeed,
    estimate,
    in_words,
    keep,
    kept,
    most_pleasant,
    unpacked_limit,
)
from tokmem_desk.system.device import DeviceChoice

GIB = 2**30
LAPTOP = MachineSpeed("cpu", "bfloat16", 5e11, 1.5e9, 6e9, 2e10, 5e-6)
CARD = MachineSpeed("cuda", "bfloat16", 5e13, 4e11, 6e11, 5e11, 8e-6)


def test_every_model_of_the_catalogue_can_be_estimated() -> None:
    for entry in CATALOGUE:
        found = estimate(entry, LAPTOP)
        assert found is not None, entry.id
        assert 0 < found.first_word_seconds < 60 and 0 < found.words_per_second < 1000
        assert found.memory_bytes == entry.memory_bytes
    assert estimate(replace(CATALOGUE[0], layers=0), LAPTOP) is None


def test_the_catalogue_counts_parameters_as_its_shapes_allow() -> None:
    for entry in CATALOGUE:
        table = entry.vocabulary * entry.hidden_size * (1 if entry.tied else 2)
        # A layer has some 6 to 20 squares of the width.
        squares = (entry.parameters - table) / entry.layers / entry.hidden_size**2
        assert 6 < squares < 20, entry.id


def test_larger_models_are_slower_and_faster_machines_faster() -> None:
    small, large = find_entry("Qwen/Qwen2.5-0.5B-Instruct"), find_entry("Qwen/Qwen2.5-7B-Instruct")
    assert small is not None and large is not None
    one, other = estimate(small, LAPTOP), estimate(large, LAPTOP)
    assert one is not None and other is not None
    assert one.first_word_seconds < other.first_word_seconds
    assert one.words_per_second > other.words_per_second
    assert one.training_minutes < other.training_minutes
    for field in ("flops", "unpacked", "one_row", "bytes_per_second"):
        faster = estimate(large, replace(LAPTOP, **{field: 10 * getattr(LAPTOP, field)}))
        assert faster is not None
        assert faster.first_word_seconds + 1 / faster.words_per_second < (
            other.first_word_seconds + 1 / other.words_per_second
        )


def test_an_unpacked_copy_takes_more_only_where_nothing_else_is_quick() -> None:
    assert unpacked_limit(32 * GIB, packs=True) == unpacked_limit(GIB, packs=False) == UNPACKED_LIMIT_BYTES
    assert unpacked_limit(32 * GIB, packs=False) == 4 * GIB
    small = find_entry(DEFAULT_ID)
    assert small is not None
    wide, narrow = (estimate(small, replace(LAPTOP, dtype=dtype, one_row=1e6)) for dtype in ("float32", "bfloat16"))
    assert wide is not None and narrow is not None
    assert wide.words_per_second < narrow.words_per_second, "the copy and the head are read in twice as many bytes"
    assert narrow.words_per_second > 1, "the copy makes up for a slow kernel"


def test_the_largest_that_stays_pleasant_is_recommended() -> None:
    slow = replace(LAPTOP, flops=1e10, unpacked=1e8, one_row=1e8)
    best, why = most_pleasant(slow, 16 * GIB)
    assert best.id == DEFAULT_ID and "the quickest there is on cpu" in why
    laptop, why = most_pleasant(LAPTOP, 16 * GIB)
    found = estimate(laptop, LAPTOP)
    assert found is not None and found.pleasant and "the largest that stays pleasant" in why
    card = most_pleasant(CARD, 20 * GIB)[0]
    assert card.parameters > laptop.parameters and not card.gated and not card.recurrent
    assert most_pleasant(CARD, 2 * GIB)[0].memory_bytes <= 2 * GIB
    assert in_words(found) in why


def test_a_measurement_is_kept_and_nonsense_is_none(tmp_path: Path) -> None:
    assert kept(tmp_path) is None
    keep(tmp_path / "new", LAPTOP)
    assert kept(tmp_path / "new") == LAPTOP
    for nonsense in (b"", b"[]", b"{}", b'{"device": 1}'):
        (tmp_path / "new" / "speed.json").write_bytes(nonsense)
        assert kept(tmp_path / "new") is None
    keep(tmp_path / "new", replace(LAPTOP, flops=0.0))
    assert kept(tmp_path / "new") is None


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_this_device_can_be_measured(monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    from tokmem_desk.backbone import machine_speed

    monkeypatch.setattr(machine_speed, "_SECONDS", 0.01)
    speed = measure_speed(DeviceChoice("cpu", dtype, "test"))
    assert (speed.device, speed.dtype) == ("cpu", dtype)
    assert min(speed.flops, speed.unpacked, speed.one_row, speed.bytes_per_second) > 1e6
    assert 0 < speed.operation_seconds < 1
