"""What trainings took on this machine, and what is left of one: with a clock that stands until it is moved."""

from __future__ import annotations

from pathlib import Path

import pytest

from profiles.files.paths import AppPaths
from tui.shared.training_times import KEPT, TimeLeft, TrainingTime, TrainingTimes

TOOK = {"cache": 2.0, "train": 60.0, "evaluate": 40.0}


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def took(preset: str = "normal", characters: int = 1000, device: str = "cpu", **seconds: float) -> TrainingTime:
    return TrainingTime("model", device, preset, characters, {**TOOK, **seconds})


@pytest.fixture
def times(tmp_path: Path) -> TrainingTimes:
    return TrainingTimes(AppPaths.resolve(tmp_path))


def test_measuring_is_part_of_what_is_left() -> None:
    clock = Clock()
    left = TimeLeft(TOOK, clock)
    left.note("cache", 0.0)
    assert left.left == pytest.approx(102)
    clock.now += 2
    left.note("train", 0.1, left=60.0)
    assert left.left == pytest.approx(60 + 40, rel=0.1)
    clock.now += 60
    left.note("train", 1.0, left=0.0)
    assert left.left == pytest.approx(40, rel=0.1), "learning is over, and measuring comes"
    assert left.fraction == pytest.approx(62 / 102, rel=0.1)
    clock.now += 10
    left.note("evaluate", 0.5)
    assert left.left == pytest.approx(10), "its own pace tells more than earlier trainings"
    clock.now += 10
    left.note("evaluate", 1.0)
    assert left.left == 0 and left.fraction == 1
    assert left.seconds == {"cache": 0, "train": 62, "evaluate": 20}


def test_a_first_training_has_an_estimate_too() -> None:
    clock = Clock()
    left = TimeLeft(None, clock)
    left.note("cache", 0.0)
    assert left.left is None, "nothing is known before anything was done"
    clock.now += 4
    left.note("cache", 0.7)
    assert left.left is None, "reading the examples tells nothing of learning them"
    left.note("train", 0.01)
    assert left.left is None, "nor does a first step"
    left.note("train", 0.1, left=62.0)
    assert left.left is not None and left.left > 62 + 20


def test_reading_answers_out_of_messages_comes_before_measuring() -> None:
    clock = Clock()
    left = TimeLeft(None, clock)
    clock.now += 60
    left.note("train", 1.0, left=0.0)
    clock.now += 6
    left.note("extract", 1.0)
    assert left.left is not None and left.left > 20 and left.fraction < 1


def test_the_share_that_is_done_never_falls() -> None:
    clock = Clock()
    left, seen = TimeLeft(TOOK, clock), []
    for phase, share, pause, rest in (
        ("cache", 0.5, 1, None), ("train", 0.2, 30, 30.0), ("train", 0.3, 5, 300.0), ("evaluate", 0.1, 50, None),
        ("evaluate", 1.0, 1, None),
    ):  # fmt: skip
        clock.now += pause
        left.note(phase, share, rest)
        seen.append(left.fraction)
    assert seen == sorted(seen) and seen[-1] == 1


def test_an_overdue_phase_says_nothing_instead_of_no_time_left() -> None:
    clock = Clock()
    left = TimeLeft(TOOK, clock)
    left.note("evaluate", 0.0)
    clock.now += 90
    left.note("evaluate", 0.0)
    assert left.left is None


def test_estimates_are_of_the_same_kind_of_training(times: TrainingTimes) -> None:
    assert times.estimate("model", "normal", 1000) is None
    times.add(took())
    assert times.estimate("other", "normal", 1000) is None
    assert times.estimate("model", "normal", 2000) == {"cache": 4, "train": 120, "extract": 0, "evaluate": 80}
    assert times.estimate("model", "thorough", 1000) == {"cache": 2, "train": 120, "extract": 0, "evaluate": 40}
    assert times.estimate("model", "normal", 1000, device="cuda") is None
    times.add(took("thorough", train=90.0))
    assert times.estimate("model", "thorough", 1000) == {"cache": 2, "train": 90, "extract": 0, "evaluate": 40}


def test_one_odd_training_does_not_decide(times: TrainingTimes) -> None:
    for seconds in (60.0, 61.0, 5000.0, 59.0):
        times.add(took(train=seconds))
    found = times.estimate("model", "normal", 1000)
    assert found is not None and found["train"] == pytest.approx(60.5)


def test_the_file_stays_small_and_a_damaged_one_is_no_estimate(times: TrainingTimes, tmp_path: Path) -> None:
    for _ in range(KEPT + 5):
        times.add(took())
    file = AppPaths.resolve(tmp_path).state / "training_times.json"
    assert file.read_text().count('"model"') == 2 * KEPT
    for text in ("", "[1]", '{"a": 1}', '[{"model": "m"}]', "null"):
        file.write_text(text)
        assert times.estimate("model", "normal", 1000) is None
    times.add(took())
    assert times.estimate("model", "normal", 1000) is not None


def test_a_full_disk_costs_the_estimate_alone(times: TrainingTimes, tmp_path: Path) -> None:
    AppPaths.resolve(tmp_path).state.write_text("a file where the folder should be")
    times.add(took())
    assert times.estimate("model", "normal", 1000) is None
