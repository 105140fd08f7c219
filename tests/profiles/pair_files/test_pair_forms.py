"""Forms of other programs, mapped columns, pasted tables, and what is written to be read back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from profiles.pair_files.pairs_file import OtherColumnsError, load_pairs, read_pairs_file
from profiles.pair_files.pasted import is_table, read_pasted
from profiles.pair_files.row_forms import DROPPED_WORDS, ColumnMapping, guess_mapping
from profiles.pair_files.tab_rows import table_rows
from profiles.pair_files.writers import SUFFIXES, TEMPLATE, pairs_text, write_template
from profiles.store.pair_rules import pair_fault
from tokmem_desk.errors import BadInputError, ConflictError, UsageError
from tokmem_desk.procedures import ExamplePair

MAP = ColumnMapping.parse("input=Prompt, response=answer")


def put(tmp_path: Path, content: object, name: str = "pairs.jsonl") -> Path:
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


ALPACA = {"instruction": "Translate", "input": "chat", "output": "cat"}
SHAREGPT = {
    "id": "x",
    "conversations": [
        {"from": "system", "value": "be kind"},
        {"from": "human", "value": "a"},
        {"from": "gpt", "value": "b"},
        {"from": "human", "value": "c"},
        {"from": "gpt", "value": "d"},
        {"from": "human", "value": "no answer yet"},
    ],
}
MESSAGES = {
    "messages": [
        {"role": "assistant", "content": "hello"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": "c"},
    ]
}


@pytest.mark.parametrize(
    ("row", "form", "pairs"),
    [
        (ALPACA, "alpaca", [("Translate\n\nchat", "cat")]),
        ({**ALPACA, "input": ""}, "alpaca", [("Translate", "cat")]),
        ({"instruction": "x", "output": "y"}, "alpaca", [("x", "y")]),
        ({"instruction": "Who?", "context": "Ann won.", "response": "Ann"}, "alpaca", [("Who?\n\nAnn won.", "Ann")]),
        (SHAREGPT, "sharegpt", [("a", "b"), ("c", "d")]),
        (MESSAGES, "messages", [("a\nb", "c")]),
        ({"input": "a", "response": "b", "output": "c", "instruction": "d"}, "pairs", [("a", "b")]),
    ],
)
@pytest.mark.parametrize("whole", ["jsonl", "list", "train", "pretty"])
def test_forms_of_other_programs(tmp_path: Path, row: object, form: str, pairs: object, whole: str) -> None:
    if whole == "pretty" and form not in ("sharegpt", "messages"):
        pytest.skip("one row alone is no document")
    content = {
        "jsonl": json.dumps(row) + "\n",
        "list": json.dumps([row], indent=1),
        "train": json.dumps({"train": [row]}),
        "pretty": json.dumps(row, indent=2),
    }[whole]
    found = load_pairs(put(tmp_path, content))
    assert found.forms == (form,)
    assert [(pair.input, pair.response) for pair in found.pairs] == pairs


def test_alpaca_as_a_table(tmp_path: Path) -> None:
    found = load_pairs(put(tmp_path, "instruction,input,output\nSay,hi,ho\nGo,,gone\n", "a.csv"))
    assert found.pairs == (ExamplePair("Say\n\nhi", "ho"), ExamplePair("Go", "gone"))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"messages": "hi"}, "the conversation is text, not a list"),
        ({"messages": [{"role": "user", "content": "a"}]}, "no message with an answer"),
        ({"messages": ["a"]}, "message 1 has no 'role'"),
        ({"messages": [{"role": "tool", "content": "a"}]}, "no message with an answer in words"),
        ({"messages": [{"role": "narrator", "content": "a"}]}, "message 1 is from 'narrator'"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "message 1 is not plain text"),
        ({"messages": [{"role": "user", "content": "a"}] * 2}, "message 2 is the person's again"),
        (
            {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": " "}]},
            "message 2: the response",
        ),
        ({"instruction": "", "output": "x"}, "the input is empty"),
        ({"instruction": 3, "output": "x"}, "instruction is a number"),
    ],
)
def test_bad_rows_of_other_forms_are_named(tmp_path: Path, row: object, reason: str) -> None:
    found = read_pairs_file(put(tmp_path, '{"input": "a", "response": "b"}\n' + json.dumps(row)))
    assert len(found.pairs) == 1
    [problem] = found.problems
    assert problem.line == 2 and problem.reason.startswith(reason)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "Prompt;id;Answer\na;1;b\n"),
        ("a.jsonl", '{"prompt": "a", "id": 1, "answer": "b"}\n'),
        ("a.json", '[{"prompt": "a", "answer": "b"}]'),
    ],
)
def test_mapped_columns(tmp_path: Path, name: str, content: str) -> None:
    path = put(tmp_path, content, name)
    assert load_pairs(path, MAP).pairs == (ExamplePair("a", "b"),)
    assert load_pairs(path, MAP).forms == ("mapped",)
    with pytest.raises(BadInputError):
        load_pairs(path)


def test_a_table_with_other_columns_says_which(tmp_path: Path) -> None:
    with pytest.raises(OtherColumnsError, match="'Prompt', 'answer'|'prompt', 'answer'") as caught:
        read_pairs_file(put(tmp_path, "Prompt,answer\na,b\n"))
    assert caught.value.columns == ("prompt", "answer")
    assert "--map input=prompt,response=answer" in caught.value.next_step


def test_numbered_and_joined_columns(tmp_path: Path) -> None:
    path = put(tmp_path, "a,x,b\nc,,d\n", "a.csv")
    numbered = load_pairs(path, ColumnMapping("1", "3"))
    assert numbered.pairs == (ExamplePair("a", "b"), ExamplePair("c", "d"))
    joined = load_pairs(put(tmp_path, "t,u,v\na,x,b\nc,,d\n", "b.csv"), ColumnMapping("t+u", "v"))
    assert joined.pairs == (ExamplePair("a\n\nx", "b"), ExamplePair("c", "d"))


@pytest.mark.parametrize("text", ["", "input=a", "input=a,response=", "a=b,response=c", "input=a,input=b", "x"])
def test_bad_mappings(text: str) -> None:
    with pytest.raises(UsageError, match="--map input=COLUMN,response=COLUMN"):
        ColumnMapping.parse(text)


def test_a_mapping_of_columns_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(OtherColumnsError, match="no column 'nope'; there are 'a', 'b'"):
        load_pairs(put(tmp_path, "a,b\n1,2\n", "a.csv"), ColumnMapping("nope", "b"))
    with pytest.raises(OtherColumnsError, match="no column '9999"):
        load_pairs(put(tmp_path, "a,b\n1,2\n", "a.csv"), ColumnMapping("9" * 5000, "b"))


@pytest.mark.parametrize(
    ("columns", "guess"),
    [
        (["Question", "Answer"], ColumnMapping("Question", "Answer")),
        (["id", "prompt", "completion"], ColumnMapping("prompt", "completion")),
        (["a", "b"], None),
        (["response"], None),
    ],
)
def test_guesses(columns: list[str], guess: ColumnMapping | None) -> None:
    assert guess_mapping(columns) == guess


# Pasted text


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("a\tb\nc\td", [("a", "b"), ("c", "d")]),
        ("a\tb\r\nc\td\r\n", [("a", "b"), ("c", "d")]),
        ("a\tb\rc\td\r", [("a", "b"), ("c", "d")]),
        ("Input\tResponse\na\tb\n", [("a", "b")]),
        ("id\tQuestion\tAnswer\n1\ta\tb\n", [("a", "b")]),
        ('"two\nlines"\t"a ""quote"""\nc\td', [("two\nlines", 'a "quote"'), ("c", "d")]),
        ('say "hi"\tho "ho"', [('say "hi"', 'ho "ho"')]),
        ('"hi" he said\tb', [('"hi" he said', "b")]),
        ("a\tb\n\t\n\nc\td\n\n", [("a", "b"), ("c", "d")]),
        ("input,response\na,b\n", [("a", "b")]),
        ('{"input": "a", "response": "b"}', [("a", "b")]),
        (json.dumps([ALPACA]), [("Translate\n\nchat", "cat")]),
    ],
)
def test_pasted_tables(text: str, pairs: list[tuple[str, str]]) -> None:
    found = read_pasted(text)
    assert [(pair.input, pair.response) for pair in found.pairs] == pairs and not found.problems


def test_bad_rows_of_a_pasted_table_have_their_line() -> None:
    found = read_pasted('"a\nb"\tc\n\tno input\nd\n')
    assert [pair.input for pair in found.pairs] == ["a\nb"]
    assert [(problem.line, problem.reason) for problem in found.problems] == [
        (3, "the input is empty"),
        (4, "the response is empty"),
    ]


def test_pasted_columns_can_be_mapped() -> None:
    assert read_pasted("a\tb\tc\n", ColumnMapping("3", "1")).pairs == (ExamplePair("c", "a"),)
    assert read_pasted("x\ty\na\tb\n", ColumnMapping("y", "x")).pairs == (ExamplePair("b", "a"),)
    assert read_pasted("x\ty\na\tb\n").columns == ("1", "2")


@pytest.mark.parametrize("text", ["", " \n", "just some words", "a,b\nc,d", "\t\n\t\n"])
def test_what_is_no_table(text: str) -> None:
    with pytest.raises(BadInputError):
        read_pasted(text)
    assert not is_table(text)


def test_the_errors_of_pasted_text_do_not_speak_of_files() -> None:
    with pytest.raises(BadInputError, match="the pasted text: the first line must name") as caught:
        read_pasted("prompt,answer\na,b")
    assert "Copy two columns" in caught.value.next_step


def quoted_cell(text: str, *, always: bool) -> str:
    needs = always or text.startswith('"') or any(mark in text for mark in "\t\n\r")
    return '"' + text.replace('"', '""') + '"' if needs else text


texts = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), min_size=1, max_size=60)
usable = st.lists(
    st.builds(ExamplePair, texts, texts).filter(lambda pair: pair_fault(pair) is None), min_size=1, max_size=8
)
FILES = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FILES
@given(pairs=usable, suffix=st.sampled_from(SUFFIXES))
@example(pairs=[ExamplePair('"', "\r\n\t,;")], suffix=".csv")
def test_any_text_comes_back_from_a_file(tmp_path: Path, pairs: list[ExamplePair], suffix: str) -> None:
    path = tmp_path / f"pairs{suffix}"
    path.write_bytes(pairs_text(pairs, suffix).encode())
    assert load_pairs(path).pairs == tuple(pairs)


@FILES
@given(pairs=usable, always=st.booleans())
@example(pairs=[ExamplePair('"a"\tb', '"')], always=False)
def test_any_text_comes_back_from_a_spreadsheet(pairs: list[ExamplePair], always: bool) -> None:
    # A spreadsheet's own line ends within cells are \n; the header keeps data from being taken for one.
    rows = [("input", "response"), *((pair.input, pair.response) for pair in pairs)]
    text = "\n".join("\t".join(quoted_cell(cell, always=always) for cell in row) for row in rows)
    plain = [
        ExamplePair(*(cell.replace("\r\n", "\n").replace("\r", "\n") for cell in (pair.input, pair.response)))
        for pair in pairs
    ]
    assert list(read_pasted(text).pairs) == plain


@settings(max_examples=100, deadline=None)
@given(st.text(st.sampled_from('ab"\t\n'), max_size=30))
def test_no_character_of_a_table_is_lost(text: str) -> None:
    rows = list(table_rows(text))
    assert sum(len(cells) for _, cells in rows) <= text.count("\t") + text.count("\n") + 1
    assert [line for line, _ in rows] == sorted({line for line, _ in rows})
    if '"' not in text:
        assert "\n".join("\t".join(cells) for _, cells in rows) == text.removesuffix("\n")


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=200))
def test_any_pasted_text_gives_pairs_or_a_sentence(text: str) -> None:
    try:
        found = read_pasted(text)
    except BadInputError:
        return
    assert all(pair_fault(pair) is None for pair in found.pairs) and (found.pairs or found.problems)


@settings(max_examples=60, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.text(max_size=8) | st.sampled_from(["user", "human", "gpt"]),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["input", "response", "instruction", "output", "messages", "conversations", "role"])
                | st.sampled_from(["from", "value", "content", "text"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=20,
    )
)
def test_any_json_gives_pairs_or_reasons(document: object) -> None:
    try:
        found = read_pasted(json.dumps([document]))
    except BadInputError:
        return
    assert len(found.problems) == 1 or found.pairs


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_templates_can_be_imported_and_are_never_overwritten(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"mine{suffix.upper()}"
    write_template(path)
    assert load_pairs(path).pairs == TEMPLATE
    with pytest.raises(ConflictError, match="already"):
        write_template(path)
    with pytest.raises(UsageError, match=r"\.xlsx"):
        write_template(tmp_path / "mine.xlsx")


@pytest.mark.parametrize(
    "row",
    [
        {"input": "a", "response": "bad", "train": False},
        {"input": "a", "response": "bad", "weight": 0},
        {"input": "a", "response": "bad", "loss": 0.0},
        {"input": "a", "response": "bad", "label": False},
        {"prompt": "a", "completion": "bad", "label": False},
        {"instruction": "a", "output": "bad", "train": False},
        {"messages": MESSAGES["messages"], "label": False},
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "bad", "weight": 0}]},
        {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "bad", "train": False}]},
    ],
)
def test_what_is_marked_as_not_to_be_learned_is_left_out_and_counted(tmp_path: Path, row: dict[str, object]) -> None:
    good = {"input": "c", "response": "d", "weight": 1, "train": True, "label": True}
    for rows in ([row, good], [good, row]):
        found = load_pairs(put(tmp_path, "\n".join(map(json.dumps, rows))))
        assert found.pairs == (ExamplePair("c", "d"),) and found.dropped == {"marked": 1}
        assert found.notes == ("Left out 1 answer that is marked as not to be learned.",)
        assert load_pairs(put(tmp_path, rows, "pairs.json")).pairs == found.pairs
    with pytest.raises(BadInputError, match="its one answer is marked"):
        load_pairs(put(tmp_path, json.dumps(row)))


def test_only_the_marked_answers_of_a_conversation_are_left_out(tmp_path: Path) -> None:
    def said(text: str, **mark: object) -> list[dict[str, object]]:
        return [{"role": "user", "content": f"q {text}"}, {"role": "ai", "content": text, **mark}]

    talk = [*said("bad", weight=0), *said("good", weight=1), *said("plain")]
    found = load_pairs(put(tmp_path, json.dumps({"messages": talk})))
    assert [pair.response for pair in found.pairs] == ["good", "plain"] and found.dropped == {"marked": 1}


@pytest.mark.parametrize("label", ["0", "false", 0, 1, True])
def test_a_label_that_may_be_an_answer_is_no_mark(tmp_path: Path, label: object) -> None:
    found = load_pairs(put(tmp_path, json.dumps({"input": "a", "response": "b", "label": label})))
    assert found.count == 1 and not found.dropped


def test_an_instruction_is_kept_beside_input_and_response(tmp_path: Path) -> None:
    row = {"instruction": "Translate", "input": "chat", "response": "cat"}
    for asked, expected in ((row, "Translate\n\nchat"), ({**row, "input": ""}, "Translate")):
        found = load_pairs(put(tmp_path, json.dumps(asked)))
        assert found.pairs == (ExamplePair(expected, "cat"),) and found.forms == ("alpaca",)
    table = load_pairs(put(tmp_path, "instruction,input,response\nTranslate,chat,cat\nName one,,red\n", "p.csv"))
    assert [pair.input for pair in table.pairs] == ["Translate\n\nchat", "Name one"]


@pytest.mark.parametrize(
    "text",
    [
        "input,response\na,b\nInput,response\nc,d\n",
        "\ufeffinput,response\na,b\n\ufeffinput,response\nc,d\n",
        "\ufeff\ufeffinput,response\na,b\nc,d\n",
        "sep=;\ninput;response\na;b\nc;d\n",
        "SEP=,\r\ninput,response\r\na,b\r\nc,d\r\n",
    ],
)
def test_tables_that_were_joined_or_begin_with_excels_line(tmp_path: Path, text: str) -> None:
    found = load_pairs(put(tmp_path, text, "p.csv"))
    assert found.pairs == (ExamplePair("a", "b"), ExamplePair("c", "d"))
    again = text.lower().count("input") - 1
    assert found.dropped.get("headings", 0) == again and len(found.notes) == again


def test_a_bad_row_below_excels_line_is_named_by_its_line(tmp_path: Path) -> None:
    found = read_pairs_file(put(tmp_path, "sep=;\ninput;response\na;b\n;d\n", "p.csv"))
    assert [problem.line for problem in found.problems] == [4]


@pytest.mark.parametrize(
    "document",
    [
        {"input": "a", "response": "b"},
        {"data": [{"input": "a", "response": "b"}]},
        {"features": [], "rows": [{"row_idx": 0, "row": {"input": "a", "response": "b"}, "truncated_cells": []}]},
        {"rows": [{"input": "a", "response": "b"}]},
    ],
)
def test_a_document_may_be_one_pair_or_wrap_a_list(tmp_path: Path, document: object) -> None:
    for indent in (None, 1):
        assert load_pairs(put(tmp_path, json.dumps(document, indent=indent), "p.json")).pairs == (
            ExamplePair("a", "b"),
        )


@pytest.mark.parametrize(
    ("row", "note"),
    [
        (SHAREGPT, "1 row has a system text, which is not learned."),
        ({**ALPACA, "system": "Be kind."}, "1 row has a system text, which is not learned."),
        ({**ALPACA, "history": [["a", "b"]]}, "1 row has earlier turns in 'history', which are not learned."),
        ({"input": "a", "response": "b", "rejected": "c"}, "1 row names a rejected answer, which is not learned."),
    ],
)
def test_what_no_pair_learns_is_said(tmp_path: Path, row: dict[str, object], note: str) -> None:
    assert load_pairs(put(tmp_path, json.dumps(row))).notes == (note,)
    several = load_pairs(put(tmp_path, "\n".join([json.dumps(row)] * 2)))
    assert several.notes == (DROPPED_WORDS[next(iter(several.dropped))][1].format(2),)


@pytest.mark.parametrize("content", [None, ""])
def test_turns_that_call_tools_are_left_out_and_the_others_kept(tmp_path: Path, content: str | None) -> None:
    call = {"role": "assistant", "content": content, "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}
    tools = [{"role": "user", "content": "weather?"}, call, {"role": "tool", "content": "5"}]
    tools.append({"role": "assistant", "content": "5 degrees"})
    talk = [*tools, {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    found = load_pairs(put(tmp_path, json.dumps({"messages": talk})))
    assert found.pairs == (ExamplePair("a", "b"),) and found.notes == ("1 row calls tools, which is not learned.",)
    with pytest.raises(BadInputError, match="answered in words at once, only behind calls of tools"):
        load_pairs(put(tmp_path, json.dumps({"messages": tools})))


def test_a_heading_may_span_lines(tmp_path: Path) -> None:
    text = 'id,"notes\nof the\nteam",input,response\n1,n,a,b\n2,n,,d\n'
    found = read_pairs_file(put(tmp_path, text, "p.csv"))
    assert found.columns == ("id", "notes\nof the\nteam", "input", "response")
    assert found.pairs == (ExamplePair("a", "b"),) and [problem.line for problem in found.problems] == [5]


@pytest.mark.parametrize("others", [0, 10, 5_000])
def test_a_table_may_have_many_columns(tmp_path: Path, others: int) -> None:
    names = [f"a long name of column {number}" for number in range(others)]
    text = ",".join([*names, "input", "response"]) + "\n" + "," * others + "a,b\n"
    assert load_pairs(put(tmp_path, text, "p.csv")).pairs == (ExamplePair("a", "b"),)


def test_a_quote_that_is_never_closed_in_the_heading_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="first line must name"):
        load_pairs(put(tmp_path, 'in"put,"response\na,b\n' * 300, "p.csv"))


def test_headings_that_nobody_can_guess_are_told_to_be_mapped(tmp_path: Path) -> None:
    with pytest.raises(OtherColumnsError) as caught:
        load_pairs(put(tmp_path, "eingabe,antwort\na,b\n", "p.csv"))
    assert "--map input=COLUMN,response=COLUMN" in (caught.value.next_step or "")


def test_what_is_marked_is_left_out_under_a_mapping_too(tmp_path: Path) -> None:
    rows = [{"prompt": "a", "completion": "bad", "label": False}, {"prompt": "c", "completion": "d", "label": True}]
    file = put(tmp_path, "\n".join(map(json.dumps, rows)))
    found = load_pairs(file, ColumnMapping.parse("input=prompt,response=completion"))
    assert found.pairs == (ExamplePair("c", "d"),) and found.dropped == {"marked": 1}
