"""Products with 4-bit weights as single decoding steps need them: few rows, and no detour between two of them.

A step of a small model is mostly the way to its products: the modules and the library's operators around one cost
several times what it does. Where the library's kernel for few rows runs (a CPU with AVX512-BF16) it is called by its
address, with all weights that read the same input in one piece. Elsewhere the same weights are multiplied by the
dequantised copy, where there is one, or by the modules themselves.

Letters: m rows, k columns of the input, n outputs of all weights together.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from tokmem_desk.system.device import cpu_flags

Product = Callable[[Tensor], Tensor]
"""From [m x k] to [m x n], compute dtype, the outputs of several weights beside each other."""

_KERNELS = {"nf4": "gemv_4bit_inference_cpu_nf4_bf16", "fp4": "gemv_4bit_inference_cpu_fp4_bf16"}


def kernel_for(quant_type: str) -> Any | None:
    """The library's kernel for few rows and a packed weight, to be called by address; None where it has none.

    Its arguments are m, n, k, the addresses of input, weight, scales and output, the block size, and the numbers from
    row to row of input and output.
    """
    from bitsandbytes.cextension import lib

    name = _KERNELS.get(quant_type)
    try:
        kernel = None if name is None else getattr(lib, name)
    except AttributeError:
        return None
    if kernel is None:
        return None
    kernel.argtypes = [ctypes.c_int64] * 3 + [ctypes.c_void_p] * 4 + [ctypes.c_int64] * 3
    kernel.restype = None
    return kernel


def packed_product(forms: Sequence[tuple[Tensor, Any]], biases: Sequence[Tensor | None]) -> Product | None:
    """A product with packed weights of one input, bfloat16.

    Args:
        forms: data and quantisation state of each weight, packed (see ``weight_formats``).
        biases: [n] of each weight, or None.

    Returns:
        None where the kernel is missing.
    """
    states = [state for _, state in forms]
    kernel = kernel_for(states[0].quant_type)
    if kernel is None:
        return None
    # Packed weights lie in blocks of rows, so those of several weights follow each other as they are.
    weight = torch.cat([data.reshape(-1) for data, _ in forms])
    scales = torch.cat([state.absmax for state in states], dim=1).contiguous()
    n, k, blocksize = sum(state.shape[0] for state in states), states[0].shape[1], states[0].blocksize
    bias = _joined(biases, [state.shape[0] for state in states], torch.bfloat16, weight.device)
    weight_at, scales_at = weight.data_ptr(), scales.data_ptr()

    # The two tensors are held by this function, and so their addresses.
    def multiply(x: Tensor, _held: tuple[Tensor, Tensor] = (weight, scales)) -> Tensor:
        x = x.contiguous()
        m = x.shape[0]
        out = torch.empty(m, n, dtype=torch.bfloat16)
        kernel(m, n, k, x.data_ptr(), weight_at, scales_at, out.data_ptr(), blocksize, k, n)
        return out if bias is None else out.add_(bias)

    return multiply


def dense_product(weight: Tensor, biases: Sequence[Tensor | None], sizes: Sequence[int]) -> Product:
    """A product with dequantised weights of one input.

    Args:
        weight: [n x k], of all of them.
        biases: of each weight, or None.
        sizes: outputs of each weight.
    """
    bias = _joined(biases, sizes, weight.dtype, weight.device)
    return lambda x: nn.functional.linear(x, weight, bias)


def module_product(modules: Sequence[Any]) -> Product:
    """A product by the modules themselves."""
    if len(modules) == 1:
        only: Product = modules[0]
        return only
    return lambda x: torch.cat([module(x) for module in modules], dim=-1)


def one_row_head(head: Any, hidden: Tensor) -> Tensor | None:
    """[1 x v] logits of one state by a plain product of matrix and vector, as the head gives them.

    For one row, what torch hands bfloat16 products to reaches half of the memory's speed on a CPU without AMX; torch's
    own product of a matrix and a vector reaches all of it.

    Args:
        head: the model's output head.
        hidden: [1 x d] compute dtype.

    Returns:
        None where the head is another than a plain one in bfloat16 on such a CPU; then ask the head itself.
    """
    if (
        type(head) is not nn.Linear
        or hidden.shape[:-1].numel() != 1
        or hidden.device.type != "cpu"
        or not hidden.dtype == head.weight.dtype == torch.bfloat16
        or "amx_bf16" in _cpu_flags()
        or torch.is_grad_enabled()
    ):
        return None
    used = torch.backends.mkldnn.is_available() and torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(False)
    try:
        raw = torch.mv(head.weight, hidden.reshape(-1))
    finally:
        torch._C._set_mkldnn_enabled(used)
    return (raw if head.bias is None else raw + head.bias)[None]


@cache
def _cpu_flags() -> frozenset[str]:
    return cpu_flags()


def _joined(
    biases: Sequence[Tensor | None], sizes: Sequence[int], dtype: torch.dtype, device: torch.device
) -> Tensor | None:
    """[n] all biases beside each other; None where there are none."""
    if all(bias is None for bias in biases):
        return None
    parts = [
        torch.zeros(size, dtype=dtype, device=device) if bias is None else bias.detach().to(dtype)
        for bias, size in zip(biases, sizes, strict=True)
    ]
    return torch.cat(parts)
