"""What the small networks mark, token by token. They are the ``TokenNetwork`` that the segment tagger is.

``marker`` reads a message alone: which words refer to something, and to what kind of value. ``values`` reads what was
said before: which words are a value, of which kind. ``mains`` says of these which are what a message is about, and
which words in front of a value go with it ("at").
"""

from __future__ import annotations

from tokmem_desk.backbone.token_space import TokenNetwork

KINDS = (
    "place", "address", "person", "date", "time", "amount", "item", "phone", "email", "count", "city", "text",
)  # fmt: skip
"""Kinds of values."""

SAME, NEW, COUNTED, LAST = 1, 2, 3, 4
NOUN = 5
"""Marks of words that stand for a value alone begin here, one for each kind."""
ADVERB = NOUN + len(KINDS)
"""Marks of words that stand for a value with the words around it begin here."""
MARKS = ADVERB + len(KINDS)
"""How many marks there are; 0 is none of them."""

VALUES = 1 + 2 * len(KINDS)
"""0 is no value, then for each kind the first token of a value and a further one."""

MAIN, AROUND = 1, 2
PARTS = 3


def networks(dimensions: int) -> tuple[TokenNetwork, TokenNetwork, TokenNetwork]:
    """Marker, values and mains."""
    marker, values, mains = (
        TokenNetwork(dimensions, outputs, channels=64, near=5, dropout=0.1) for outputs in (MARKS, VALUES, PARTS)
    )
    return marker, values, mains
