"""Answer one message under one memory exactly as the chat would, for figures that people compare with the chat.

A batch is faster, and sums in another order: in bfloat16 an answer of a batch may then part from the chat's where two
tokens are as likely. What a scorecard shows has to come out again in the chat, so it is made by the chat's own code.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch

from tokmem_desk.errors import GenerationError
from tokmem_desk.generation.confidence import Signals
from tokmem_desk.generation.segment import Answering, Part
from tokmem_desk.generation.types import Bank, Piece, Routed, Timing
from tokmem_desk.routing.routers import EmptyRouter

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.memory.memory import Memory
    from tokmem_desk.templates.json_schema import OutputSchema

_ROUTE = "single"
"""The memory's name in a bank of its own; nobody sees it."""


@torch.no_grad()
def answer_single(
    backbone: Backbone, memory: Memory, message: str, *, schema: OutputSchema | None = None, max_tokens: int
) -> tuple[str, Signals | None]:
    """The chat's answer to a message whose route is this memory, and what is known of its being right.

    Args:
        schema: that answers are held to; None: the form of the memory's own pairs holds them, where it has one.
        max_tokens: longest answer.

    Returns:
        The answer, as far as it came where nothing that may stand next is possible; and its signals, None where the
        answer is not whole.

    Raises:
        IncompatibleError: the message is longer than the context.
    """
    bank = Bank({_ROUTE: memory}, EmptyRouter(), schemas={} if schema is None else {_ROUTE: schema})
    part = Part(Routed(_ROUTE, 1.0, [], forced=True, part=message), None)
    answering = Answering(
        backbone, bank, part, (), None, None, max_tokens, lambda: False, Timing(), time.perf_counter()
    )  # fmt: skip
    shown: list[str] = []
    try:
        shown.extend(piece.text for piece in answering.pieces() if isinstance(piece, Piece))
    except GenerationError:
        return "".join(shown), None
    return answering.response, answering.signals
