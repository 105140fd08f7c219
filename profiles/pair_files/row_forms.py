"""From one row of a file to example pairs: our own form, the forms other programs write, or a mapping of columns.

Knows rows, not files. Forms are told from the keys of each row; columns are never guessed here, because a wrong guess
would train the wrong thing: ``guess_mapping`` only suggests.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from profiles.pair_files.json_text import DoubledKeys, written
from profiles.pair_files.row_values import is_left_out, is_text, kind
from profiles.pair_files.talk_rows import SILENT_ROLES, Form, Talk, talk_of
from profiles.store.pair_rules import pair_fault
from tokmem_desk.errors import UsageError
from tokmem_desk.procedures import ExamplePair

Dropped = Literal[
    "marked",
    "headings",
    "instruction",
    "system",
    "tools",
    "history",
    "rejected",
    "unasked",
    "reasoning",
    "thinking",
    "media",
    "written",
]
"""What a file holds and no pair learns, or not as it stands."""

DROPPED_WORDS: dict[Dropped, tuple[str, str]] = {
    "marked": (
        "Left out 1 answer that is marked as not to be learned.",
        "Left out {} answers that are marked as not to be learned.",
    ),
    "headings": ("Left out 1 row that names the columns again.", "Left out {} rows that name the columns again."),
    "instruction": (
        "1 row has an instruction beside input and response, which is not learned.",
        "{} rows have an instruction beside input and response, which is not learned.",
    ),
    "system": ("1 row has a system text, which is not learned.", "{} rows have a system text, which is not learned."),
    "tools": ("1 row calls tools, which is not learned.", "{} rows call tools, which is not learned."),
    "history": (
        "1 row has earlier turns in 'history', which are not learned.",
        "{} rows have earlier turns in 'history', which are not learned.",
    ),
    "rejected": (
        "1 row names a rejected answer, which is not learned.",
        "{} rows name a rejected answer, which is not learned.",
    ),
    "unasked": (
        "1 answer follows no message of the person and is not learned.",
        "{} answers follow no message of the person and are not learned.",
    ),
    "reasoning": (
        "1 answer has its reasoning beside it, which is not learned.",
        "{} answers have their reasoning beside them, which is not learned.",
    ),
    "thinking": (
        "1 answer begins with <think>, and what is thought there is learned with it.",
        "{} answers begin with <think>, and what is thought there is learned with them.",
    ),
    "media": (
        "1 row has images, videos or sounds, which are not learned.",
        "{} rows have images, videos or sounds, which are not learned.",
    ),
    "written": (
        "1 row has a number, true or false, a list or an object, which is taken as JSON text.",
        "{} rows have numbers, true or false, lists or objects, which are taken as JSON text.",
    ),
}
"""How a person is told: of one, of several."""

FORM_WORDS: dict[Form, str] = {
    "pairs": "input and response",
    "mapped": "the columns you chose",
    "alpaca": "Alpaca: instruction and input or context → you type, output or response → you get",
    "sharegpt": "ShareGPT conversations: each message with its answer is a pair",
    "messages": "chat messages: each user message with its answer is a pair",
    "preferred": "preferences: the last message before the chosen answer → you type, the chosen answer → you get",
    "export": "conversations of ChatGPT or Claude: each message with its answer is a pair",
    "columns": "columns: the list of inputs beside the list of responses",
}
"""How a person is told what was recognised."""

COLUMNS = ("input", "response")

_MEDIA = ("images", "image", "videos", "audios")
_MEDIA_TAG = re.compile(r"<(?:image|video|audio)>\s*")
"""What stands in a text for a medium of the row."""
_NOTHING = object()
_DEEPEST = 5
_MOST_KEYS = 40

ALIASES = {
    "input": ("prompt", "question", "instruction", "query", "user", "source", "text", "message", "you type"),
    "response": (
        "output", "answer", "completion", "assistant", "target", "reply", "label", "expected", "you get",
    ),
}  # fmt: skip
"""What other programs call the two columns."""


@dataclass(frozen=True, slots=True)
class ColumnMapping:
    """Which columns (or keys) are what the person types and what they get.

    Each is a name, several names joined by ``+`` (their texts are joined by an empty line), or in a table without a
    header the number of a column, from 1. In JSON a name may lead inside, with dots, and count elements from 1:
    ``answers.text.1``. Numbers, true and false, lists and objects are taken as JSON text.
    """

    input: str
    response: str

    @classmethod
    def parse(cls, text: str) -> ColumnMapping:
        """Read ``input=COLUMN,response=COLUMN``.

        Raises:
            UsageError: it is not that.
        """
        named: dict[str, str] = {}
        for part in text.split(","):
            key, equals, column = part.partition("=")
            if key.strip() not in COLUMNS or not equals or not column.strip() or key.strip() in named:
                break
            named[key.strip()] = column.strip()
        if set(named) != set(COLUMNS):
            raise UsageError(
                f"{text!r} is no mapping of columns.", next_step="Write it as --map input=COLUMN,response=COLUMN."
            )
        return cls(named["input"], named["response"])

    def __str__(self) -> str:
        return f"input={self.input},response={self.response}"

    @property
    def numbered(self) -> bool:
        """True when both are numbers of columns."""
        return self.input.isdecimal() and self.response.isdecimal()

    def places(self, columns: Sequence[str]) -> dict[str, list[int]]:
        """Where the texts of ``input`` and ``response`` stand among ``columns``.

        Raises:
            UsageError: names a column that is not there.
        """
        return {"input": _places(self.input, columns), "response": _places(self.response, columns)}

    def values(self, row: Mapping[str, object]) -> dict[str, list[object]]:
        """The values of a JSON row for ``input`` and ``response``.

        Raises:
            UsageError: names a key that is not there.
        """
        return {"input": _values(self.input, row), "response": _values(self.response, row)}


def _places(wanted: str, columns: Sequence[str]) -> list[int]:
    plain = [column.strip().lower() for column in columns]
    if wanted.strip().lower() in plain:
        return [plain.index(wanted.strip().lower())]
    found = []
    for name in wanted.split("+"):
        key = name.strip().lower()
        if key in plain:
            found.append(plain.index(key))
        elif key.isdecimal() and len(key) < 10 and 1 <= int(key) <= len(columns):
            found.append(int(key) - 1)
        else:
            raise UsageError(f"There is no column {name.strip()!r}; there are {quoted(columns)}.")
    return found


def _values(wanted: str, row: Mapping[str, object]) -> list[object]:
    keys = [str(key) for key in row]
    try:
        return [row[keys[place]] for place in _places(wanted, keys)]
    except UsageError:
        found = [_inside(row, name.strip()) for name in wanted.split("+")]
        if "." not in wanted or any(value is _NOTHING for value in found):
            raise
        return found


def _inside(row: Mapping[str, object], path: str) -> object:
    """The value to which a name with dots leads, or ``_NOTHING``."""
    value: object = row
    for part in path.lower().split("."):
        if isinstance(value, Mapping):
            value = next((value[key] for key in value if str(key).strip().lower() == part), _NOTHING)
        elif isinstance(value, list) and part.isdecimal() and len(part) < 10 and 1 <= int(part) <= len(value):
            value = value[int(part) - 1]
        else:
            return _NOTHING
    return value


def guess_mapping(columns: Sequence[str]) -> ColumnMapping | None:
    """What the two columns probably are; None when the names say nothing."""
    plain = {column.strip().lower(): column for column in columns}
    chosen = []
    for wanted in COLUMNS:
        name = next((name for name in (wanted, *ALIASES[wanted]) if name in plain), None)
        if name is None:
            return None
        chosen.append(plain[name])
    return ColumnMapping(*chosen) if chosen[0] != chosen[1] else None


def dropped_of_row(row: object, mapping: ColumnMapping | None = None) -> dict[Dropped, int]:
    """What of a row is never learned, counted: see ``DROPPED_WORDS``. A mapping says itself what is taken."""
    if not isinstance(row, dict):
        return {}
    if is_left_out(row):
        return {"marked": 1}
    if mapping is not None:
        values = [value for values in mapping.values(row).values() for value in values]
        return {"written": 1} if any(value is not None and not isinstance(value, str) for value in values) else {}
    talk = talk_of(row) or Talk("messages", [])
    preferred = talk.form == "preferred"
    found: dict[Dropped, int] = {
        "marked": sum(map(is_left_out, talk.answers)),
        "instruction": int(all(is_text(row.get(key)) for key in (*COLUMNS, "instruction", "output"))),
        "system": int(any(role in SILENT_ROLES for role in talk.roles) or is_text(row.get("system"))),
        "tools": int(talk.calls_tools),
        "history": int(bool(row.get("history")) or (preferred and len(talk.answers) > 1)),
        "rejected": int("rejected" in row or "non_preferred_output" in row),
        "unasked": 0 if preferred else talk.unasked,
        "reasoning": talk.reasons,
        "thinking": talk.thinks,
        "media": int(any(row.get(key) for key in _MEDIA) or talk.left_out > 0 or talk.has_media),
    }
    return {what: count for what, count in found.items() if count}


def pairs_of_row(row: object, mapping: ColumnMapping | None = None) -> tuple[Form, list[ExamplePair]] | str:
    """The pairs in a row and the form it has, or why there is none.

    Args:
        row: an element of a JSON list, a line of JSONL, or a line of a table as an object.
        mapping: take these keys and try no other form.

    Returns:
        The form and the pairs, none where the row is marked as not to be learned; or the reason.
    """
    if mapping is not None:
        row = _numbered(row)
    if not isinstance(row, dict):
        elements = "; the mapping input=1,response=2 takes its elements" if isinstance(row, list) else ""
        return f"{kind(row)}, not an object with 'input' and 'response'{elements}"
    if isinstance(row, DoubledKeys):
        return f"the key {row.doubled!r} stands twice"
    if is_left_out(row):
        return "pairs", []
    if mapping is not None:
        return _mapped(row, mapping)
    if "response" in row and is_text(row.get("instruction")) and "output" not in row:
        return _alpaca(row, "response")
    if any(row.get(key) for key in _MEDIA):
        row = _without_tags(row)
    if all(column in row for column in COLUMNS):
        return _own(row)
    if (talk := talk_of(row)) is not None:
        return talk.pairs
    if "instruction" in row and "output" in row:
        return _alpaca(row, "output")
    missing = [column for column in COLUMNS if column not in row]
    lacks = " and ".join(repr(column) for column in missing)
    inside = [name for name in text_keys([row]) if name not in row]
    texts = f" Texts inside: {quoted(inside)}." if inside else ""
    return f"no {lacks} (found: {quoted(row)}).{other_thing(row) or renames(missing, list(row)) + texts}".rstrip(".")


def other_thing(row: Mapping[str, object]) -> str:
    """What an object is that is no row, in a sentence; empty where it may be one."""
    if isinstance(row.get("properties"), dict) and is_text(row.get("type")):
        return " It is a JSON schema: give it with --schema, and pairs with --pairs."
    known = {name for names in ALIASES.values() for name in names} | {"error", "detail"}
    texts = all(isinstance(value, str) for value in row.values())
    if texts and any(" " in str(key) for key in row) and not known & {str(key).lower() for key in row}:
        return ' If each key is a message and its value the answer, write each as {"input": "…", "response": "…"}.'
    return ""


def _without_tags(row: Mapping[str, object]) -> dict[str, object]:
    """The row without what stands in its texts for an image, a video or a sound."""

    def plain(value: object) -> object:
        if isinstance(value, str):
            return _MEDIA_TAG.sub("", value)
        if isinstance(value, list):
            return [plain(one) for one in value]
        return {key: plain(one) for key, one in value.items()} if isinstance(value, dict) else value

    return {key: value if key in _MEDIA else plain(value) for key, value in row.items()}


def _own(row: Mapping[str, object]) -> tuple[Form, list[ExamplePair]] | str:
    typed, answer = row["input"], row["response"]
    if (columns := _columns(typed, answer)) is not None:
        return columns
    for column in COLUMNS:
        if not isinstance(row[column], str):
            return f"{column} is {kind(row[column])}, not text in quotes"
    references = row.get("references") or []
    if not isinstance(references, list) or not all(isinstance(text, str) for text in references):
        return "references is not a list of texts"
    pair = ExamplePair(str(typed), str(answer), tuple(references))
    return pair_fault(pair) or ("pairs", [pair])


def _columns(typed: object, answers: object) -> tuple[Form, list[ExamplePair]] | str | None:
    """Pairs from a list of texts beside another, or from objects of texts with the same keys; None for all else."""
    if isinstance(typed, dict) and isinstance(answers, dict) and typed.keys() == answers.keys():
        typed, answers = list(typed.values()), [answers[key] for key in typed]
    if not isinstance(typed, list) or not isinstance(answers, list) or len(typed) != len(answers) or not typed:
        return None
    if not all(isinstance(text, str) for text in (*typed, *answers)):
        return None
    pairs = [ExamplePair(one, answer) for one, answer in zip(typed, answers, strict=True)]
    faults = [(number, pair_fault(pair)) for number, pair in enumerate(pairs, start=1)]
    fault = next((f"element {number} of the columns: {fault}" for number, fault in faults if fault is not None), None)
    return fault or ("columns", pairs)


def _mapped(row: Mapping[str, object], mapping: ColumnMapping) -> tuple[Form, list[ExamplePair]] | str:
    try:
        values = mapping.values(row)
        texts = {column: [written(value) for value in values[column]] for column in COLUMNS}
    except UsageError as caught:
        return caught.message.rstrip(".")
    except RecursionError:
        return "not usable JSON: nested too deeply"
    joined = {column: "\n\n".join(text for text in parts if text and text.strip()) for column, parts in texts.items()}
    pair = ExamplePair(joined["input"], joined["response"])
    return pair_fault(pair) or ("mapped", [pair])


def _numbered(row: object) -> object:
    """A row that is a list, as an object whose keys count its elements from 1."""
    return {str(place): value for place, value in enumerate(row, start=1)} if isinstance(row, list) else row


def as_written(row: object) -> ColumnMapping | None:
    """The mapping under which a refused row can be read: its values are no text, and a mapping takes them as JSON."""
    if not isinstance(row, dict) or isinstance(row, DoubledKeys):
        return None
    for mapping, needed in (
        (ColumnMapping("input", "response"), COLUMNS),
        (ColumnMapping("instruction+input", "output"), ("instruction", "input", "output")),
        (ColumnMapping("instruction", "output"), ("instruction", "output")),
    ):
        if all(key in row for key in needed):
            return mapping if isinstance(_mapped(row, mapping), tuple) else None
    return None


def _alpaca(row: Mapping[str, object], answer: str) -> tuple[Form, list[ExamplePair]] | str:
    for key in ("instruction", "input", "context", answer):
        if not isinstance(row.get(key) or "", str):
            return f"{key} is {kind(row[key])}, not text in quotes"
    texts = [str(row.get(key) or "") for key in ("instruction", "input", "context")]
    pair = ExamplePair("\n\n".join(text for text in texts if text.strip()), str(row[answer] or ""))
    return pair_fault(pair) or ("alpaca", [pair])


def text_keys(rows: Iterable[object]) -> tuple[str, ...]:
    """What a mapping can name in the first rows, in order of appearance: keys with a value, and texts inside."""
    found: dict[str, None] = {}
    for row in itertools.islice(rows, 50):
        row = _numbered(row)
        if isinstance(row, dict):
            found.update({str(key): None for key, value in row.items() if value is not None})
            for key, value in row.items():
                if isinstance(value, dict | list) and key not in ("messages", "conversations"):
                    found.update(dict.fromkeys(_paths(str(key), value, _DEEPEST)))
        if len(found) > _MOST_KEYS:
            break
    return tuple(itertools.islice(found, _MOST_KEYS))


def _paths(name: str, value: object, deeper: int) -> Iterator[str]:
    """Names with dots of the texts inside a value."""
    if isinstance(value, str):
        yield name
    elif deeper and isinstance(value, dict | list):
        parts = value.items() if isinstance(value, dict) else enumerate(value, start=1)
        for part, inside in itertools.islice(parts, _MOST_KEYS):
            yield from _paths(f"{name}.{part}", inside, deeper - 1)


def renames(missing: Sequence[str], found: Sequence[object]) -> str:
    """A sentence for each missing column that has a likely stand-in."""
    by_lower = {str(name).strip().lower(): str(name) for name in found if name not in COLUMNS}
    aliases = {column: next((name for name in ALIASES[column] if name in by_lower), None) for column in missing}
    for column in missing:
        if aliases[column] is None:
            others = [name for name in by_lower if name not in aliases.values()]
            aliases[column] = next(iter(difflib.get_close_matches(column, others, n=1, cutoff=0.5)), None)
    return "".join(f" Rename {by_lower[alias]!r} to {column!r}?" for column, alias in aliases.items() if alias)


def quoted(names: Iterable[object]) -> str:
    """The first few names, in quotes."""
    shown = list(_first_quoted(names))
    return ", ".join(shown) or "none"


def _first_quoted(names: Iterable[object]) -> Iterator[str]:
    for name in itertools.islice(names, 8):
        yield repr(str(name)[:40])
