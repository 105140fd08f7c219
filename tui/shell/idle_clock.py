"""How long nobody has touched a key or the mouse."""

from __future__ import annotations

import time

from textual import events


class IdleClock:
    """See the module. Uses the wall clock, which goes on while the computer sleeps."""

    def __init__(self) -> None:
        self.last_input = time.time()

    @property
    def seconds(self) -> float:
        """Since the last input."""
        return time.time() - self.last_input

    def restart(self) -> None:
        """Count from now on."""
        self.last_input = time.time()

    def note(self, event: events.Event) -> None:
        """Count from now on if the event is a key or of the mouse."""
        if isinstance(event, (events.Key, events.MouseEvent)):
            self.restart()
