"""Texts that teach a router's space: patterns are spoken out, and lists are read with what stands for each text."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from benchmarks.lessons import _examples, _phrase, read_lessons
from tokmem_desk.errors import BadInputError


def test_a_pattern_becomes_one_of_its_phrases() -> None:
    rules, values = {"off": "(off|out [<now>])", "now": "at once"}, {"colour": ["red"]}
    said = {
        _phrase("switch (the|my) {name} <off> {light:x} {colour}", random.Random(n), "en", rules, values, {"light"})
        for n in range(60)
    }
    assert len(said) > 10
    for phrase in said:
        assert phrase.startswith(("switch the ", "switch my ")) and phrase.endswith(" red")
        assert not set("()[]{}<>|") & set(phrase) and any(mark.isdigit() for mark in phrase)
    assert any("out at once" in phrase for phrase in said)
    assert _phrase("same", random.Random(0), "pl") == _phrase("same", random.Random(0), "pl")


def test_sentences_of_glosses_are_examples() -> None:
    line = '0001 n 02 x | a small thing; "she put it on the table"; "two words"'
    assert list(_examples([line])) == ["she put it on the table"]


def test_lists_of_texts_and_of_pairs_are_read(tmp_path: Path) -> None:
    file = tmp_path / "texts.json"
    file.write_text(json.dumps(["one", ["zwei", "two"], ["drei", ["three", "3"]]]))
    assert read_lessons(file) == [("one", ("one",)), ("zwei", ("two",)), ("drei", ("three", "3"))]
    for wrong in ([], [1], [["a"]], [["a", []]], [["a", [1]]], {"a": "b"}):
        file.write_text(json.dumps(wrong))
        with pytest.raises(BadInputError, match="no list of texts"):
            read_lessons(file)
