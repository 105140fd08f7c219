"""What drafted pairs are worth is measured from the drafts to the table, on a tiny backbone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import tui.engine.drafting
from benchmarks import drafts
from benchmarks.models import Loaded


def test_three_sides_and_what_the_choice_is_worth(
    data_folder: Path, tmp_path: Path, loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drafts, "load", lambda _options: loaded)
    monkeypatch.setattr(drafts, "load_to_chat", lambda _options: (loaded.backbone, {"id": "tiny-teacher"}))
    # A random model writes no lines and copies nothing: both are given, the rest is the program's own way.
    lines = iter(f"apple number {number}" for number in range(2, 100))
    monkeypatch.setattr(tui.engine.drafting, "next_line", lambda *_, **__: iter([next(lines)]))
    monkeypatch.setattr(
        tui.engine.drafting,
        "answer_batch",
        lambda backbone, queries, *_, **__: [
            backbone.format.decode(queries[0]).rsplit("apple number", 1)[1].split()[0].join(("APPLE ", ""))
        ],
    )
    out = tmp_path / "drafts.json"
    asked = ["--data", str(data_folder), "--names", "apples", "--teacher", "other", "--pairs", "3", "--drafts", "2"]
    assert drafts.main([*asked, "--out", str(out)]) == 0
    document = json.loads(out.read_text())
    assert document["teacher"]["id"] == "tiny-teacher" and list(document["methods"]) == ["few", "few_and_drafts", "all"]
    choice = document["choice"]["apples"]
    assert choice["drafted"] == choice["taken"] == 2
    assert choice["on_test_messages"] == {"messages": 2, "right": 2, "taken": 2, "taken_and_right": 2}
