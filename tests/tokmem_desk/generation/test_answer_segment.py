"""The one class of an answer's segment, and its one encoding."""

from __future__ import annotations

import json

import pytest

from tokmem_desk.generation.answer_segment import AnswerSegment

CALL = AnswerSegment("note", 0.9, "buy milk", '{"text":"milk"}', {"text": "milk"})


def test_the_json_of_a_segment_is_what_clients_and_profiles_know() -> None:
    assert list(CALL.as_dict()) == ["route", "probability", "part", "response", "arguments", "problem"]
    ran = AnswerSegment("note", 0.9, run={"exit_status": 0})
    assert ran.as_dict()["run"] == {"exit_status": 0}, "only where it was run"


@pytest.mark.parametrize("segment", [CALL, AnswerSegment("none", 0.5, problem="cut", run={"vector": ["/bin/note"]})])
def test_a_segment_survives_the_pipe(segment: AnswerSegment) -> None:
    assert AnswerSegment.from_dict(json.loads(json.dumps(segment.as_dict()))) == segment


def test_what_is_missing_or_of_another_type_is_left_empty() -> None:
    assert AnswerSegment.from_dict({}) == AnswerSegment("", 0.0)
    edited = {"route": "note", "probability": "high", "arguments": "text", "run": "twice", "problem": None}
    assert AnswerSegment.from_dict(edited) == AnswerSegment("note", 0.0)
