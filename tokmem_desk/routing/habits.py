"""Find habits: messages of one kind that were answered alike, in the order in which they came.

Two turns are of one kind where their messages lie near each other in the router's space and their answers have the
same outline: marks, numbers and lines as they stand, words as words; or are the same few words. Neither is enough
alone: messages in one language lie near each other, and prose looks like prose. Each turn is compared once with those
before it, so a new one costs one product of a matrix and a vector. Knows no store and no model.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tokmem_desk.templates.tokens import tokens_of

LEAST_TURNS = 4
"""So many alike make a habit."""

NEAR = 0.2
"""Least cosine of two messages; below it their answers are not compared."""

FORM_WEIGHT = 1.0
ALIKE = 1.25
"""Least cosine of two messages and ``FORM_WEIGHT`` times the likeness of their answers (0 to 1), added. Chosen on the
half of the procedures that chooses (benchmarks.habits)."""

LEAST_FORM = 0.4
"""Least likeness of two answers, however near their messages are."""

MOST_LABEL_WORDS = 3
"""An answer of so few plain words is a label: it is alike where it is the same."""

_MOST_OUTLINE = 120
"""Tokens of an answer that are compared."""

_WORD = re.compile(r"\w")
_PROSE = re.compile(r"[.,!?;:'’\"()\s-]")


def outline(answer: str) -> tuple[str, ...]:
    """What of an answer stands whatever its words are: ``w`` for words beside each other, ``0`` for numbers, marks."""
    parts: list[str] = []
    for token in tokens_of(answer.strip())[: 4 * _MOST_OUTLINE]:
        if token.isspace() and "\n" not in token:
            continue
        part = "\n" if "\n" in token else "0" if token[0].isdigit() else "w" if _WORD.match(token) else token
        if part != "w" or not parts or parts[-1] != "w":
            parts.append(part)
    if not has_form(parts) and len(answer.split()) <= MOST_LABEL_WORDS and parts:
        return ("label", answer.strip().casefold())
    return tuple(parts[:_MOST_OUTLINE])


def has_form(marks: Sequence[str]) -> bool:
    """Whether an outline is more than that of prose."""
    is_plain = all(part == "w" or _PROSE.fullmatch(part) for part in marks)
    return marks[:1] == ("label",) or (not is_plain and len(marks) > 1)


@lru_cache(maxsize=50_000)
def form_likeness(one: tuple[str, ...], other: tuple[str, ...]) -> float:
    """How alike two outlines are, from 0 to 1; prose is like nothing, since it has none."""
    if "label" in (one[:1] + other[:1]):
        return 1.0 if one == other else 0.0
    if not has_form(one) or not has_form(other):
        return 0.0
    return 1.0 if one == other else SequenceMatcher(None, one, other, autojunk=False).ratio()


@dataclass(slots=True)
class Habit:
    """Turns of one kind, by their places in the order of ``HabitFinder.add``."""

    turns: list[int] = field(default_factory=list)


class HabitFinder:
    """Groups turns as they come.

    Args:
        alike, form_weight, near: other values than the constants of this module, to choose them.
    """

    def __init__(self, *, alike: float = ALIKE, form_weight: float = FORM_WEIGHT, near: float = NEAR) -> None:
        self._alike, self._form_weight, self._near = alike, form_weight, near
        self._vectors: NDArray[np.float32] = np.empty((0, 0), np.float32)
        self._count = 0
        self._outlines: list[tuple[str, ...]] = []
        self._habit_of: dict[int, Habit] = {}
        self.habits: list[Habit] = []
        """Those found so far, the oldest first."""

    def add(self, vector: NDArray[np.float32], answer: str) -> Habit | None:
        """Take the next turn.

        Args:
            vector: [k] unit vector of the message in the router's space.
            answer: what it was answered with.

        Returns:
            The habit that this turn is part of; None where there is none (yet).
        """
        place, marks = self._count, outline(answer)
        scores = self._scores(vector, marks)
        self._keep(vector, marks)
        near = [int(one) for one in np.argsort(-scores, kind="stable") if scores[one] >= self._alike]
        of_habits = [self._habit_of[one] for one in near if one in self._habit_of]
        for habit in dict.fromkeys(map(id, of_habits)):
            if sum(id(one) == habit for one in of_habits) >= LEAST_TURNS // 2:
                found = next(one for one in of_habits if id(one) == habit)
                return self._join(found, [place])
        group = [place]
        for one in near:
            if one not in self._habit_of and all(self._likeness(one, other) >= self._alike for other in group[1:]):
                group.append(one)
        if len(group) < LEAST_TURNS:
            return None
        self.habits.append(Habit())
        return self._join(self.habits[-1], sorted(group))

    def _join(self, habit: Habit, places: Sequence[int]) -> Habit:
        habit.turns += places
        self._habit_of.update(dict.fromkeys(places, habit))
        return habit

    def _keep(self, vector: NDArray[np.float32], marks: tuple[str, ...]) -> None:
        if self._count == len(self._vectors):
            room = np.empty((max(256, 2 * self._count), len(vector)), np.float32)
            if self._count:
                room[: self._count] = self._vectors
            self._vectors = room
        self._vectors[self._count] = vector
        self._outlines.append(marks)
        self._count += 1

    def _scores(self, vector: NDArray[np.float32], marks: tuple[str, ...]) -> NDArray[np.float32]:
        """[n] likeness of each turn so far to this one."""
        if not self._count:
            return np.zeros(0, np.float32)
        cosines = self._vectors[: self._count] @ vector
        scores = np.full(self._count, -np.inf, np.float32)
        for one in np.flatnonzero(cosines >= self._near):
            scores[one] = self._score(float(cosines[one]), marks, self._outlines[one])
        return scores

    def _likeness(self, one: int, other: int) -> float:
        cosine = float(self._vectors[one] @ self._vectors[other])
        return self._score(cosine, self._outlines[one], self._outlines[other])

    def _score(self, cosine: float, one: tuple[str, ...], other: tuple[str, ...]) -> float:
        form = form_likeness(*sorted((one, other)))
        return cosine + self._form_weight * form if form >= LEAST_FORM else -np.inf
