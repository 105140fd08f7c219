"""Weights of experts in 4 bit: the stacked parameters that bitsandbytes leaves as they are.

A mixture of experts keeps the weights of all experts of a layer in one parameter of three dimensions, which is no
linear layer, so ``Linear4bit`` never takes its place: most of such a model would stay in 16 bit. Here each expert is
quantised by itself, in the same NF4 with double quantisation, and dequantised when it is asked for: only the experts
that a pass has chosen are ever whole. Where a stack cannot be packed (rows without whole blocks), it stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tokmem_desk.models.safetensors_file import UnreadableError, read_entries

BLOCK = 64
"""Weights of one NF4 scale."""

_SCALES = 256
"""Scales of one scale of scales."""

_PACKED = ".nf4_experts"


class PackedExperts(nn.Module):
    """The weights of all experts of one layer: [e x r x c], each expert in NF4.

    Stands where the parameter stood. ``stack[i]`` is one expert's [r x c] matrix, ``stack[indices]`` several.

    Attributes:
        shape: [e, r, c].
        dtype: of what indexing gives.

    Letters: e experts, r rows, c columns, n blocks of an expert.
    """

    nf4_experts: Tensor
    scales: Tensor
    scale_scales: Tensor
    scale_means: Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = torch.Size(shape)
        self.dtype = torch.bfloat16
        experts, blocks = shape[0], shape[1] * shape[2] // BLOCK
        # Numbers of 4 bits, [e x r*c/2]; scales in 8 bits, [e x n]; their scales, [e x n/256], and their mean, [e].
        self.register_buffer("nf4_experts", torch.empty(experts, shape[1] * shape[2] // 2, dtype=torch.uint8))
        self.register_buffer("scales", torch.empty(experts, blocks, dtype=torch.uint8))
        self.register_buffer("scale_scales", torch.empty(experts, -(-blocks // _SCALES), dtype=torch.float32))
        self.register_buffer("scale_means", torch.empty(experts, dtype=torch.float32))

    @classmethod
    def of(cls, weight: Tensor) -> PackedExperts:
        """Quantise [e x r x c] weights."""
        from bitsandbytes.functional import quantize_4bit

        with torch.device(weight.device):
            made = cls(tuple(weight.shape))
        for number, expert in enumerate(weight):
            packed, state = quantize_4bit(
                expert.contiguous(), blocksize=BLOCK, compress_statistics=True, quant_type="nf4"
            )
            made.nf4_experts[number] = packed.view(-1)
            made.scales[number] = state.absmax
            made.scale_scales[number] = state.state2.absmax
            made.scale_means[number] = state.offset
        return made

    @property
    def device(self) -> torch.device:
        return self.nf4_experts.device

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> Tensor:
        if isinstance(index, slice):
            return torch.stack([self.expert(number) for number in range(*index.indices(len(self)))])
        if isinstance(index, Tensor) and index.dim():
            each = {number: self.expert(number) for number in set(index.flatten().tolist())}
            chosen = torch.stack([each[number] for number in index.flatten().tolist()])
            return chosen.view(*index.shape, *self.shape[1:])
        return self.expert(int(index))

    def expert(self, number: int) -> Tensor:
        """[r x c] weights of one expert."""
        from bitsandbytes.functional import QuantState, dequantize_4bit

        codes = _codes(str(self.device))
        scales = QuantState(absmax=self.scale_scales[number], blocksize=_SCALES, code=codes[1], dtype=torch.float32)
        state = QuantState(
            absmax=self.scales[number],
            shape=self.shape[1:],
            code=codes[0],
            blocksize=BLOCK,
            quant_type="nf4",
            dtype=self.dtype,
            offset=self.scale_means[number],
            state2=scales,
        )
        weight: Tensor = dequantize_4bit(self.nf4_experts[number].view(-1, 1), state)
        weight._tokmem_expert = (self, number)  # type: ignore[attr-defined]
        return weight

    def whole(self) -> Tensor:
        """[e x r x c] weights of all experts, for families that multiply them all at once."""
        return self[:]

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        def plain(value: Any) -> Any:
            return value.whole() if isinstance(value, PackedExperts) else value

        return func(*map(plain, args), **{key: plain(value) for key, value in (kwargs or {}).items()})

    def transpose(self, first: int, second: int) -> Tensor:
        return self.whole().transpose(first, second)

    def view(self, *shape: int) -> Tensor:
        return self.whole().view(*shape)


@cache
def _codes(device: str) -> tuple[Tensor, Tensor]:
    """The numbers that 4 bits stand for, and those that a scale's 8 bits stand for."""
    from bitsandbytes.functional import quantize_4bit

    sample = torch.ones(BLOCK, BLOCK, dtype=torch.bfloat16, device=device)
    _, state = quantize_4bit(sample, blocksize=BLOCK, compress_statistics=True, quant_type="nf4")
    return state.code, state.state2.code


def expert_stacks(model: nn.Module) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and shape of each stack of experts that can be packed."""
    for path, module in model.named_modules():
        if "Experts" not in type(module).__name__:
            continue
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.dim() == 3 and parameter.shape[-1] % BLOCK == 0:
                yield f"{path}.{name}", tuple(parameter.shape)


def packed_in(folder: Path) -> dict[str, tuple[int, ...]]:
    """Name and number of experts, in a list of one, of each stack that a converted folder holds packed.

    A file that cannot be read is none here; whoever loads it says so.
    """
    found: dict[str, tuple[int, ...]] = {}
    for file in sorted(folder.glob("model*.safetensors")):
        try:
            entries = read_entries(file)
        except UnreadableError:
            continue
        found.update({e.name.removesuffix(_PACKED): e.shape[:1] for e in entries if e.name.endswith(_PACKED)})
    return found


@contextmanager
def packing_experts(stored: Mapping[str, tuple[int, ...]] | None = None) -> Iterator[None]:
    """Have transformers pack experts while it loads a model in 4 bit, or take them as they were packed.

    Args:
        stored: what ``packed_in`` found, for a converted folder; None to pack while a model is quantised.
    """
    from transformers.quantizers import auto

    kind = "bitsandbytes_4bit"
    before = auto.AUTO_QUANTIZER_MAPPING[kind]
    auto.AUTO_QUANTIZER_MAPPING[kind] = _quantizer(before, stored)
    try:
        yield
    finally:
        auto.AUTO_QUANTIZER_MAPPING[kind] = before


def _quantizer(base: Any, stored: Mapping[str, tuple[int, ...]] | None) -> Any:
    """A quantizer of transformers that knows of experts."""

    class ExpertQuantizer(base):  # type: ignore[misc]
        """See ``packing_experts``."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.stacks: dict[str, tuple[int, ...]] = {}
            self.packed: dict[str, PackedExperts] = {}

        def _process_model_before_weight_loading(self, model: Any, *args: Any, **kwargs: Any) -> None:
            super()._process_model_before_weight_loading(model, *args, **kwargs)
            if not self.pre_quantized:
                self.stacks = dict(expert_stacks(model)) if stored is None else {}
                return
            shapes = dict(expert_stacks(model))
            for name in (stored or {}).keys() & shapes.keys():
                with torch.device("meta"):
                    _put(model, name, PackedExperts(shapes[name]))

        def param_needs_quantization(self, model: Any, param_name: str, **kwargs: Any) -> bool:
            return param_name in self.stacks or bool(super().param_needs_quantization(model, param_name, **kwargs))

        def get_quantize_ops(self) -> Any:
            return _operation(super().get_quantize_ops(), self)

        def _process_model_after_weight_loading(self, model: Any, **kwargs: Any) -> Any:
            for name, packed in self.packed.items():
                _put(model, name, packed)
            _finish(model)
            return super()._process_model_after_weight_loading(model, **kwargs)

    return ExpertQuantizer


def _operation(plain: Any, quantizer: Any) -> Any:
    from transformers.core_model_loading import ConversionOps

    class PackExperts(ConversionOps):  # type: ignore[misc, unused-ignore]
        """Packs a stack of experts; what is none goes the ordinary way."""

        def convert(self, input_dict: Any, **kwargs: Any) -> Any:
            result = {}
            for name, value in input_dict.items():
                if name in quantizer.stacks:
                    quantizer.packed[name] = PackedExperts.of(value[0] if isinstance(value, list) else value)
                    # Takes the parameter's place until all is loaded.
                    result[name] = torch.empty(0, dtype=torch.bfloat16)
                else:
                    result |= plain.convert({name: value}, **kwargs)
            return result

    return PackExperts()


def _put(model: nn.Module, name: str, packed: PackedExperts) -> None:
    path, _, attribute = name.rpartition(".")
    module = model.get_submodule(path)
    delattr(module, attribute)
    module.add_module(attribute, packed)


def _finish(model: Any) -> None:
    """Have packed experts run one by one, and forget the weights that a backward pass can make again."""
    holders = {path.rpartition(".")[0] for path, module in model.named_modules() if isinstance(module, PackedExperts)}
    if not holders:
        return
    if hasattr(model, "set_experts_implementation"):
        model.set_experts_implementation("eager")
    for path in holders:
        module = model.get_submodule(path)
        module.forward = _lean(module.forward)


def _lean(forward: Any) -> Any:
    """The same forward pass, whose graph keeps which expert it was instead of the expert's weights."""

    def pack(tensor: Tensor) -> Any:
        whole = tensor if hasattr(tensor, "_tokmem_expert") else tensor._base
        expert = getattr(whole, "_tokmem_expert", None)
        if expert is None:
            return tensor
        return (*expert, tensor.size(), tensor.stride(), tensor.storage_offset())

    def unpack(kept: Any) -> Tensor:
        if isinstance(kept, Tensor):
            return kept
        stack, number, size, stride, offset = kept
        weights: Tensor = stack.expert(number)
        return weights.as_strided(size, stride, offset)

    def run(*args: Any, **kwargs: Any) -> Any:
        with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
            return forward(*args, **kwargs)

    return run


def parameter_count(model: nn.Module) -> tuple[int, int]:
    """Parameters of a model in 4 bit, and its others; each counted once, as what it stands for."""
    stacks = [module for module in model.modules() if isinstance(module, PackedExperts)]
    quantised, plain = sum(stack.shape.numel() for stack in stacks), 0
    for parameter in model.parameters():
        state = getattr(parameter, "quant_state", None)
        if state is not None:
            quantised += state.shape.numel()
        else:
            plain += parameter.numel()
    return quantised, plain
