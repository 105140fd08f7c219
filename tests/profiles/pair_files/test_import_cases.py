"""Small files that others' programs, spreadsheets and slips leave behind: read right, or refused with what to do.

``test_every_file`` has a file of every kind; here are the many ways in which files fail or nearly fail, with what each
gives.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from profiles.pair_files.lint import lint_pairs
from profiles.pair_files.pairs_file import load_pairs
from profiles.pair_files.row_forms import DROPPED_WORDS, ColumnMapping, Dropped
from tokmem_desk.errors import TokmemError

FOLDER = Path(__file__).parents[2] / "fixtures" / "imports"

Pairs = list[tuple[str, str]]
AB: Pairs = [("a", "b")]
ABCD: Pairs = [("a", "b"), ("c", "d")]
EF: Pairs = [("e", "f")]
QA: Pairs = [("q", "a")]
GOOD: Pairs = [("q", "good")]
RING: Pairs = [("ring", "ok")]
RING_ANN: Pairs = [("ring Ann", "ok")]

AS_WRITTEN = (
    "code.jsonl", "codeblock.jsonl", "french.jsonl", "gen.jsonl", "jsonp.jsonl", "noschema.jsonl", "persian.jsonl",
    "rtl_emoji.jsonl", "schema_pairs.jsonl", "special_tokens.jsonl", "strict.jsonl", "tabs.jsonl",
)  # fmt: skip
"""Rows of texts that come back to the letter."""

READ: dict[str, tuple[Pairs, set[Dropped]]] = {
    "all_three.csv": ([("Say it in French\n\ncat", "chat"), ("Name a colour", "red")], set()),
    "alpaca_context.jsonl": ([("Who won?\n\nAnn beat Bob.", "Ann")], set()),
    "alpaca_dpo.jsonl": (GOOD, {"rejected"}),
    "alpaca_response.csv": ([("Translate to French\n\ncat", "chat"), ("Translate to German\n\ncat", "Katze")], set()),
    "alpaca_response.jsonl": ([("Translate to French\n\ncat", "chat"), ("Name a colour", "red")], set()),
    "alpaca_system_history.json": ([("And in German?", "Katze")], {"system", "history"}),
    "alpaca_text.jsonl": (AB, set()),
    "axolotl_train_false.jsonl": ([("q2", "this")], {"marked"}),
    "backslash_quotes.csv": ([('say "hi" now', "ok"), ("x", "y")], set()),
    "bom_mid.csv": (ABCD, {"headings"}),
    "chat_assistant_twice.jsonl": (AB, {"unasked"}),
    "chat_dpo.jsonl": (GOOD, {"rejected"}),
    "chat_image_tag.jsonl": ([("Who is it?", "A cat.")], {"media"}),
    "chat_kto.jsonl": ([("q1", "GOOD")], {"marked"}),
    "chat_lf_v1.jsonl": ([("hi", "hello")], set()),
    "chat_multiturn.jsonl": ([("Who wrote Emma?", "Jane Austen."), ("When?", "1815.")], set()),
    "chat_parts_image.jsonl": ([("what is it", "a cat")], {"media"}),
    "chat_role_ai.jsonl": (AB, set()),
    "chat_roles_caps.jsonl": (AB, set()),
    "chat_system.jsonl": ([("hi", "arr")], {"system"}),
    "chat_thinking.jsonl": ([("2+2", "4")], {"reasoning"}),
    "chat_toplevel_list.jsonl": (AB, set()),
    "chat_weight0.jsonl": ([("q2", "right")], {"marked"}),
    "conversation_singular.jsonl": (AB, set()),
    "conversations_string.csv": (EF, set()),
    "csv_inch.csv": ([('buy 5" nails', "5 inch"), ('buy 3" pipe', "3 inch")], set()),
    "double_bom.csv": (RING_ANN, set()),
    "dpo_own.jsonl": (QA, {"rejected"}),
    "embedded_newlines.csv": ([("line one\r\nline two\n\nline four", "a\r\nb"), ("x", "y")], set()),
    "excel_formula.csv": ([("=SUM(A1:A2)", "#REF!"), ("+49 30 1234", "-5")], set()),
    "feedback_own.jsonl": ([("q2", "GOOD")], {"marked"}),
    "fullwidth.csv": (RING, set()),
    "google_sheets.csv": ([("ring Ann\nsoon", "( ) ring\tAnn"), ("TRUE", "FALSE"), ("1.50", "1,50")], set()),
    "header_newline.csv": (RING, set()),
    "header_repeat.csv": (ABCD, {"headings"}),
    "hf_rows.json": (AB, set()),
    "instr_input_response_empty.csv": ([("Name a colour", "red"), ("Name a fruit", "pear")], set()),
    "json_columns.json": ([("a", "c"), ("b", "d")], set()),
    "json_columns_pandas.json": ([("a", "c"), ("b", "d")], set()),
    "json_concat.json": (ABCD, set()),
    "json_data_wrap.json": (AB, set()),
    "json_lines_commas.jsonl": (ABCD, set()),
    "json_pretty_concat.jsonl": (ABCD, set()),
    "json_single.json": (AB, set()),
    "json_single_pretty.json": (AB, set()),
    "json_trailing_comma.json": (AB, set()),
    "jsonc.json": (AB, set()),
    "linesep_u2028.csv": ([("a\u2028b", "c\x85d"), ("x", "y")], set()),
    "markdown_table.md": (RING_ANN, set()),
    "media_tags.jsonl": (
        [("Who is it?", "A cat."), ("Where?", "At home."), ("write <image> in HTML", "<image>")],
        {"media"},
    ),
    "messages_and_text.jsonl": (EF, set()),
    "messages_string.csv": (EF, set()),
    "mixed_forms.jsonl": ([*ABCD, *EF], set()),
    "nbsp_header.csv": (RING_ANN, set()),
    "no_trailing_nl_crmac.csv": ([*RING_ANN, ("x", "y")], set()),
    "one_tool_turn.jsonl": ([("q1", "a1"), ("thanks", "welcome")], {"unasked", "tools"}),
    "openai_dpo.jsonl": (GOOD, {"rejected"}),
    "own_with_instruction.jsonl": ([("cat", "chat")], {"instruction"}),
    "pipe.csv": ([("ring Ann", "( ) ring Ann")], set()),
    "quoted_bom_header.csv": (RING_ANN, set()),
    "rtl.csv": ([("ذكرني بالغد", "( ) غدا"), ("שלום עולם", "( ) שלום")], set()),
    "semi_commas.csv": ([("ring Ann, Bob and Cy", "( ) ring"), ("x, y, z", "( ) w")], set()),
    "sep_line.csv": ([("ring Ann", "( ) ring Ann"), ("post it, soon", "( ) post it")], set()),
    "sep_line_comma.csv": ([("ring Ann", "( ) ring Ann")], set()),
    "sharegpt_system_key.jsonl": (AB, {"system"}),
    "space_after_comma.csv": ([("ring Ann", "ok, then"), ("x, y", "z")], set()),
    "space_only.csv": ([("x, y", "z"), ("ring Ann", "( ) ring Ann")], set()),
    "think.jsonl": ([("2+2", "<think>hmm two plus two</think>4")], {"thinking"}),
    "trailing_sep.csv": ([*RING_ANN, ("x", "y")], set()),
    "trailing_ws.csv": ([("ring  Ann ", "ok  "), ("x", "\ty")], set()),
    "trl_prompt_msgs.jsonl": (QA, set()),
    "tsv_lead_quote.tsv": (
        [('"Who is it?" she said', "question"), ('"Stop!" he cried', "order"), ("plain", "ok")],
        set(),
    ),
    "tsv_quotes.tsv": ([('say 5" nails', '5" nails'), ("x", "y")], set()),
    "tsv_unbalanced.tsv": ([('"quoted start only', "ok"), ("x", "y")], set()),
    "unseen_header.csv": (RING, set()),
    "upper_header.csv": (RING, set()),
    "weights.jsonl": ([("make it shorter", "good")], {"marked"}),
    "wide_semicolon.csv": ([("ring，Ann", "ok")], set()),
    "zero_width_header.csv": (RING, set()),
}
"""The pairs, and what is said of the file besides."""

BELOW_LINES: dict[str, tuple[int, Pairs]] = {
    "comment_rows.csv": (1, AB),
    "markdown_behind_text.md": (2, [("this | that", 'one, "two"'), ("ring Ann", "ok")]),
    "title_row.csv": (2, AB),
    "title_rows_semicolon.csv": (2, AB),
}
"""How many lines stand above the headings, and the pairs."""

MAPPED: dict[str, tuple[str, Pairs]] = {
    "argilla.jsonl": ("input=fields.prompt,response=responses.1.values.response.value", AB),
    "german.csv": ("input=Eingabe,response=Antwort", [("Anna anrufen", "( ) Anna")]),
    "json_array_pairs.json": ("input=1,response=2", [*RING_ANN, ("x", "y")]),
    "json_list_response.jsonl": ("input=input,response=response", [("call Bob", '["Bob"]')]),
    "json_numbers.jsonl": (
        "input=input,response=response",
        [("great film", "1"), ("bad film", "0"), ("5", "five")],
    ),
    "json_obj_response.jsonl": (
        "input=input,response=response",
        [("call Bob at 5", '{"name": "Bob", "time": "5"}')],
    ),
    "kto_completion.jsonl": ("input=prompt,response=completion", [("q2", "GOOD")]),
    "label_int.jsonl": ("input=text,response=label", [("great film", "1"), ("bad film", "0")]),
    "nested_path.jsonl": ("input=data.input,response=data.response", AB),
    "openorca.jsonl": ("input=question,response=response", QA),
    "pipe_other_names.csv": ("input=frage,response=antwort", RING_ANN),
    "prompt_completion.jsonl": ("input=prompt,response=completion", [("ring Ann ->", " ok\n")]),
    "prompt_resp_numbers.csv": ("input=text,response=label", [("great film", "1"), ("bad film", "0")]),
    "query_response_history.jsonl": ("input=query,response=response", AB),
    "squad.jsonl": ("input=context+question,response=answers.text.1", [("c\n\nq", "a")]),
}
"""Files that are refused with the advice to map columns, a mapping, and what it gives."""

REFUSED = {
    "batch_bom.jsonl": "line 1: no 'input' and 'response'.*found: 'query'",
    "batch_plain.txt": "the first line must name the columns.*Use CSV with the columns",
    "chat_tools.jsonl": "no message with an answer in words, only calls of tools",
    "chat_tools_null.jsonl": "no message is answered in words at once, only behind calls of tools",
    "chat_user_twice.jsonl": "message 2 is the person's again, with no answer before it",
    "chatgpt_export.json": "holds no pair",
    "cp1252.csv": "line 2: this is not UTF-8 text.*choose Save As and the encoding UTF-8",
    "csv_merge.csv": "line 2: quotes do not match.*close them",
    "dict_pairs_pretty.json": "If each key is a message and its value the answer, write each as",
    "dup_cols.csv": "has two columns 'input'.*Rename or delete one",
    "error_json.json": "found: 'error'",
    "front.yaml": "is YAML.*Write it as JSON",
    "gen_schema.json": "is a JSON schema: give it with --schema",
    "header_only.csv": "holds no pair.*Use CSV with the columns",
    "html_as.csv": "is a web page.*download the file itself",
    "image_without_text.jsonl": "message 1 is not plain text: it has 'image_url'",
    "json_bool_null.jsonl": "line 2: response is null, not text in quotes",
    "json_dict_pairs.json": "If each key is a message and its value the answer, write each as",
    "json_dupkeys.jsonl": "the key 'input' stands twice",
    "json_nan.jsonl": "response is a number, not text in quotes",
    "json_nul.jsonl": "the input holds a NUL byte",
    "json_surrogate.jsonl": "the input holds a character that is not valid Unicode",
    "jsonp_schema.json": "is a JSON schema: give it with --schema",
    "lfs_pointer.csv": "Git LFS keeps.*git lfs pull",
    "macroman.csv": "line 2: this is not UTF-8 text.*choose Save As and the encoding UTF-8",
    "merge_conflict.csv": "line 2: a mark of Git.*keep one of them",
    "merge_conflict.jsonl": "line 2: a mark of Git.*keep one of them",
    "messages_python.csv": "'messages' is not JSON but Python's own way to write it: write it with json.dumps",
    "other_quotes.csv": "put straight double quotes around a text that holds a comma, not «",
    "parquet.csv": "is a Parquet file.*Write it as JSONL",
    "py_repr.jsonl": "Python's own way to write it: write it with json.dumps",
    "python_list.json": "Python's own way to write it: write it with json.dumps",
    "ragged_short.csv": "line 2: no 'response'",
    "schema_pretty.json": "is a JSON schema: give it with --schema",
    "single_quotes.csv": "put straight double quotes around a text that holds a comma, not '",
    "smart_quotes.csv": "put straight double quotes around a text that holds a comma, not “",
    "strict_schema.json": "is a JSON schema: give it with --schema",
    "utf16.txt": "is UTF-16 text.*choose Save As and the encoding UTF-8",
    "xls_old.csv": "an old Excel file.*Save As, CSV UTF-8",
    "xlsx_as.csv": "a zip or Excel file.*Save As, CSV UTF-8",
    "yaml.yaml": "is YAML.*Write it as JSON",
}
ADVICE = " Or leave such rows out with --skip-bad, or take other columns with --map input=COLUMN,response=COLUMN."


def test_each_file_is_in_one_list() -> None:
    listed = [*AS_WRITTEN, *READ, *BELOW_LINES, *MAPPED, *REFUSED]
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted(listed)


@pytest.mark.parametrize("name", AS_WRITTEN)
def test_texts_that_come_back_to_the_letter(name: str) -> None:
    rows = [json.loads(line) for line in (FOLDER / name).read_text(encoding="utf-8").splitlines()]
    found = load_pairs(FOLDER / name)
    assert [(pair.input, pair.response) for pair in found.pairs] == [(row["input"], row["response"]) for row in rows]
    assert not found.notes and {finding.kind for finding in lint_pairs(found.pairs)} <= {"few"}


@pytest.mark.parametrize("name", READ)
def test_files_that_are_read(name: str) -> None:
    pairs, said = READ[name]
    found = load_pairs(FOLDER / name)
    assert [(pair.input, pair.response) for pair in found.pairs] == pairs
    assert found.dropped.keys() == said
    words = [(one, several.format(count)) for one, several in DROPPED_WORDS.values() for count in range(2, 5)]
    assert len(found.notes) == len(said) and all(any(note in either for either in words) for note in found.notes)
    expected = {"few", "whitespace"} if name == "trailing_ws.csv" else {"few"}
    assert {finding.kind for finding in lint_pairs(found.pairs)} == expected


@pytest.mark.parametrize("name", BELOW_LINES)
def test_headings_below_other_lines(name: str) -> None:
    above, pairs = BELOW_LINES[name]
    found = load_pairs(FOLDER / name)
    lines = "1 line" if above == 1 else f"{above} lines"
    assert [(pair.input, pair.response) for pair in found.pairs] == pairs
    assert found.notes == (f"Left out {lines} above the one that names the columns.",)


@pytest.mark.parametrize("name", MAPPED)
def test_files_that_need_a_mapping(name: str) -> None:
    mapping, pairs = MAPPED[name]
    with pytest.raises(TokmemError) as caught:
        load_pairs(FOLDER / name, advice=ADVICE)
    assert "--map" in str(caught.value)
    assert [(p.input, p.response) for p in load_pairs(FOLDER / name, ColumnMapping.parse(mapping)).pairs] == pairs


@pytest.mark.parametrize("name", REFUSED)
def test_files_that_are_refused_with_what_to_do(name: str) -> None:
    with pytest.raises(TokmemError, match=f"(?s){REFUSED[name]}") as caught:
        load_pairs(FOLDER / name, advice=ADVICE)
    assert name in caught.value.message and caught.value.next_step


@pytest.mark.parametrize("last", [False, True])
def test_five_thousand_columns(tmp_path: Path, last: bool) -> None:
    others = [f"column_number_{number}" for number in range(5_000)]
    names = [*others, "input", "response"] if last else ["input", "response", *others]
    cells = [""] * 5_000
    texts = [*cells, "ring Ann", "ok"] if last else ["ring Ann", "ok", *cells]
    path = tmp_path / "wide.csv"
    path.write_text(f"{','.join(names)}\n{','.join(texts)}\n", encoding="utf-8")
    assert [(pair.input, pair.response) for pair in load_pairs(path).pairs] == RING_ANN
    mapping = ColumnMapping("input", "response")
    assert load_pairs(path, mapping).count == 1


def test_lines_above_the_headings_are_counted_with_a_mapping_too(tmp_path: Path) -> None:
    path = tmp_path / "title.csv"
    path.write_text("My list,\n\nFrage,Antwort\na,b\n,c\n", encoding="utf-8")
    with pytest.raises(TokmemError, match="line 5: the input is empty"):
        load_pairs(path, ColumnMapping("Frage", "Antwort"))
    path.write_text("My list,\n\nFrage,Antwort\na,b\n", encoding="utf-8")
    found = load_pairs(path, ColumnMapping("Frage", "Antwort"))
    assert [(pair.input, pair.response) for pair in found.pairs] == AB and len(found.notes) == 1
