"""Habits: near messages that were answered in one outline, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from tokmem_desk.routing.habits import LEAST_TURNS, HabitFinder, form_likeness, has_form, outline


def _vector(kind: int, number: int = 0) -> np.ndarray:
    """Unit vectors of 8 kinds; two of one kind have a cosine of about 0.9."""
    vector = np.random.default_rng(number).normal(0, 0.1, 64).astype(np.float32)
    vector[kind] += 2.4
    return vector / np.linalg.norm(vector)


def _found(turns: list[tuple[int, str]]) -> list[list[int]]:
    finder = HabitFinder()
    for place, (kind, answer) in enumerate(turns):
        finder.add(_vector(kind, place), answer)
    return [sorted(habit.turns) for habit in finder.habits]


def test_four_of_one_kind_make_a_habit_and_the_next_joins() -> None:
    finder = HabitFinder()
    answers = ["LOG 3 kg | Mon", "LOG 12 kg | Tue", "LOG 7 kg | Fri", "LOG 40 kg | Sun", "LOG 1 kg | Sat"]
    found = [finder.add(_vector(1, place), answer) for place, answer in enumerate(answers)]
    assert found[: LEAST_TURNS - 1] == [None] * 3 and found[3] is found[4] is finder.habits[0]
    assert finder.habits[0].turns == [0, 1, 2, 3, 4]


def test_prose_in_one_language_is_no_habit() -> None:
    said = "That is a fine idea, and you could begin with the roof."
    assert _found([(1, f"{said} Then see part two.") for _ in range(6)]) == []


def test_near_messages_with_other_outlines_are_apart() -> None:
    lines = [(1, f"{place}: a | b") for place in range(4)]
    objects = [(1, f'{{"n": {place}, "who": "Ann"}}') for place in range(4)]
    mixed = [one for both in zip(lines, objects, strict=True) for one in both]
    assert _found(mixed) == [[0, 2, 4, 6], [1, 3, 5, 7]]


def test_one_outline_to_far_messages_is_no_habit() -> None:
    assert _found([(kind, "a | 1 | b") for kind in range(6)]) == []


def test_other_turns_in_between_change_nothing() -> None:
    turns = [(kind, f"x{kind} = {place};") for place in range(4) for kind in (2, 5)]
    chat = [(kind, "Yes, of course.") for kind in (0, 1, 3, 4)]
    found = _found([one for pair in zip(turns, chat * 2, strict=True) for one in pair])
    assert found == [[0, 4, 8, 12], [2, 6, 10, 14]]


def test_the_room_for_vectors_grows() -> None:
    finder = HabitFinder()
    for place in range(600):
        finder.add(_vector(place % 8, place), "Well, it may rain.")
    assert finder.add(_vector(1, 1), "a|1") is None and finder.habits == []


@pytest.mark.parametrize(
    ("answer", "marks"),
    [
        ("b3 · 09.iv", ("w", "0", "·", "0", ".", "w")),
        ("Two Words", ("label", "two words")),
        ("No more than these words.", ("w", ".")),
        ("- a\n- b", ("-", "w", "\n", "-", "w")),
        ("", ()),
    ],
)
def test_an_outline_has_marks_and_numbers(answer: str, marks: tuple[str, ...]) -> None:
    assert outline(answer) == marks


def test_likeness_needs_a_form() -> None:
    line, other, prose = outline("a | 1"), outline("b | 22"), outline("So it is, he said.")
    assert has_form(line) and not has_form(prose)
    assert form_likeness(line, other) == 1 and form_likeness(prose, prose) == 0 and form_likeness((), line) == 0
    assert form_likeness(outline("Yes"), outline("yes")) == 1 and form_likeness(outline("yes"), outline("no")) == 0


def test_labels_make_a_habit_of_their_own_kind() -> None:
    assert _found([(1, "plumber"), (1, "roofer"), (2, "plumber")] * 4) == [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]]
