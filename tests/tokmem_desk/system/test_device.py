"""The choice of device and dtype, and its reason; graphics cards are simulated."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
import torch

from tokmem_desk.errors import IncompatibleError
from tokmem_desk.system import device as device_module
from tokmem_desk.system.device import choose_device, cpu_flags, cpu_lacks_bfloat16, memory_in_use_mb


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
    assert choice.device == "cpu"
    assert choice.reason.startswith("CPU was asked for")


@pytest.mark.parametrize(
    ("flags", "dtype", "detail"),
    [
        ({"amx_bf16", "avx512_bf16"}, "bfloat16", "bfloat16 by AMX"),
        ({"avx512f", "avx512_bf16"}, "bfloat16", "bfloat16 by AVX-512"),
        ({"asimd", "bf16"}, "bfloat16", "bfloat16 by NEON"),
        ({"avx2", "fma"}, "float32", "float32, since it has no bfloat16"),
        ({"avx2", "avx512f"}, "float32", "float32, since it has no bfloat16"),
    ],
)
def test_a_cpu_computes_in_what_it_has_instructions_for(
    monkeypatch: pytest.MonkeyPatch, flags: set[str], dtype: str, detail: str
) -> None:
    no_card(monkeypatch)
    monkeypatch.setattr(device_module, "cpu_flags", lambda: frozenset(flags))
    choice = choose_device()
    assert choice.compute_dtype == dtype and detail in choice.reason
    assert cpu_lacks_bfloat16() is (dtype == "float32")


@pytest.mark.parametrize(("capability", "dtype"), [("AVX2", "float32"), ("DEFAULT", "float32"), ("AVX512", "bfloat16")])
def test_where_the_system_tells_no_flags_torch_knows_the_kind(
    monkeypatch: pytest.MonkeyPatch, capability: str, dtype: str
) -> None:
    no_card(monkeypatch)
    monkeypatch.setattr(device_module, "cpu_flags", frozenset)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert choose_device().compute_dtype == dtype
    assert not cpu_lacks_bfloat16(), "it is not known"


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
