"""The one class of an answer's segment, and its one encoding."""

from __future__ import annotations

import json

import pytest

from tokmem_desk.generation.answer_segment import DOUBTFUL_BELOW, AnswerSegment, AnswerValue, all_right

CALL = AnswerSegment("note", 0.9, "buy milk", '{"text":"milk"}', {"text": "milk"})

SURE = AnswerSegment(
    "note", 0.9, "buy milk", '{"text": "milk"}', {"text": "milk"},
    answer_probability=0.8, values=[AnswerValue(9, 15, '"milk"', 0.8, "text")],
)  # fmt: skip


def test_the_json_of_a_segment_is_what_clients_and_profiles_know() -> None:
    assert list(CALL.as_dict()) == ["route", "probability", "part", "response", "arguments", "problem"]
    ran = AnswerSegment("note", 0.9, run={"exit_status": 0})
    assert ran.as_dict()["run"] == {"exit_status": 0}, "only where it was run"
    assert SURE.as_dict()["answer_probability"] == 0.8
    assert SURE.as_dict()["slots"] == [
        {"start": 9, "end": 15, "text": '"milk"', "name": "text", "probability": 0.8, "doubtful": False, "others": []}
    ]


@pytest.mark.parametrize(
    "segment", [CALL, SURE, AnswerSegment("none", 0.5, problem="cut", run={"vector": ["/bin/note"]})]
)
def test_a_segment_survives_the_pipe(segment: AnswerSegment) -> None:
    assert AnswerSegment.from_dict(json.loads(json.dumps(segment.as_dict()))) == segment


def test_what_is_missing_or_of_another_type_is_left_empty() -> None:
    assert AnswerSegment.from_dict({}) == AnswerSegment("", 0.0)
    edited = {"route": "note", "probability": "high", "arguments": "text", "run": "twice", "problem": None}
    assert AnswerSegment.from_dict(edited) == AnswerSegment("note", 0.0)
    edited = {"route": "note", "answer_probability": True, "slots": [1, {"start": "2"}, {"others": "x"}]}
    assert AnswerSegment.from_dict(edited) == AnswerSegment("note", 0.0)


def test_an_answer_is_doubtful_where_it_or_a_value_is() -> None:
    def segment(whole: float | None, *values: float) -> AnswerSegment:
        return AnswerSegment(
            "note", 0.9, answer_probability=whole, values=[AnswerValue(0, 1, "x", value) for value in values]
        )

    surely, hardly = DOUBTFUL_BELOW + 0.01, DOUBTFUL_BELOW - 0.01
    assert not segment(surely, 1.0, surely).doubtful
    assert segment(hardly, 1.0, surely).doubtful and segment(surely, surely, hardly).doubtful
    assert not segment(None).doubtful, "where nothing is known, nothing is said"


def test_a_step_of_a_chain_has_those_before_it_in_its_own_probability() -> None:
    first, then = AnswerSegment("a", 1.0, answer_probability=0.8), AnswerSegment("b", 1.0, answer_probability=0.5)
    further = AnswerSegment("b", 1.0, follows="a", answer_probability=0.6)
    assert all_right([first, then]) == pytest.approx(0.4)
    assert all_right([first, further]) == pytest.approx(0.6)
    assert all_right([first, further, then]) == pytest.approx(0.3)
    assert all_right([first, AnswerSegment("none", 1.0)]) is None and all_right([]) is None
