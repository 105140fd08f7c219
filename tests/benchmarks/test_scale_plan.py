"""The plan for many people: sizes of real files, speeds within the limits of a card, figures in the document."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import scale_plan
from benchmarks.scale_plan import BATCHES, BYTES_A_WEIGHT, CARDS, SHAPES, Work, requests_a_second

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"


def test_a_memory_has_the_size_that_banks_have() -> None:
    bank = json.loads((RESULTS / "bank.json").read_text())
    measured = bank["forms"]["layers"]["megabytes"] / bank["procedures"]
    assert SHAPES[0].memory_bytes(bank["span"], 8) / 1e6 == pytest.approx(measured, rel=0.03)


def test_more_at_once_are_never_slower_and_never_above_what_the_card_reads() -> None:
    for shape in SHAPES:
        for card in CARDS:
            rates = [requests_a_second(shape, card, Work(), batch) for batch in BATCHES]
            fitting = [rate for rate in rates if rate is not None]
            assert fitting == sorted(fitting)
            if rates[0] is not None:
                alone = card.bandwidth / (shape.parameters * BYTES_A_WEIGHT * Work().answer)
                assert rates[0] < alone, "one answer reads all weights for each of its tokens"


def test_what_does_not_fit_has_no_speed() -> None:
    assert requests_a_second(SHAPES[-1], CARDS[0], Work(), 1) is None


def test_the_kept_result_is_that_of_the_code_and_stands_in_the_document(tmp_path: Path) -> None:
    assert scale_plan.main(["--out", str(tmp_path / "plan.json")]) == 0
    made = json.loads((tmp_path / "plan.json").read_text())
    assert made == json.loads((RESULTS / "scale-plan.json").read_text())
    document = (ROOT / "docs" / "scale.md").read_text()
    for model in made["models"]:
        assert f"| {model['weights_gb']} | {model['memory_mb']} | {model['profile_mb']} |" in document
    for one in made["speeds"]:
        rates = " | ".join("–" if rate is None else f"{rate:,}" for rate in one["requests_a_second"].values())
        assert f"| {rates} |" in document
