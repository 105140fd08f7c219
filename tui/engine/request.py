"""A request as the engine's operations see it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tokmem_desk.errors import UsageError
from tui.engine_client.protocol import CancelHow, Message


@dataclass(slots=True)
class Request:
    """One request as its operation sees it."""

    id: int
    op: str
    fields: Message
    send: Callable[[Message], None]
    cancelled: threading.Event = field(default_factory=threading.Event)
    how: CancelHow = "keep"
    """What a cancelled training leaves."""
    takes_turns: bool = False
    """True once other requests of its kind may run between its steps, as when only tokens are left to generate."""

    def emit(self, event: str, **fields: Any) -> None:
        """Send one event of this request."""
        self.send({"id": self.id, "event": event, **fields})

    def report_phase(self, phase: str, fraction: float | None, text: str) -> None:
        """Send a ``progress`` event; ``fraction`` is the share done, 0 to 1, None where it is not known."""
        self.emit("progress", phase=phase, fraction=fraction, text=text)

    def text(self, name: str, default: str | None = None) -> str:
        """A text field.

        Raises:
            UsageError: missing, or not a text.
        """
        value = self.fields.get(name, default)
        if not isinstance(value, str):
            raise UsageError(f"Request {self.op!r} needs the text field {name!r}.")
        return value
