"""Habits in the person's own chats: turns of one kind that could become a procedure.

Vectors come from the engine and are kept with the messages, so each message is read once.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from profiles.skill_files.skill import as_name
from profiles.store.habits import TurnRecord
from profiles.store.store import ProfileStore
from tokmem_desk.procedures import ExamplePair
from tui.engine_client.link import EngineLink
from tui.engine_client.protocol import BackboneInfo

READ_AT_ONCE = 64
"""Messages in one request to the engine."""

SETTING = "find_habits"
_WORD = re.compile(r"[^\W\d_]{3,}")


@dataclass(frozen=True, slots=True)
class FoundHabit:
    """Turns of one kind, oldest first.

    Attributes:
        name: one that a procedure could have, free in the profile.
    """

    name: str
    turns: tuple[TurnRecord, ...]

    @property
    def pairs(self) -> list[ExamplePair]:
        """The turns as pairs, each once."""
        return list(dict.fromkeys(ExamplePair(turn.message, turn.answer) for turn in self.turns))

    @property
    def message_ids(self) -> list[int]:
        """Of its messages."""
        return [turn.message_id for turn in self.turns]


def space_of(backbone: BackboneInfo) -> str:
    """What vectors are kept under: the model and how its router reads."""
    return f"{backbone['fingerprint'][:16]}/{backbone['router']}"


def unread_parts(store: ProfileStore, space: str, turns: Sequence[TurnRecord]) -> list[list[TurnRecord]]:
    """Turns whose message has no vector yet, as many in a part as the engine reads at once."""
    known = store.habits.vectors(space)
    missing = [turn for turn in turns if turn.message_id not in known]
    return [missing[start : start + READ_AT_ONCE] for start in range(0, len(missing), READ_AT_ONCE)]


def kept_form(vectors: Sequence[Sequence[float]], turns: Sequence[TurnRecord]) -> dict[int, bytes]:
    """Vectors of the engine as they are kept, by message."""
    import numpy as np

    return {
        turn.message_id: np.asarray(vector, dtype="<f2").tobytes()
        for turn, vector in zip(turns, vectors, strict=False)  # fewer where it was stopped
    }


async def search_habits(store: ProfileStore, link: EngineLink, profile: str) -> list[FoundHabit]:
    """Read what is unread, while the engine has nothing else to do in between, and find habits.

    Raises:
        TokmemError: the engine could not read.
    """
    turns = store.habits.turns()
    backbone = link.state.backbone
    if not turns or backbone is None:
        return []
    space = space_of(backbone)
    for part in unread_parts(store, space, turns):
        done = await link.submit("embed", profile=profile, texts=[turn.message for turn in part]).result()
        store.habits.keep_vectors(space, kept_form(done["vectors"], part))
    return find_habits(store, space, turns)


def find_habits(store: ProfileStore, space: str, turns: Sequence[TurnRecord]) -> list[FoundHabit]:
    """Habits among turns whose vectors are kept, those with most turns first; none that was turned down."""
    import numpy as np

    from tokmem_desk.routing.habits import HabitFinder

    vectors: Mapping[int, bytes] = store.habits.vectors(space)
    finder, places = HabitFinder(), [turn for turn in turns if turn.message_id in vectors]
    for turn in places:
        finder.add(np.frombuffer(vectors[turn.message_id], dtype="<f2").astype(np.float32), turn.answer)
    taken = {record.name for record in store.procedures.list()}
    found = []
    for habit in sorted(finder.habits, key=lambda one: -len(one.turns)):
        of_habit = tuple(places[place] for place in sorted(habit.turns))
        if store.habits.dismissed(turn.message_id for turn in of_habit):
            continue
        name = _free_name(of_habit, taken)
        taken.add(name)
        found.append(FoundHabit(name, of_habit))
    return found


def _free_name(turns: Sequence[TurnRecord], taken: set[str]) -> str:
    """The words that most of the messages share, else ``habit``; with a number where that is taken."""
    counts = Counter(word for turn in turns for word in dict.fromkeys(_WORD.findall(turn.message.lower())))
    shared = [word for word, count in counts.most_common(2) if count > len(turns) / 2]
    stem = as_name("-".join(shared))[:36] or "habit"
    return next(
        name for number in range(1, 10_000) if (name := stem if number == 1 else f"{stem}-{number}") not in taken
    )
