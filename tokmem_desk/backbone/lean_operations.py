"""Operations of the written-out pass, each with a backward pass of few operations where gradient is asked for.

Letters: b batch, k key-value heads, g query heads that share keys, s new tokens, n keys, e head size.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def normalise(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """Divide by the root mean square over the last dimension, in float32, and scale; the dtype of ``x``."""
    if torch.is_grad_enabled() and x.requires_grad:
        normed: Tensor = _Normalise.apply(x, weight, epsilon)  # type: ignore[no-untyped-call]
        return normed
    return F.rms_norm(x.float(), weight.shape, weight, epsilon).to(x.dtype)


class _Normalise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        wide = x.float()
        scale = torch.rsqrt(wide.square().mean(dim=-1, keepdim=True) + epsilon)
        unit = wide.mul_(scale) if wide is not x else wide * scale
        ctx.save_for_backward(unit, scale, weight)
        return (unit * weight).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        gradient = gradients[0]
        unit, scale, weight = ctx.saved_tensors
        wide = gradient * weight
        along = (wide * unit).mean(dim=-1, keepdim=True)
        return wide.addcmul_(unit, along, value=-1).mul_(scale).to(gradient.dtype), None, None


def turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate heads by their positions, pairs standing half a head apart.

    Args:
        x: [… x e].
        cos: broadcastable to ``x``; both halves alike.
        sin: as ``cos``, its first half negative.
    """
    if torch.is_grad_enabled() and x.requires_grad:
        turned: Tensor = _Turn.apply(x, cos, sin)  # type: ignore[no-untyped-call]
        return turned
    return (x * cos).addcmul_(_swapped(x), sin)


def _swapped(x: Tensor) -> Tensor:
    """The halves of the last dimension, the second first."""
    return x.unflatten(-1, (2, -1)).flip(-2).flatten(-2)


class _Turn(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return (x * cos).addcmul_(_swapped(x), sin)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        gradient = gradients[0]
        cos, sin = ctx.saved_tensors
        # Back is the same turn by the negative angle.
        return (gradient * cos).addcmul_(_swapped(gradient), sin, value=-1), None, None


def see(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """[b x k x g · s x e] attention.

    Args:
        queries: [b x k x g · s x e].
        keys: [b x k x n x e]; values alike.
        mask: [b x 1 x g · s x n] true where a query sees a key; None where each sees all.
    """
    asked = torch.is_grad_enabled() and (queries.requires_grad or keys.requires_grad)
    if not asked or queries.device.type != "cpu":
        return F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, scale=scale)
    # On a CPU plain attention has the faster backward pass.
    scores = torch.matmul(queries * scale, keys.transpose(2, 3))
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return torch.matmul(torch.softmax(scores, dim=-1, dtype=torch.float32).to(values.dtype), values)
