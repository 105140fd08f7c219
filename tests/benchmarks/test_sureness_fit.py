"""The numbers that turn likelihood into probability are found again where they are known."""

from __future__ import annotations

import random

import pytest

from benchmarks.sureness_fit import Row, fit, procedures, row_of
from tokmem_desk.generation.confidence import Signals, SureMap, logistic
from tokmem_desk.procedures import ExamplePair
from tokmem_desk.templates.template import AnswerTemplate, Part
from trainer.extractor import extractable


def drawn(true: SureMap, count: int, each: int, seed: int = 0) -> list[Row]:
    """Answers that are right as often as a map says, of procedures that differ by its spread."""
    rng, rows = random.Random(seed), []
    for number in range(count):
        shift = rng.gauss(0, true.spread)
        for _ in range(each):
            values = tuple(-rng.expovariate(1.5) for _ in range(3))
            signals = Signals(sum(values) - rng.expovariate(2), values)
            right = rng.random() < logistic(true.whole_odds(signals) + shift)
            known = tuple((log, rng.random() < logistic(true.value_odds(log))) for log in values)
            rows.append(Row(f"p{number}", signals.whole, right, False, known))
    return rows


def test_a_known_map_is_found_again() -> None:
    true = SureMap((1.5, 0.5, 1.0), (2.5, 1.5), 0.25)
    found = fit(drawn(true, count=60, each=60))
    assert found.whole == pytest.approx(true.whole, abs=0.3) and found.value == pytest.approx(true.value, abs=0.3)
    assert found.spread <= 0.5


def test_procedures_that_differ_are_seen_to_differ() -> None:
    found = fit(drawn(SureMap((1.0, 0.5, 0.5), (2.0, 1.0), 2.0), count=60, each=30))
    assert 1.25 <= found.spread <= 2.5


def test_no_weight_makes_a_likelier_answer_less_probable() -> None:
    """Also where chance says so, and where right and wrong answers can be told apart."""
    rows = [Row(f"p{n % 5}", -0.1 * n, n > 10, False, ((-0.1 * n, n > 10),)) for n in range(20)]
    assert min(fit(rows).whole[1:]) == 0 and fit(rows).value[1] == 0
    apart = [Row(f"p{n % 5}", -0.1 * n, n < 10, False, ((-0.1 * n, n < 10),)) for n in range(20)]
    assert all(abs(number) < 50 for number in (*fit(apart).whole, *fit(apart).value))


def test_values_are_right_or_wrong_by_themselves() -> None:
    form = AnswerTemplate((Part("run", ("[0-9]",)), Part("text", (" × ",)), Part("choice", ("tea", "rice"))))
    pair = ExamplePair("m", "12 × tea")
    wrong = row_of("p", pair, "12 × rice", Signals(-1.5, (-0.5, -1.0)), form)
    assert not wrong.right and wrong.values == ((-0.5, True), (-1.0, False))
    right = row_of("p", pair, "12 × tea", Signals(-1.5, (-0.5, -1.0)), form)
    assert right.right and right.values == ((-0.5, True), (-1.0, True))
    other = row_of("p", pair, "no such form", Signals(-1.5, (-1.5,)), form)
    assert [known for _, known in other.values] == [None]


def test_three_kinds_of_procedures_are_answered() -> None:
    found = [*procedures(3)]
    assert len({procedure.name for procedure in found}) == len(found) == 9
    assert all(procedure.held_out and not set(procedure.pairs) & set(procedure.held_out) for procedure in found)
    assert sum(extractable(procedure.pairs) is not None for procedure in found) == 3
