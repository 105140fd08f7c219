"""Example pairs from a file: JSONL, CSV, a procedure's JSON, a JSON list of pairs, or the forms of other programs.

The form is told from the content, not trusted to the file's name. Reading changes nothing anywhere: a caller gets
either usable pairs with the rows that are bad, or an error that says why the whole file cannot be used.
"""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from profiles.files.atomic import storage_error
from profiles.pair_files.json_text import decode
from profiles.pair_files.readers import (
    FORMS,
    MAX_PAIRS,
    MAX_PROBLEMS,
    WRAPPERS,
    Found,
    OtherColumnsError,
    RowProblem,
    read_json,
    read_jsonl,
    refuse_costly,
)
from profiles.pair_files.row_forms import DROPPED_WORDS, ColumnMapping, Dropped
from profiles.pair_files.tables import read_csv
from profiles.pair_files.talk_rows import Form
from profiles.store.pairs import Part
from tokmem_desk.errors import BadInputError, NotFoundError, did_you_mean
from tokmem_desk.procedures import ExamplePair

__all__ = [
    "MAX_BYTES",
    "MAX_PAIRS",
    "MAX_PROBLEMS",
    "OtherColumnsError",
    "PairsFile",
    "RowProblem",
    "load_pairs",
    "read_pairs_bytes",
    "read_pairs_file",
    "read_pairs_lines",
    "without_problems",
]

MAX_BYTES = 64 * 1024 * 1024
MAX_LINES = 2_000_000
_JSON = (".json", ".jsonc", ".json5")
_SEPARATOR_LINE = re.compile(r"sep=[,;\t]?", re.IGNORECASE)
"""Excel's first line of a CSV; the columns below it tell the same."""
TAKE_JSON = "Take numbers, true and false, lists and objects as JSON text"
_NOT_UTF8 = re.compile("[\udc80-\udcff]")
_SAVE_AS_UTF8 = "In the editor or spreadsheet, choose Save As and the encoding UTF-8 (in Excel: CSV UTF-8)."


@dataclass(frozen=True, slots=True)
class PairsFile:
    """What a file holds. The first three are None where the form or the file does not say."""

    procedure_name: str | None = None
    description: str | None = None
    pattern: str | None = None
    pairs: tuple[ExamplePair, ...] = ()
    held_out: tuple[ExamplePair, ...] = ()
    problems: tuple[RowProblem, ...] = ()
    forms: tuple[Form, ...] = ()
    """What was recognised in the rows."""
    columns: tuple[str, ...] = ()
    """Columns or keys that a mapping can name."""
    mapping: ColumnMapping | None = None
    """The columns that were taken, where they are not named ``input`` and ``response``."""
    output_schema: str | None = None
    reads_conversation: bool = False
    dropped: Mapping[Dropped, int] = field(default_factory=dict)
    """What the file holds and no pair learns, counted: answers marked as not to be learned, rejected ones, …"""

    as_written: ColumnMapping | None = None
    """A mapping that would take values of refused rows, which are no text, as JSON."""
    remarks: tuple[str, ...] = ()
    """Further sentences, on what should be looked at."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out on purpose, and what should be looked at, in sentences for people."""
        words = ((DROPPED_WORDS[what], count) for what, count in self.dropped.items())
        left_out = (one if count == 1 else several.format(f"{count:,}") for (one, several), count in words)
        return (*left_out, *self.remarks)

    @property
    def count(self) -> int:
        """Usable pairs, held-out ones included."""
        return len(self.pairs) + len(self.held_out)

    @property
    def parts(self) -> dict[Part, tuple[ExamplePair, ...]]:
        """The pairs of each part that there are some of."""
        parts: dict[Part, tuple[ExamplePair, ...]] = {"train": self.pairs, "held_out": self.held_out}
        return {part: pairs for part, pairs in parts.items() if pairs}


def load_pairs(path: Path, mapping: ColumnMapping | None = None, *, advice: str = "") -> PairsFile:
    """Read a file of which every row must be good.

    Args:
        path: the file.
        mapping: which columns to take; without it they must be ``input`` and ``response``, or a form we know.
        advice: what else the caller offers to do about bad rows; begins with a blank.

    Raises:
        BadInputError: names the file, the line and the reason; several bad rows are named at once.
        NotFoundError: there is no such file.
        StorageError: it cannot be read.
    """
    return without_problems(path, read_pairs_file(path, mapping), advice=advice)


def without_problems(path: Path, found: PairsFile, *, advice: str = "") -> PairsFile:
    """What was read, if every row is good; see ``load_pairs``.

    Raises:
        BadInputError: names the bad rows.
    """
    if found.problems:
        shown = "; ".join(f"line {problem.line}: {problem.reason}" for problem in found.problems[:3])
        more = len(found.problems) - 3
        at_least = "at least " if len(found.problems) >= MAX_PROBLEMS else ""
        others = f" (and {at_least}{more} more)" if more > 0 else ""
        raise BadInputError(
            f"{path}, {shown}{others}.",
            next_step=f"Correct the file and try again; nothing was imported.{advice}"
            + (f" {TAKE_JSON} with --map {found.as_written}." if advice and found.as_written is not None else ""),
        )
    return found


def read_pairs_file(path: Path, mapping: ColumnMapping | None = None) -> PairsFile:
    """Read a file and keep the bad rows beside the good ones.

    Args:
        path: the file.
        mapping: see ``load_pairs``.

    Raises:
        OtherColumnsError: a table whose columns must be mapped.
        BadInputError: the file as a whole cannot be used: empty, too big, not UTF-8, other columns, not one pair.
        NotFoundError: there is no such file.
        StorageError: it cannot be read.
    """
    try:
        _refuse_other_than_file(path)
        with path.open("rb") as head:
            _refuse_other_than_utf8(path, head.read(16))
        # Bytes that are not UTF-8 become lone surrogates, so that the line at fault can be named; endings stay as
        # they are for the csv module, and each of the three kinds ends a line.
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
            return read_pairs_lines(path, _checked(path, text), mapping)
    except OSError as caught:
        raise storage_error(f"{path} could not be read", caught) from caught


def read_pairs_bytes(name: Path, data: bytes, mapping: ColumnMapping | None = None) -> PairsFile:
    """Read what a pipe gave, as if it were a file of that name; see ``read_pairs_file``.

    Raises:
        BadInputError: it cannot be used as a whole.
    """
    if len(data) > MAX_BYTES:
        raise BadInputError(f"{name} has more than {MAX_BYTES // 2**20} MB.", next_step="Keep the best pairs.")
    _refuse_other_than_utf8(name, data[:16])
    text = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", errors="surrogateescape", newline="")
    return read_pairs_lines(name, _checked(name, text), mapping)


def _refuse_other_than_file(path: Path) -> None:
    if path.is_dir():
        raise BadInputError(f"{path} is a folder, not a file of pairs.", next_step="Name one file in it.")
    if not path.exists():
        neighbours = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        raise NotFoundError(f"There is no file {path}.{did_you_mean(path.name, neighbours)}")
    if not path.is_file():
        raise BadInputError(f"{path} is not a plain file.", next_step="Save the pairs in a file first.")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise BadInputError(
            f"{path} is {size / 2**20:,.0f} MB; a file of pairs may be {MAX_BYTES // 2**20} MB.",
            next_step="Keep the best pairs, or split the file.",
        )


def read_pairs_lines(path: Path, lines: Iterator[str], mapping: ColumnMapping | None = None) -> PairsFile:
    """Read lines of text, with their endings, that came from ``path`` or from elsewhere under that name.

    Raises:
        BadInputError: see ``read_pairs_file``.
    """
    blank = 0
    for first in lines:
        if first.strip() and not _SEPARATOR_LINE.fullmatch(first.strip()):
            break
        blank += 1
    else:
        raise BadInputError(f"{path} is empty.", next_step=FORMS)
    found = Found(path, mapping)
    rest = itertools.chain([first], lines)
    facts: dict[str, str] = {}
    if _begins_jsonl(path, first):
        read_jsonl(rest, blank, found)
    elif first.lstrip()[0] in "[{" or (first.lstrip().startswith(("//", "/*")) and path.suffix.lower() in _JSON):
        facts = read_json(_whole(blank, rest), found)
    else:
        _refuse_no_table(path, first)
        read_csv(rest, blank, found)
    if not any(found.pairs.values()) and not found.problems:
        if marked := found.dropped["marked"]:
            answers = "its one answer is" if marked == 1 else f"each of its {marked:,} answers is"
            raise BadInputError(
                f"{path} holds no pair to learn: {answers} marked as not to be learned.",
                next_step="Look at 'weight', 'loss_weight', 'train', 'loss' or 'label' in its rows.",
            )
        raise BadInputError(f"{path} holds no pair.", next_step=FORMS)
    return PairsFile(
        procedure_name=facts.get("name"),
        description=facts.get("description"),
        pattern=facts.get("pattern"),
        pairs=tuple(found.pairs["train"]),
        held_out=tuple(found.pairs["test"]),
        problems=tuple(found.problems),
        forms=tuple(found.forms),
        columns=found.columns,
        mapping=found.mapping,
        output_schema=facts.get("schema"),
        reads_conversation="reads_conversation" in facts,
        dropped=dict(found.dropped),
        as_written=found.as_written,
        remarks=tuple(found.remarks),
    )


def _whole(blank: int, lines: Iterable[str]) -> str:
    """All lines as one text, without a list of them: a file can have millions."""
    text = io.StringIO()
    text.write("\n" * blank)
    for line in lines:
        text.write(line)
    return text.getvalue()


def _refuse_other_than_utf8(path: Path, head: bytes) -> None:
    kinds = (
        (b"\xff\xfe\0\0", "UTF-32 text", _SAVE_AS_UTF8),
        (b"\0\0\xfe\xff", "UTF-32 text", _SAVE_AS_UTF8),
        (b"\xff\xfe", "UTF-16 text", _SAVE_AS_UTF8),
        (b"\xfe\xff", "UTF-16 text", _SAVE_AS_UTF8),
        (b"PK\x03\x04", "a zip or Excel file", "In the spreadsheet, choose Save As, CSV UTF-8."),
        (b"\x1f\x8b", "a gzip file", "Unpack it first."),
        (b"\xd0\xcf\x11\xe0", "an old Excel file (.xls)", "In the spreadsheet, choose Save As, CSV UTF-8."),
        (b"PAR1\x15", "a Parquet file", "Write it as JSONL first; in Python: pandas.read_parquet(…).to_json(…)."),
        (b"%PDF-", "a PDF file", "Copy the two columns and paste them, or save them as CSV UTF-8."),
        (b"SQLite format 3\0", "a database", "Export the two columns as CSV UTF-8."),
    )
    for mark, kind, next_step in kinds:
        if head.startswith(mark):
            raise BadInputError(f"{path} is {kind}, not UTF-8 text.", next_step=next_step)


_YAML = re.compile(r"---\s*$|[-*] \S|\w+:\s*$")
_NO_TABLES = (
    ("<!doctype html", "a web page", "It may be the page that asks to sign in: download the file itself."),
    ("<html", "a web page", "It may be the page that asks to sign in: download the file itself."),
    ("version https://git-lfs", "a note in the place of a file that Git LFS keeps", "Fetch it: git lfs pull."),
    ("<<<<<<< ", "a file with two versions that Git could not merge", "Keep one of them first."),
)


def _refuse_no_table(path: Path, first: str) -> None:
    """Name text that is known to be no table by its first line."""
    if _YAML.match(first):
        raise BadInputError(
            f"{path} is YAML, or a list in Markdown.",
            next_step=f"Write it as JSON; in Python: json.dumps(yaml.safe_load(…)). {FORMS}",
        )
    for begin, kind, next_step in _NO_TABLES:
        if first.strip().lower().startswith(begin):
            raise BadInputError(f"{path} is {kind}.", next_step=next_step)


def _checked(path: Path, lines: Iterable[str]) -> Iterator[str]:
    """The lines, as long as they are text in UTF-8."""
    for number, line in enumerate(lines, start=1):
        if number > MAX_LINES:
            raise BadInputError(f"{path} has more than {MAX_LINES:,} lines.", next_step="Keep the best pairs.")
        if "\0" in line:
            if line.count("\0") * 3 > len(line):
                raise BadInputError(
                    f"{path}, line {number}: this looks like UTF-16 text, not UTF-8.", next_step=_SAVE_AS_UTF8
                )
            raise BadInputError(f"{path}, line {number}: there is a NUL byte.", next_step="Save it as plain text.")
        if not line.isascii() and _NOT_UTF8.search(line):
            raise BadInputError(
                f"{path}, line {number}: this is not UTF-8 text; it looks like Latin-1 or Windows-1252.",
                next_step=_SAVE_AS_UTF8,
            )
        yield line.lstrip("\ufeff")  # files that were joined have the mark of UTF-8 in their middle


def _begins_jsonl(path: Path, first: str) -> bool:
    """Tell one object a line from a JSON document by the first line.

    Raises:
        BadInputError: reading that line would take more memory than a file of its size may.
    """
    text, suffix = first.strip(), path.suffix.lower()
    if not text.startswith("{") or text == "{" or not (text.endswith("}") or suffix in (".jsonl", ".ndjson")):
        return False
    refuse_costly(path, text)
    try:
        value = decode(text)
    except (ValueError, RecursionError):
        return True
    # A procedure's JSON on one line has lists there; a row may be marked ``"train": false``.
    return not any(isinstance(value.get(key), list) for key in ("train", "test", *WRAPPERS))
