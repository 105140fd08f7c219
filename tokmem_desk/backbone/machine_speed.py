"""A measurement of two seconds: what this device reaches in the products that a language model is made of.

``tokmem_desk.models.speed_fit`` makes estimates of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import nn

from tokmem_desk.backbone.weight_formats import KernelForms
from tokmem_desk.models.speed_fit import MESSAGE_TOKENS, MachineSpeed
from tokmem_desk.system.device import DeviceChoice
from tokmem_desk.system.lean_imports import import_bitsandbytes

_SECONDS = 0.4
"""For each of five measurements."""

_ROWS, _COLUMNS = 4096, 1024


def measure_speed(choice: DeviceChoice) -> MachineSpeed:
    """Measure now; takes about two seconds, and the first time some more for loading libraries.

    Args:
        choice: what models run on.
    """
    device, dtype = torch.device(choice.device), choice.torch_dtype
    weight = torch.randn(_ROWS, _COLUMNS, device=device, dtype=dtype)
    inputs = torch.randn(MESSAGE_TOKENS, _COLUMNS, device=device, dtype=dtype)
    small = torch.randn(1, _COLUMNS, device=device, dtype=dtype)
    head = torch.randn(16 * _ROWS, _COLUMNS // 4, device=device, dtype=dtype)
    row = torch.randn(1, _COLUMNS // 4, device=device, dtype=dtype)
    weights = weight.numel()
    with torch.inference_mode():
        product = _seconds(device, lambda: nn.functional.linear(inputs, weight))
        read = _seconds(device, lambda: nn.functional.linear(row, head))
        operation = _seconds(device, lambda: small.add(1))
        unpacked, one_row = _four_bit(device, dtype, small, weight)
    return MachineSpeed(
        device=choice.device,
        dtype=choice.compute_dtype,
        flops=2 * weights * MESSAGE_TOKENS / product,
        unpacked=weights / unpacked,
        one_row=weights / one_row,
        bytes_per_second=head.nbytes / read,
        operation_seconds=operation,
    )


def _four_bit(
    device: torch.device, dtype: torch.dtype, small: torch.Tensor, weight: torch.Tensor
) -> tuple[float, float]:
    """Seconds to unpack the weights, and for a product of them with one row as decoding does it."""
    import importlib.util

    if importlib.util.find_spec("bitsandbytes") is None:
        plain = _seconds(device, lambda: nn.functional.linear(small, weight))
        return plain, plain
    import_bitsandbytes()
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn import Linear4bit

    layer = Linear4bit(_COLUMNS, _ROWS, bias=False, compute_dtype=dtype, quant_type="nf4")
    layer.weight.data = weight.cpu()
    model = nn.Sequential(layer).to(device).requires_grad_(False)
    forms = KernelForms(model, device.type)
    data, state = forms.stored_forms()[0]
    unpacked = _seconds(device, lambda: dequantize_4bit(data, state))
    # Without the packed kernel only small models keep an unpacked copy; a large one unpacks for every word.
    product = forms.product([layer]) if forms.can_pack else model
    return unpacked, _seconds(device, lambda: product(small))


def _seconds(device: torch.device, run: Callable[[], object]) -> float:
    """Seconds of one run when nothing else works: of the quickest tenth, without the first, which sets things up."""

    def once() -> float:
        began = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - began

    once()
    times: list[float] = []
    ends = time.perf_counter() + _SECONDS
    while not times or (time.perf_counter() < ends and len(times) < 10_000):
        times.append(once())
    return sorted(times)[len(times) // 10]
