"""``proc``, ``profile``, ``config`` and ``model``: everything that needs no engine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from tests.cli.conftest import SECONDS, CommandLine
from tokmem_desk.templates.template import TEMPLATE_SETTING, AnswerTemplate, Part
from tui.cli.texts import read_queries


def test_the_life_of_a_procedure(tokmem, pairs_file):
    added = tokmem("proc", "add", "todo", "--pairs", str(pairs_file), "--json")
    made = added.json("proc-add")
    assert (made["pairs"], made["held_out"], made["description"]) == (8, 2, "One to-do line")
    assert "tokmem-desk train todo" in added.err
    [listed] = tokmem("proc", "list", "--json").json("proc-list")["procedures"]
    assert listed["state"] == "not trained" and listed["enabled"]
    assert tokmem("proc", "disable", "todo", "--json").json("change")["names"] == ["todo"]
    assert "off" in tokmem("proc", "list").out
    tokmem("proc", "enable", "todo")
    tokmem("proc", "rename", "todo", "todo-2")
    shown = tokmem("proc", "show", "todo-2", "--json").json("proc-show")
    assert [len(shown["train"]), len(shown["test"])] == [8, 2]
    assert tokmem("proc", "remove", "todo-2").code == 0
    assert tokmem("proc", "list").out == ""
    assert tokmem("proc", "undo", "--json").json("change")["undone"] == "removed todo-2"
    assert "todo-2" in tokmem("proc", "list").out


def test_the_form_of_answers_is_shown(tokmem, pairs_file):
    tokmem("proc", "add", "todo", "--pairs", str(pairs_file))
    assert re.search(r"^answers +-$", tokmem("proc", "show", "todo").out, re.MULTILINE)
    form = AnswerTemplate((Part("text", ("( ) ",)), Part("taken", ("none",), ("small",), tokens=8)))
    with ProfileRegistry(AppPaths.resolve(tokmem.home)) as registry, registry.open() as store:
        for settings in ({}, {TEMPLATE_SETTING: form.as_dict()}):
            procedure = store.procedures.get("todo")
            file = store.memories.write(b"not read here")
            made = store.memories.add(
                procedure.id,
                "f" * 64,
                file,
                store.procedures.with_pairs("todo").pairs,
                settings,
                {"seconds": 1.0, "steps": 1, "advice": []},
            )
            store.memories.activate(made.id)
            if not settings:
                assert re.search(r"^answers +free$", tokmem("proc", "show", "todo").out, re.MULTILINE)
    words = "( ) ‹words of the message, small|none›"
    assert re.search(rf"^answers +{re.escape(words)}$", tokmem("proc", "show", "todo").out, re.MULTILINE)
    [active] = [m for m in tokmem("proc", "show", "todo", "--json").json("proc-show")["memories"] if m["version"] == 2]
    assert AnswerTemplate.from_dict(active["settings"]["answer_form"]) == form
    assert tokmem("config", "set", "keep_form", "no", "--json").json("config-set")["value"] is False
    shown = tokmem("proc", "show", "todo").out
    assert re.search(rf"^answers +free \(keep_form is off\); else {re.escape(words)}$", shown, re.MULTILINE)


def test_the_given_description_wins_over_the_file(tokmem, pairs_file):
    made = tokmem("proc", "add", "todo", "--pairs", str(pairs_file), "--description", "Mine", "--json")
    assert made.json("proc-add")["description"] == "Mine"


def test_pairs_come_through_a_pipe(tokmem, pairs_file):
    added = tokmem("proc", "add", "todo", "--pairs", "-", "--json", stdin=pairs_file.read_text()).json("proc-add")
    assert (added["pairs"], added["held_out"]) == (8, 2)
    table = "\ufeffinput,response\nring Bo,( ) ring Bo\n".encode()
    assert tokmem("proc", "import", "todo", "--pairs", "-", stdin=table).code == 0
    ended = tokmem("proc", "import", "todo", "--pairs", "-", stdin=b"input,response\na,b\nonly\n")
    assert ended.code == 1 and "stdin, line 3: no 'response'" in ended.err
    for content, said in ((b"", "stdin is empty"), ("input,response\nä,b".encode("utf-16"), "stdin is UTF-16 text")):
        ended = tokmem("proc", "import", "todo", "--pairs", "-", stdin=content)
        assert ended.code == 1 and said in ended.err


def test_import_adds_or_replaces(tokmem, pairs_file, tmp_path):
    tokmem("proc", "add", "todo", "--pairs", str(pairs_file))
    more = tmp_path / "more.csv"
    more.write_text("input,response\nring Bo today,( ) ring Bo due:today\n")
    added = tokmem("proc", "import", "todo", "--pairs", str(more), "--json").json("proc-add")
    assert (added["pairs"], added["held_out"]) == (9, 2)
    assert "1 of them was there already." in tokmem("proc", "import", "todo", "--pairs", str(more)).err
    tokmem("proc", "undo")
    replaced = tokmem("proc", "import", "todo", "--pairs", str(more), "--replace", "--json").json("proc-add")
    assert (replaced["pairs"], replaced["held_out"]) == (1, 2)


@pytest.mark.parametrize("options", [(), ("--replace",)])
def test_an_import_is_one_undo(tokmem, pairs_file, tmp_path, options):
    tokmem("proc", "add", "todo", "--pairs", str(pairs_file))
    before = tokmem("proc", "show", "todo", "--json").json("proc-show")
    more = tmp_path / "more.json"
    more.write_text(json.dumps({"train": [{"input": "a", "response": "b"}], "test": [{"input": "c", "response": "d"}]}))
    tokmem("proc", "import", "todo", "--pairs", str(more), *options)
    tokmem("proc", "undo")
    after = tokmem("proc", "show", "todo", "--json").json("proc-show")
    assert (after["train"], after["test"]) == (before["train"], before["test"])


def test_one_row_is_taken_with_advice(tokmem, tmp_path):
    file = tmp_path / "one.csv"
    file.write_text("input,response\na,b\n")
    ended = tokmem("proc", "add", "one", "--pairs", str(file))
    assert ended.code == 0 and "Only 1 pair" in ended.err


def test_other_forms_and_mapped_columns(tokmem, tmp_path):
    chat = tmp_path / "chat.jsonl"
    chat.write_text('{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n')
    made = tokmem("proc", "add", "chat", "--pairs", str(chat), "--json")
    assert made.json("proc-add")["pairs"] == 1 and "chat messages" in made.err
    table = tmp_path / "table.csv"
    table.write_text("Question,Note,Answer\na,x,b\n,,\nc,y,\n")
    refused = tokmem("proc", "add", "mapped", "--pairs", str(table))
    assert refused.code == 1 and "--map input=question,response=answer" in refused.err
    mapping = ("--map", "input=question+note,response=answer")
    refused = tokmem("proc", "add", "mapped", "--pairs", str(table), *mapping)
    assert refused.code == 1 and "line 4" in refused.err
    made = tokmem("proc", "add", "mapped", "--pairs", str(table), *mapping, "--skip-bad", "--json")
    assert made.json("proc-add")["pairs"] == 1 and "left out: line 4" in made.err
    assert tokmem("proc", "show", "mapped", "--json").json("proc-show")["train"][0]["input"] == "a\n\nx"
    assert tokmem("proc", "import", "mapped", "--pairs", str(table), "--map", "question").code == 2


def test_templates(tokmem, tmp_path):
    printed = tokmem("proc", "template").out
    file = tmp_path / "mine.csv"
    made = tokmem("proc", "template", str(file), "--json")
    assert made.json("change")["file"] == str(file)
    assert file.read_text() == printed
    assert tokmem("proc", "template", str(file)).code == 1
    assert tokmem("proc", "add", "mine", "--pairs", str(file)).code == 0


def test_versions(tokmem, pairs_file, tmp_path):
    tokmem("proc", "add", "todo", "--pairs", str(pairs_file))
    more = tmp_path / "more.csv"
    more.write_text("input,response\nring Bo today,( ) ring Bo due:today\n")
    tokmem("proc", "import", "todo", "--pairs", str(more), "--replace")
    history = tokmem("proc", "history", "todo", "--json").json("proc-history")["versions"]
    assert [(one["version"], one["pairs"]) for one in history] == [(2, 1), (1, 8)]
    assert "replaced the pairs of todo" in tokmem("proc", "history", "todo").out
    diff = tokmem("proc", "diff", "todo", "1", "--json").json("proc-diff")
    assert [bool(one["after"]) for one in diff["changes"]] == [False] * 8 + [True]
    assert "+ ring Bo today → ( ) ring Bo due:today" in tokmem("proc", "diff", "todo", "1", "2").out
    assert tokmem("proc", "rollback", "todo", "1", "--json").json("change")["version"] == 1
    assert tokmem("proc", "diff", "todo", "1", "3").out == ""
    assert len(tokmem("proc", "show", "todo", "--json").json("proc-show")["train"]) == 8
    assert "went back to version 1" in tokmem("proc", "undo").err
    assert tokmem("proc", "rollback", "todo", "77").code == 1
    assert tokmem("proc", "history", "todo", "--forget").code == 1, "asks, and there is nobody to answer"
    assert tokmem("proc", "history", "todo", "--forget", "--yes").code == 0
    assert len(tokmem("proc", "history", "todo", "--json").json("proc-history")["versions"]) == 1


def kept_of_removed(command_line):
    """How many pairs are kept of procedures that are not there, and the memories' files."""
    with ProfileRegistry(AppPaths.resolve(command_line.home)) as registry, registry.open() as store:
        rows = store.rows("SELECT 1 FROM version_pairs WHERE procedure_id NOT IN (SELECT id FROM procedures)")
        return len(rows), [path.name for path in store.memories.folder.iterdir()]


def remember_and_remove(command_line, name, changes=0):
    """Give a procedure a memory, an old file, and remove it that many changes ago."""
    with ProfileRegistry(AppPaths.resolve(command_line.home)) as registry, registry.open() as store:
        record = store.procedures.get(name)
        file = store.memories.write(b"what was learned")
        os.utime(store.memories.folder / file, (0, 0))
        store.memories.add(record.id, "f" * 64, file, store.procedures.with_pairs(name).pairs, {}, {})
        store.procedures.remove(name)
        for number in range(changes):
            store.procedures.set_description("other", f"wording {number}")


def test_removing_deletes_what_no_undo_can_bring_back(tokmem, pairs_file):
    for name in ("diary", "other", "third"):
        tokmem("proc", "add", name, "--pairs", str(pairs_file))
    remember_and_remove(tokmem, "diary", changes=60)
    count, files = kept_of_removed(tokmem)
    assert (count, len(files)) == (10, 1)
    tokmem("proc", "remove", "third")
    count, files = kept_of_removed(tokmem)
    assert (count, len(files)) == (10, 0), "of the third one, which undo brings back"
    tokmem("proc", "undo")
    assert kept_of_removed(tokmem) == (0, [])


CARD = {"seconds": 1.0, "steps": 1, "advice": []}


def train_by_hand(command_line, name):
    """Give a procedure an active memory of the pairs that it has."""
    with ProfileRegistry(AppPaths.resolve(command_line.home)) as registry, registry.open() as store:
        key, pairs = store.procedures.get(name).id, store.procedures.with_pairs(name).pairs
        made = store.memories.add(key, "f" * 64, store.memories.write(b"learned"), pairs, {}, CARD)
        store.memories.activate(made.id)


def answering(command_line, name):
    """The number of the memory that answers, or None."""
    with ProfileRegistry(AppPaths.resolve(command_line.home)) as registry, registry.open() as store:
        memory = store.memories.active(name, "f" * 64)
        return None if memory is None else memory.version


@pytest.mark.parametrize("trained_before", [True, False])
def test_an_undo_after_a_training_says_what_becomes_of_the_memory(tokmem, pairs_file, tmp_path, trained_before):
    more = tmp_path / "more.csv"
    more.write_text("input,response\nsweep,( ) sweep\niron,( ) iron\n", encoding="utf-8")
    tokmem("proc", "add", "todo", "--pairs", str(pairs_file))
    if trained_before:
        train_by_hand(tokmem, "todo")
    tokmem("proc", "import", "todo", "--pairs", str(more))
    train_by_hand(tokmem, "todo")
    newest = 2 if trained_before else 1
    undone = tokmem("proc", "undo")
    assert undone.code == 0 and answering(tokmem, "todo") == newest, "the memory stays"
    assert f"Memory v{newest} of todo stays and answers as it was trained: 2 pairs differ" in undone.err
    assert "tokmem-desk train todo" in undone.err
    back = re.search(r"tokmem-desk proc rollback todo (\d+) \((.+) then\)", undone.err)
    assert back is not None and back[2] == ("memory v1 answers" if trained_before else "no memory answers")
    assert tokmem("proc", "rollback", "todo", back[1]).code == 0
    assert answering(tokmem, "todo") == (1 if trained_before else None)
    assert len(tokmem("proc", "show", "todo", "--json").json("proc-show")["train"]) == 8


def test_an_undo_says_nothing_of_a_memory_that_fits(tokmem, pairs_file, tmp_path):
    more = tmp_path / "more.csv"
    more.write_text("input,response\nsweep,( ) sweep\n", encoding="utf-8")
    tokmem("proc", "add", "todo", "--pairs", str(pairs_file))
    train_by_hand(tokmem, "todo")
    tokmem("proc", "import", "todo", "--pairs", str(more))
    assert "emory" not in tokmem("proc", "undo").err
    refused = tokmem("proc", "undo")
    assert refused.code != 0 and "proc remove todo" in refused.err and "proc disable todo" in refused.err
    assert answering(tokmem, "todo") == 1


def test_what_was_removed_can_be_forgotten_at_once(tokmem, pairs_file):
    for name in ("diary", "other"):
        tokmem("proc", "add", name, "--pairs", str(pairs_file))
    remember_and_remove(tokmem, "diary")
    assert tokmem("proc", "undo", "--forget").code == 1, "asks, and there is nobody to answer"
    assert kept_of_removed(tokmem)[0] == 10
    assert tokmem("proc", "undo", "--forget", "--yes", "--json").json("change")["action"] == "proc undo"
    assert kept_of_removed(tokmem) == (0, [])
    assert "nothing to undo" in tokmem("proc", "undo").err
    assert len(tokmem("proc", "show", "other", "--json").json("proc-show")["train"]) == 8


def test_chains(tokmem, pairs_file):
    for name in ("one", "two", "three"):
        tokmem("proc", "add", name, "--pairs", str(pairs_file))
    assert tokmem("proc", "then", "one").out == "Nothing goes on with answers of one.\n"
    assert tokmem("proc", "then", "one", "two", "--json").json("change")["names"] == ["one", "two"]
    tokmem("proc", "then", "two", "three")
    assert tokmem("proc", "then", "one").out == "one → two → three.\n"
    assert tokmem("proc", "show", "one", "--json").json("proc-show")["then"] == "two"
    assert re.search(r"^then +two$", tokmem("proc", "show", "one").out, re.MULTILINE)
    wrong = tokmem("proc", "then", "three", "one")
    assert wrong.code != 0 and "three → one → two → three" in wrong.err
    assert tokmem("proc", "then", "one", "tow").code != 0, "no such procedure"
    tokmem("proc", "remove", "three")
    assert tokmem("proc", "then", "one").out == "one → two → (removed).\n"
    assert tokmem("proc", "then", "one", "two", "--end").code == 2
    tokmem("proc", "then", "two", "--end")
    assert tokmem("proc", "show", "two", "--json").json("proc-show")["then"] is None


def test_groups(tokmem, pairs_file):
    for name in ("one", "two", "three"):
        tokmem("proc", "add", name, "--pairs", str(pairs_file))
    assert tokmem("proc", "group", "one", "two", "--in", "home office", "--json").json("change")["names"] == [
        "one",
        "two",
    ]
    listed = tokmem("proc", "list", "--group", "home office", "--json").json("proc-list")["procedures"]
    assert [(one["name"], one["group"]) for one in listed] == [("one", "home office"), ("two", "home office")]
    assert tokmem("proc", "disable", "--group", "home office", "--json").json("change")["names"] == ["one", "two"]
    tokmem("proc", "group", "one")
    tokmem("proc", "enable", "three", "--group", "home office")
    states = {one["name"]: one["enabled"] for one in tokmem("proc", "list", "--json").json("proc-list")["procedures"]}
    assert states == {"one": False, "two": True, "three": True}
    wrong = tokmem("proc", "enable", "--group", "home ofice")
    assert wrong.code == 1 and "Did you mean 'home office'" in wrong.err
    assert tokmem("proc", "enable").code == 2


BAD_FILES = {
    "empty": (b"", "empty"),
    "header_only": (b"input,response\n", "pair"),
    "utf16": ("input,response\na,b\n".encode("utf-16"), "UTF-8"),
    "latin1": ("input,response\nMünchen,schön\n".encode("latin-1"), "UTF-8"),
    "other_columns": (b"prompt,answer\na,b\n", "prompt"),
    "empty_response": (b"input,response\na,b\nc,\n", "line 3"),
    "nul": (b"input,response\na,b\nc\0,d\n", "line 3"),
    "broken_json": (b'{"input": "a", "response": "b"}\n{"input": \n', "line 2"),
    "binary": (bytes(range(256)) * 20, "NUL byte"),
    "long_pair": (b"input,response\n" + b"x" * 200_000 + b",y\n", "long"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_bad_files_are_refused_in_one_sentence_and_whole(tokmem, tmp_path, kind):
    content, says = BAD_FILES[kind]
    file = tmp_path / "bad.csv"
    file.write_bytes(content)
    ended = tokmem("proc", "add", "bad", "--pairs", str(file))
    assert ended.code == 1 and ended.out == ""
    assert says in ended.err and str(file) in ended.err
    assert tokmem("proc", "list", "--json").json("proc-list")["procedures"] == []


def test_what_is_left_out_is_said_and_bad_rows_can_be(tokmem, tmp_path):
    file = tmp_path / "pairs.jsonl"
    rows = [{"input": "a", "response": "b"}, {"input": "c", "response": "no", "weight": 0}, {"input": "d"}]
    file.write_text("\n".join(map(json.dumps, rows)))
    ended = tokmem("proc", "add", "some", "--pairs", str(file))
    assert ended.code == 1 and "line 3" in ended.err and "--skip-bad" in ended.err and "--map" in ended.err
    ended = tokmem("proc", "add", "some", "--pairs", str(file), "--skip-bad")
    assert ended.code == 0 and "Left out 1 answer that is marked as not to be learned." in ended.out + ended.err
    assert tokmem("proc", "show", "some", "--json").json("proc-show")["pairs"] == 1


def test_a_huge_file_is_refused_quickly(tokmem, tmp_path):
    file = tmp_path / "huge.csv"
    with file.open("w") as out:
        out.write("input,response\n")
        out.writelines(f"message number {number} of many,answer {number}\n" for number in range(1_200_000))
    assert file.stat().st_size > 45_000_000
    ended = tokmem("proc", "add", "huge", "--pairs", str(file))
    assert ended.code == 1 and "20,000 pairs" in ended.err


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("proc", "add", "todo", "--pairs", "/nowhere/x.csv"), 1, "x.csv"),
        (("proc", "add", "todo", "--pairs", "/"), 1, "/"),
        (("proc", "show", "nothing"), 1, "nothing"),
        (("proc", "remove", "nothing"), 1, "nothing"),
        (("proc", "undo"), 1, ""),
        (("--profile", "nobody", "proc", "list"), 1, "nobody"),
        (("train", "nothing"), 1, "nothing"),
        (("train",), 1, "proc add"),
        (("ask", "hi", "--route", "nothing"), 1, "nothing"),
        (("ask", "hi"), 1, "model pull default --yes"),
        (("model", "pull", "default"), 1, "model pull default --yes"),
        (("--offline", "ask", "hi", "--json", "--quiet", "--model", "no-such-model"), 1, "no-such-model"),
        (("model", "info", "no-such-model"), 1, "no-such-model"),
        (("model", "remove", "default"), 1, "cache"),
        (("model", "use", "/nowhere/model.gguf"), 1, "/nowhere/model.gguf"),
        (("config", "set", "temperature", "hot"), 1, "number"),
        (("config", "set", "temperature", "9"), 1, "from 0 to 2"),
        (("route", "--batch", "/nowhere/q.jsonl"), 1, "q.jsonl"),
        (("profile", "delete", "default"), 1, "--yes"),
        (("profile", "switch", "nobody"), 1, "nobody"),
    ],
)
def test_what_cannot_be_done_is_said(tokmem, arguments, code, says):
    ended = tokmem(*arguments)
    assert (ended.code, ended.out) == (code, "")
    assert says in ended.err and len(ended.err.strip().splitlines()) == 1


def test_two_procedures_of_one_name(tokmem, pairs_file):
    tokmem("proc", "add", "todo", "--pairs", str(pairs_file))
    ended = tokmem("proc", "add", "todo", "--pairs", str(pairs_file))
    assert ended.code == 1 and "already" in ended.err and "proc import todo" in ended.err


BAD_BATCHES = {
    "empty": (b"\n\n", "no message"),
    "no_json": (b'{"query": "a"}\nhello\n', "line 2"),
    "other_key": (b'{"text": "a"}\n', "query"),
    "latin1": ('{"query": "schön"}'.encode("latin-1"), "UTF-8"),
    "list": (b'["a"]\n', "line 1"),
}


@pytest.mark.parametrize("kind", BAD_BATCHES)
def test_bad_batches_are_refused_before_the_model_is_loaded(tokmem, tmp_path, kind):
    content, says = BAD_BATCHES[kind]
    file = tmp_path / "batch.jsonl"
    file.write_bytes(content)
    ended = tokmem("route", "--batch", str(file))
    assert ended.code == 1 and says in ended.err and ended.out == ""
    assert tokmem("route", "--batch", "-", stdin=content).code == 1


@pytest.mark.parametrize(
    ("content", "queries"),
    [
        (b"buy milk\n\n  call Ann \r\n", ["buy milk", "call Ann"]),
        (b'{"query": "buy\\nmilk"}\n{"query": "call Ann"}\n', ["buy\nmilk", "call Ann"]),
        (b"[INST] hi [/INST]\n12\n", ["[INST] hi [/INST]", "12"]),
        ('\ufeff"quoted" {text}\n'.encode(), ['"quoted" {text}']),
    ],
    ids=["plain", "jsonl", "bracket", "quoted"],
)
def test_a_batch_is_lines_or_jsonl(tmp_path, content, queries):
    file = tmp_path / "batch"
    file.write_bytes(content)
    assert read_queries(str(file)) == queries


def test_stdin_that_is_no_text(tokmem):
    ended = tokmem("ask", "-", stdin=b"\xff\xfe\x00")
    assert ended.code == 1 and "UTF-8" in ended.err


def test_a_home_that_cannot_be_written(tokmem, tmp_path):
    in_the_way = tmp_path / "file"
    in_the_way.write_text("x")
    ended = tokmem("--home", str(in_the_way), "proc", "list")
    assert ended.code == 1 and "file is" in ended.err


def test_a_damaged_database_is_named(tokmem, pairs_file):
    tokmem("proc", "add", "todo", "--pairs", str(pairs_file))
    [file] = tokmem.home.glob("data/profiles/*/profile.sqlite")
    for beside in file.parent.glob("profile.sqlite-*"):
        beside.unlink()
    file.write_bytes(b"this is no database" * 1000)
    ended = tokmem("proc", "list")
    assert ended.code == 1 and str(file) in ended.err


def test_a_broken_settings_file_is_named(tokmem):
    tokmem("config", "set", "temperature", "0.5")
    config = tokmem.home / "config.toml"
    config.write_text("temperature = = 3\n")
    ended = tokmem("config", "show")
    assert ended.code == 1 and str(config) in ended.err
    assert tokmem("config", "path").code == 0


def test_settings(tokmem):
    assert tokmem("config", "set", "temperature", "0.5", "--json").json("config-set")["value"] == 0.5
    [row] = [r for r in tokmem("config", "show", "--json").json("config-show")["settings"] if r["key"] == "temperature"]
    assert row["value"] == 0.5 and row["source"].endswith("config.toml")
    tokmem("config", "set", "temperature", "0.9", "--only-profile")
    shown = tokmem("config", "show", TOKMEM_TOP_P="0.5").out
    assert re.search(r"temperature +0\.9 ", shown) and "TOKMEM_TOP_P" in shown
    tokmem("config", "reset", "temperature", "--only-profile")
    assert tokmem("config", "reset", "temperature", "--json").json("config-set")["source"] == "default"


def test_profiles(tokmem):
    assert tokmem("profile", "create", "anna", "--json").json("change")["action"] == "profile create"
    assert tokmem("profile", "create", "anna").code == 1
    tokmem("profile", "switch", "anna")
    tokmem("profile", "rename", "anna", "ann")
    found = tokmem("profile", "list", "--json").json("profile-list")["profiles"]
    assert [(one["name"], one["active"]) for one in found] == [("ann", True), ("default", False)]
    assert tokmem("profile", "delete", "ann", "--yes").code == 0
    assert "ann" not in tokmem("profile", "list").out


def test_models(tokmem, tiny_model_folder):
    models = tokmem("model", "list", "--json").json("model-list")["models"]
    assert [one["id"] for one in models if one["in_use"]] == ["smollm2-135m-instruct"]
    assert tokmem("model", "info", "default", "--json").json("model-info")["ready"] is False
    relative = os.path.relpath(tiny_model_folder)
    assert tokmem("model", "use", relative, "--json").json("change")["action"] == "model use"
    [row] = [r for r in tokmem("config", "show", "--json").json("config-show")["settings"] if r["key"] == "model"]
    assert row["value"] == str(tiny_model_folder.resolve())


def test_quiet_leaves_only_data_and_errors(tokmem, pairs_file):
    ended = tokmem("--quiet", "proc", "add", "todo", "--pairs", str(pairs_file))
    assert (ended.out, ended.err) == ("", "")
    assert tokmem("--quiet", "proc", "show", "nothing").err != ""


def test_no_colour_without_a_terminal(tokmem, pairs_file):
    tokmem("proc", "add", "todo", "--pairs", str(pairs_file))
    assert "\x1b" not in tokmem("proc", "show", "todo").out + tokmem("proc", "show", "x").err


def on_a_terminal(tokmem: CommandLine, answer: bytes, *arguments: str, **environment: str) -> tuple[int, str]:
    """Run a command whose stdin and stderr are a terminal; returns the exit code and what was shown there."""
    mine, theirs = os.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "tui", *arguments],
            stdin=theirs,
            stdout=subprocess.DEVNULL,
            stderr=theirs,
            env={**tokmem.environment, "TERM": "xterm", **environment},
        )
        os.write(mine, answer)
        code = process.wait(timeout=SECONDS)
        return code, os.read(mine, 65536).decode()
    finally:
        os.close(mine)
        os.close(theirs)


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="this system has no pseudo-terminals")
class TestTerminal:
    def test_erasing_asks_for_the_name(self, tokmem):
        tokmem("profile", "create", "anna")
        code, shown = on_a_terminal(tokmem, b"y\n", "profile", "delete", "anna")
        assert code == 1 and "for good" in shown and "checkpoints, chats and backups" in shown
        assert "type its name" in shown and "Nothing was erased" in shown
        code, shown = on_a_terminal(tokmem, b"anna\n", "profile", "delete", "anna")
        assert code == 0 and "erased" in shown

    def test_a_download_is_asked_for_with_size_and_licence(self, tokmem):
        code, shown = on_a_terminal(tokmem, b"\n", "ask", "hi")
        assert code == 1 and "88.6 MiB" in shown and "Apache-2.0" in shown and "Nothing was downloaded" in shown

    def test_colours_are_off_on_request(self, tokmem):
        assert "\x1b[31m" in on_a_terminal(tokmem, b"", "proc", "show", "x")[1]
        assert "\x1b[31m" not in on_a_terminal(tokmem, b"", "proc", "show", "x", NO_COLOR="1")[1]


def test_what_show_prints_can_be_imported_again(tokmem, pairs_file, tmp_path):
    tokmem("proc", "add", "todo", "--pairs", str(pairs_file))
    copy = tmp_path / "copy.json"
    shown = json.loads(tokmem("proc", "show", "todo", "--json").out)
    copy.write_text(json.dumps(shown))
    made = tokmem("proc", "add", "again", "--pairs", str(copy), "--json").json("proc-add")
    assert (made["pairs"], made["held_out"], made["description"]) == (8, 2, "One to-do line")
