"""JSON of other programs: several documents, comments, columns, values that are no text, preferences."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiles.pair_files.json_text import decode, decode_several, without_comments, written
from profiles.pair_files.pairs_file import PairsFile, load_pairs, read_pairs_file
from profiles.pair_files.row_forms import ColumnMapping
from tokmem_desk.errors import BadInputError
from tokmem_desk.procedures import ExamplePair

AB, CD = ExamplePair("a", "b"), ExamplePair("c", "d")
ROW_AB, ROW_CD = '{"input": "a", "response": "b"}', '{"input": "c", "response": "d"}'


def read(tmp_path: Path, content: object, name: str = "pairs.jsonl", mapping: str | None = None) -> PairsFile:
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return read_pairs_file(path, None if mapping is None else ColumnMapping.parse(mapping))


@pytest.mark.parametrize("name", ["pairs.json", "pairs.jsonl", "pairs.jsonc"])
@pytest.mark.parametrize(
    "text",
    [
        ROW_AB + ROW_CD,
        f"{ROW_AB},\n{ROW_CD}\n",
        f"{ROW_AB} {ROW_CD}",
        json.dumps(json.loads(ROW_AB), indent=1) + "\n" + json.dumps(json.loads(ROW_CD), indent=1),
        f"[\n{ROW_AB},\n{ROW_CD},\n]",
        f'[ // "mine"\n{ROW_AB}, /* two\nlines */ {ROW_CD} // last\n]',
    ],
)
def test_documents_in_a_row_and_comments(tmp_path: Path, text: str, name: str) -> None:
    assert read(tmp_path, text, name).pairs == (AB, CD)


def test_comments_before_the_document(tmp_path: Path) -> None:
    for name in ("pairs.json", "pairs.jsonc"):
        assert read(tmp_path, f"// mine\n/* and\nmore */\n[{ROW_AB}, {ROW_CD}]", name).pairs == (AB, CD)
        assert read(tmp_path, f'{{"train": [{ROW_AB},\n/* "x */ {ROW_CD},],}}', name).pairs == (AB, CD)


def test_bad_rows_keep_their_lines(tmp_path: Path) -> None:
    pretty = '{\n"input": "a",\n"response": "b"\n}\n\n{\n"input": "c"\n}\n'
    assert [one.line for one in read(tmp_path, pretty, "p.json").problems] == [6]
    commented = f'[ // x\n{ROW_AB}, /* 2\n3 */\n{{"input": "c"}},\n]'
    assert [one.line for one in read(tmp_path, commented, "p.json").problems] == [4]
    with pytest.raises(BadInputError, match="line 6: not valid JSON"):
        read(tmp_path, pretty.replace('"input": "c"\n', '"input" "c"\n').replace("\n\n{\n", "\n\n{"), "p.json")


def test_what_looks_like_a_comment_in_a_text_stays(tmp_path: Path) -> None:
    row = {"input": 'http://x /* "y" */ ,]', "response": "a,}"}
    assert read(tmp_path, f"[{json.dumps(row)},]", "p.json").pairs == (ExamplePair(**row),)


@given(
    st.recursive(
        st.text() | st.integers() | st.booleans() | st.none(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_without_comments_changes_no_valid_document(document: object) -> None:
    text = json.dumps(document)
    assert decode(without_comments(text)) == document
    assert [value for _, value in decode_several(f"{text},{text}")] == [document] * 2
    assert document is None or decode(str(written([document])))[0] == document


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    doubled = '{"input": "a", "response": "b", "input": "z"}'
    for text, name in ((f"{ROW_CD}\n{doubled}", "p.jsonl"), (f"[{ROW_CD},\n{doubled}]", "p.json")):
        found = read(tmp_path, text, name)
        assert found.pairs == (CD,)
        assert [(one.line, one.reason) for one in found.problems] == [(2, "the key 'input' stands twice")]
    with pytest.raises(BadInputError, match="the key 'train' stands twice"):
        read(tmp_path, f'{{"train": [{ROW_AB}],\n"train": [{ROW_CD}]}}', "p.json")


# Values that are no text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("1", "1"),
        ("1.10", "1.10"),
        ("-2e5", "-2e5"),
        ("true", "true"),
        ('["Bob", 1.50]', '["Bob", 1.50]'),
        (
            '{"name":"Bob",  "price":2.00, "due": null, "é": "ü"}',
            '{"name": "Bob", "price": 2.00, "due": null, "é": "ü"}',
        ),
    ],
)
def test_a_mapping_takes_values_as_they_are_written(tmp_path: Path, value: str, text: str) -> None:
    content = f'{{"input": "a", "response": {value}}}\n{ROW_CD}\n'
    refused = read(tmp_path, content)
    assert refused.pairs == (CD,) and "not text in quotes" in refused.problems[0].reason
    assert refused.as_written == ColumnMapping("input", "response")
    with pytest.raises(BadInputError) as caught:
        load_pairs(tmp_path / "pairs.jsonl", advice=" Or something else.")
    assert "as JSON text with --map input=input,response=response." in (caught.value.next_step or "")
    found = read(tmp_path, content, mapping=str(refused.as_written))
    assert found.pairs == (ExamplePair("a", text), CD) and found.as_written is None
    assert found.notes == ("1 row has a number, true or false, a list or an object, which is taken as JSON text.",)


@pytest.mark.parametrize("value", ["null", "NaN", "-Infinity"])
def test_no_value_is_no_answer_under_a_mapping_either(tmp_path: Path, value: str) -> None:
    content = f'{{"input": "a", "response": {value}}}\n{ROW_CD}\n'
    assert read(tmp_path, content).as_written is None
    found = read(tmp_path, content, mapping="input=input,response=response")
    assert found.pairs == (CD,) and found.problems[0].reason == "the response is empty"


def test_a_label_that_is_a_number_and_an_answer_of_alpaca(tmp_path: Path) -> None:
    found = read(
        tmp_path, '{"text": "great", "label": 1}\n{"text": "bad", "label": 0}', mapping="input=text,response=label"
    )
    assert [(pair.input, pair.response) for pair in found.pairs] == [("great", "1"), ("bad", "0")]
    alpaca = {"instruction": "Add", "input": "2, 3", "output": 5}
    suggested = read(tmp_path, alpaca).as_written
    assert read(tmp_path, alpaca, mapping=str(suggested)).pairs == (ExamplePair("Add\n\n2, 3", "5"),)


def test_a_mapping_leads_inside_and_counts_from_1(tmp_path: Path) -> None:
    row = {"fields": {"Prompt": "a"}, "responses": [{"values": {"response": {"value": "b"}}}]}
    refused = read(tmp_path, row)
    paths = ("fields.Prompt", "responses.1.values.response.value")
    assert all(repr(path) in refused.problems[0].reason and path in refused.columns for path in paths)
    assert read(tmp_path, row, mapping=f"input={paths[0]},response={paths[1]}").pairs == (AB,)
    assert read(tmp_path, row, mapping=f"input={paths[0].lower()},response=responses.2.x").problems
    lists = [["a", "b"], ["c", "d"]]
    assert "input=1,response=2 takes" in read(tmp_path, lists, "p.json").problems[0].reason
    assert read(tmp_path, lists, "p.json", mapping="input=1,response=2").pairs == (AB, CD)


@pytest.mark.parametrize(
    "document",
    [{"input": ["a", "c"], "response": ["b", "d"]}, {"input": {"0": "a", "1": "c"}, "response": {"0": "b", "1": "d"}}],
)
def test_columns_beside_each_other(tmp_path: Path, document: object) -> None:
    for indent in (None, 1):
        found = read(tmp_path, json.dumps(document, indent=indent), "p.json")
        assert found.pairs == (AB, CD) and found.forms == ("columns",)


@pytest.mark.parametrize(
    "row",
    [
        {"input": ["a"], "response": ["b", "c"]},
        {"input": {"x": "a"}, "response": {"y": "b"}},
        {"input": [], "response": []},
    ],
)
def test_lists_and_objects_that_are_no_columns(tmp_path: Path, row: object) -> None:
    assert "not text in quotes" in read(tmp_path, row).problems[0].reason


# Conversations and preferences

USER, GOOD, BAD = (
    {"role": "user", "content": "a"},
    {"role": "assistant", "content": "b"},
    {"role": "assistant", "content": "bad"},
)


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "a", "chosen": "b", "rejected": "bad"},
        {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]},
        {"chosen": [USER, GOOD], "rejected": [USER, BAD]},
        {"prompt": "a", "chosen": [USER, GOOD], "rejected": [USER, BAD]},
        {"messages": [USER], "chosen": GOOD, "rejected": BAD},
        {"conversations": [{"from": "human", "value": "a"}], "chosen": {"from": "gpt", "value": "b"}, "rejected": ""},
        {"input": {"messages": [USER], "tools": []}, "preferred_output": [GOOD], "non_preferred_output": [BAD]},
        {"instruction": "a", "input": "", "chosen": "b", "rejected": "bad"},
        {"question": "a", "chosen": "b", "rejected": "bad"},
    ],
)
def test_of_preferences_only_the_chosen_answer_is_learned(tmp_path: Path, row: dict[str, object]) -> None:
    found = read(tmp_path, row)
    assert found.pairs == (AB,) and found.forms == ("preferred",)
    assert found.notes == ("1 row names a rejected answer, which is not learned.",)
    assert read(tmp_path, [row, row], "p.json").pairs == (AB, AB)


def test_what_came_before_a_chosen_answer_is_not_learned(tmp_path: Path) -> None:
    before = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]
    found = read(tmp_path, {"prompt": [*before, USER], "chosen": [GOOD], "rejected": [BAD]})
    assert found.pairs == (AB,) and found.dropped == {"history": 1, "rejected": 1}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"chosen": "b", "rejected": "c"}, "no message with an answer in words"),
        ({"prompt": "a", "chosen": 1}, "the conversation is a number"),
        ({"prompt": 1, "chosen": "b"}, "the conversation is a number"),
        ({"prompt": [USER], "completion": [{"role": "assistant"}]}, "message 2 is not plain text"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "tool_use"}]}, GOOD]},
            "message 1 is not plain text: it has 'tool_use'",
        ),
    ],
)
def test_conversations_that_hold_no_pair(tmp_path: Path, row: dict[str, object], reason: str) -> None:
    assert read(tmp_path, row).problems[0].reason.startswith(reason)


def test_other_places_of_a_conversation(tmp_path: Path) -> None:
    for row in ({"conversation": [USER, GOOD]}, {"prompt": [USER], "completion": [GOOD]}):
        assert read(tmp_path, row).pairs == (AB,)
    assert read(tmp_path, [USER, GOOD], "p.json").pairs == (AB,)


@pytest.mark.parametrize(
    ("row", "note"),
    [
        ({"messages": [USER, GOOD, BAD]}, "1 answer follows no message of the person and is not learned."),
        ({"messages": [BAD, USER, GOOD]}, "1 answer follows no message of the person and is not learned."),
        (
            {"messages": [USER, {**GOOD, "reasoning_content": "hm"}]},
            "1 answer has its reasoning beside it, which is not learned.",
        ),
        (
            {"messages": [USER, GOOD], "images": ["1.jpg"]},
            "1 row has images, videos or sounds, which are not learned.",
        ),
    ],
)
def test_what_of_a_conversation_is_not_learned_is_said(tmp_path: Path, row: dict[str, object], note: str) -> None:
    found = read(tmp_path, row)
    assert found.pairs == (AB,) and found.notes == (note,)
