"""Messages that were read, kept for the requests that answer them: bounded, by last use.

A reading that an answer has been loaded from stays while that request runs, so that one that was pre-empted can be
loaded again.
"""

from __future__ import annotations

from collections import OrderedDict

from tokmem_desk.errors import NotFoundError
from tokmem_vllm.steered import Reading


class Readings:
    """Keeps readings.

    Args:
        most_bytes: beyond which those used longest ago go, if no request needs them.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[tuple[str, str], Reading] = OrderedDict()
        self._users: dict[tuple[str, str], set[str]] = {}
        self.bytes = 0

    def put(self, person: str, message: str, reading: Reading) -> None:
        """Keep one, in the place of an earlier one of the same message."""
        key = (person, message)
        if (old := self._kept.pop(key, None)) is not None:
            self.bytes -= old.bytes
        self._kept[key] = reading
        self.bytes += reading.bytes
        self._shrink(key)

    def take(self, person: str, message: str, request: str) -> Reading:
        """The reading, which stays until ``done(request)``.

        Raises:
            NotFoundError: it was never read, or had to go.
        """
        key = (person, message)
        if key not in self._kept:
            raise NotFoundError(
                "The message of this request has not been read, or too long ago.", next_step="Read it again first."
            )
        self._kept.move_to_end(key)
        self._users.setdefault(key, set()).add(request)
        return self._kept[key]

    def done(self, requests: set[str]) -> None:
        """These requests need nothing any more."""
        for key in [key for key, users in self._users.items() if users & requests]:
            self._users[key] -= requests
            if not self._users[key]:
                del self._users[key]
        self._shrink(None)

    def _shrink(self, new: tuple[str, str] | None) -> None:
        for key in list(self._kept):
            if self.bytes <= self._most_bytes:
                return
            if key != new and key not in self._users:
                self.bytes -= self._kept.pop(key).bytes
