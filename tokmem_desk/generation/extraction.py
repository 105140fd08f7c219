"""Answers that a memory reads off the message instead of generating them: whether it can, and the response.

What marks the values is in ``tokmem_desk.memory.extractor``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokmem_desk.errors import IncompatibleError

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.backbone.prefill import Prefilled
    from tokmem_desk.memory.memory import Memory


def can_read(backbone: Backbone, memory: Memory, *, conversation: bool = False) -> bool:
    """Whether a memory's reader answers here.

    Args:
        conversation: there is one that the procedure reads.

    Raises:
        IncompatibleError: it is all that the memory has, and it was learned in another token space.
    """
    reader, space = memory.steering.reader, backbone.token_space
    if reader is None:
        return False
    if space is None or reader.space != space.digest:
        if reader.alone:
            raise IncompatibleError(
                f"{memory.name!r} reads messages in a space that was fitted elsewhere or before.",
                next_step=f"Train it again: tokmem-desk train {memory.name}",
            )
        return False
    return reader.alone or not conversation


def read(backbone: Backbone, memory: Memory, message: str, prefilled: Prefilled) -> str:
    """The response that a memory reads off a message; only where ``can_read``.

    Args:
        prefilled: the message run alone, with the token space's layers.
    """
    reader, space = memory.steering.reader, backbone.token_space
    assert reader is not None and space is not None
    return reader.response(reader.read(message, backbone.format.places(message), prefilled.tokens[0], space))
