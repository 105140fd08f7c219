"""Results of several runs become one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.merge import main, merge
from benchmarks.report import to_markdown
from tokmem_desk.errors import BadInputError


def result(method: str, pairs: int | None = None, seeds: int = 1, **other: Any) -> dict[str, Any]:
    figures = {
        "metrics": {"rouge_l": 0.5},
        "spread": {"rouge_l": 0.0},
        "per_procedure": {},
        "settings": {"rank": 8},
    }
    entry = {"setting": {"procedures": 2, "pairs": pairs}, "methods": {method: figures}}
    return {
        "benchmark": "personal",
        "backbone": {"id": "tiny", "fingerprint": "f", "threads": 1},
        "data": {"folder": "personal", "pairs": pairs},
        "seeds": list(range(seeds)),
        "methods": entry["methods"],
        "sweep": [entry],
        **other,
    }


def test_methods_stand_side_by_side() -> None:
    joined = merge([result("ours"), result("lora")])
    assert list(joined["methods"]) == ["ours", "lora"] and len(joined["sweep"]) == 1
    assert joined["methods"]["ours"]["settings"] == {"rank": 8}
    assert "| lora | 0.500 |" in to_markdown(joined)


def test_settings_become_one_sweep_and_seeds_are_told() -> None:
    joined = merge([result("ours", 4), result("ours", 8, seeds=3), result("lora", 8)])
    assert [e["setting"]["pairs"] for e in joined["sweep"]] == [4, 8]
    assert list(joined["methods"]) == ["ours", "lora"] and joined["seeds"] == [0, 1, 2]
    assert joined["methods"]["ours"]["settings"]["seeds"] == [0, 1, 2]
    assert joined["methods"]["lora"]["settings"]["seeds"] == [0]


@pytest.mark.parametrize(
    "other",
    [
        result("ours"),
        result("lora", benchmark="atomic"),
        result("lora", backbone={"id": "tiny", "fingerprint": "g"}),
        result("lora", data={"folder": "elsewhere"}),
    ],
)
def test_what_does_not_belong_together_is_refused(other: dict[str, Any]) -> None:
    with pytest.raises(BadInputError):
        merge([result("ours"), other])


def test_the_program_joins_predictions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("ours", "lora"):
        (tmp_path / f"{name}.json").write_text(json.dumps(result(name)))
        (tmp_path / f"{name}.predictions.jsonl").write_text(json.dumps({"method": name}) + "\n")
    files = [str(tmp_path / "ours.json"), str(tmp_path / "lora.json")]
    assert main([*files, "--out", str(tmp_path / "both.json")]) == 0
    rows = (tmp_path / "both.predictions.jsonl").read_text().splitlines()
    assert [json.loads(row)["method"] for row in rows] == ["ours", "lora"]
    assert main([files[0], files[0], "--out", str(tmp_path / "twice.json")]) == 1
    assert "measured twice" in capsys.readouterr().err and not (tmp_path / "twice.json").exists()
