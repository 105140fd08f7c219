"""What this computer has, and the sums behind a verdict."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest

from tokmem_desk.models import hardware_fit as machine
from tokmem_desk.models.catalogue import CATALOGUE, DEFAULT_ID, GIB, MIB, find_entry
from tokmem_desk.models.hardware_fit import Machine, fit, look_at_machine, needed_bytes, recommended

SMALL = Machine(cores=2, processor="some processor", memory_bytes=8 * GIB, free_bytes=4 * GIB)
CARD = Machine(16, "some processor", 64 * GIB, 50 * GIB, "Some Card", 24 * GIB, 20 * GIB)


def test_look_at_machine_finds_this_one():
    found = look_at_machine()
    assert found.cores >= 1 and found.processor
    assert 0 < found.free_bytes <= found.memory_bytes


def test_a_container_has_no_more_than_its_limit(tmp_path, monkeypatch):
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(machine, "_CGROUP_LIMITS", (str(limit),))
    assert machine._container_limit(8 * GIB) == 8 * GIB
    limit.write_text("max\n")
    assert machine._container_limit(8 * GIB) == 8 * GIB
    limit.write_text(f"{2 * GIB}\n")
    assert machine._container_limit(8 * GIB) == 2 * GIB


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("NVIDIA RTX 4090, 24564, 20000\n", ("NVIDIA RTX 4090", 24564 * MIB, 20000 * MIB)),
        ("Card, with a comma, 1024, 512\n", ("Card, with a comma", 1024 * MIB, 512 * MIB)),
        ("No devices were found\n", ("", 0, 0)),
        ("", ("", 0, 0)),
    ],
)
def test_graphics_card_as_the_driver_tells(monkeypatch, answer, expected):
    monkeypatch.setattr(machine.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(
        machine.subprocess, "run", lambda *a, **k: subprocess.CompletedProcess(a, 0, stdout=answer, stderr="")
    )
    assert machine._graphics_card() == expected


def test_driver_that_hangs_is_no_card(monkeypatch):
    def hang(*arguments, **options):
        raise subprocess.TimeoutExpired("nvidia-smi", 5)

    monkeypatch.setattr(machine.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(machine.subprocess, "run", hang)
    assert machine._graphics_card() == ("", 0, 0)


@pytest.mark.parametrize(
    ("need", "freed", "verdict"),
    [
        (3 * GIB, 0, "fits"),
        (4 * GIB, 0, "tight"),
        (4 * GIB, 2 * GIB, "fits"),
        (7 * GIB, 0, "tight"),
        (8 * GIB, 0, "too big"),
    ],
)
def test_verdict_counts_what_is_free_and_what_unloading_frees(need, freed, verdict):
    found = fit(SMALL, need=need, weights=GIB, freed=freed)
    assert found.verdict == verdict
    assert found.weights + found.working == found.need == need
    assert found.place in found.words or verdict == "tight"


def test_with_a_card_its_memory_counts():
    found = fit(CARD, need=10 * GIB, weights=8 * GIB)
    assert (found.place, found.free, found.total) == ("graphics memory", 20 * GIB, 24 * GIB)
    assert fit(CARD.without_gpu(), need=10 * GIB, weights=8 * GIB).place == "memory"


def test_need_never_falls_below_weights_and_libraries():
    for entry in CATALOGUE:
        need, weights = needed_bytes(entry, None) or (0, 0)
        assert need >= entry.memory_bytes and need > weights > 0
    assert needed_bytes(None, GIB) == (GIB + machine.WORKING_BYTES, GIB)
    assert needed_bytes(None, None) is None


def test_a_processor_without_bfloat16_holds_in_32_bit_what_is_not_in_4():
    wide = replace(SMALL, lacks_bfloat16=True)
    for entry in CATALOGUE:
        (need, weights), (more, heavier) = needed_bytes(entry, None, SMALL), needed_bytes(entry, None, wide)
        assert more - need == heavier - weights >= 0
        assert needed_bytes(entry, None, replace(CARD, lacks_bfloat16=True)) == (need, weights), "the card computes"
    default = next(entry for entry in CATALOGUE if entry.id == DEFAULT_ID)
    assert needed_bytes(default, None, wide)[0] - needed_bytes(default, None, SMALL)[0] == (
        2 * 49_152 * 576 + 2 * (134_515_008 - 49_152 * 576)
    ), "embeddings, and the copy of the others"


def test_recommendation_grows_with_the_machine():
    assert recommended(SMALL)[0].id == DEFAULT_ID
    assert recommended(Machine(16, "", 32 * GIB, 20 * GIB))[0].id == "Qwen/Qwen2.5-0.5B-Instruct"
    assert recommended(CARD)[0].id == "Qwen/Qwen3-8B"
    tiny_card = Machine(4, "", 8 * GIB, 4 * GIB, "Old Card", GIB, GIB // 2)
    assert recommended(tiny_card)[0].id == DEFAULT_ID


def test_recommendation_needs_no_account_and_no_lawyer():
    for one in (SMALL, CARD):
        entry, why = recommended(one)
        assert entry.licence == "Apache-2.0" and not entry.gated and why
    assert find_entry("meta-llama/Llama-3.1-8B-Instruct").gated
