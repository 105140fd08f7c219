"""The benchmark of table readers on our own reader, without the other libraries."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import table_readers


def test_our_reader_is_right_in_every_case_and_the_result_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_readers, "LONG", 20)
    monkeypatch.setitem(table_readers.READERS, "nobody's", ("no such package", table_readers.READERS["csv"][1]))
    assert table_readers.main(["--out", str(tmp_path / "result.json")]) == 0
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    ours = result["methods"]["ours"]
    assert ours["not_right"] == {} and ours["metrics"]["right"] == result["cases"]
    assert "nobody's" not in result["methods"]
    csv = result["methods"]["csv"]
    assert sum(csv["metrics"][name] for name in table_readers.OUTCOMES) == result["cases"]
    assert csv["halves"]["pairs"]["right"] + csv["halves"]["imports"]["right"] == csv["metrics"]["right"]
