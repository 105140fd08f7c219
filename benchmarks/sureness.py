"""Figures of how well a method knows which of its answers are right. No model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trainer.metrics import calibration_error


@dataclass(frozen=True, slots=True)
class Sureness:
    """One answer: the probability that its method gave for being right, and whether it was."""

    probability: float
    right: bool


def exact_at_half(answers: Sequence[Sureness]) -> float | None:
    """Share of right answers among the half that the method is surer of; None without answers.

    Of answers that are equally sure at the border, each counts as the mean of them.
    """
    if not answers:
        return None
    count = (len(answers) + 1) // 2
    ordered = sorted(answers, key=lambda answer: -answer.probability)
    border = ordered[count - 1].probability
    above = [answer.right for answer in ordered if answer.probability > border]
    at = [answer.right for answer in ordered if answer.probability == border]
    return (sum(above) + (count - len(above)) * sum(at) / len(at)) / count


def answer_calibration_error(answers: Sequence[Sureness]) -> float | None:
    """Expected calibration error of the answers' probabilities, 15 bins of equal width; None without answers.

    It is never quite 0: in a bin of n answers chance alone moves the share of right ones by some 0.4 / sqrt(n).
    """
    return calibration_error([answer.probability for answer in answers], [answer.right for answer in answers])
