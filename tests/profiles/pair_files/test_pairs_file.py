"""Pairs from files: every good form, and every kind of bad one."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import profiles.pair_files.pairs_file
from profiles.pair_files.json_lines import row_lines
from profiles.pair_files.pairs_file import MAX_BYTES, MAX_PAIRS, MAX_PROBLEMS, RowProblem, load_pairs, read_pairs_file
from tokmem_desk.errors import BadInputError, NotFoundError, StorageError, TokmemError
from tokmem_desk.procedures import ExamplePair

TWO = (ExamplePair("coffee 3.50", "ledger coffee"), ExamplePair("tea; hot, 2", 'a "quoted"\nanswer'))
BODY = 'coffee 3.50{d}ledger coffee{e}"tea; hot, 2"{d}"a ""quoted""\nanswer"{e}'


def put(tmp_path: Path, content: str | bytes, name: str = "pairs.txt") -> Path:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def row(input: object = "a", response: object = "b", **more: object) -> str:
    return json.dumps({"input": input, "response": response, **more}, ensure_ascii=False)


@pytest.mark.parametrize("name", ["pairs.csv", "pairs.txt", "pairs"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_csv_with_any_delimiter_and_ending(tmp_path: Path, name: str, bom: bytes, delimiter: str, ending: str) -> None:
    text = f"input{delimiter}response{ending}" + BODY.format(d=delimiter, e=ending)
    found = load_pairs(put(tmp_path, bom + text.encode(), name))
    assert found.pairs == TWO and found.held_out == () and found.procedure_name is None


def test_csv_columns_in_any_order_among_others(tmp_path: Path) -> None:
    path = put(tmp_path, '\n\n id ;Response; INPUT \n1;b;a\n\n;;\n2;"d";c;\n', "x.csv")
    assert load_pairs(path).pairs == (ExamplePair("a", "b"), ExamplePair("c", "d"))


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("name", ["pairs.jsonl", "pairs.json", "pairs.csv"])
def test_jsonl_whatever_its_name(tmp_path: Path, bom: bytes, name: str) -> None:
    lines = f"\n{row('a', 'b', references=['b', 'B'])}\n\n  {row('ü', 'x', id=3)}"
    found = load_pairs(put(tmp_path, bom + lines.encode(), name))
    assert found.pairs == (ExamplePair("a", "b", ("b", "B")), ExamplePair("ü", "x"))


@pytest.mark.parametrize("indent", [None, 2])
def test_a_procedure_with_train_and_test(tmp_path: Path, indent: int | None) -> None:
    document = {
        "name": "ledger",
        "description": "Write it down.",
        "pattern": r"\d+",
        "license": "CC0",
        "train": [{"input": "a", "response": "b"}],
        "test": [{"input": "c", "response": "d", "references": ["d", "e"]}],
    }
    found = load_pairs(put(tmp_path, json.dumps(document, indent=indent), "ledger.json"))
    assert (found.procedure_name, found.description, found.pattern) == ("ledger", "Write it down.", r"\d+")
    assert found.pairs == (ExamplePair("a", "b"),) and found.held_out == (ExamplePair("c", "d", ("d", "e")),)


@pytest.mark.parametrize("missing", ["train", "test"])
@pytest.mark.parametrize("value", [None, []])
def test_either_part_may_be_absent_or_empty(tmp_path: Path, missing: str, value: object) -> None:
    document = {"train": [{"input": "a", "response": "b"}], "test": [{"input": "c", "response": "d"}]}
    document.pop(missing)
    for variant in (document, {**document, missing: value}):
        found = load_pairs(put(tmp_path, json.dumps(variant)))
        assert len(found.pairs) + len(found.held_out) == 1


def test_a_json_list_of_pairs(tmp_path: Path) -> None:
    assert load_pairs(put(tmp_path, f"\n [{row()},\n{row('c', 'd')}]")).pairs == (
        ExamplePair("a", "b"),
        ExamplePair("c", "d"),
    )


def test_one_row_is_enough_here(tmp_path: Path) -> None:
    for text in ("input,response\na,b\n", row(), f"[{row()}]"):
        assert load_pairs(put(tmp_path, text)).pairs == (ExamplePair("a", "b"),)


@pytest.mark.parametrize(
    ("content", "reason", "step"),
    [
        (b"", "is empty", "Use CSV with the columns input and response"),
        (b"\xef\xbb\xbf", "is empty", "Use CSV"),
        (b"\n \n\r\n", "is empty", "Use CSV"),
        (b"input,response\n", "holds no pair", "Use CSV"),
        (b"input,response\n\n,\n", "holds no pair", "Use CSV"),
        (b"[]", "holds no pair", "Use CSV"),
        (b'{"train": [], "test": null}', "holds no pair", "Use CSV"),
        ("input,response\nä,b".encode("utf-16"), "is UTF-16 text, not UTF-8", "Save As and the encoding UTF-8"),
        ("input,response\nä,b".encode("utf-16-le"), "line 1: this looks like UTF-16", "encoding UTF-8"),
        ("input,response\nä,b".encode("utf-32"), "is UTF-32 text", "encoding UTF-8"),
        (
            "input,response\na,b\nä,b".encode("latin-1"),
            "line 3: this is not UTF-8 text; it looks like Latin-1",
            "UTF-8",
        ),
        ((row() + "\n" + row("ä")).encode("cp1252"), "line 2: this is not UTF-8 text", "encoding UTF-8"),
        (f"[\n{row('ä')}]".encode("latin-1"), "line 2: this is not UTF-8", "encoding UTF-8"),
        (b"input,response\na\0b,c\n", "line 2: there is a NUL byte", "plain text"),
        (b"PK\x03\x04rest of a workbook", "is a zip or Excel file", "CSV UTF-8"),
        (b"\x1f\x8b\x08rest", "is a gzip file", "Unpack"),
        (b'{"name": "x",\n "tests": []}', "has the keys? 'name', 'tests'|JSON with the keys", "Use CSV"),
        (b"[1, 2\n, }", "line 2: not valid JSON", "Use CSV"),
        (b'{\n"train": "all"}', "'train' is text, not a list of pairs", "Use CSV"),
        (b"[" * 100_000, "not usable JSON", "Use CSV"),
        (b"[" + b"9" * 5000 + b"]", "not usable JSON", "Use CSV"),
        (b'{\n"train": [], "pattern": "("}', "'pattern' is not a regular expression", "leave it out"),
        (b'{\n"train": [], "description": 7}', "'description' is not usable text", "leave it out"),
    ],
)
def test_files_that_cannot_be_used_at_all(tmp_path: Path, content: bytes, reason: str, step: str) -> None:
    path = put(tmp_path, content)
    for read in (read_pairs_file, load_pairs):
        with pytest.raises(BadInputError, match=reason) as caught:
            read(path)
        assert str(path) in caught.value.message and step in caught.value.next_step


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (
            "prompt,completion",
            "it has 'prompt', 'completion'. Rename 'prompt' to 'input'? Rename 'completion' to 'resp",
        ),
        (
            "inputs,Responce",
            "it has 'inputs', 'responce'. Rename 'inputs' to 'input'? Rename 'responce' to 'response'?",
        ),
        ("input;output;id", "it has 'input', 'output', 'id'. Rename 'output' to 'response'?"),
        ("input:response", "it has 'input:response'."),
        ("frage|antwort", "it has 'frage', 'antwort'."),
        ("coffee 3.50", "the first line must name the columns 'input' and 'response'; it has 'coffee 3.50'."),
    ],
)
def test_other_columns_are_named_with_the_nearest(tmp_path: Path, header: str, said: str) -> None:
    with pytest.raises(BadInputError) as caught:
        load_pairs(put(tmp_path, f"{header}\na,b\n", "x.csv"))
    assert said in caught.value.message


def test_a_column_that_comes_twice(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="has two columns 'input'"):
        load_pairs(put(tmp_path, "input,response,input\na,b,c\n"))


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        (
            'input,response\na,b\n,c\n"x\ny",\n  ,  \nd,e\n',
            [(3, "the input is empty"), (4, "the response is empty")],
        ),
        ("input,response\na,b\none\n", [(3, "no 'response' (found: 'input')")]),
        ("input,response\na,b\nHello, you,c\n", [(3, "3 fields, but the header has 2: put quotes around")]),
        ('input,response\na,b\nc,"open\nd,e\n', [(3, "a quote is opened here and never closed")]),
        ('input,response\n"a"x,b\nc,d\n', [(2, "quotes do not match")]),
        (f"input,response\n{'x' * 140_000},b\nc,d\n", [(2, "longer than 100,000 characters")]),
        (f"input,response\n{'x' * 100_001},b\nc,d\n", [(2, "is 100,001 characters long")]),
        (
            "\n".join(
                [
                    row(),
                    '{"input": "a", "response": }',
                    row(response=""),
                    row(response=42),
                    row(input=None),
                    row(references="x"),
                    row(references=[1]),
                    '["a", "b"]',
                    "hello",
                    '{"question": "a", "answer": "b"}',
                    r'{"input": "\ud800", "response": "b"}',
                    r'{"input": "a\u0000", "response": "b"}',
                    "[" * 100_000,
                    '{"input": "a", "response": "b"',
                ]
            ),
            [
                (2, "not valid JSON: Expecting value at column 28"),
                (3, "the response is empty"),
                (4, "response is a number, not text in quotes"),
                (5, "input is null, not text in quotes"),
                (6, "references is not a list of texts"),
                (7, "references is not a list of texts"),
                (8, "a list, not an object with 'input' and 'response'"),
                (9, "not valid JSON"),
                (10, "no 'input' and 'response' (found: 'question', 'answer'). Rename 'question' to 'input'?"),
                (11, "the input holds a character that is not valid Unicode"),
                (12, "the input holds a NUL byte"),
                (13, "not usable JSON"),
                (14, "not valid JSON"),
            ],
        ),
        (
            f'[\n{row()},\n"text",\n{row(response="")}\n]',
            [(3, "text, not an object"), (4, "the response is empty")],
        ),
        (
            f'{{"a": [1,\n2], "train":\n[{row()},\n\n3],\n"test": [{row()}, true,\n{row(response=" ")}]}}',
            [(5, "a number, not an object"), (6, "true or false, not"), (7, "the response is empty")],
        ),
    ],
)
def test_bad_rows_are_named_by_line_and_the_others_kept(
    tmp_path: Path, text: str, problems: list[tuple[int, str]]
) -> None:
    path = put(tmp_path, text)
    found = read_pairs_file(path)
    assert [problem.line for problem in found.problems] == [line for line, _ in problems]
    for problem, (_, reason) in zip(found.problems, problems, strict=True):
        assert reason in problem.reason
    assert found.pairs
    with pytest.raises(BadInputError) as caught:
        load_pairs(path)
    assert f"{path}, line {problems[0][0]}: " in caught.value.message
    assert "nothing was imported" in caught.value.next_step
    if len(problems) > 3:
        assert f"(and {len(problems) - 3} more)" in caught.value.message


def test_only_bad_rows_are_problems_rather_than_an_empty_file(tmp_path: Path) -> None:
    found = read_pairs_file(put(tmp_path, '{"input": "a", "respons', "x.jsonl"))
    assert found.pairs == () and [problem.line for problem in found.problems] == [1]


def test_a_file_that_is_something_else_is_not_read_to_its_end(tmp_path: Path) -> None:
    found = read_pairs_file(put(tmp_path, row() + "\n" + "rubbish\n" * 100_000))
    assert len(found.problems) == MAX_PROBLEMS and found.pairs == (ExamplePair("a", "b"),)
    with pytest.raises(BadInputError, match=r"\(and at least 997 more\)"):
        load_pairs(tmp_path / "pairs.txt")


def test_twenty_thousand_pairs_and_not_one_more(tmp_path: Path) -> None:
    most = "input,response\n" + "a,b\n" * MAX_PAIRS
    assert len(load_pairs(put(tmp_path, most)).pairs) == MAX_PAIRS
    for text in (most + "a,b\n", f"{row()}\n" * (MAX_PAIRS + 1), "[" + f"{row()},\n" * MAX_PAIRS + row() + "]"):
        with pytest.raises(BadInputError, match="holds more than 20,000 pairs.*keep the best, or split"):
            load_pairs(put(tmp_path, text))


def test_a_csv_of_50_mb_is_read_no_further_than_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "big.csv"
    line = "What did I spend on coffee in March?,About twelve\n"
    with path.open("w") as file:
        file.write("input,response\n")
        for _ in range(50 * 2**20 // (len(line) * 1000)):
            file.write(line * 1000)
    assert path.stat().st_size > 49 * 2**20
    monkeypatch.setattr(profiles.pair_files.pairs_file, "MAX_LINES", MAX_PAIRS + 10)  # a later line is an error
    with pytest.raises(BadInputError, match="holds more than 20,000 pairs"):
        load_pairs(path)


def test_a_file_beyond_64_mb_is_not_even_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "big.csv"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 2**20)
    monkeypatch.setattr(Path, "open", None)
    with pytest.raises(BadInputError, match=r"big\.csv is 65 MB; a file of pairs may be 64 MB"):
        load_pairs(path)


def test_one_endless_line_is_no_header(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="the first line must name the columns"):
        load_pairs(put(tmp_path, "x" * 5_000_000))


def test_paths_that_are_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "x", "ledger.csv")
    with pytest.raises(NotFoundError, match="There is no file .*ledgr.csv. Did you mean 'ledger.csv'?"):
        load_pairs(tmp_path / "ledgr.csv")
    with pytest.raises(NotFoundError, match="There is no file"):
        load_pairs(tmp_path / "missing" / "x.csv")
    with pytest.raises(BadInputError, match="is a folder, not a file of pairs"):
        load_pairs(tmp_path)
    with pytest.raises(StorageError, match="could not be read: File name too long"):
        load_pairs(tmp_path / ("x" * 300))
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(BadInputError, match="is not a plain file"):
            load_pairs(tmp_path / "pipe")

    def refuse(*_: object) -> io.BytesIO:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(profiles.pair_files.pairs_file.Path, "open", refuse)
    with pytest.raises(StorageError, match=r"ledger\.csv could not be read: there is no permission"):
        load_pairs(tmp_path / "ledger.csv")


texts = st.text(min_size=1, max_size=30).filter(lambda text: text.strip() and "\0" not in text)
pairs = st.lists(st.builds(ExamplePair, texts, texts), min_size=1, max_size=6)
roomy = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@roomy
@given(pairs=pairs, delimiter=st.sampled_from(",;\t"), quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
def test_what_the_csv_module_writes_is_read_back(
    tmp_path: Path, pairs: list[ExamplePair], delimiter: str, quoting: int
) -> None:
    with (tmp_path / "x.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter, quoting=quoting)
        writer.writerow(["input", "response"])
        writer.writerows([pair.input, pair.response] for pair in pairs)
    assert load_pairs(tmp_path / "x.csv").pairs == tuple(pairs)


@roomy
@given(pairs=pairs, ascii_only=st.booleans())
def test_what_the_json_module_writes_is_read_back(tmp_path: Path, pairs: list[ExamplePair], ascii_only: bool) -> None:
    objects = [{"input": pair.input, "response": pair.response} for pair in pairs]
    lines = "\n".join(json.dumps(item, ensure_ascii=ascii_only) for item in objects)
    assert load_pairs(put(tmp_path, lines)).pairs == tuple(pairs)
    for document in (objects, {"train": objects}):
        text = json.dumps(document, ensure_ascii=ascii_only, indent=1)
        assert load_pairs(put(tmp_path, text)).pairs == tuple(pairs)


@roomy
@given(content=st.one_of(st.binary(max_size=200), st.text(alphabet='{}[]",:;\n\r\t inputresponse', max_size=80)))
def test_any_bytes_give_pairs_or_a_sentence(tmp_path: Path, content: str | bytes) -> None:
    path = put(tmp_path, content)
    try:
        found = read_pairs_file(path)
    except TokmemError as caught:
        assert str(path) in caught.message  # noqa: PT017 - either outcome is right, and each has its check
    else:
        assert found.pairs or found.held_out or found.problems
        assert all(isinstance(problem, RowProblem) and problem.line >= 1 for problem in found.problems)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@roomy
@given(document=st.lists(json_values, max_size=4) | st.dictionaries(st.text(max_size=4), json_values, max_size=4))
def test_lines_of_elements_in_any_document(document: object) -> None:
    # With this indent each element of an outer list begins a line of its own.
    text = json.dumps(document, indent=1)
    lines = text.split("\n")
    found = row_lines(text)
    lists = {"": document} if isinstance(document, list) else document
    assert isinstance(lists, dict)
    assert found.keys() == {key for key, value in lists.items() if isinstance(value, list)}
    depth = 1 if isinstance(document, list) else 2
    for key, places in found.items():
        assert len(places) == len(lists[key]) and places == sorted(set(places))
        for line in places:
            indent = len(lines[line - 1]) - len(lines[line - 1].lstrip(" "))
            assert indent == depth
