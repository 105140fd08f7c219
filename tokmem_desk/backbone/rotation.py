"""How the keys of a layer turn with their position, found by watching the model.

A memory's keys are kept free of position and put wherever the query ends, so it must be known what the model does to
a key on the way from one position to another. Families differ in which numbers of a key turn, how they are paired, in
the direction, in how the angles are laid out in a table, and in what comes behind. No list of families is kept here.
Instead single tokens are run at several positions: a token that attends only to itself has the same keys
everywhere, but for the rotation. Of the known kinds of rotation the one is taken that moves the keys of the first
position to those of the others.

The angles come from the model's own rotary modules, which are called as the model was seen to call them: what it does
about long contexts, scales and kinds of layers is all in there.

Letters: t tokens, l layers, k key-value heads, m positions, e head size, p pairs of numbers that turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor, nn

_POSITIONS = "positions"
_NUMBERS = "numbers"
_VALUE = "value"

_STANDARD_BASE = 10_000.0

EXACT = 1e-3
ROUNDED = 0.02
"""Largest relative distance between moved keys and the model's own, in float32 and in shorter numbers."""


@dataclass(frozen=True, slots=True)
class RotaryCall:
    """How a model asks one of its modules for angles.

    Attributes:
        module: its name in the decoder; empty for the standard frequencies, where a model has no such module.
        arguments: of the call, in order; each is ``("positions", leading sizes)``, ``("numbers",)`` for a tensor
            that only says device and type, or ``("value", anything)``; then the keyword, or None.
        pairs: numbers that turn, in pairs; given for the standard frequencies only.
    """

    module: str
    arguments: tuple[tuple[str | None, str, Any], ...] = ()
    pairs: int = 0

    def angles(self, decoder: nn.Module, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines, [m x columns] float32, as the module lays them out.

        Args:
            positions: [m] long.
        """
        if not self.module:
            powers = torch.arange(self.pairs, device=positions.device, dtype=torch.float32) / self.pairs
            turned = positions[:, None].float() / _STANDARD_BASE ** powers[None]
            return turned.cos(), turned.sin()
        plain: list[Any] = []
        named: dict[str, Any] = {}
        for keyword, sort, value in self.arguments:
            given: Any = value
            if sort == _POSITIONS:
                given = positions.expand(*value, len(positions))
            elif sort == _NUMBERS:
                given = torch.zeros(1, dtype=torch.float32, device=positions.device)
            if keyword is None:
                plain.append(given)
            else:
                named[keyword] = given
        table = decoder.get_submodule(self.module)(*plain, **named)
        if isinstance(table, Tensor):  # complex numbers
            table = (table.real, table.imag)
        cos, sin = (part.reshape(-1, len(positions), part.shape[-1])[0].float() for part in table)
        return cos, sin


@dataclass(frozen=True, slots=True)
class RotationKind:
    """One way of turning keys.

    Attributes:
        call: index of the table of angles among those that the model asks for.
        part: where the numbers that turn stand in a key; they may be all of it.
        pairing: number i turns with number i + p (``halves``) or 2 i with 2 i + 1 (``neighbours``).
        table: whether angles stand in two halves, twice in a row, or once.
        backwards: the other direction.
        norm: name, within its layer, of the weight of a norm that comes behind; empty for none.
    """

    call: int
    part: Literal["front", "end"] = "front"
    pairing: Literal["halves", "neighbours"] = "halves"
    table: Literal["halves", "neighbours", "once"] = "halves"
    backwards: bool = False
    norm: str = ""


class Rotations:
    """The rotations of a model's layers.

    Args:
        decoder: the module that holds the layers and the rotary modules.
        calls: the tables it asks for.
        kinds: by layer, None where keys do not turn.
    """

    def __init__(
        self, decoder: nn.Module, calls: Sequence[RotaryCall], kinds: Mapping[int, RotationKind | None]
    ) -> None:
        self._decoder = decoder
        self.calls = tuple(calls)
        self.kinds = dict(kinds)

    def of(self, layer: int) -> Rotation | None:
        """How the keys of a layer turn; equal for layers that turn alike."""
        kind = self.kinds[layer]
        return None if kind is None else Rotation(self._decoder, self.calls[kind.call], kind)

    def to_json(self) -> dict[str, Any]:
        """Plain values, for a file."""
        return {
            "calls": [asdict(call) for call in self.calls],
            "kinds": {str(layer): kind and asdict(kind) for layer, kind in self.kinds.items()},
        }

    @classmethod
    def from_json(cls, decoder: nn.Module, fields: Mapping[str, Any]) -> Rotations:
        """What ``to_json`` gave.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        calls = [
            RotaryCall(
                str(call["module"]),
                tuple((key, str(sort), tuple(v) if isinstance(v, list) else v) for key, sort, v in call["arguments"]),
                int(call["pairs"]),
            )
            for call in fields["calls"]
        ]
        kinds = {int(layer): RotationKind(**kind) if kind else None for layer, kind in fields["kinds"].items()}
        if any(kind is not None and not 0 <= kind.call < len(calls) for kind in kinds.values()):
            raise ValueError("a rotation names a table that is not there")
        return cls(decoder, calls, kinds)


@dataclass(frozen=True)
class Rotation:
    """How keys turn, ready to be applied."""

    decoder: nn.Module
    call: RotaryCall
    kind: RotationKind

    def turn(self, keys: Tensor, positions: Tensor, layers: Sequence[int], *, back: bool = False) -> Tensor:
        """Keys moved from position-free ones to positions, or back.

        Args:
            keys: [l x k x m x e] float32.
            positions: [m] long.
            layers: the l layers that they are of.
        """
        cos, sin = self._table(positions)
        if self.kind.backwards:
            sin = -sin
        weight = self._norm_weight(layers) if self.kind.norm else None
        if back:
            # YaRN scales what it turns, alike for all pairs.
            length = cos[..., :1] ** 2 + sin[..., :1] ** 2
            cos, sin = cos / length, -sin / length
            if weight is not None:
                keys = keys / weight
        keys = self._turned(keys, cos, sin)
        return keys if back or weight is None else keys * weight

    def _table(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """[m x p] cosine and sine of each pair."""
        cos, sin = self.call.angles(self.decoder, positions)
        if self.kind.table == "halves":
            return cos[..., : cos.shape[-1] // 2], sin[..., : sin.shape[-1] // 2]
        if self.kind.table == "neighbours":
            return cos[..., 0::2], sin[..., 0::2]
        return cos, sin

    def _turned(self, keys: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        size = 2 * cos.shape[-1]
        first = 0 if self.kind.part == "front" else keys.shape[-1] - size
        before, part, behind = keys[..., :first], keys[..., first : first + size], keys[..., first + size :]
        if self.kind.pairing == "halves":
            x, y = part.chunk(2, dim=-1)
            part = torch.cat([x * cos - y * sin, y * cos + x * sin], dim=-1)
        else:
            x, y = part[..., 0::2], part[..., 1::2]
            part = torch.stack([x * cos - y * sin, y * cos + x * sin], dim=-1).flatten(-2)
        return torch.cat([before, part, behind], dim=-1)

    @cached_property
    def _layers(self) -> nn.ModuleList:
        return layers_of(self.decoder)

    def _norm_weight(self, layers: Sequence[int]) -> Tensor:
        """[l x 1 x 1 x e] float32."""
        weights = [self._layers[layer].get_parameter(self.kind.norm).detach().float() for layer in layers]
        return torch.stack(weights)[:, None, None]


def layers_of(decoder: nn.Module) -> nn.ModuleList:
    """The list of a decoder's layers: the first list of modules in it that is long enough to be that.

    Raises:
        LookupError: there is none.
    """
    lists = [module for module in decoder.modules() if isinstance(module, nn.ModuleList) and len(module)]
    if not lists:
        raise LookupError("the decoder has no list of layers")
    return lists[0]


@contextmanager
def watched_calls(decoder: nn.Module, positions: Tensor) -> Iterator[list[RotaryCall]]:
    """While this lasts, note how the decoder asks its rotary modules for angles.

    Args:
        positions: what the decoder is given; all of one value, by which its positions are known among arguments.
    """
    calls: list[RotaryCall] = []
    place = int(positions.flatten()[0])

    def described(value: Any) -> tuple[str, Any]:
        if not isinstance(value, Tensor):
            return _VALUE, value
        if not value.is_floating_point() and value.dim() and bool((value == place).all()):
            # One sample stands for all of the batch, which is the second to last dimension.
            sizes = list(value.shape[:-1])
            return _POSITIONS, tuple([*sizes[:-1], 1] if sizes else sizes)
        return _NUMBERS, None

    def noted(name: str) -> Any:
        def hook(_: nn.Module, plain: tuple[Any, ...], named: dict[str, Any], __: Any) -> None:
            arguments: list[tuple[str | None, str, Any]] = [(None, *described(value)) for value in plain]
            arguments += [(keyword, *described(value)) for keyword, value in named.items()]
            call = RotaryCall(name, tuple(arguments))
            # Anything but plain values could not be said again.
            plain_values = all(sort != _VALUE or isinstance(v, str | int | float | None) for _, sort, v in arguments)
            if plain_values and call not in calls:
                calls.append(call)

        return hook

    handles = [
        module.register_forward_hook(noted(name), with_kwargs=True)
        for name, module in decoder.named_modules()
        if "rotary" in type(module).__name__.lower() and not isinstance(module, nn.ModuleList)
    ]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def distance(ours: Tensor, theirs: Tensor) -> float:
    """Norm of the difference of two tensors of one shape, divided by that of the second; infinite where it is NaN."""
    found = float((ours.float() - theirs.float()).norm() / theirs.float().norm().clamp_min(1e-12))
    return found if found == found else float("inf")


def find_kinds(
    decoder: nn.Module,
    calls: Sequence[RotaryCall],
    keys: Mapping[int, Sequence[Tensor]],
    positions: Sequence[int],
) -> tuple[list[RotaryCall], dict[int, RotationKind | None], list[int]]:
    """Which rotation moves each layer's keys from the first position to the others.

    Args:
        calls: the tables that the model was seen to ask for.
        keys: by layer, at each position [t x k x 1 x e] keys of the same single tokens.
        positions: where those were, the first of them 0.

    Returns:
        The tables; the kind of each layer, None where keys do not turn; the layers where no known kind fits.
    """
    first = next(iter(keys.values()))[0]
    calls = list(calls)
    tables: list[tuple[int, RotationKind]] = []
    watched = bool(calls)
    if not watched:
        calls = [RotaryCall("", pairs=size // 2) for size in _rotated_sizes(decoder, first.shape[-1])]
    for index, call in enumerate(calls):
        try:
            tables.append((index, RotationKind(index, table=_layout(decoder, call, first.device))))
        except (RuntimeError, TypeError, ValueError, IndexError, AttributeError, KeyError):
            continue
    kinds: dict[int, RotationKind | None] = {}
    unknown: list[int] = []
    preferred: list[RotationKind] = []
    for layer, at in keys.items():
        bound = EXACT if at[0].dtype == torch.float32 else ROUNDED
        if max(distance(at[0], other) for other in at[1:]) <= bound:
            kinds[layer] = None
            continue
        # What fitted another layer is tried first; the rest of the list only where it does not fit.
        fitting = next(
            (kind for kind in preferred if _misses(decoder, calls, kind, layer, at, positions) <= bound), None
        )
        if fitting is None:
            scored = [
                (_misses(decoder, calls, kind, layer, at, positions), number, kind)
                for number, kind in enumerate(
                    _candidates(decoder, [kind for _, kind in tables], layer, first.shape[-1])
                )
            ]
            miss, _, best = min(scored, default=(float("inf"), 0, None))
            if best is not None and miss <= bound:
                fitting = best
                preferred.append(best)
        if fitting is not None:
            kinds[layer] = fitting
        elif watched:
            unknown.append(layer)
        else:
            # Positions are learned or come in elsewhere: a memory's keys stay as they are trained.
            kinds[layer] = None
    return calls, kinds, unknown


def _candidates(decoder: nn.Module, tables: Sequence[RotationKind], layer: int, size: int) -> Iterator[RotationKind]:
    for norm in ("", *_norms(decoder, layer, size)):
        for table in tables:
            for part in ("front", "end"):
                for pairing in ("halves", "neighbours"):
                    for backwards in (False, True):
                        yield RotationKind(table.call, part, pairing, table.table, backwards, norm)


def _norms(decoder: nn.Module, layer: int, size: int) -> list[str]:
    """Weights of a layer that could scale a whole key."""
    try:
        module = layers_of(decoder)[layer]
    except (LookupError, IndexError):
        return []
    return [
        name
        for name, weight in module.named_parameters()
        if tuple(weight.shape) == (size,) and name.endswith("weight") and "k" in name.lower()
    ]


def _misses(
    decoder: nn.Module,
    calls: Sequence[RotaryCall],
    kind: RotationKind,
    layer: int,
    keys: Sequence[Tensor],
    positions: Sequence[int],
) -> float:
    """How far the keys of the first position, moved to the others, are from what the model has there."""
    rotation = Rotation(decoder, calls[kind.call], kind)
    device = keys[0].device
    worst = 0.0
    try:
        start = torch.tensor([positions[0]], device=device)
        # Even position 0 is turned back: YaRN scales there too.
        free = rotation.turn(keys[0].float(), start, [layer], back=True)
        for position, theirs in zip(positions[1:], keys[1:], strict=True):
            ours = rotation.turn(free, torch.tensor([position], device=device), [layer])
            worst = max(worst, distance(ours, theirs))
    except (RuntimeError, IndexError, AttributeError, LookupError):
        return float("inf")
    return worst


def _layout(decoder: nn.Module, call: RotaryCall, device: torch.device) -> Literal["halves", "neighbours", "once"]:
    """How a table's columns belong to pairs, seen at a position where no two angles are alike."""
    _, sin = call.angles(decoder, torch.tensor([5], device=device))
    half, odd = divmod(sin.shape[-1], 2)
    if not odd and torch.equal(sin[..., :half], sin[..., half:]):
        return "halves"
    if not odd and torch.equal(sin[..., 0::2], sin[..., 1::2]):
        return "neighbours"
    return "once"


def _rotated_sizes(decoder: nn.Module, size: int) -> list[int]:
    """How much of a key may turn in a model that has no rotary module: what its configuration says, or all."""
    told = getattr(getattr(decoder, "config", None), "rotary_dim", None)
    return [told, size] if isinstance(told, int) and 0 < told < size else [size]
