"""Load a model without drawing random weights that its file replaces.

Transformers builds a model on the meta device, where tensors have no values. Torch still draws each weight there, by
way of code that imports a library for symbolic mathematics, which takes longer than reading a small model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

_DRAWN: tuple[Any, ...] = (nn.Embedding, nn.Linear)


@contextmanager
def without_drawing_weights() -> Iterator[None]:
    """Inside, embeddings and linear layers on the meta device get no random weights; all others do."""
    drawn = [(kind, kind.reset_parameters) for kind in _DRAWN]
    for kind, draw in drawn:
        kind.reset_parameters = _draw_where_there_are_values(draw)
    try:
        yield
    finally:
        for kind, draw in drawn:
            kind.reset_parameters = draw


def _draw_where_there_are_values(draw: Callable[..., None]) -> Callable[[nn.Embedding | nn.Linear], None]:
    def reset_parameters(layer: nn.Embedding | nn.Linear) -> None:
        if not layer.weight.is_meta:
            draw(layer)

    return reset_parameters
