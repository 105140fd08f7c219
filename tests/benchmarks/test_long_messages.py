"""The cost of long messages, measured on a tiny backbone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import long_messages
from benchmarks.models import Loaded
from benchmarks.options import Options


def test_a_message_has_as_many_words_as_asked() -> None:
    for words in (1, 20, 5_000):
        assert len(long_messages.message_of(words).split()) == words
    assert long_messages.message_of(300).startswith(long_messages.message_of(200))


def test_a_message_is_measured_routed_and_under_a_procedure(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("benchmarks.models.load", lambda _options: loaded)
    found = long_messages._read(Options(Path(), tmp_path / "out.json"), 40)
    assert found["words"] == 40 and found["tokens"] > 40 and "identity" not in found["backbone"]
    for kind in ("routed", "procedure"):
        assert found[kind]["seconds_per_1000_tokens"] > 0 and found[kind]["segments"] >= 1
        assert found[kind]["read_seconds"] + found[kind]["route_seconds"] <= found[kind]["total_seconds"]
    assert found["procedure"]["segments"] == 1


def test_each_length_is_written_as_soon_as_it_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(_given: object, words: int) -> dict[str, object]:
        if words == 2:
            raise KeyboardInterrupt
        return {"backbone": {"id": "tiny"}, "words": words}

    monkeypatch.setattr(long_messages, "_measured", measured)
    out = tmp_path / "long.json"
    assert long_messages.main(["--out", str(out), "--words", "1,2"]) == 130
    document = json.loads(out.read_text())
    assert document["backbone"] == {"id": "tiny"} and document["messages"] == [{"words": 1}]
