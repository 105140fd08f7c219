"""Habits and skills: how the turns and prompts are made, and what the figures count."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import habits, skills
from benchmarks.data import RoutingData, load_tasks
from benchmarks.models import Loaded
from benchmarks.skills import Asked
from tokmem_desk.errors import BadInputError

OWN = Path(__file__).parents[2] / "benchmarks" / "procedures"


def test_a_person_has_hidden_habits_among_other_turns() -> None:
    procedures = load_tasks(OWN).procedures[:3]
    turns = habits.person(procedures, 1, 1000)
    assert len(turns) == 1000 and turns == habits.person(procedures, 1, 1000) != habits.person(procedures, 2, 1000)
    counts = [sum(turn.habit == one.name for turn in turns) for one in procedures]
    assert all(5 <= count <= 12 for count in counts)
    with pytest.raises(BadInputError, match="not made for 10 turns"):
        habits.person(procedures, 1, 10)


def test_precision_and_recall_of_proposals() -> None:
    near, far = np.eye(2, dtype=np.float32)
    turns = [habits.SaidTurn("m", f"A{place} | b", "a") for place in range(5)]
    turns += [habits.SaidTurn("m", f'{{"n": {place}}}', "b") for place in range(3)]
    turns += [habits.SaidTurn("m", f"<{place}>", "") for place in range(4)]
    found = habits.measured(turns, [far if not turn.habit else near for turn in turns])
    assert (found["proposals"], found["precision"], found["recall"]) == (2, 0.5, 0.5)
    assert found["purity_at_end"] == 1


def test_habits_write_both_halves(loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(habits, "load", lambda _options: loaded)
    monkeypatch.setattr(habits, "HABITS", 2)
    monkeypatch.setattr(habits, "written_procedures", list)
    monkeypatch.setattr(habits.background, "chat_for_fitting", lambda: ["how are you", "tell me more"])
    monkeypatch.setattr(habits.background, "chat_for_measuring", lambda: [f"word {place}" for place in range(30)])
    out = tmp_path / "h.json"
    assert habits.main(["--data", str(OWN), "--out", str(out), "--seeds", "2", "--limit", "40"]) == 0
    document = json.loads(out.read_text())
    assert [one["setting"]["half"] for one in document["sweep"]] == ["chooses", "looked at"]
    assert 0 <= document["methods"]["ours"]["metrics"]["recall"] <= 1


def _asked(right: str, **found: float) -> Asked:
    return Asked(right, sorted(found.items(), key=lambda one: -one[1]))


def test_the_strict_border_lets_few_of_none_through() -> None:
    none = [_asked("none", a=1 - place / 100, none=place / 100) for place in range(100)]
    border = skills.strict_border(none)
    assert sum(one.strict_route(border) != "none" for one in none) == 2
    assert _asked("a", a=0.6, b=0.3, none=0.1).strict_route(0.2) == "a"
    assert _asked("a", a=0.6, b=0.3, none=0.1).strict_route(0.05) == "none"


def test_figures_of_skills() -> None:
    asked = [_asked("a", a=0.9, none=0.1), _asked("a", none=0.6, a=0.4), _asked("none", b=0.8, none=0.2)] * 2
    found = skills.measured(asked)
    assert (found["known_recall"], found["false_trigger_rate"], found["routing_accuracy"]) == (0.5, 1, 1)


def test_skills_ask_sixteen_and_four_of_none(loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(skills, "load", lambda _options: loaded)
    words = {"red": "red paint", "dog": "a dog", "sea": "the sea"}
    texts = {name: [f"{text} {place}" for place in range(20)] for name, text in words.items()}
    data = {name: {"train": of, "test": of} for name, of in texts.items()}
    file, out = tmp_path / "r.json", tmp_path / "s.json"
    file.write_text(json.dumps({"intents": data, "out_of_scope": {"test": [f"else {place}" for place in range(12)]}}))
    asked = ["--procedures", "3", "--shots", "4", "--methods", "ours"]
    assert skills.main(["--data", str(file), "--out", str(out), *asked]) == 0
    assert json.loads(out.read_text())["data"] == {"name": "r.json", "skills": 3, "prompts": 60, "of_none": 12}
    with pytest.raises(BadInputError, match="0 skills with 16 prompts"):
        skills.prompts_of(RoutingData({}, {}, []), 3, 4)
