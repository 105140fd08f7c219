"""Everything that changes something, as command lines: where each begins, what it deletes, what may lie between.

``{pairs}`` and the like stand for files that ``write_files`` makes; ``{out}`` for a folder that commands write into.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tests.chaos.warm import Engine

Start = Literal["plain", "locked", "tiny", "bare"]
"""The home it begins with: profiles with everything in them; the same, locked; one with a tiny model; no such model."""

PASSPHRASE, NEW_PASSPHRASE = "four words of mine", "five words of mine too"
FORGOTTEN_PAIR = "quokkas smile at ferries"
FORGOTTEN_CHAT = "wombats dig at midnight"
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
KNOWN = "I need to call mum on Monday"


@dataclass(frozen=True)
class Operation:
    """One command that changes something.

    Attributes:
        name: unique.
        arguments: its command line.
        start: the home it begins with.
        engine: which engine it needs.
        stdin: what it reads.
        deletes: a text that is nowhere once this has been acknowledged.
        between: whether it has several steps, each whole by itself, after any of which it may be cut off.
        weight: how often it is killed, beside the others.
        environ: for passphrases.
    """

    name: str
    arguments: tuple[str, ...]
    start: Start = "plain"
    engine: Engine = "none"
    stdin: bytes = b""
    deletes: str = ""
    between: bool = False
    weight: float = 1.0
    environ: tuple[tuple[str, str], ...] = ()


def _one(line: str, **more: Any) -> Operation:
    words = tuple(line.split())
    return Operation(more.pop("name", " ".join(words[:2])), words, **more)


_KEY = (("TOKMEM_PASSPHRASE", PASSPHRASE),)
_BOTH_KEYS = (*_KEY, ("TOKMEM_NEW_PASSPHRASE", NEW_PASSPHRASE))

OPERATIONS = (
    _one("proc add extra --pairs {pairs} --schema {schema}"),
    _one("proc import todo --pairs {more}"),
    _one("proc import todo --pairs {more} --replace", name="proc import --replace"),
    _one("proc rename todo jobs"),
    _one("proc remove todo"),
    _one("proc remove todo mood --yes", name="proc remove of two", between=True),
    _one("proc undo"),
    _one("proc undo --forget --yes", name="proc undo --forget", deletes=FORGOTTEN_PAIR),
    _one("proc disable todo"),
    _one("proc enable mood"),
    _one("proc schema todo {schema}"),
    _one("proc command mood -- echo {text}"),
    _one("proc group todo --in work"),
    _one("proc threshold todo 0.7"),
    _one("proc rollback todo 1"),
    _one("proc history todo --forget --yes", name="proc history --forget"),
    _one("chats delete 2 --yes", deletes=FORGOTTEN_CHAT),
    _one("chats export 1 {out}/chat.md"),
    _one("token create second"),
    _one("token remove editor"),
    _one("profile create bob"),
    _one("profile switch anna"),
    _one("profile rename anna berta"),
    _one("profile delete anna --yes", weight=1.5),
    _one("profile lock default", weight=2.5, environ=_KEY),
    _one("profile unlock default --yes", start="locked", weight=2.5, environ=_KEY),
    _one("profile passphrase default", start="locked", weight=1.5, environ=_BOTH_KEYS),
    _one(
        "profile passphrase default --new-recovery-key",
        name="profile passphrase --new-recovery-key",
        start="locked",
        environ=_KEY,
    ),
    _one("proc add extra --pairs {pairs}", name="proc add, locked", start="locked", environ=_KEY),
    _one("chats delete 2 --yes", name="chats delete, locked", start="locked", environ=_KEY, deletes=FORGOTTEN_CHAT),
    _one("config set preset quick"),
    _one("config set max_answer_tokens 99 --only-profile", name="config set --only-profile"),
    _one("model use default"),
    Operation("ask -c", ("ask", "-c", KNOWN, "--yes"), engine="scripted", between=True),
    Operation("ask -c, locked", ("ask", "-c", KNOWN, "--yes"), "locked", "scripted", between=True, environ=_KEY),
    Operation(
        "chat --plain",
        ("chat", "--plain", "--yes"),
        engine="scripted",
        stdin=f"{KNOWN}\nhello\n".encode(),
        between=True,
    ),
    _one("train todo --yes", name="train", engine="scripted", between=True, weight=2),
    _one("bank export {out}/mine.tokmem --with-pairs --yes", engine="scripted"),
    _one("bank import {bank} --yes --on-conflict rename", engine="scripted", weight=2),
    _one("bank import {bank} --yes --on-conflict replace", name="bank import over it", engine="scripted", weight=2),
)
"""With no model, or one that is scripted."""

OF_THE_TINY_MODEL = (
    _one("model pull {model} --yes", start="bare", engine="real", weight=0.2),  # fits a router, which takes a minute
    _one("train shout --yes --preset quick", name="train, tiny model", start="tiny", engine="real", between=True),
    Operation("ask -c, tiny model", ("ask", "-c", "say milk 0", "--yes"), "tiny", "real", between=True),
)
"""With the real engine."""


def write_files(folder: Path) -> dict[str, str]:
    """Make the files that commands read; gives what stands for them."""
    pairs = [
        {"input": f"I need to {what} on {day}", "response": f"( ) {what} due:{day[:3].lower()}"}
        for what in ("call mum", "buy milk")
        for day in DAYS
    ]
    more = [{"input": f"I need to wash the {what}", "response": f"( ) wash the {what}"} for what in ("dog", "car")]
    moods = [{"input": f"Lovely day {n}", "response": json.dumps({"text": f"good {n}"})} for n in range(6)]
    forgotten = [{"input": FORGOTTEN_PAIR, "response": "yes"}, {"input": "an old thing", "response": "no"}]
    files = {"pairs": pairs, "more": more, "moods": moods, "forgotten": forgotten}
    for name, rows in files.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    schema = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
    (folder / "schema.json").write_text(json.dumps(schema))
    return {name: str(folder / f"{name}.jsonl") for name in files} | {"schema": str(folder / "schema.json")}


Cli = Callable[..., None]
"""Runs a command line in a home that is being prepared, which has to succeed."""


def prepare(cli: Cli) -> None:
    """Fill a home: a procedure that was trained and changed since, one with a schema and off, one that was removed."""
    cli("proc", "add", "todo", "--pairs", "{pairs}", "--description", "a to-do line")
    cli("proc", "add", "mood", "--pairs", "{moods}", "--schema", "{schema}")
    cli("train", "--yes", engine="scripted")
    cli("proc", "disable", "mood")
    cli("chat", "--plain", "--yes", engine="scripted", stdin=f"{KNOWN}\nkept for ever\n".encode())
    cli("chat", "--plain", "--yes", engine="scripted", stdin=f"{FORGOTTEN_CHAT}\n".encode())
    cli("token", "create", "editor")
    cli("profile", "create", "anna")
    cli("proc", "add", "hers", "--pairs", "{pairs}", "--profile", "anna")
    cli("proc", "import", "todo", "--pairs", "{more}")
    cli("proc", "add", "old", "--pairs", "{forgotten}")
    cli("proc", "remove", "old")


def filled(text: str, files: dict[str, str]) -> str:
    """A word of a command line with the files' names in it; other braces stay."""
    for name, path in files.items():
        text = text.replace(f"{{{name}}}", path)
    return text
