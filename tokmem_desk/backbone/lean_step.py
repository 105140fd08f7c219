"""The pass over a few new tokens written out, for families whose layers are built like Llama's.

The library's own forward pass makes masks, hooks and wrappers anew for every token and layer; for a small model that
takes many times as long as its arithmetic. Here the same arithmetic stands in one loop, for decoding steps and for
training steps: products that read the same input are one (``decoding_products``), and keys and values of an answer are
written where there is room (``growing_layer``). Whether it gives the model's own numbers is tried once, before it is
first used; where it does not, and for families that are not named here, the model's own forward pass stays in use.

Letters: b batch, s new tokens, m = b · s, n tokens so far, d hidden size, h query heads, k key-value heads, g = h / k,
e head size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from tokmem_desk.backbone.growing_layer import GrowingLayer, make_room
from tokmem_desk.backbone.lean_operations import normalise, see, turn

if TYPE_CHECKING:
    from tokmem_desk.backbone.decoding_products import Product
    from tokmem_desk.backbone.kv_state import JoinedBatch
    from tokmem_desk.backbone.weight_formats import KernelForms

FAMILIES = frozenset({"LlamaModel", "MistralModel", "Qwen2Model", "Qwen3Model", "Gemma3TextModel"})
"""Decoders whose layers hold what ``_read_layer`` takes and nothing else."""

MOST_ROWS = 16
"""Token positions of one step; with more the model's own products are the faster ones."""

_LAYERS = (GrowingLayer, DynamicLayer, DynamicSlidingWindowLayer)


class _Norm:
    """Root mean square normalisation over the last dimension, as all these families have it."""

    def __init__(self, module: Any) -> None:
        epsilon = getattr(module, "variance_epsilon", None)
        self._epsilon = float(module.eps if epsilon is None else epsilon)
        weight = module.weight.detach().float()
        # Some families store what has to be added to one.
        ones = torch.ones_like(weight).to(module.weight.dtype)
        adds = bool((module(ones).float() - (1 + weight)).abs().mean() < (module(ones).float() - weight).abs().mean())
        self._weight = 1 + weight if adds else weight

    def __call__(self, x: Tensor) -> Tensor:
        return normalise(x, self._weight, self._epsilon)


_READ_TOGETHER = (
    ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    ("self_attn.o_proj",),
    ("mlp.gate_proj", "mlp.up_proj"),
    ("mlp.down_proj",),
)
"""Weights of a layer, those that read the same input together."""


@dataclass(frozen=True, slots=True)
class _Layer:
    """One layer's parts; the norms behind attention and feed-forward are of Gemma alone."""

    before: _Norm
    query_norm: _Norm | None
    key_norm: _Norm | None
    after: _Norm | None
    before_mlp: _Norm
    act: Callable[[Tensor], Tensor]
    after_mlp: _Norm | None
    heads: int
    kv_heads: int
    size: int
    scale: float
    window: int | None
    kind: str


def _read_layer(layer: Any, kind: str) -> _Layer:
    """Take a layer apart.

    Raises:
        AttributeError: it has not the parts of these families.
    """
    attention, mlp = layer.self_attn, layer.mlp
    size = int(attention.head_dim)
    sandwich = hasattr(layer, "pre_feedforward_layernorm")
    normed = hasattr(attention, "q_norm")
    return _Layer(
        before=_Norm(layer.input_layernorm),
        query_norm=_Norm(attention.q_norm) if normed else None,
        key_norm=_Norm(attention.k_norm) if normed else None,
        after=_Norm(layer.post_attention_layernorm) if sandwich else None,
        before_mlp=_Norm(layer.pre_feedforward_layernorm if sandwich else layer.post_attention_layernorm),
        act=mlp.act_fn,
        after_mlp=_Norm(layer.post_feedforward_layernorm) if sandwich else None,
        heads=int(attention.q_proj.out_features) // size,
        kv_heads=int(attention.k_proj.out_features) // size,
        size=size,
        scale=float(attention.scaling),
        window=getattr(attention, "sliding_window", None) if kind == "sliding_attention" else None,
        kind=kind,
    )


class LeanStep:
    """The written-out pass of one model. Its weights are those of the model; products may hold copies of them."""

    def __init__(self, decoder: Any, forms: KernelForms) -> None:
        """Take a decoder apart.

        Raises:
            LookupError: its family is not one of those.
            AttributeError: its layers have not the parts that they should have.
        """
        config = decoder.config
        if type(decoder).__name__ not in FAMILIES:
            raise LookupError(type(decoder).__name__)
        if getattr(config, "attn_logit_softcapping", None) or getattr(config, "use_bidirectional_attention", None):
            raise LookupError("attention of another kind")
        count = int(config.num_hidden_layers)
        kinds = list(getattr(config, "layer_types", None) or ["full_attention"] * count)
        self._rotary = decoder.rotary_emb
        # Gemma 3 turns keys in two ways, by the kind of a layer.
        self._by_kind = type(decoder).__name__ == "Gemma3TextModel"
        self._layers = [_read_layer(decoder.layers[i], kinds[i]) for i in range(count)]
        self._norm = _Norm(decoder.norm)
        self._forms = forms
        self._decoder = decoder
        self._modules = [
            [[attrgetter(name)(decoder.layers[i]) for name in names] for names in _READ_TOGETHER] for i in range(count)
        ]
        self._deciding: list[list[Product]] | None = None
        self._learning: list[list[Product]] | None = None

    @property
    def current(self) -> bool:
        """False where other modules stand in the model by now, such as those of a LoRA."""
        return all(
            attrgetter(name)(self._decoder.layers[i]) is module
            for i in (0, -1)
            for names, group in zip(_READ_TOGETHER, self._modules[i], strict=True)
            for name, module in zip(names, group, strict=True)
        )

    def takes(self, batch: JoinedBatch, inputs: Tensor) -> bool:
        """Whether a step is one of those that are faster here."""
        return (
            inputs.shape[0] * inputs.shape[1] <= MOST_ROWS
            and len(batch.cache.layers) == len(self._layers)
            and all(type(layer) in _LAYERS and layer.is_initialized for layer in batch.cache.layers)
        )

    @torch.no_grad()
    def run(self, batch: JoinedBatch, inputs: Tensor) -> Tensor:
        """[b x s x d] final hidden states of new inputs behind a batch, which is extended in place. No gradient.

        Args:
            inputs: [b x s x d] input embeddings, compute dtype.
        """
        if self._deciding is None:
            self._deciding = [[self._forms.product(group) for group in groups] for groups in self._modules]
        make_room(batch.cache)
        return self._through(batch, inputs, batch.mask.new_ones(inputs.shape[:2]), self._deciding)

    @torch.no_grad()
    def run_together(self, work: Sequence[tuple[JoinedBatch, Tensor]]) -> list[Tensor]:
        """``run`` for several batches at once: weights are read once, and each batch sees its own keys alone.

        Nothing is padded, so that a row goes through the very operations that it goes through alone; only the products
        have more rows.

        Args:
            work: batches, each extended in place, with [b x s x d] inputs of one compute dtype and device.

        Returns:
            [b x s x d] of each.
        """
        if self._deciding is None:
            self._deciding = [[self._forms.product(group) for group in groups] for groups in self._modules]
        passes = []
        for batch, inputs in work:
            make_room(batch.cache)
            passes.append(self._begin(batch, inputs, batch.mask.new_ones(inputs.shape[:2])))
        sizes = [one.rows for one in passes]
        x = torch.cat([inputs.reshape(-1, inputs.shape[-1]) for _, inputs in work])
        for place, (layer, (qkv, out, gate_up, down)) in enumerate(zip(self._layers, self._deciding, strict=True)):
            read = qkv(layer.before(x)).split(sizes)
            seen = [self._attend(layer, place, one, part) for one, part in zip(passes, read, strict=True)]
            x = _feed(layer, x, out(torch.cat(seen)), gate_up, down)
        states = self._norm(x).split(sizes)
        return [part.view(inputs.shape) for part, (_, inputs) in zip(states, work, strict=True)]

    def learns_from(self, batch: JoinedBatch) -> bool:
        """Whether a training step over a batch can run here."""
        return len(batch.cache.layers) == len(self._layers) and all(
            type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) and layer.is_initialized
            for layer in batch.cache.layers
        )

    def learn(self, batch: JoinedBatch, inputs: Tensor, present: Tensor | None) -> Tensor:
        """The same with gradient to the inputs and to what the batch holds, through unpacked weights.

        Args:
            inputs: [b x s x d] input embeddings, compute dtype.
            present: [b x s] long, 0 for right padding; all present when None.
        """
        if self._learning is None:
            self._learning = [[self._forms.learning_product(group) for group in groups] for groups in self._modules]
        batch.even = batch.even and present is None
        new = batch.mask.new_ones(inputs.shape[:2]) if present is None else present
        return self._through(batch, inputs, new, self._learning)

    def _through(self, batch: JoinedBatch, inputs: Tensor, new: Tensor, products: list[list[Product]]) -> Tensor:
        one = self._begin(batch, inputs, new)
        x = inputs.reshape(one.rows, -1)
        for place, (layer, (qkv, out, gate_up, down)) in enumerate(zip(self._layers, products, strict=True)):
            seen = self._attend(layer, place, one, qkv(layer.before(x)))
            x = _feed(layer, x, out(seen), gate_up, down)
        return self._norm(x).view(inputs.shape)

    def _begin(self, batch: JoinedBatch, inputs: Tensor, new: Tensor) -> _Pass:
        """What one batch brings to all layers; its mask and lengths go on by the new inputs."""
        b, s, _ = inputs.shape
        positions = batch.lengths[:, None] + torch.arange(s, device=inputs.device)
        batch.mask = torch.cat([batch.mask, new], dim=1)
        batch.lengths = batch.lengths + new.sum(dim=1)
        turns = {kind: self._turn(inputs, positions, kind) for kind in {layer.kind for layer in self._layers}}
        return _Pass(batch, b, s, turns, _Masks(batch.mask, s, even=batch.even))

    @staticmethod
    def _attend(layer: _Layer, place: int, one: _Pass, read: Tensor) -> Tensor:
        """[m x h · e] what the new tokens of one batch see; their keys and values are held from now on.

        Args:
            place: of the layer.
            read: [m x (h + 2k) · e] queries, keys and values of the new tokens.
        """
        b, s, m = one.samples, one.new, one.rows
        h, k, e = layer.heads, layer.kv_heads, layer.size
        turned, new_values = read.view(m, h + 2 * k, e).split([h + k, k], dim=1)
        if layer.query_norm is not None and layer.key_norm is not None:
            queries, new_keys = turned.split([h, k], dim=1)
            turned = torch.cat([layer.query_norm(queries), layer.key_norm(new_keys)], dim=1)
        queries, new_keys = turn(turned, *one.turns[layer.kind]).split([h, k], dim=1)
        keys, values = one.batch.cache.layers[place].update(
            new_keys.view(b, s, k, e).transpose(1, 2), new_values.view(b, s, k, e).transpose(1, 2)
        )
        # The query heads that share keys stand as further queries, so that no key is copied for them.
        queries = queries.reshape(b, s, k, h // k, e).permute(0, 2, 3, 1, 4).reshape(b, k, h // k * s, e)
        seen = see(queries, keys, values, one.masks.of(keys.shape[2], layer.window, h // k), layer.scale)
        return seen.view(b, k, h // k, s, e).permute(0, 3, 1, 2, 4).reshape(m, h * e)

    def _turn(self, inputs: Tensor, positions: Tensor, kind: str) -> tuple[Tensor, Tensor]:
        """[m x 1 x e] cosine, and the sine with its first half negative."""
        cos, sin = self._rotary(inputs, positions, kind) if self._by_kind else self._rotary(inputs, positions)
        half = sin.shape[-1] // 2
        sin = torch.cat([-sin[..., :half], sin[..., half:]], dim=-1)
        return cos.reshape(-1, 1, cos.shape[-1]), sin.reshape(-1, 1, sin.shape[-1])


def _feed(layer: _Layer, x: Tensor, seen: Tensor, gate_up: Product, down: Product) -> Tensor:
    """[m x d] what goes on to the next layer, of [m x d] states and what they have seen."""
    x = x + (seen if layer.after is None else layer.after(seen))
    gate, up = gate_up(layer.before_mlp(x)).chunk(2, dim=-1)
    fed = down(layer.act(gate) * up)
    return x + (fed if layer.after_mlp is None else layer.after_mlp(fed))


class _Masks:
    """Which keys each new token sees, made once for all layers that hold as many.

    Args:
        present: [b x n + s], 0 for padding in front.
        new: s.
        even: nothing is padding.
    """

    def __init__(self, present: Tensor, new: int, *, even: bool) -> None:
        self._present, self._new, self._even = present, new, even
        self._made: dict[tuple[int, int | None, int], Tensor | None] = {}

    def of(self, held: int, window: int | None, group: int) -> Tensor | None:
        """[b x 1 x g · s x held] true where a token sees a key; None where each sees all.

        Args:
            held: keys of the layer, the last ones.
            window: how many tokens the layer sees; None for all.
            group: g, query heads that share keys.
        """
        key = (held, window, group)
        if key not in self._made:
            self._made[key] = self._make(held, window, group)
        return self._made[key]

    def _make(self, held: int, window: int | None, group: int) -> Tensor | None:
        fits = window is None or held <= window
        if self._even and self._new == 1 and fits:
            return None
        total = self._present.shape[1]
        device = self._present.device
        column = torch.arange(total - held, total, device=device)
        own = torch.arange(total - self._new, total, device=device)[:, None]
        seen = column <= own
        if window is not None:
            seen = seen & (column > own - window)
        allowed = seen[None] & self._present[:, None, total - held :].bool()
        b, s, n = allowed.shape
        return allowed[:, None, None].expand(b, 1, group, s, n).reshape(b, 1, group * s, n)


def lean_step(decoder: Any, forms: KernelForms) -> LeanStep | None:
    """The step of a decoder; None for families that have none, and where a part is not what it should be."""
    try:
        return LeanStep(decoder, forms)
    except (LookupError, AttributeError, TypeError, RuntimeError):
        return None


@dataclass(frozen=True, slots=True)
class _Pass:
    """One batch on its way through the layers: b samples with s new tokens each."""

    batch: JoinedBatch
    samples: int
    new: int
    turns: dict[str, tuple[Tensor, Tensor]]
    masks: _Masks

    @property
    def rows(self) -> int:
        """M."""
        return self.samples * self.new
