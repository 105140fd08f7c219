"""``proc new`` and ``proc export``, with an engine that drafts by rule."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import CommandLine

PROMPT = "Turn a note into a to-do line."
EXAMPLES = (
    "File notes.\n\n## Examples\n\nInput: the tap drips\nOutput: plumber\n\nInput: no light\nOutput: electrician\n"
)


def test_a_prompt_becomes_a_procedure(scripted, tmp_path):
    (tmp_path / "todo.txt").write_text(PROMPT)
    made = scripted("proc", "new", "todo", "--from-text", str(tmp_path / "todo.txt"), "--count", "4", "--json")
    [one] = made.json("proc-new")["added"]
    assert (one["name"], one["pairs"], one["description"], one["source"]) == ("todo", 4, PROMPT, "todo.txt")
    assert "Read as a prompt." in made.err
    assert "Drafted 4 pairs. Of no use: 1 there already, 1 only repeating." in made.err
    shown = scripted("proc", "show", "todo", "--json").json("proc-show")
    assert shown["train"][0] == {"input": "drafted 1", "response": "answer 1"}


def test_examples_in_the_text_need_no_model(tokmem, tmp_path):
    made = tokmem("proc", "new", "trade", "--from-text", "-", "--json", stdin=EXAMPLES)
    assert made.json("proc-new")["added"][0]["pairs"] == 2 and "with 2 examples" in made.err
    assert "There is a procedure 'trade' already." in tokmem("proc", "new", "trade", "--from-text", "-", stdin="x").err


def test_examples_and_drafts_go_together(scripted):
    made = scripted("proc", "new", "trade", "--from-text", "-", "--count", "3", "--json", stdin=EXAMPLES)
    assert made.json("proc-new")["added"][0]["pairs"] == 5


def test_drafts_go_to_a_file_that_can_be_added(scripted, tmp_path):
    file = tmp_path / "drafts.csv"
    made = scripted("proc", "new", "todo", "--from-text", "-", "--drafts", str(file), "--json", stdin=PROMPT)
    assert made.json("proc-new") == {"added": [], "unused": [], "drafts": str(file)}
    assert scripted("proc", "add", "todo", "--pairs", str(file), "--json").json("proc-add")["pairs"] == 8
    again = scripted("proc", "new", "other", "--from-text", "-", "--drafts", str(file), stdin=PROMPT)
    assert again.code == 1 and "already" in again.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("x",), "--from-text FILE or --from-folder"),
        (("--from-text", "-"), "needs a name"),
        (("x", "--from-text", "-"), "--drafts FILE, or keep all that are usable with --yes"),
        (("x", "--from-folder", "."), "Leave NAME"),
    ],
)
def test_what_is_missing_is_said(tokmem, arguments, said):
    ended = tokmem("proc", "new", *arguments, stdin=PROMPT)
    assert ended.code == 2 and said in ended.err


def test_a_folder_is_taken_with_what_could_not_be_used(scripted, tokmem, tmp_path):
    for name, text in {
        "trade/SKILL.md": f"---\nname: trade\ndescription: Finds the trade.\n---\n{EXAMPLES}",
        "todo.md": PROMPT,
        "bad.yaml": "system: [",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    found = tokmem("proc", "new", "--from-folder", str(tmp_path), "--json").json("proc-new")
    assert [(one["name"], one["pairs"], one["description"]) for one in found["added"]] == [
        ("trade", 2, "Finds the trade.")
    ]
    reasons = {one["path"].rpartition("/")[2]: one["reason"] for one in found["unused"]}
    assert "YAML" in reasons["bad.yaml"] and "no examples" in reasons["todo.md"]
    more = scripted("proc", "new", "--from-folder", str(tmp_path), "--json")
    assert [one["name"] for one in more.json("proc-new")["added"]] == ["todo"]
    assert "trade/SKILL.md: There is a procedure 'trade' already." in more.err
    assert "1 procedure added, 2 files not used." in more.err


@pytest.mark.parametrize("form", ["skill", "prompt", "llm", "modelfile"])
def test_an_export_comes_back(tokmem, pairs_file, tmp_path, form):
    tokmem("proc", "add", "todo", "--pairs", str(pairs_file))
    text = tokmem("proc", "export", "todo", "--as", form, "--json").json("change")["text"]
    file = tmp_path / {"skill": "SKILL.md", "llm": "todo.yaml", "modelfile": "Modelfile", "prompt": "todo.md"}[form]
    written = tokmem("proc", "export", "todo", "--as", form, "--out", str(file))
    assert file.read_text() == text and "2 held-out pairs are not written" in written.err
    assert tokmem("proc", "export", "todo", "--as", form, "--out", str(file)).code == 1
    tokmem("proc", "new", "again", "--from-text", str(file))
    one, other = (tokmem("proc", "show", name, "--json").json("proc-show")["train"] for name in ("todo", "again"))
    assert one == other == json.loads(pairs_file.read_text())["train"]


def test_a_damaged_file_stores_nothing(tokmem: CommandLine, tmp_path):
    ended = tokmem("proc", "new", "x", "--from-text", str(tmp_path / "none.md"))
    assert ended.code == 1 and "There is no file" in ended.err
