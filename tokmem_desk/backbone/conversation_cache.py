"""A conversation as a query: which of its turns fit, and what of them has been run already.

The keys and values of a conversation are kept between its turns, so that the next one runs only what is new. Each
profile has its own; they are found by their very ids, so a changed message, another answer or another system text
simply is another conversation. Knows no memory and no route.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

from tokmem_desk.backbone.chat_format import Turn
from tokmem_desk.backbone.prefill import counted_from
from tokmem_desk.backbone.query_state import QueryState

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.backbone.kv_state import JoinedBatch
    from tokmem_desk.backbone.prefill import Reading

CUT_BLOCKS = 8
"""A conversation that is too long loses whole eighths of the context at a time: then the next turns begin with the
same messages and need not be run anew."""


@dataclass(slots=True)
class _Kept:
    owner: str
    ids: tuple[int, ...]
    state: QueryState
    used: int


class ConversationCache:
    """What has been run of conversations, of all profiles, within one bound on memory."""

    def __init__(self, backbone: Backbone, budget_mb: float) -> None:
        """Start empty.

        Args:
            budget_mb: most memory that keys and values may take; 0 keeps nothing.
        """
        self._backbone = backbone
        # What cannot be cut cannot be gone on from: such a conversation runs whole each time.
        self._budget = 0.0 if backbone.layout.recurrent else budget_mb * 2**20
        self._kept: list[_Kept] = []
        self._clock = 0
        self._passes: dict[str, object] = {}

    @property
    def bytes(self) -> int:
        """What is kept now."""
        return sum(kept.state.bytes for kept in self._kept)

    @property
    def keeps(self) -> bool:
        """False when nothing is ever kept."""
        return self._budget > 0

    def of(self, owner: str) -> OwnedCache:
        """The part of one profile."""
        return OwnedCache(self, owner, self._passes.setdefault(owner, object()))

    def forget(self, owner: str) -> None:
        """Drop what is kept of a profile; answers that are still on their way keep nothing any more."""
        self._kept = [kept for kept in self._kept if kept.owner != owner]
        self._passes.pop(owner, None)

    def forget_others(self, owner: str) -> None:
        """Drop what is kept of every other profile."""
        self.forget_where(lambda other: other != owner)

    def forget_where(self, gone: Callable[[str], bool]) -> None:
        """Drop what is kept of every profile of which ``gone`` is true."""
        for owner in [owner for owner in self._passes if gone(owner)]:
            self.forget(owner)

    def admits(self, owner: str, entry: object) -> bool:
        """False when the profile was forgotten since ``of`` gave that entry."""
        return self._passes.get(owner) is entry

    def run_steps(self, owner: str, ids: Sequence[int]) -> Reading:
        """Run a query; what the profile has run of it before is not run again.

        Yields how many of ``ids`` are done after each pass.
        """
        self._clock += 1
        best, length = None, 0
        for kept in self._kept:
            # The last id is always run: its hidden state is what the answer begins with.
            usable = self._usable(kept, ids[:-1]) if kept.owner == owner else 0
            if usable > length:
                best, length = kept, usable
        if best is None:
            steps = self._backbone.prefill_steps([ids])
        else:
            best.used = self._clock
            state = best.state if length == best.state.length else self._backbone.layout.shorten(best.state, length)
            steps = counted_from(length, self._backbone.extend_state_steps(state, ids[length:]))
        entry = self._passes.get(owner)
        done = yield from steps
        # While a long query is run the profile may be forgotten.
        if self._passes.get(owner) is entry:
            self.keep(owner, ids, done.states[0])
        return done

    def keep(self, owner: str, ids: Sequence[int], state: QueryState) -> None:
        """Remember a state; what it holds already is let go, then what was used longest ago."""
        if not self.keeps or state.bytes > self._budget:
            return
        self._kept = [kept for kept in self._kept if kept.owner != owner or not self._within(kept, ids)]
        self._kept.append(_Kept(owner, tuple(ids), state, self._clock))
        self._kept.sort(key=lambda kept: kept.used)
        while self.bytes > self._budget:
            del self._kept[0]

    def state_of(self, batch: JoinedBatch, length: int) -> QueryState:
        """The state of a batch of one row, which cannot be gone on with."""
        return self._backbone.layout.cut(batch.cache, [length], release=True)[0]

    def _usable(self, kept: _Kept, ids: Sequence[int]) -> int:
        """How many of ``ids`` a state can stand for."""
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(kept.ids, ids, strict=False)))
        return same if same == len(kept.ids) or self._backbone.layout.can_shorten(kept.state) else 0

    def _within(self, kept: _Kept, ids: Sequence[int]) -> bool:
        """True when the longer state of ``ids`` can do all that this one can."""
        return kept.ids == tuple(ids[: len(kept.ids)]) and (
            len(kept.ids) == len(ids) or self._backbone.layout.always_shortens
        )


@dataclass(frozen=True, slots=True)
class OwnedCache:
    """A profile's part of the cache: nothing of another profile can be reached through it."""

    cache: ConversationCache
    owner: str
    entry: object

    def run_steps(self, ids: Sequence[int]) -> Reading | None:
        """Run a query, see ``ConversationCache.run_steps``; None when the profile was forgotten meanwhile."""
        return self.cache.run_steps(self.owner, ids) if self.cache.admits(self.owner, self.entry) else None

    def keep_answer(self, ids: Sequence[int], batch: JoinedBatch) -> None:
        """Remember a query with the answer that was generated behind it.

        Args:
            ids: of the query, and of every token of the answer that has been run.
            batch: as generation left it, of one row.
        """
        if self.cache.keeps and self.cache.admits(self.owner, self.entry):
            self.cache.keep(self.owner, ids, self.cache.state_of(batch, len(ids)))


def fit_conversation(backbone: Backbone, turns: list[Turn], room: int) -> tuple[list[int], int]:
    """Ids of the latest turns that fit the context with ``room`` to answer, and how many were cut; the last stays."""
    room = min(room, backbone.context_length // 4)
    system = turns[:1] if turns[0].role == "system" else []
    turns = turns[len(system) :]

    def ids_without(rounds: int) -> list[int]:
        return backbone.format.conversation([*system, *turns[2 * rounds :]])

    ids = ids_without(0)
    too_long = len(ids) + room - backbone.context_length
    if too_long <= 0 or len(turns) == 1:
        return ids, 0
    block = backbone.context_length // CUT_BLOCKS
    longest = len(ids) - block * math.ceil(too_long / block)
    # By halves: a conversation of thousands of messages is not read thousands of times.
    too_few, enough = 0, (len(turns) - 1) // 2
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        if len(ids_without(middle)) <= longest:
            enough = middle
        else:
            too_few = middle
    return ids_without(enough), 2 * enough
