"""What the holder of a token may do: each scope includes those before it."""

from __future__ import annotations

from typing import Literal

TokenScope = Literal["read", "ask", "teach"]

READ: TokenScope = "read"
"""See what there is, and where texts lie."""
ASK: TokenScope = "ask"
"""Have messages answered, too."""
TEACH: TokenScope = "teach"
"""Add procedures, pairs and verdicts on routes, too."""

SCOPES: tuple[TokenScope, ...] = (READ, ASK, TEACH)


def includes(held: TokenScope, wanted: TokenScope) -> bool:
    """Whether one scope allows what another is for."""
    return SCOPES.index(held) >= SCOPES.index(wanted)
