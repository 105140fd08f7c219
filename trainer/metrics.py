"""Scores of answers and routes. Pure functions, no model."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tokmem_desk.templates.patterns import known_pattern

if TYPE_CHECKING:
    from tokmem_desk.procedures import ExamplePair

CALIBRATION_BINS = 15
_WORDS = re.compile(r"[a-z0-9]", re.IGNORECASE)
_NO_BLANKS = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
"""Letters of scripts that write words without blanks between them: Thai to Khmer, Chinese, Japanese."""


class _Words:
    """The words of a text in any script, as rouge-score asks for them.

    Its own tokenizer knows only a to z and digits, which here too are words as it makes them, stemmed.
    """

    def __init__(self, english: Any) -> None:
        self._english = english

    def tokenize(self, text: str) -> list[str]:
        words = [""]
        for sign in unicodedata.normalize("NFC", text.lower()):
            if unicodedata.category(sign).startswith("M"):
                # An accent or a vowel sign belongs to the letter before it.
                words[-1] += sign
            elif not sign.isalnum():
                words.append("")
            elif _NO_BLANKS.match(sign) or _NO_BLANKS.match(words[-1]):
                words.append(sign)
            else:
                words[-1] += sign
        return [part for word in words if word for part in (self._english.tokenize(word) if word.isascii() else [word])]


@lru_cache(maxsize=2)
def _scorer(*, any_script: bool) -> Any:
    from rouge_score.rouge_scorer import RougeScorer
    from rouge_score.tokenizers import DefaultTokenizer

    english = DefaultTokenizer(use_stemmer=True)
    return RougeScorer(["rougeL"], tokenizer=_Words(english) if any_script else english)


def _needs_any_script(text: str) -> bool:
    return any(not sign.isascii() and (sign.isalpha() or sign.isdecimal()) for sign in text)


def rouge_l(answer: str, accepted: Sequence[str]) -> float:
    """ROUGE-L F-measure against the best of several right answers.

    Stemmed and cut into words as published, but where one of the two texts has letters beyond a to z: those make words
    of their own, unstemmed. Right answers without any word (only signs) count as equal or not.
    """
    return max(_likeness(answer, right) for right in accepted)


def _likeness(answer: str, right: str) -> float:
    foreign = _needs_any_script(right)
    if not foreign and not _WORDS.search(right):
        return float(right.strip() == answer.strip())
    scorer = _scorer(any_script=foreign or _needs_any_script(answer))
    return float(scorer.score(right, answer)["rougeL"].fmeasure)


def exact_match(answer: str, accepted: Sequence[str]) -> float:
    """1 when the answer is one of the right ones, blanks around it aside."""
    return float(answer.strip() in {right.strip() for right in accepted})


def word_edits(answer: str, accepted: Sequence[str]) -> int:
    """Words that a person has to put in, take out or replace to make the nearest of several right answers.

    A word is a run of letters and digits, or any other single sign; a line break counts, a blank does not. Letters of
    scripts without blanks between words count one by one.
    """
    given = _edited_words(answer)
    return min(_distance(given, _edited_words(right)) for right in accepted)


def _edited_words(text: str) -> list[str]:
    words: list[str] = []
    inside = False
    for sign in unicodedata.normalize("NFC", text.strip()):
        mark = unicodedata.category(sign).startswith("M")
        if inside and (mark or (sign.isalnum() and not _NO_BLANKS.match(sign) and not _NO_BLANKS.match(words[-1]))):
            words[-1] += sign
            continue
        inside = sign.isalnum()
        if sign == "\n" or not sign.isspace():
            words.append(sign)
    return words


def _distance(one: Sequence[str], other: Sequence[str]) -> int:
    """Levenshtein's distance."""
    before = list(range(len(other) + 1))
    for i, word in enumerate(one, start=1):
        now = [i]
        for j, against in enumerate(other, start=1):
            now.append(min(before[j] + 1, now[j - 1] + 1, before[j - 1] + (word != against)))
        before = now
    return before[-1]


@dataclass(frozen=True, slots=True)
class AnswerScores:
    """Means over answers; all but the edits are 0 to 1.

    Attributes:
        form_valid: None without a pattern that can be matched.
        edits_per_answer: see ``word_edits``.
    """

    exact_match: float
    rouge_l: float
    form_valid: float | None
    edits_per_answer: float = 0.0


def score_answers(answers: Sequence[str], pairs: Sequence[ExamplePair], pattern: str | None = None) -> AnswerScores:
    """Score answers against their pairs, in order; there is at least one."""
    count = len(pairs)
    form = known_pattern(pattern)
    return AnswerScores(
        sum(exact_match(a, p.accepted) for a, p in zip(answers, pairs, strict=True)) / count,
        sum(rouge_l(a, p.accepted) for a, p in zip(answers, pairs, strict=True)) / count,
        sum(form.fullmatch(a.strip()) is not None for a in answers) / count if form else None,
        sum(word_edits(a, p.accepted) for a, p in zip(answers, pairs, strict=True)) / count,
    )


def auroc(positive: Sequence[float], negative: Sequence[float]) -> float | None:
    """Chance that a positive scores above a negative, ties counting half; None when one side is empty."""
    if not positive or not negative:
        return None
    ordered = sorted([(s, 1) for s in positive] + [(s, 0) for s in negative])
    ranks = 0.0
    i = 0
    while i < len(ordered):
        j = i
        while j < len(ordered) and ordered[j][0] == ordered[i][0]:
            j += 1
        mean_rank = (i + 1 + j) / 2
        ranks += mean_rank * sum(label for _, label in ordered[i:j])
        i = j
    n, m = len(positive), len(negative)
    return (ranks - n * (n + 1) / 2) / (n * m)


def calibration_error(confidence: Sequence[float], correct: Sequence[bool]) -> float | None:
    """Expected calibration error over 15 bins of equal width; None without data."""
    if not confidence:
        return None
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(CALIBRATION_BINS)]
    for value, right in zip(confidence, correct, strict=True):
        bins[min(CALIBRATION_BINS - 1, int(value * CALIBRATION_BINS))].append((value, right))
    total = len(confidence)
    return sum(
        abs(sum(v for v, _ in members) / len(members) - sum(r for _, r in members) / len(members))
        * len(members)
        / total
        for members in bins
        if members
    )


@dataclass(frozen=True, slots=True)
class RoutingScores:
    """How queries were routed; None where there is nothing to measure.

    Attributes:
        routing_accuracy: known queries whose best *known* route is right.
        known_recall: known queries routed right with ``none`` competing.
        none_auroc: ``P(known)`` of known queries against that of others.
        false_trigger_rate: queries of no procedure that triggered one.
        calibration_error: of the chosen route's probability.
        labels, counts: confusion; ``counts[i][j]`` queries of ``labels[i]`` routed to ``labels[j]``.
    """

    routing_accuracy: float | None
    known_recall: float | None
    none_auroc: float | None
    false_trigger_rate: float | None
    calibration_error: float | None
    labels: list[str]
    counts: list[list[int]]


def score_routes(
    truth: Sequence[str], ranked: Sequence[Sequence[tuple[str, float]]], labels: Sequence[str], none: str
) -> RoutingScores:
    """Score ranked routes.

    Args:
        truth: the right route of each query, ``none`` for those of no procedure.
        ranked: per query, (route, probability), the chosen one first.
        labels: all routes, ``none`` last.
    """
    place = {label: i for i, label in enumerate(labels)}
    counts = [[0] * len(labels) for _ in labels]
    known_right, recalled, triggered = 0, 0, 0
    known_scores: list[float] = []
    none_scores: list[float] = []
    confidence: list[float] = []
    correct: list[bool] = []
    for right, candidates in zip(truth, ranked, strict=True):
        chosen, probability = candidates[0]
        if right in place and chosen in place:
            counts[place[right]][place[chosen]] += 1
        belief = 1.0 - dict(candidates).get(none, 0.0)
        confidence.append(probability)
        correct.append(chosen == right)
        if right == none:
            none_scores.append(belief)
            triggered += chosen != none
        else:
            known_scores.append(belief)
            recalled += chosen == right
            best_known = max((c for c in candidates if c[0] != none), key=lambda c: c[1], default=(none, 0.0))
            known_right += best_known[0] == right
    known, others = len(known_scores), len(none_scores)
    return RoutingScores(
        known_right / known if known else None,
        recalled / known if known else None,
        auroc(known_scores, none_scores),
        triggered / others if others else None,
        calibration_error(confidence, correct),
        list(labels),
        counts,
    )


def running_mean(before: float, now: float, keep: float) -> float:
    """Exponential moving average: ``keep`` is the weight of ``before``, which is NaN at the start."""
    return now if math.isnan(before) else keep * before + (1 - keep) * now


def known(mean: float) -> float | None:
    """A running mean, or None while it is NaN."""
    return None if math.isnan(mean) else mean
