"""Function calls: the data, the scores, and the program from the command line to the result file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import compositional
from benchmarks.calls import METHODS
from benchmarks.calls.base import calls_text, parse_calls
from benchmarks.calls.data import Call, conversation, load_calls
from benchmarks.calls.scores import micro_f1, score_calls, score_conversation, wilson
from benchmarks.calls.variants import rounds_of
from benchmarks.models import Loaded
from tests.benchmarks.conftest import WordRetriever
from tokmem_desk.errors import BadInputError

NAMES = ("Ada", "Ben", "Carl", "Dora", "Eve", "Finn")


def _buy(i: int) -> tuple[str, dict[str, Any]]:
    name = NAMES[i % 6]
    return f"buy milk {i} for {name}", {"tool": "Buy", "arguments": {"number": str(i), "who": name}}


def _call(i: int) -> tuple[str, dict[str, Any]]:
    name = NAMES[i % 6]
    return f"call {name} at {i}", {"tool": "Phone", "arguments": {"who": name, "time": str(i)}}


@pytest.fixture
def calls_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "calls"
    folder.mkdir()
    tools = [{"name": name, "description": f"{name} it.", "parameters": {"who": "string"}} for name in ("Buy", "Phone")]
    (folder / "tools.json").write_text(json.dumps(tools))

    def single(numbers: range) -> list[dict[str, Any]]:
        return [{"query": q, "calls": [c]} for i in numbers for q, c in (_buy(i), _call(i))]

    def composed(numbers: range) -> list[dict[str, Any]]:
        rows = []
        for i in numbers:
            (first, one), (second, two) = _buy(i), _call(i + 1)
            rows.append({"query": f"{first}. Then {second}", "calls": [one, two]})
        return rows

    (folder / "single_train.json").write_text(json.dumps(single(range(8))))
    (folder / "multi_train.json").write_text(json.dumps(composed(range(4))))
    (folder / "single_test.json").write_text(json.dumps(single(range(20, 23))))
    (folder / "multi_test.json").write_text(json.dumps(composed(range(30, 33))))
    (tmp_path / "personal").mkdir()
    (tmp_path / "personal" / "chat.json").write_text(json.dumps({"train": [], "test": ["hello", "how are you"]}))
    return folder


@pytest.fixture
def tiny_program(monkeypatch: pytest.MonkeyPatch, loaded: Loaded) -> None:
    monkeypatch.setattr(compositional, "load", lambda _options: loaded)
    monkeypatch.setattr("benchmarks.methods.base.MiniLm", lambda *_: WordRetriever())
    small = {
        "lora": {"rank": 2, "alpha": 4, "learning_rate": 0.003, "epochs": 1, "batch_size": 4},
        "tokmem": {"learning_rate": 0.005, "epochs": 1, "batch_size": 4, "auxiliary_examples": 8},
    }
    monkeypatch.setattr(compositional.settings, "chosen", lambda *_: small)


@pytest.mark.usefixtures("tiny_program")
def test_every_method_runs_to_a_result(calls_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    out = tmp_path / "c.json"
    asked = ["--data", str(calls_folder), "--out", str(out), "--seeds", "1", "--limit", "2", "--turns", "4"]
    assert compositional.main([*asked, "--rounds", "2", "--ablations"]) == 0
    document = json.loads(out.read_text())
    settings = [entry["setting"] for entry in document["sweep"]]
    assert {"calls": 1} in settings and {"turns": 4} in settings and settings[-1] == {"calls": [2]}
    assert {"round": 2, "rounds": 2, "functions": "of round 1"} in settings
    assert list(document["methods"])[: len(METHODS)] == list(METHODS)
    for name, method in document["methods"].items():
        metrics = method["metrics"]
        assert all(0 <= metrics[key] <= 1 for key in ("tool_f1", "argument_f1", "call_list_exact")), name
        assert metrics["peak_memory_mb"] > 0 and set(method["per_procedure"]) == {"Buy", "Phone"}
    assert document["methods"]["ours"]["settings"]["read"] == ["Buy", "Phone"]
    talk = next(entry for entry in document["sweep"] if entry["setting"] == {"turns": 4})["methods"]["ours"]["metrics"]
    assert talk["wrong_or_missing_low"] <= talk["wrong_or_missing"] <= talk["wrong_or_missing_high"]
    rows = out.with_name("c.predictions.jsonl").read_text().splitlines()
    assert {json.loads(row)["method"] for row in rows} >= set(METHODS)


def test_scores_count_values_and_functions() -> None:
    one = Call("Buy", {"item": ["Milk", "bread"], "who": "Ada."})
    assert score_calls([[one]], [[Call("Buy", {"who": "ada", "item": ["bread", "milk"]})]]) == {
        "tool_f1": 1.0,
        "argument_f1": 1.0,
        "call_list_exact": 1.0,
    }
    wrong = score_calls([[Call("Phone", {"who": "Ada"})]], [[one]])
    assert wrong["tool_f1"] == wrong["argument_f1"] == wrong["call_list_exact"] == 0.0
    assert micro_f1([["a", "a"]], [["a"]]) == pytest.approx(2 / 3) and micro_f1([[]], [[]]) == 1.0
    turned = score_calls([[Call("A", {}), Call("B", {})]], [[Call("B", {}), Call("A", {})]])
    assert turned["tool_f1"] == 1.0 and turned["call_list_exact"] == 0.0


def test_a_conversation_counts_wrong_and_missing_calls_once() -> None:
    a, b = Call("A", {}), Call("B", {})
    told = score_conversation([[a], [b], [], [a]], [[a, b], [a], [], []])
    assert told["wrong_or_missing"] == pytest.approx(3 / 5)
    low, high = wilson(0, 200)
    assert low == 0 and 0.018 < high < 0.02


def test_calls_survive_being_text() -> None:
    calls = [Call("A-b", {"x": "one } two", "y": ["1", "2"]}), Call("C", {})]
    assert parse_calls(calls_text(calls)) == calls
    assert parse_calls("A {broken\nsome words\nB {}") == [Call("B", {})]


def test_data_is_read_limited_and_refused(calls_folder: Path, tmp_path: Path) -> None:
    data = load_calls(calls_folder, None, pairs=2, limit=1)
    assert (len(data.single), len(data.composed), len(data.tests[1]), len(data.tests[2])) == (4, 4, 1, 1)
    assert data.chat == ("hello", "how are you")
    turns = conversation(data, 40, seed=1)
    assert turns == conversation(data, 40, seed=1) and {len(t.calls) for t in turns} == {0, 2}
    first, second = rounds_of(data, 2, seed=0)
    assert len(first.tools) == 1 and len(second.tools) == 2 and not first.composed and second.composed
    with pytest.raises(BadInputError, match=r"has no tools\.json"):
        load_calls(tmp_path, None)
    (calls_folder / "multi_train.json").write_text('[{"query": "x"}]')
    with pytest.raises(BadInputError, match=r"multi_train\.json: an example needs"):
        load_calls(calls_folder, None)
