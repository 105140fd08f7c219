"""Answers that a memory copies out of the message instead of generating them: whether it can, and the response.

What marks the values is in ``tokmem_desk.memory.extractor``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokmem_desk.errors import IncompatibleError

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.backbone.prefill import Prefilled
    from tokmem_desk.memory.memory import Memory


def can_extract(backbone: Backbone, memory: Memory, *, conversation: bool = False) -> bool:
    """Whether a memory's extractor answers here.

    Args:
        conversation: there is one that the procedure reads.

    Raises:
        IncompatibleError: it is all that the memory has, and it was learned in another token space.
    """
    extractor, space = memory.steering.extractor, backbone.token_space
    if extractor is None:
        return False
    if space is None or extractor.space != space.digest:
        if extractor.alone:
            raise IncompatibleError(
                f"{memory.name!r} reads messages in a space that was fitted elsewhere or before.",
                next_step=f"Train it again: tokmem-desk train {memory.name}",
            )
        return False
    return extractor.alone or not conversation


def extract(backbone: Backbone, memory: Memory, message: str, prefilled: Prefilled) -> str:
    """The response that a memory copies out of a message; only where ``can_extract``.

    Args:
        prefilled: the message run alone, with the token space's layers.
    """
    extractor, space = memory.steering.extractor, backbone.token_space
    assert extractor is not None and space is not None
    return extractor.response(extractor.extract(message, backbone.format.places(message), prefilled.tokens[0], space))
