"""The forms of a 4-bit weight on a CPU, and switching between them without damage.

On a CPU with AVX512-BF16, bitsandbytes repacks the weight of a ``Linear4bit`` at its first forward pass in
eval mode. The packed form decodes about twice as fast, but a backward pass through it returns a wrong
gradient, and unpacking requantises the scales with loss. Therefore the modules stay in train mode (they
have no dropout; nothing is ever packed behind our back) and the packed form is a second copy that is put
in place for token-by-token decoding only. Training steps of a small model use a dequantised copy, which
holds the same numbers. Features for routing and every prefill use the stored form, so that statistics and
chat see the same numbers.
"""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from tokmem_desk.models.expert_weights import PackedExperts

_PACKED_COPY_LIMIT_BYTES = 2 * 2**30
"""Above this the second copy is not worth its memory."""

_DENSE_COPY_LIMIT_BYTES = 2**29
"""Above this a dequantised copy for training is not worth its memory."""

_PACKING_BLOCK = 32
"""Rows of a packed block; bitsandbytes packs only weights whose row count it divides."""


def compute_in(model: nn.Module, dtype: torch.dtype) -> None:
    """Make a loaded 4-bit model compute in another dtype than the one it was saved with.

    The loader keeps the saved dtype of a quantised model whatever it is asked for, and each 4-bit layer
    converts to its own: a card without bfloat16 would emulate it, and float32 would be bfloat16.
    """
    for module in _four_bit_layers(model):
        module.compute_dtype = dtype
        module.weight.quant_state.dtype = dtype
    for stack in model.modules():
        if isinstance(stack, PackedExperts):
            stack.dtype = dtype
    for parameter in model.parameters():
        if parameter.is_floating_point():
            parameter.data = parameter.data.to(dtype)


def _cpu_packs() -> bool:
    from bitsandbytes.functional import has_avx512bf16

    return bool(has_avx512bf16())


def _four_bit_layers(model: nn.Module) -> list[Any]:
    """The model's ``Linear4bit`` modules; none on a platform without bitsandbytes."""
    if importlib.util.find_spec("bitsandbytes") is None:
        return []
    from bitsandbytes.nn.modules import Linear4bit

    return [module for module in model.modules() if isinstance(module, Linear4bit)]


def _dequantised(data: Tensor, state: Any) -> Tensor:
    """[rows x columns] bfloat16 weight that a stored form stands for."""
    from bitsandbytes.functional import dequantize_4bit

    return dequantize_4bit(data, state).to(torch.bfloat16)


def _dense_forward(weight: Tensor, bias: Tensor | None, x: Tensor) -> Tensor:
    """What ``Linear4bit.forward`` computes, with the weight dequantised already."""
    return nn.functional.linear(x.to(weight.dtype), weight, None if bias is None else bias.to(weight.dtype)).to(x.dtype)


class KernelForms:
    """Holds the stored form of each 4-bit weight and, where they help, a packed and a dequantised copy."""

    def __init__(self, model: nn.Module, device: str) -> None:
        self._modules = _four_bit_layers(model)
        for module in self._modules:
            module.train()
        self._stored: list[tuple[Tensor, Any]] = [(m.weight.data, m.weight.quant_state) for m in self._modules]
        self._packed: list[tuple[Tensor, Any]] | None = None
        size = sum(data.numel() for data, _ in self._stored)
        self.can_pack = (
            device == "cpu"
            and bool(self._modules)
            and size <= _PACKED_COPY_LIMIT_BYTES
            and _cpu_packs()
            and self._in_bfloat16()
            and all(s.shape[0] % _PACKING_BLOCK == 0 and s.shape[1] % s.blocksize == 0 for _, s in self._stored)
        )

        dense_bytes = sum(2 * state.shape.numel() for _, state in self._stored)
        self._dense: list[Tensor] | None = None
        self.can_keep_dense = (
            device == "cpu" and bool(self._modules) and self._in_bfloat16() and dense_bytes <= _DENSE_COPY_LIMIT_BYTES
        )

    def stored_forms(self) -> list[tuple[Tensor, Any]]:
        """Data and quantisation state of each 4-bit weight as stored; never changed."""
        return self._stored

    @contextmanager
    def training(self) -> Iterator[None]:
        """Use the dequantised copy for the time of a training step; a no-op where none is kept.

        It holds the very numbers that the stored form is dequantised to at every pass, so results do not
        change; a step on few positions spends a third of its time on that otherwise.
        """
        if not self.can_keep_dense:
            yield
            return
        if self._dense is None:
            self._dense = [_dequantised(data, state) for data, state in self._stored]
        for module, weight in zip(self._modules, self._dense, strict=True):
            module.forward = partial(_dense_forward, weight, module.bias)
        try:
            yield
        finally:
            for module in self._modules:
                del module.forward

    @contextmanager
    def decoding(self) -> Iterator[None]:
        """Put the packed form in place for the time of a decoding step; a no-op where there is none."""
        if not self.can_pack:
            yield
            return
        if self._packed is None:
            self._packed = [self._pack(data, state) for data, state in self._stored]
        self._install(self._packed)
        try:
            yield
        finally:
            self._install(self._stored)

    def _in_bfloat16(self) -> bool:
        return all(module.compute_dtype == torch.bfloat16 for module in self._modules)

    def _install(self, forms: list[tuple[Tensor, Any]]) -> None:
        for module, (data, state) in zip(self._modules, forms, strict=True):
            module.weight.data = data
            module.weight.quant_state = state
            module.quant_state = state

    @staticmethod
    def _pack(data: Tensor, state: Any) -> tuple[Tensor, Any]:
        from bitsandbytes.functional import _convert_weight_packed_for_cpu

        packed, packed_state = _convert_weight_packed_for_cpu(data.clone(), copy.deepcopy(state))
        return packed, packed_state
