"""One small file of every kind that people import: read right, or refused with a sentence that says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from profiles.pair_files.lint import lint_pairs
from profiles.pair_files.pairs_file import load_pairs
from profiles.pair_files.row_forms import ColumnMapping
from tokmem_desk.errors import TokmemError

FOLDER = Path(__file__).parents[2] / "fixtures" / "pairs"

Pairs = list[tuple[str, str]]
AB: Pairs = [("a", "b")]
ABCD: Pairs = [("a", "b"), ("c", "d")]

READ: dict[str, tuple[Pairs, set[str]]] = {
    "alpaca.csv": ([("Translate into Italian\n\ndog", "cane"), ("Name a river", "Po")], set()),
    "backslash_quotes.csv": ([('say "yes, now" to Eve', "done")], set()),
    "blanks_beside_quotes.csv": ([("post it, now", "sent, then"), ("wait", "yes")], set()),
    "chat_alone.json": (AB, set()),
    "chats.jsonl": ([*ABCD, ("e", "f")], {"system", "reasoning", "media", "unasked"}),
    "columns.json": (ABCD, set()),
    "commas.jsonl": (ABCD, set()),
    "comments.json": (AB, set()),
    "heading_over_lines.csv": ([("ring Eve", "ok")], set()),
    "image_part.jsonl": ([("what?", "b")], {"media"}),
    "inch_signs.csv": ([('cut 7" wire', "7 inch")], set()),
    "joined.csv": (ABCD, {"headings"}),
    "leading_quote.tsv": ([('"Why not?" he asked', "question"), ('"open only', "statement")], set()),
    "marked.jsonl": ([("c", "d")], {"marked"}),
    "merged_rows.csv": ([("7 wires,A\n8 wires", "B")], set()),
    "old_mac.csv": (ABCD, set()),
    "one_after_another.json": (ABCD, set()),
    "preferences.jsonl": ([*ABCD, ("e", "f")], {"rejected"}),
    "scripts.jsonl": ([("می\u200cخواهم", "Bonjour\u202f! 👩\u200d👧")], set()),
    "semicolons.csv": ([("ring Eve, then Max", "two")], set()),
    "title_above.csv": (AB, set()),
    "tools.jsonl": (AB, {"tools"}),
    "viewer_rows.json": (AB, set()),
}
"""The pairs, and what is said not to be learned."""

MAPPED: dict[str, tuple[str, Pairs]] = {
    "inside.jsonl": ("input=fields.prompt,response=responses.1.values.answer.value", AB),
    "kto.jsonl": ("input=prompt,response=completion", AB),
    "lists.json": ("input=1,response=2", ABCD),
    "numbers.jsonl": ("input=input,response=response", [("a", "1"), ("b", "2.5")]),
    "objects.jsonl": ("input=input,response=response", [("call Eve", '{"name": "Eve", "at": 5}')]),
    "other_headings.csv": ("input=frage,response=antwort", AB),
}
"""Files that are refused with the advice to map columns, the mapping, and what it gives."""

REFUSED = {
    "doubled_key.jsonl": "the key 'input' stands twice",
    "error.json": "no 'input' and 'response'.*found: 'error'|JSON with the keys 'error'",
    "lfs_pointer.csv": "Git LFS keeps.*git lfs pull",
    "list.yaml": "is YAML.*Write it as JSON",
    "merge_conflict.csv": "line 2: a mark of Git.*keep one of them",
    "nulls.jsonl": "response is null, not text in quotes",
    "old_workbook.csv": "an old Excel file.*CSV UTF-8",
    "only_tools.jsonl": "only calls of tools",
    "parquet.csv": "a Parquet file.*Write it as JSONL",
    "python.jsonl": "Python's own way to write it: write it with json.dumps",
    "schema_alone.json": "no 'input' and 'response'",
    "single_quotes.csv": "3 fields, but the header has 2: put straight double quotes around a text.*, not '",
    "unclosed_quote.csv": "line 2: quotes do not match|line 2: a quote is opened here",
    "utf16.csv": "is UTF-16 text.*encoding UTF-8",
    "web_page.csv": "is a web page.*download the file itself",
    "windows_1252.csv": "not UTF-8 text.*encoding UTF-8",
    "workbook.csv": "a zip or Excel file.*CSV UTF-8",
}
ADVICE = " Or take other columns with --map."


def test_each_file_is_in_one_list() -> None:
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted([*READ, *MAPPED, *REFUSED])


@pytest.mark.parametrize("name", READ)
def test_files_that_are_read(name: str) -> None:
    pairs, dropped = READ[name]
    found = load_pairs(FOLDER / name)
    assert [(pair.input, pair.response) for pair in found.pairs] == pairs and found.dropped.keys() == dropped
    assert len(found.notes) == len(dropped) + (name in ("merged_rows.csv", "title_above.csv"))
    assert {finding.kind for finding in lint_pairs(found.pairs)} == {"few"}


@pytest.mark.parametrize("name", MAPPED)
def test_files_that_need_a_mapping(name: str) -> None:
    mapping, pairs = MAPPED[name]
    with pytest.raises(TokmemError) as caught:
        load_pairs(FOLDER / name, advice=ADVICE)
    assert "--map" in str(caught.value)
    assert [(p.input, p.response) for p in load_pairs(FOLDER / name, ColumnMapping.parse(mapping)).pairs] == pairs


@pytest.mark.parametrize("name", REFUSED)
def test_files_that_are_refused(name: str) -> None:
    with pytest.raises(TokmemError, match=f"(?s){REFUSED[name]}") as caught:
        load_pairs(FOLDER / name, advice=ADVICE)
    assert name in caught.value.message and caught.value.next_step
