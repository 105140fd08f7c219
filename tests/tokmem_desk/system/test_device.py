"""The choice of device and dtype, and its reason; graphics cards are simulated."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
import torch

from tokmem_desk.errors import IncompatibleError
from tokmem_desk.system import device as device_module
from tokmem_desk.system.device import choose_device, cpu_flags, memory_in_use_mb


def simulate_card(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device: "Test Card")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)


def no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_a_card_with_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    simulate_card(monkeypatch, (8, 6))
    choice = choose_device()
    assert (choice.device, choice.compute_dtype) == ("cuda:0", "bfloat16")
    assert choice.torch_dtype is torch.bfloat16
    assert choice.reason == "Test Card: computes in bfloat16"
    assert choose_device("cuda:1").device == "cuda:1"


def test_an_old_card_computes_in_float16_where_the_family_bears_it(monkeypatch: pytest.MonkeyPatch) -> None:
    simulate_card(monkeypatch, (7, 5))
    assert choose_device("cuda", "llama").compute_dtype == "float16"
    gemma = choose_device("cuda", "gemma3_text")
    assert gemma.compute_dtype == "float32"
    assert "gemma3_text overflows in float16" in gemma.reason


def test_the_cpu_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    simulate_card(monkeypatch, (9, 0))
    choice = choose_device("cpu")
    assert (choice.device, choice.compute_dtype) == ("cpu", "bfloat16")
    assert choice.reason.startswith("CPU was asked for")


@pytest.mark.parametrize(
    ("flags", "detail"),
    [({"amx_bf16", "avx512_bf16"}, "by AMX"), ({"avx512_bf16"}, "by AVX-512"), (set(), "emulated")],
)
def test_the_reason_names_what_the_cpu_has(monkeypatch: pytest.MonkeyPatch, flags: set[str], detail: str) -> None:
    no_card(monkeypatch)
    monkeypatch.setattr(device_module, "cpu_flags", lambda: frozenset(flags))
    assert f"bfloat16 {detail}" in choose_device().reason


def test_a_card_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    no_card(monkeypatch)
    with pytest.raises(IncompatibleError, match=r"Device 'cuda' was asked for, but .*--device auto"):
        choose_device("cuda")
    assert choose_device("auto").device == "cpu"


def test_what_the_machine_tells() -> None:
    assert isinstance(cpu_flags(), frozenset)
    assert memory_in_use_mb("cpu") >= 0


def test_memory_is_told_where_the_system_has_no_proc_and_other_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise FileNotFoundError("there is no /proc here")

    monkeypatch.setattr(Path, "read_text", refuse)
    found = memory_in_use_mb("cpu")
    assert found > 10, "Python and torch alone take more"
    assert found == pytest.approx(psutil.Process().memory_info().rss / 2**20, rel=0.2)
