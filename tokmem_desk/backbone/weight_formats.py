"""The forms of a 4-bit weight on a CPU, and switching between them without damage.

On a CPU with AVX512-BF16, bitsandbytes repacks the weight of a ``Linear4bit`` at its first forward pass in
eval mode. The packed form decodes about twice as fast, but a backward pass through it returns a wrong
gradient, and unpacking requantises the scales with loss. Therefore the modules stay in train mode (they
have no dropout; nothing is ever packed behind our back) and the packed form is a second copy that is put
in place for token-by-token decoding only. All other passes of a small model use a dequantised copy, which holds
the very numbers of the stored form: statistics and chat see the same ones, and nothing is dequantised twice.
"""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import psutil
import torch
from torch import Tensor, nn

from tokmem_desk.backbone.decoding_products import Product, dense_product, module_product, packed_product
from tokmem_desk.models.expert_weights import PackedExperts
from tokmem_desk.models.speed_fit import unpacked_limit

_PACKED_COPY_LIMIT_BYTES = 2 * 2**30
"""Above this the second copy is not worth its memory."""

_DENSE_DTYPES = (torch.bfloat16, torch.float32)
"""What a model computes in on a CPU."""

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


def _dequantised(data: Tensor, state: Any, dtype: torch.dtype) -> Tensor:
    """[rows x columns] weight that a stored form stands for, in the dtype that the model computes in."""
    from bitsandbytes.functional import dequantize_4bit

    return dequantize_4bit(data, state).to(dtype)


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
        self._places = {id(module): place for place, module in enumerate(self._modules)}
        self._packed: list[tuple[Tensor, Any]] | None = None
        size = sum(data.numel() for data, _ in self._stored)
        self.can_pack = (
            device == "cpu"
            and bool(self._modules)
            and size <= _PACKED_COPY_LIMIT_BYTES
            and _cpu_packs()
            and self._computes_in(torch.bfloat16)
            and all(s.shape[0] % _PACKING_BLOCK == 0 and s.shape[1] % s.blocksize == 0 for _, s in self._stored)
        )

        self._dense: list[Tensor] | None = None
        self._replaced = False
        """Whether another form than the stored one is in place now."""
        self._dense_dtype = next((one for one in _DENSE_DTYPES if self._computes_in(one)), torch.float32)
        dense_bytes = sum(self._dense_dtype.itemsize * state.shape.numel() for _, state in self._stored)
        self.can_keep_dense = (
            device == "cpu"
            and bool(self._modules)
            and self._computes_in(self._dense_dtype)
            and dense_bytes <= unpacked_limit(psutil.virtual_memory().available, packs=self.can_pack)
        )

    def stored_forms(self) -> list[tuple[Tensor, Any]]:
        """Data and quantisation state of each 4-bit weight as stored; never changed."""
        return self._stored

    def plain_weights(self) -> dict[nn.Module, Tensor]:
        """The numbers that each 4-bit weight stands for, [rows x columns], by its module, and no others."""
        weights = self._dense or [_dequantised(data, state, self._dense_dtype) for data, state in self._stored]
        return dict(zip(self._modules, weights, strict=True))

    @contextmanager
    def unpacked(self) -> Iterator[None]:
        """Use the dequantised copy for the time of a pass or a training step; a no-op where none is kept.

        It holds the very numbers that the stored form is dequantised to at every pass, so results do not change, to
        the last bit; reading a message of a small model spends half of its time on that otherwise, and a training step
        a third. Inside ``decoding``, and inside itself, it changes nothing.
        """
        if not self.can_keep_dense or self._replaced:
            yield
            return
        for module, weight in zip(self._modules, self._dense_copy(), strict=True):
            module.forward = partial(_dense_forward, weight, module.bias)
        self._replaced = True
        try:
            yield
        finally:
            self._replaced = False
            for module in self._modules:
                del module.forward

    def product(self, modules: Sequence[Any]) -> Product:
        """A product with the weights of modules that read the same input, for steps of few rows, without gradient.

        Packed where this CPU has the kernel for it, else as in ``learning_product``.
        """
        places = self._places_of(modules)
        if places and self.can_pack:
            packed = packed_product([self._pack(*self._stored[i]) for i in places], [m.bias for m in modules])
            if packed is not None:
                return packed
        return self.learning_product(modules)

    def learning_product(self, modules: Sequence[Any]) -> Product:
        """The same with gradient to the input: dequantised where a copy is kept, else the modules' own."""
        places = self._places_of(modules)
        if not places or not self.can_keep_dense:
            return module_product(modules)
        copy_of_all = self._dense_copy()
        weights = [copy_of_all[i] for i in places]
        whole = torch.cat(weights) if len(weights) > 1 else weights[0]
        # The parts go on as views of the whole: no weight is in memory twice.
        for place, part in zip(places, whole.split([len(weight) for weight in weights]), strict=True):
            copy_of_all[place] = part
        return dense_product(whole, [module.bias for module in modules], [len(weight) for weight in weights])

    def _places_of(self, modules: Sequence[Any]) -> list[int]:
        """Of these modules among the 4-bit ones; none where one of them is another."""
        found = [self._places.get(id(module)) for module in modules]
        return [place for place in found if place is not None] if None not in found else []

    @contextmanager
    def decoding(self) -> Iterator[None]:
        """Put the packed form in place for the time of a decoding step; a no-op where there is none."""
        if not self.can_pack:
            yield
            return
        if self._packed is None:
            self._packed = [self._pack(data, state) for data, state in self._stored]
        self._install(self._packed)
        before, self._replaced = self._replaced, True
        try:
            yield
        finally:
            self._replaced = before
            self._install(self._stored)

    def _dense_copy(self) -> list[Tensor]:
        """The dequantised weights, which hold what the stored ones stand for; made when first asked for."""
        if self._dense is None:
            self._dense = [_dequantised(data, state, self._dense_dtype) for data, state in self._stored]
        return self._dense

    def _computes_in(self, dtype: torch.dtype) -> bool:
        return all(module.compute_dtype == dtype for module in self._modules)

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
