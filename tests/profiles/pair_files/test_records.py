"""Rows of delimited text that no program wrote well: blanks beside quotes, stray quotes, quotes never closed."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from profiles.pair_files.pairs_file import read_pairs_file
from profiles.pair_files.pasted import read_pasted
from profiles.pair_files.records import Record, read_records


def read(
    tmp_path: Path, text: str, name: str = "pairs.csv"
) -> tuple[list[tuple[str, str]], list[int], tuple[str, ...]]:
    """The pairs, the lines of the bad rows, and the notes."""
    path = tmp_path / name
    path.write_text(text, encoding="utf-8", newline="")
    found = read_pairs_file(path)
    return [(pair.input, pair.response) for pair in found.pairs], [one.line for one in found.problems], found.notes


@pytest.mark.parametrize(
    ("rows", "pairs"),
    [
        ('"ring, Ann", "ok, then"', [("ring, Ann", "ok, then")]),
        ('"ring, Ann" , "ok"  ', [("ring, Ann", "ok")]),
        ('  "ring",ok', [("ring", "ok")]),
        ("ring, ok", [("ring", " ok")]),  # without quotes a blank is part of the text
        (r'"say \"hi, you\" now",ok', [('say "hi, you" now', "ok")]),
        (r'"C:\",root', [("C:\\", "root")]),
        (r'"C:\\temp", "\"x\" \\"', [(r"C:\\temp", '"x" \\')]),
        ('"he said, ""hi""",ok', [('he said, "hi"', "ok")]),
        ('" ""z""",ok', [(' "z"', "ok")]),
        ('buy 5" nails,5"', [('buy 5" nails', '5"')]),
    ],
)
@pytest.mark.parametrize("heading", ["input,response", '"input", "response"', "input, response"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", ""])
def test_quotes_with_blanks_or_backslashes(
    tmp_path: Path, rows: str, pairs: list[tuple[str, str]], heading: str, ending: str
) -> None:
    text = f"{heading}{ending or chr(10)}{rows}{ending}"
    assert read(tmp_path, text) == (pairs, [], ())
    assert read(tmp_path, text.replace("ring, Ann", "ring; Ann").replace(",", ";"))[1] == []


def test_a_quote_that_is_never_closed_costs_its_own_row_only(tmp_path: Path) -> None:
    text = 'input,response\n"buy 5 nails,A\nsecond,B\nthird,"C"\nfourth,D\n'
    assert read(tmp_path, text) == ([("second", "B"), ("third", "C"), ("fourth", "D")], [2], ())
    # The end of a text whose first line was refused is no row.
    torn = 'input,response\n"one "hi"\ntwo",x\nlast,y\n'
    assert read(tmp_path, torn) == ([("last", "y")], [2, 3], ())
    many = "input,response\n" + '"never closed,A\n' * 50 + "last,B\n"
    assert read(tmp_path, many) == ([("last", "B")], list(range(2, 52)), ())


def test_with_tabs_a_quote_counts_where_it_encloses_a_cell(tmp_path: Path) -> None:
    text = 'input\tresponse\n"Who?" she said\tquestion\n"open\tok\n"a\nb"\t"c ""d"""\nlast\t5"\n'
    pairs = [('"Who?" she said', "question"), ('"open', "ok"), ("a\nb", 'c "d"'), ("last", '5"')]
    assert read(tmp_path, text, "pairs.tsv") == (pairs, [], ())
    assert read(tmp_path, text.replace("\n", "\r\n"), "pairs.tsv") == (pairs, [], ())
    bad = text + "\t\nalone\n"
    assert read(tmp_path, bad, "pairs.tsv")[1] == [8]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_rows_that_quotes_may_have_merged_are_said(tmp_path: Path, delimiter: str) -> None:
    text = 'input,response\nfirst,A\n"5 nails,B\n6 nails",C\n'.replace(",", delimiter)
    pairs, lines, notes = read(tmp_path, text)
    assert pairs[1] == (f"5 nails{delimiter}B\n6 nails", "C") and not lines
    assert notes == (
        "The row in line 3 goes over several lines that could be rows of their own: "
        "look whether a quote is missing there.",
    )
    if delimiter == "\t":
        assert read_pasted(text).notes == notes
    # A letter is no such row: its lines have other numbers of commas.
    assert read(tmp_path, 'input,response\n"Dear Ann,\nyours, Bob",letter\n')[2] == ()


@given(st.lists(st.lists(st.text(), min_size=2, max_size=4), min_size=1, max_size=4), st.sampled_from(",;\t"))
@example([[' "x"', 'a, "b"'], ["\\", '\\"']], ",")
def test_what_the_csv_module_writes_is_read_back_exactly(rows: list[list[str]], delimiter: str) -> None:
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows(rows)
    lines = io.StringIO(out.getvalue(), newline="")
    assert [record.cells for record in read_records(lines, delimiter, 1)] == rows


@given(st.text(alphabet='ab",\t;\\ \n\r'), st.sampled_from(",;\t"))
@example('"' * 9, ",")
def test_any_text_ends_in_records_with_rising_lines(text: str, delimiter: str) -> None:
    records: list[Record] = list(read_records(io.StringIO(text, newline=""), delimiter, 5))
    lines = [record.line for record in records]
    assert lines == sorted(set(lines)) and all(line >= 5 for line in lines)
    assert all(not record.cells for record in records if record.fault and "other one" not in record.fault)
