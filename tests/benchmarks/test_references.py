"""The benchmark of references: its cases, its figures, and that it runs."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from benchmarks import references
from benchmarks.models import Loaded
from tokmem_desk.background.referring import material, referring_messages
from tokmem_desk.errors import TokmemError

DATA = Path(__file__).parents[2] / "benchmarks" / "procedures"


def frames() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(resources.files("benchmarks").joinpath("references.json").read_text("utf-8"))
    return data


def test_cases_are_the_same_each_time_and_have_no_gaps() -> None:
    cases = references.make_cases(frames(), 2, 0)
    assert cases == references.make_cases(frames(), 2, 0) != references.make_cases(frames(), 2, 1)
    for case in cases:
        texts = [case.message, *case.right, *(text for said in case.said for text in (said.message, said.answer))]
        assert all(text and "{{" not in text and not references._VALUE.search(text) for text in texts)
        assert case.message not in case.right and case.said
    assert {case.half for case in cases} == set(references.HALVES)
    assert {case.language for case in cases if case.right} == {"en", "de", "fr", "es"}


def test_no_frame_is_in_what_references_are_learned_from() -> None:
    plain = ("openings", "neg", "plain", "texts", "list_ask", "list_open", "ord_follow")
    learned = {
        text
        for language in material().values()
        for texts in (
            *(language[name] for name in plain),
            *language["follow"].values(),
            *language["asks"].values(),
        )
        for text in texts
    }
    data = frames()
    assert not learned & {text for frame in data["frames"] for text in (frame["message"], frame["said"][-1][0])}
    assert not learned & set(data["without"])
    # Weekdays and numbers alone: whatever is put together has them too.
    known = {value for one in referring_messages(1500) for values in one.values for value in values}
    shared = {value.text: value.kind for value in known} | {
        text: kind for language in material().values() for kind, texts in language["values"].items() for text in texts
    }
    drawn = {value for values in data["values"].values() for value in values}
    assert {shared[value] for value in drawn & set(shared)} <= {"date", "time", "count", "amount"}


def test_figures() -> None:
    cases = [case for case in references.make_cases(frames(), 1, 0) if case.half == "chosen"]
    referring = [case for case in cases if case.right][:4]
    plain = [case for case in cases if not case.right][:5]
    got = [referring[0].right[0], None, "something else", referring[3].right[-1] + " "]
    rows = [*zip(referring, got, strict=True), *((case, "changed" if i == 0 else None) for i, case in enumerate(plain))]
    figures = references.metrics(rows)
    assert (figures["right"], figures["left"], figures["wrong"], figures["changed"]) == (0.5, 0.25, 0.25, 0.2)


def test_it_writes_both_halves(loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(references, "load", lambda options: loaded)
    out = tmp_path / "references.json"
    try:
        code = references.main(["--data", str(DATA), "--out", str(out), "--draws", "1"])
    except TokmemError as error:
        pytest.fail(str(error))
    [method] = json.loads(out.read_text("utf-8"))["methods"].values()
    assert code == 0 and set(method["halves"]) == set(references.HALVES)
    assert set(method["metrics"]) >= {"right", "changed"}
