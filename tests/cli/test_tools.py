"""``proc schema``, ``proc reads``, ``proc command``."""

from __future__ import annotations

import json

import pytest

SCHEMA = {
    "type": "object",
    "properties": {"text": {"type": "string"}, "due": {"type": "string"}},
    "required": ["text"],
}


@pytest.fixture
def schema_file(tmp_path):
    path = tmp_path / "form.json"
    path.write_text(json.dumps(SCHEMA, indent=2))
    return path


@pytest.fixture
def calls_file(tmp_path):
    path = tmp_path / "calls.jsonl"
    texts = ["ring Ann", "buy milk", "pay rent"]
    rows = [{"input": f"gotta {text}", "response": json.dumps({"text": text})} for text in texts]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_procedure_with_a_schema(tokmem, calls_file, schema_file):
    made = tokmem(
        "proc",
        "add",
        "todo",
        "--pairs",
        str(calls_file),
        "--schema",
        str(schema_file),
        "--reads-conversation",
        "--json",
    ).json("proc-add")
    assert made["schema"] == SCHEMA and made["reads_conversation"]
    assert list(made["schema"]["properties"]) == ["text", "due"]
    shown = tokmem("proc", "show", "todo")
    assert "the conversation" in shown.out and '"type": "object"' in shown.out
    assert json.loads(tokmem("proc", "schema", "todo").out) == SCHEMA
    assert tokmem("proc", "reads", "todo", "message", "--json").json("proc-reads")["reads_conversation"] is False
    none = tokmem("proc", "schema", "todo", "--none", "--json").json("proc-schema")
    assert none["schema"] is None


def test_the_json_of_a_procedure_carries_its_schema(tokmem, calls_file, schema_file, tmp_path):
    tokmem("proc", "add", "todo", "--pairs", str(calls_file), "--schema", str(schema_file), "--reads-conversation")
    copy = tmp_path / "copy.json"
    copy.write_text(tokmem("proc", "show", "todo", "--json").out)
    made = tokmem("proc", "add", "again", "--pairs", str(copy), "--json").json("proc-add")
    assert made["schema"] == SCHEMA and made["reads_conversation"]


def test_a_bad_schema_is_refused_with_the_place_and_nothing_is_added(tokmem, calls_file, tmp_path):
    bad = tmp_path / "bad.json"
    bad.write_text('{"type": "object", "properties": {"text": {"type": "strin"}}}')
    ended = tokmem("proc", "add", "todo", "--pairs", str(calls_file), "--schema", str(bad))
    assert ended.code == 1 and f"{bad}, at properties.text.type: 'strin' is not valid" in ended.err
    assert tokmem("proc", "list").out == ""
    assert tokmem("proc", "add", "todo", "--pairs", str(calls_file), "--schema", str(tmp_path / "no")).code == 1
    document = tmp_path / "procedure.json"
    document.write_text(json.dumps({"train": [{"input": "a", "response": "b"}], "schema": {"type": "array"}}))
    ended = tokmem("proc", "add", "todo", "--pairs", str(document))
    assert ended.code == 1 and "'schema', at the top: an answer must be an object" in ended.err


def test_pairs_that_do_not_fit_are_told(tokmem, pairs_file, schema_file):
    tokmem("proc", "add", "todo", "--pairs", str(pairs_file))
    ended = tokmem("proc", "schema", "todo", str(schema_file), "--json")
    assert len(ended.json("proc-schema")["findings"]) == 8
    assert "The response of pair 1 does not fit the schema: it is not JSON" in ended.err


def test_a_command_is_set_shown_and_taken_away(tokmem, calls_file, schema_file):
    tokmem("proc", "add", "todo", "--pairs", str(calls_file), "--schema", str(schema_file))
    template = ["note", "--json", "--due={due?}", "--", "{text}"]
    made = tokmem("proc", "command", "todo", "--json", "--", *template).json("proc-command")
    assert made == {"name": "todo", "command": template, "always_allowed": False}
    shown = tokmem("proc", "command", "todo").out
    assert "4  {text}" in shown and "asks before each run" in shown
    assert tokmem("proc", "command", "todo", "--ask").code == 0
    gone = tokmem("--json", "proc", "command", "todo", "--none").json("proc-command")
    assert gone["command"] is None


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--", "note", "{what}"], 1, "no property of the schema"),
        (["--", "sh", "-c", "echo {text}"], 1, "shell's script"),
        (["--"], 1, "no program"),
        (["--none", "--", "note"], 2, "only one of them"),
        (["--ask"], 1, "has no command"),
        (["note", "{text}"], 2, "note"),
    ],
)
def test_commands_that_cannot_be(tokmem, calls_file, schema_file, arguments, code, text):
    tokmem("proc", "add", "todo", "--pairs", str(calls_file), "--schema", str(schema_file))
    ended = tokmem("proc", "command", "todo", *arguments)
    assert ended.code == code and text in ended.err


def test_fields_are_taken_from_the_pairs(tokmem, tmp_path):
    rows = [
        (f"buy {count} {what}", {"what": what, "count": count})
        for count, what in enumerate(("tea", "rope", "ink", "oil"))
    ]
    pairs = tmp_path / "orders.jsonl"
    pairs.write_text("".join(json.dumps({"input": text, "response": json.dumps(value)}) + "\n" for text, value in rows))
    added = tokmem("proc", "add", "orders", "--pairs", str(pairs))
    assert "All responses have the fields what (text), count (whole number)." in added.err
    assert "proc schema orders --from-pairs" in tokmem("proc", "schema", "orders").err
    taken = tokmem("proc", "schema", "orders", "--from-pairs", "--json").json("proc-schema")
    assert list(taken["schema"]["properties"]) == ["what", "count"] and taken["schema"]["required"] == ["what", "count"]
    assert taken["findings"] == []
    assert tokmem("proc", "schema", "orders", "--none", "--from-pairs").code == 2
    pairs.write_text('{"input": "a", "response": "b"}\n')
    tokmem("proc", "add", "other", "--pairs", str(pairs))
    refused = tokmem("proc", "schema", "other", "--from-pairs")
    assert refused.code == 1 and "not objects of one shape" in refused.err
