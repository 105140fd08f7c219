"""Acceptance of right answers by forms, on data of a test's own."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.forms import main
from benchmarks.openness import openness
from tokmem_desk.templates.template import AnswerTemplate, Part


def write(folder: Path, name: str, wrong: int) -> None:
    def pair(i: int) -> dict[str, str]:
        return {"input": f"thing number {i}", "response": f"no. {i}!"}

    test = [pair(i) for i in range(50, 60)]
    for one in test[:wrong]:
        one["response"] = "no. 7777!"
    (folder / f"{name}.json").write_text(
        json.dumps({"name": name, "description": "", "train": [pair(i) for i in range(24)], "test": test}), "utf-8"
    )


def test_forms_are_asked_about_right_answers_they_have_not_seen(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    write(folder, "steady", 0)
    write(folder, "unsteady", 3)
    assert main(["--data", str(folder), "--pairs", "24", "--out", str(tmp_path / "out.json")]) == 0
    sources = {one["source"]: one for one in json.loads((tmp_path / "out.json").read_text("utf-8"))["sources"]}
    assert sources["data"]["with_form"] == 2 and sources["data"]["accepted"] == 17 / 20
    assert sources["written"]["procedures"] == 0, "they have twenty pairs each"
    assert sources["composed"]["with_form"] == 100 and sources["composed"]["accepted"] > 0.95


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    assert main(["--data", str(tmp_path / "nothing"), "--out", str(tmp_path / "out.json")]) != 0


def test_what_a_form_leaves_open_is_counted_field_by_field() -> None:
    form = AnswerTemplate(
        (
            Part("taken", ways=("number",)),
            Part("text", (" ",)),
            Part("choice", ("in", "out")),
            Part("text", (" ",)),
            Part("free"),
        )
    )
    found = openness(form, "put 7 away", "7 in attic")
    assert found is not None
    assert (found.fields, found.fixed, found.characters, found.free, found.bits) == (3, 1, 8, 5, 1.0)
    assert not found.only
    only = openness(AnswerTemplate((Part("text", ("no. ",)), Part("taken", ways=("number",)))), "7 apples", "no. 7")
    assert only is not None and only.only
    assert openness(form, "put 7 away", "8 in attic") is None


def test_a_folder_counts_as_two_halves(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("a", "b", "c"):
        write(folder, name, 0)
    out = tmp_path / "out.json"
    assert main(["--data", str(folder), "--pairs", "24", "--halves", "--own", "--out", str(out)]) == 0
    sources = json.loads(out.read_text("utf-8"))["sources"]
    assert [(one["source"], one["procedures"]) for one in sources] == [("data, chooses", 2), ("data, looked at", 1)]
    assert sources[0]["only"] == 1.0 and set(sources[0]["each"]) == {"a", "c"}
