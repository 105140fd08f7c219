"""``ask --batch``: many messages from a file, their answers in the same form, and going on where it stopped."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from tests.cli.conftest import CommandLine, interrupt_when

SAID = "You said: {} (0 messages before)"


def lines_of(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_json_lines_in_and_out(scripted: CommandLine, tmp_path: Path) -> None:
    rows = [{"id": 1, "query": "hello"}, {"id": 2, "query": "bye, then"}]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    ended = scripted("ask", "--batch", "-", stdin=text)
    assert ended.code == 0
    assert lines_of(ended.out) == [
        {**row, "response": SAID.format(row["query"]), "route": "none", "probability": 0.96} for row in rows
    ]
    file, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    file.write_text(text, "utf-8")
    ended = scripted("ask", "--batch", str(file), "--out", str(out), "--into", "answer", "--route", "none")
    assert ended.out == "" and "2 answers" in ended.err
    assert [line["answer"] for line in lines_of(out.read_text("utf-8"))] == [SAID.format(row["query"]) for row in rows]
    assert sorted(tmp_path.glob("*.jsonl*")) == [file, out], "no journal is left"


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_column_of_a_table_in_and_another_out(scripted: CommandLine, tmp_path: Path, delimiter: str) -> None:
    file, out = tmp_path / "in.csv", tmp_path / "out.csv"
    told = io.StringIO(newline="")
    csv.writer(told, delimiter=delimiter).writerows([["id", "Note"], ["1", f'say "hi"{delimiter}\nnow'], ["2", "bye"]])
    file.write_text(told.getvalue(), "utf-8", newline="")
    ended = scripted("ask", "--batch", str(file), "--column", "Note", "--out", str(out))
    assert ended.code == 0
    rows = list(csv.reader(io.StringIO(out.read_text("utf-8"), newline=""), delimiter=delimiter))
    assert rows[0] == ["id", "Note", "response", "route", "probability"]
    message = f'say "hi"{delimiter}\nnow'
    assert rows[1:] == [
        ["1", message, SAID.format(message), "none", "0.96"],
        ["2", "bye", SAID.format("bye"), "none", "0.96"],
    ]
    shown = scripted("ask", "--batch", str(file), "--column", "Note", "--json").out
    assert [line["Note"] for line in lines_of(shown)] == [message, "bye"]


def test_it_goes_on_where_it_stopped(scripted: CommandLine, tmp_path: Path) -> None:
    file, out, journal = (tmp_path / name for name in ("in.jsonl", "out.jsonl", "out.jsonl.part"))
    file.write_text('{"query": "first"}\n{"query": "!slow"}\n{"query": "last"}\n', "utf-8")
    command = ("ask", "--batch", str(file), "--out", str(out))
    process = scripted.start(*command)
    ended = interrupt_when(process, lambda: journal.exists() and "first" in journal.read_text("utf-8"))
    assert ended.code == 130 and "goes on where this one stopped" in ended.err and not out.exists()
    # As if the second had been answered, and the third been cut off by a power cut while it was written.
    answer = {"response": "slow", "route": "none", "probability": 1.0}
    with journal.open("a", encoding="utf-8") as more:
        more.write(json.dumps({"row": 1, "answer": answer}) + '\n{"row": 2, "ans')
    ended = scripted(*command)
    assert ended.code == 0 and "2 of 3 messages were answered before" in ended.err
    assert [line["response"] for line in lines_of(out.read_text("utf-8"))] == [
        SAID.format("first"), "slow", SAID.format("last"),
    ]  # fmt: skip


def test_a_journal_of_other_messages_is_left_alone(scripted: CommandLine, tmp_path: Path) -> None:
    file, out, journal = (tmp_path / name for name in ("in.jsonl", "out.jsonl", "out.jsonl.part"))
    file.write_text('{"query": "first"}\n', "utf-8")
    journal.write_text('{"answers": "others"}\n', "utf-8")
    ended = scripted("ask", "--batch", str(file), "--out", str(out))
    assert ended.code == 1 and "answers to other messages" in ended.err
    assert journal.read_text("utf-8") == '{"answers": "others"}\n'


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        ("", (), "holds no message"),
        ('{"query": "a"}\nno\n', (), "line 2: this is no JSON object"),
        ('{"query": "a"}\n{"query": 3}\n', (), "line 2: there is no text under 'query'"),
        ("frage,id\na,1\n", (), "no column for the message; it has 'frage', 'id'"),
        ("frage,id\na,1\n", ("--column", "x"), "no column 'x'"),
        ("query,id\na\n", (), "line 2: 1 fields"),
        ('query,id\n"a,1\n', (), "line 2: quotes do not match"),
        ("query,query\na,1\n", (), "two columns of one name"),
        ("query,response\na,b\n", (), "a column 'response' already"),
    ],
)
def test_bad_files_are_refused_before_the_model_is_loaded(
    tokmem: CommandLine, tmp_path: Path, content: str, options: tuple[str, ...], said: str
) -> None:
    file = tmp_path / "in.txt"
    file.write_text(content, "utf-8")
    ended = tokmem("ask", "--batch", str(file), *options)
    assert ended.code in (1, 2) and said in ended.err


def test_options_that_do_not_go_together(tokmem: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "in.jsonl"
    file.write_text('{"query": "a"}\n', "utf-8")
    for arguments in (
        ("ask",),
        ("ask", "hi", "--batch", str(file)),
        ("ask", "hi", "--out", "x"),
        ("ask", "--batch", str(file), "--run"),
    ):
        assert tokmem(*arguments).code == 2
