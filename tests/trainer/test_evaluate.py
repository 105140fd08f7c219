"""What pairs that were left out of a training say about the answers to come."""

from __future__ import annotations

import torch

from tokmem_desk.generation.confidence import GENERATED, Signals, shift_in, sure_of
from tokmem_desk.memory.memory import Memory
from tokmem_desk.memory.steering import Steering
from tokmem_desk.procedures import ExamplePair
from trainer.evaluate import Answered, with_shift
from trainer.metrics import score_answers

PAIRS = [ExamplePair(f"message {place}", f"answer {place}") for place in range(4)]
MEMORY = Memory("one", Steering.of(torch.zeros(2, 4)), torch.zeros(4), False, settings={"span": 2})
SIGNALS = Signals(-0.5, ())


def shifted(*answers: str) -> float:
    signals: list[Signals | None] = [SIGNALS] * len(PAIRS)
    return shift_in(with_shift(MEMORY, PAIRS, Answered([*answers], score_answers(answers, PAIRS), signals)).settings)


def test_right_answers_to_left_out_pairs_make_a_memory_surer_and_wrong_ones_less_sure() -> None:
    right, wrong = [pair.response for pair in PAIRS], ["x"] * 4
    assert shifted(*right) > shifted(*right[:2], *wrong[:2]) > shifted(*wrong)
    surer, less = (sure_of(SIGNALS, (), "", shifted(*said)).probability for said in (right, wrong))
    assert surer > sure_of(SIGNALS, (), "").probability > less


def test_the_shift_stands_among_the_settings_and_changes_no_other() -> None:
    answered = Answered(["x"] * 4, score_answers(["x"] * 4, PAIRS), [SIGNALS] * 4)
    memory = with_shift(MEMORY, PAIRS, answered)
    assert memory.settings["span"] == 2 and -3 * GENERATED.spread < shift_in(memory.settings) < 0
    assert MEMORY.settings == {"span": 2}


def test_without_a_memory_nothing_is_known() -> None:
    answered = Answered(["x"] * 4, score_answers(["x"] * 4, PAIRS), [None] * 4)
    assert with_shift(MEMORY, PAIRS, answered) is MEMORY
