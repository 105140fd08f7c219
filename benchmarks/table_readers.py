"""Tables as people have them, read by the libraries that read tables and by our own reader: right, refused or wrong.

Each case is a small file of ``tests/fixtures`` and the pairs that it holds, or nothing where it has two meanings and
must be refused. Only the reading of the table differs: names of columns, repeated headings and what becomes of a row
are the same code for all. The delimiter is told to those who cannot find it. *Wrong* is what matters: other pairs than
those of the file, without a word. The two halves are two collections of files. Our own reader was written for them, so
its figure says that it does what it should, and the others' figures say whether one of them would do instead. No model
runs.
"""

from __future__ import annotations

import argparse
import csv
import importlib
import importlib.metadata
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.options import run_program
from profiles.files.atomic import write_text
from profiles.pair_files.pairs_file import read_pairs_file
from profiles.pair_files.readers import Found
from profiles.pair_files.row_forms import COLUMNS
from profiles.pair_files.tables import plain_name

Rows = list[list[str]]
Pairs = list[list[str]]
Expected = Pairs | dict[str, Pairs] | None

CASES = Path(__file__).with_name("table_cases.json")
FIXTURES = Path(__file__).parents[1] / "tests" / "fixtures"
OUTCOMES = ("right", "refused", "wrong")
LONG = 20_000


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.table_readers", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.json", help="where the result goes")
    options = parser.parse_args(arguments)
    return run_program(lambda: run(options.out))


def run(out: Path) -> None:
    """Try every reader that is installed and write the result."""
    cases: dict[str, Expected] = json.loads(CASES.read_text(encoding="utf-8"))
    methods: dict[str, Any] = {}
    for name, (package, read) in READERS.items():
        try:
            version = importlib.metadata.version(package) if package else ""
        except importlib.metadata.PackageNotFoundError:
            print(f"{name} is not installed", file=sys.stderr)
            continue
        outcomes = {case: outcome(read, FIXTURES / case, pairs) for case, pairs in cases.items()}
        halves = {half: {c: o for c, o in outcomes.items() if c.startswith(half)} for half in ("pairs/", "imports/")}
        methods[name] = {
            "version": version,
            "metrics": {**_counted(outcomes), "seconds_20000_rows": _seconds(read)},
            "halves": {half.rstrip("/"): _counted(found) for half, found in halves.items()},
            "not_right": {case: found for case, found in outcomes.items() if found != "right"},
        }
        print(name, methods[name]["metrics"], file=sys.stderr)
    document = {"benchmark": "table_readers", "cases": len(cases), "methods": methods}
    write_text(out, json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def outcome(read: Callable[[Path], Pairs], path: Path, expected: Expected) -> str:
    """What became of a case: a refusal is right where the file has two meanings, or where either is right."""
    try:
        found = read(path)
    except Exception:  # noqa: BLE001 - each library has its own errors
        return "refused" if isinstance(expected, list) else "right"
    read_as = expected["either"] if isinstance(expected, dict) else expected
    return "right" if read_as is not None and found == read_as else "wrong"


def _counted(outcomes: dict[str, str]) -> dict[str, int]:
    counts = Counter(outcomes.values())
    return {name: counts[name] for name in OUTCOMES}


def _seconds(read: Callable[[Path], Pairs]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows([f"ring Ann, at {n}", f'( ) ring "Ann" at:{n}'] for n in range(LONG))
        begun = time.perf_counter()
        assert len(read(path)) == LONG
        return round(time.perf_counter() - begun, 2)


def _ours(path: Path) -> Pairs:
    found = read_pairs_file(path)
    if found.problems:
        raise ValueError(found.problems[0].reason)
    return [[pair.input, pair.response] for pair in found.pairs]


def _made(rows: Rows) -> Pairs:
    """The pairs of a table's rows, the first of which is its heading, as our own code makes them."""
    names = [plain_name(name) for name in rows[0]]
    if any(names.count(column) > 1 for column in COLUMNS):
        raise ValueError("a column stands twice")
    found = Found(Path("table"))
    for row in rows[1:]:
        if not any(cell.strip() for cell in row) or [plain_name(cell) for cell in row] == names:
            continue
        reason = "too many cells" if len(row) > len(names) else found.take(dict(zip(names, row, strict=False)))
        if reason is not None:
            raise ValueError(reason)
    return [[pair.input, pair.response] for pair in found.pairs["train"]]


def _delimiter(path: Path) -> str:
    """What most parts the first line, for those who have to be told."""
    with path.open(encoding="utf-8-sig") as file:
        first = next(file)
    return max(",;\t|", key=first.count)


def _frame(columns: Sequence[object], rows: Sequence[Sequence[object]]) -> Rows:
    return [[str(name) for name in columns], *(["" if cell is None else str(cell) for cell in row] for row in rows)]


def _csv(path: Path) -> Pairs:
    text = path.read_text(encoding="utf-8-sig")
    dialect = csv.Sniffer().sniff(text, ",;\t|")
    with path.open(encoding="utf-8-sig", newline="") as file:
        return _made(list(csv.reader(file, dialect, strict=True)))


def _clevercsv(path: Path) -> Pairs:
    library = importlib.import_module("clevercsv")
    return _made(library.read_table(str(path), encoding="utf-8-sig"))


def _pandas(path: Path) -> Pairs:
    library = importlib.import_module("pandas")
    frame = library.read_csv(path, sep=None, engine="python", dtype=str, keep_default_na=False, encoding="utf-8-sig")
    return _made(_frame(list(frame.columns), frame.to_numpy().tolist()))


def _pyarrow(path: Path) -> Pairs:
    library = importlib.import_module("pyarrow.csv")
    with path.open(encoding="utf-8-sig", newline="") as file:
        names = next(csv.reader(file, delimiter=_delimiter(path)))
    types = dict.fromkeys(names, importlib.import_module("pyarrow").string())
    table = library.read_csv(
        path,
        parse_options=library.ParseOptions(delimiter=_delimiter(path), newlines_in_values=True),
        convert_options=library.ConvertOptions(column_types=types, strings_can_be_null=False),
    )
    return _made(_frame(table.column_names, [list(row.values()) for row in table.to_pylist()]))


def _polars(path: Path, **more: Any) -> Pairs:
    library = importlib.import_module("polars")
    frame = library.read_csv(path, separator=_delimiter(path), infer_schema=False, empty_string_is_null=False, **more)
    return _made(_frame(frame.columns, frame.rows()))


def _polars_forgiving(path: Path) -> Pairs:
    return _polars(path, ignore_errors=True, extra_columns="ignore", missing_columns="insert")


READERS: dict[str, tuple[str, Callable[[Path], Pairs]]] = {
    "ours": ("", _ours),
    "csv": ("", _csv),
    "clevercsv": ("clevercsv", _clevercsv),
    "pandas": ("pandas", _pandas),
    "pyarrow": ("pyarrow", _pyarrow),
    "polars": ("polars", _polars),
    "polars, errors ignored": ("polars", _polars_forgiving),
}


if __name__ == "__main__":
    sys.exit(main())
