"""The benchmark of the app itself, on little data: it runs to its end and its figures are of the right kind."""

from __future__ import annotations

import json

import pytest

from benchmarks import app


@pytest.mark.slow
def test_it_measures_idle_use_and_actions(tmp_path, monkeypatch):
    monkeypatch.setattr(app, "SETTLE_SECONDS", 1.0)
    monkeypatch.setattr(app, "KEYS", 4)
    out = tmp_path / "app.json"
    app.main(["--messages", "20", "--pairs", "20", "--idle-seconds", "1", "--out", str(out)])
    result = json.loads(out.read_text())
    assert (result["benchmark"], result["messages"], result["pairs"]) == ("app", 20, 20)
    assert result["idle"]["share_of_one_core"] >= 0
    for name in ("chat_page_up", "table_down", "table_save_cell", "table_filter", "switch_screens"):
        figures = result["actions"][name]
        assert 0 < figures["median_seconds"] <= figures["max_seconds"] and figures["median_computing_seconds"] > 0
