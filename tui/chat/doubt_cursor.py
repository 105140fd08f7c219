"""Which doubtful value of an answer the person is looking at. Draws nothing, asks nothing."""

from __future__ import annotations

from tui.chat.turns import Doubt, Turn

RUNNERS_UP = 4
"""Keys for other values of a doubtful place, from 1 on; as many as an answer brings at most."""


class DoubtCursor:
    """A place among the doubtful values of a turn's answer, or none.

    Args:
        turn: its values may change, as they are settled one after the other.
    """

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._place: int | None = None

    @property
    def doubt(self) -> Doubt | None:
        """The value that the person is looking at."""
        doubts = self._turn.answer.doubts if self._place is not None else []
        return doubts[self._place] if self._place is not None and self._place < len(doubts) else None

    def can_move(self, step: int) -> bool:
        """Whether there is a value on that side: 1 for behind, -1 for before."""
        return self._next(step) is not None

    def move(self, step: int) -> None:
        """Look at the value behind (1) or before (-1); at the first or the last one where none was looked at."""
        self._place = self._next(step)

    def _next(self, step: int) -> int | None:
        count = len(self._turn.answer.doubts)
        begin = self._place if self.doubt is not None and self._place is not None else -1 if step > 0 else count
        return begin + step if 0 <= begin + step < count else None

    def leave(self) -> bool:
        """Look at none; False where none was looked at."""
        was, self._place = self._place, None
        return was is not None

    def choice(self, place: int) -> str | None:
        """The text that a key puts in: 0 the value's own, from 1 on a runner-up; None where there is none."""
        doubt = self.doubt
        if doubt is None:
            return None
        texts = (doubt.value.text, *doubt.value.others)
        return texts[place] if place < len(texts) else None

    def settled(self) -> None:
        """The value that was looked at is settled: the one behind it takes its place, or the first one."""
        left = len(self._turn.answer.doubts) - 1
        if self._place is not None:
            self._place = None if left <= 0 else self._place % left
