"""The form of results, and the report made from them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.report import main as report
from benchmarks.report import to_markdown
from benchmarks.result import ResultFile, Run, predictions_path, summarise


def test_means_and_spread_are_over_the_seeds_that_have_a_value() -> None:
    runs = {"ours": [Run({"rouge_l": 0.5, "form_valid": None}, {"a": {"rouge_l": 0.5}}), Run({"rouge_l": 0.7})]}
    ours = summarise(runs)["ours"]
    assert ours["metrics"] == {"rouge_l": pytest.approx(0.6), "form_valid": None}
    assert ours["spread"]["rouge_l"] == pytest.approx(0.1414, abs=1e-3)
    assert ours["per_procedure"] == {"a": {"rouge_l": 0.5}}


def test_the_top_methods_are_those_of_the_last_setting(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "result.json"
    with ResultFile(out, {"benchmark": "personal", "backbone": {}, "data": {}, "seeds": [0]}) as result:
        for pairs, quality in ((4, 0.1), (8, 0.2), (8, 0.3)):
            result.add({"pairs": pairs}, {"ours": [Run({"rouge_l": quality})]})
        result.predict([{"answer": "é"}])
    document = json.loads(out.read_text())
    assert [entry["setting"]["pairs"] for entry in document["sweep"]] == [4, 8]
    assert document["methods"] == document["sweep"][-1]["methods"]
    assert document["methods"]["ours"]["metrics"]["rouge_l"] == 0.3
    assert json.loads(predictions_path(out).read_text()) == {"answer": "é"}


def test_the_report_has_a_table_per_setting_and_plots(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    out = tmp_path / "result.json"
    with ResultFile(out, {"benchmark": "personal", "backbone": {"id": "tiny"}, "data": {}, "seeds": [0]}) as result:
        for pairs in (4, 8):
            runs = {"base": [Run({"rouge_l": 0.1, "trained_parameters": 0.0, "e2e_rouge_l": None})]}
            result.add({"pairs": pairs}, runs)
    assert report([str(out)]) == 0
    text = out.with_suffix(".md").read_text()
    assert text.strip() == capsys.readouterr().out.strip()
    assert "## pairs 4" in text and "| base | 0.100 | 0 |" in text
    for what in ("parameters", "pairs-rouge_l"):
        assert (tmp_path / f"result.{what}.png").stat().st_size > 1000


def test_plans_are_drawn_against_their_depth_for_each_half(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    out = tmp_path / "plans.json"
    with ResultFile(out, {"benchmark": "plans", "backbone": {}, "data": {}, "seeds": [0]}) as result:
        for depth, half in ((1, 0), (1, 1), (2, 0), (2, 1), ("all", 1)):
            figures = Run({"steps_exact": 0.9, "tool_f1": 0.8, "argument_f1": 0.7})
            result.add({"depth": depth, "half": half}, {"ours": [figures], "lora": [figures]})
    assert report([str(out)]) == 0
    assert "| method | tool F1 | argument F1 | functions in order |" in out.with_suffix(".md").read_text()
    for what in ("chosen", "looked-at"):
        assert (tmp_path / f"plans.{what}.png").stat().st_size > 1000


def test_a_speed_result_is_a_list_of_figures() -> None:
    text = to_markdown(
        {"benchmark": "speed", "methods": {}, "start": {"help_seconds": 0.04, "help_loads_torch": False}}
    )
    assert "| help_seconds | 0.040 |" in text and "| help_loads_torch | False |" in text


def test_a_file_that_is_no_result_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.json").write_text("[]")
    assert report([str(tmp_path / "x.json")]) == 1
    assert "not a result" in capsys.readouterr().err
