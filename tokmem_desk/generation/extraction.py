"""Answers that a memory copies out of the message instead of generating them: whether it can, and the response.

What marks the values is in ``tokmem_desk.memory.extractor``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tokmem_desk.errors import IncompatibleError

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.backbone.prefill import Prefilled
    from tokmem_desk.memory.memory import Memory
    from tokmem_desk.templates.json_schema import OutputSchema


def can_extract(backbone: Backbone, memory: Memory, *, conversation: bool = False) -> bool:
    """Whether a memory's extractor can answer this message.

    Args:
        conversation: True where the procedure sees a conversation.

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


@dataclass(frozen=True, slots=True)
class Copied:
    """A response that was copied out of a message.

    Attributes:
        tokens: how many it has.
        whole: False where it was cut at the limit.
        logs, others: of each value, by its key, see ``MarkedValues``; of keys that are left out as well.
    """

    text: str
    tokens: int
    whole: bool
    logs: Mapping[str, float] = field(default_factory=dict)
    others: Mapping[str, Sequence[str]] = field(default_factory=dict)


def extract(
    backbone: Backbone,
    memory: Memory,
    message: str,
    prefilled: Prefilled,
    *,
    limit: int,
    schema: OutputSchema | None = None,
) -> Copied | None:
    """The response that a memory copies out of a message; only where ``can_extract``.

    Args:
        prefilled: the message run alone, with its tokens in the backbone's token space.
        limit: most tokens of the response.
        schema: what the response must fit.

    Returns:
        The response; None where no words of the message make one that fits schema and limit. It is to be generated
        then.
    """
    extractor = memory.steering.extractor
    assert extractor is not None
    places = backbone.format.places(message)
    marked = extractor.mark(message, places, prefilled.tokens[0], schema)
    if marked is None:
        return None
    text = extractor.response(marked.values)
    ids = backbone.format.encode_text(text)
    if len(ids) <= limit:
        return Copied(text, len(ids), whole=True, logs=marked.logs, others=marked.others)
    return None if schema is not None else Copied(backbone.format.decode(ids[:limit]), limit, whole=False)
