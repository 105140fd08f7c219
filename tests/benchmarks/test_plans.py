"""The benchmark of plans: what is right follows from the plan, and the figures count what they say."""

from __future__ import annotations

import pytest

from benchmarks.calls.base import arguments_text
from benchmarks.calls.data import Call, CallExample
from benchmarks.plans import DEPTHS, TODAY, PlanExample, make_plans, measure_plans, parse
from tokmem_desk.plans.walk import Call as Next
from tokmem_desk.plans.walk import Checked, Finished, PlanTask, StepAnswer, walk

EXAMPLES = [
    CallExample(query, (Call(tool, arguments),))
    for query, tool, arguments in (
        ("rate The Guilty 4 of 6 points", "RateBook", {"object_name": "The Guilty", "rating_value": "4"}),
        ("play jazz from 1978 by Ginger Pooley", "PlayMusic", {"year": "1978", "artist": "Ginger Pooley"}),
        ("is it warm in Lansford", "GetWeather", {"condition": "warm", "city": "Lansford"}),
        ("book a table for 5 in Concord", "BookRestaurant", {"party": "5", "city": "Concord"}),
    )
]


def test_right_answers_lead_to_the_calls_that_count_as_right() -> None:
    for depth in DEPTHS:
        for plan in make_plans(EXAMPLES, depth, 30, 0):
            task = PlanTask("plan", plan.message, {"plan": plan.steps}, TODAY)
            answers: dict[str, StepAnswer] = {}
            for place, call in enumerate(plan.calls, 1):
                last = walk(task, answers)[-1]
                assert isinstance(last, Next) and last.procedure == call.tool.lower()
                assert all(str(value) in last.text for value in call.arguments.values())
                answers[str(place)] = StepAnswer(arguments_text(call), call.arguments)
            events = walk(task, answers)
            assert events[-1] == Finished("done")
            assert tuple(event.taken for event in events if isinstance(event, Checked)) == plan.taken
            assert len(plan.calls) == depth == len(plan.taken) + 1


def test_both_branches_occur_and_the_same_plans_are_made_again() -> None:
    plans = make_plans(EXAMPLES, 4, 60, 0)
    taken = [one for plan in plans for one in plan.taken]
    assert 0.35 < sum(taken) / len(taken) < 0.65
    assert plans == make_plans(EXAMPLES, 4, 60, 0) != make_plans(EXAMPLES, 4, 60, 1)
    assert sum(plan.half for plan in plans) == 30


def test_figures() -> None:
    right = (Call("A", {"x": "1"}), Call("B", {"y": "2"}))
    plans = [PlanExample("", "", right, (True,), 0), PlanExample("", "", right, (False,), 0)]
    wrong_value = [right[0], Call("B", {"y": "3"})]
    scores = measure_plans([list(right), wrong_value], [[True], [True]], plans)
    assert (scores["steps_exact"], scores["call_list_exact"]) == (1.0, 0.5)
    assert (scores["branches_right"], scores["branches_right_given_value"]) == (0.5, 0.5)
    ended = measure_plans([[Call("A", {"x": "9"})], []], [[], []], plans)
    assert ended["branches_right"] == 0.0 and ended["branches_right_given_value"] == 1.0


def test_a_run_may_be_done_in_parts(capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--data", "d", "--out", "o.json"]
    assert parse(given).depths == DEPTHS and parse([*given, "--depths", "3,1"]).depths == (1, 3)
    for odd in ("6", "1,9", "", "x"):
        with pytest.raises(SystemExit):
            parse([*given, "--depths", odd])
    assert "has other depths than 1 to 5" in capsys.readouterr().err
