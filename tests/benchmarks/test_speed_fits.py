"""What is learned about a model once is timed part by part."""

from __future__ import annotations

import pytest

from benchmarks.models import Loaded
from benchmarks.speed_fits import measure_fits
from tests.quick_fits import fit_quickly


def test_each_fit_takes_time_of_the_processor(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    fit_quickly(monkeypatch.setattr)
    found = measure_fits(loaded.backbone)
    assert set(found["processor_seconds"]) == {"router", "segment_tagger", "references"}
    assert all(seconds > 0 for seconds in found["processor_seconds"].values())
    assert found["router_ratio"] == pytest.approx(
        found["processor_seconds"]["router"] / found["router_read_as_before"], rel=0.1
    )
