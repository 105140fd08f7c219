"""What is left of a run, with a clock that stands until it is moved."""

from __future__ import annotations

import math

import pytest

from trainer.pace import LEAST_STEPS, Pace


class Clock:
    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


def run(pace: Pace, clock: Clock, losses: list[float], first: float = 9.0, begin: int = 0) -> list[float | None]:
    """What is said after each step; the first one takes longer, the others a second each."""
    said = []
    for place, loss in enumerate(losses):
        clock.now += first if place == 0 else 1.0
        said.append(pace.seconds_left(begin + place + 1, loss))
    return said


def test_says_nothing_before_there_is_a_pace() -> None:
    clock = Clock()
    said = run(Pace(0, 20, 0.0, clock), clock, [1.0] * 8)
    assert said[: LEAST_STEPS - 1] == [None] * (LEAST_STEPS - 1)
    assert said[LEAST_STEPS - 1 :] == pytest.approx([16, 15, 14, 13, 12]), "the slow first step counts for nothing"


def test_a_falling_loss_ends_the_run_early() -> None:
    clock = Clock()
    losses = [0.4 * math.exp(-0.2 * step) for step in range(10)]
    said = run(Pace(0, 90, 0.02, clock), clock, losses)
    end = math.log(0.4 / 0.02) / 0.2
    assert said[-1] == pytest.approx(end - 9), "15 steps in all, not 90"


def test_a_loss_that_rises_says_all_steps() -> None:
    clock = Clock()
    said = run(Pace(0, 30, 0.02, clock), clock, [0.5, 0.6, 0.7, 0.8, 0.9])
    assert said[-1] == pytest.approx(25)


def test_a_run_that_goes_on_has_a_pace_of_its_own() -> None:
    clock = Clock()
    said = run(Pace(10, 20, 0.0, clock), clock, [0.5] * 10, begin=10)
    assert said[: LEAST_STEPS - 1] == [None] * (LEAST_STEPS - 1)
    assert said[LEAST_STEPS] == pytest.approx(5) and said[-1] == 0


def test_overflowed_steps_have_no_direction() -> None:
    clock = Clock()
    said = run(Pace(0, 20, 0.02, clock), clock, [math.nan] * 6)
    assert said[-1] == pytest.approx(14)
