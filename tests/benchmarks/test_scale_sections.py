"""Sections of ``benchmarks.scale`` that need no model, with few procedures and people."""

from __future__ import annotations

from benchmarks.scale_adding import measure_adding
from benchmarks.scale_banks import measure_banks
from tokmem_desk.routing.routers import CARRIED_FROM


def test_one_procedure_more_ranks_as_a_router_made_anew() -> None:
    found = measure_adding(CARRIED_FROM, 1)
    assert found["rankings_alike"] == found["messages"] > 0
    assert found["largest_difference_of_probability"] < 1e-5
    assert found["adding_seconds"] > 0


def test_what_is_kept_of_many_people_is_bounded() -> None:
    found = measure_banks(200)
    assert 0 < found["most_bytes_kept"] <= found["bound_bytes"] < found["all_bytes"]
    assert found["cold_ms_median"] > 0
