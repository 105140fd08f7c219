"""What a reference finder is fitted with; another recipe asks for another fit."""

from __future__ import annotations

import hashlib
import json

from tokmem_desk.background.referring import referring_messages

EXAMPLES = 1500
"""Examples with what was said before them."""
MESSAGES = 3600
"""Messages alone, which teach the marks."""
EPOCHS = 10

DEPTHS = (0.0, 0.1, 0.2)
"""Layers that are read, as shares of all."""

_VERSION = 2


def recipe() -> str:
    """Its digest."""
    texts = [f"{e.said} {e.message} {e.marks} {e.values}" for e in referring_messages(EXAMPLES // 20)]
    settings = [_VERSION, EXAMPLES, MESSAGES, EPOCHS, *DEPTHS, *texts]
    return hashlib.sha256(json.dumps(settings).encode()).hexdigest()
