"""Read the development data, and draw from it what one run works on. No model here.

Any folder of procedure files works. Either part of a file may be absent or empty: a procedure without ``train``
cannot be learned and is left out, one without ``test`` is learned and not measured. ``chat.json`` is the none set.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.options import Options
from tokmem_desk.errors import BadInputError, NotFoundError, did_you_mean
from tokmem_desk.procedures import ExamplePair, Procedure

CHAT_FILE = "chat.json"
_ORDER_SEED = 0


@dataclass(frozen=True, slots=True)
class TaskData:
    """A folder of procedures.

    Attributes:
        none_messages: test messages that no procedure should answer.
        skipped: names of files that cannot take part, with the reason.
        none_train: messages of the same kind that are not for testing.
    """

    procedures: list[Procedure]
    none_messages: list[str]
    skipped: dict[str, str] = field(default_factory=dict)
    none_train: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RoutingData:
    """Texts by route.

    Attributes:
        train, test: texts of each intent or procedure.
        none_messages: test texts out of scope.
        none_train: texts out of scope that are not for testing.
    """

    train: dict[str, list[str]]
    test: dict[str, list[str]]
    none_messages: list[str]
    none_train: list[str] = field(default_factory=list)


def load_tasks(folder: Path) -> TaskData:
    """Read a folder of procedure files.

    Raises:
        BadInputError: no such folder, a damaged file, or nothing to learn in it.
    """
    if not folder.is_dir():
        raise BadInputError(f"{folder} is not a folder.", next_step="Name a folder of procedure files.")
    procedures: list[Procedure] = []
    none_messages: list[str] = []
    none_train: list[str] = []
    skipped: dict[str, str] = {}
    for path in sorted(folder.glob("*.json")):
        document = _read(path)
        if path.name == CHAT_FILE:
            none_messages, none_train = (_texts(path, document.get(part)) for part in ("test", "train"))
        elif "train" in document or "test" in document:
            procedure = _procedure(path, document)
            if procedure.pairs:
                procedures.append(procedure)
            else:
                skipped[procedure.name] = "no train part"
        else:
            skipped[path.stem] = "not a procedure"
    if not procedures:
        raise BadInputError(f"{folder} holds no procedure with example pairs.", next_step="See docs/benchmarks.md.")
    return TaskData(procedures, none_messages, skipped, none_train)


def load_routing(path: Path) -> RoutingData:
    """Read a routing file, a folder of them, or a folder of procedures (their inputs are the texts).

    Raises:
        BadInputError: nothing of the kind there.
    """
    files = [path] if path.is_file() else sorted(path.glob("*.json"))
    train: dict[str, list[str]] = {}
    test: dict[str, list[str]] = {}
    none_messages: list[str] = []
    none_train: list[str] = []
    routing_files = [(file, document) for file in files if "intents" in (document := _read(file))]
    for file, document in routing_files:
        prefix = f"{file.stem}/" if len(routing_files) > 1 else ""
        for intent, parts in document["intents"].items():
            texts = _texts(file, parts.get("train"))
            if texts:
                train[prefix + intent] = texts
                test[prefix + intent] = _texts(file, parts.get("test"))
        outside = document.get("out_of_scope") or {}
        none_messages += _texts(file, outside.get("test"))
        none_train += _texts(file, outside.get("train"))
    if routing_files:
        return RoutingData(train, test, none_messages, none_train)
    tasks = load_tasks(path)
    return RoutingData(
        {p.name: [pair.input for pair in p.pairs] for p in tasks.procedures},
        {p.name: [pair.input for pair in p.held_out] for p in tasks.procedures},
        tasks.none_messages,
        tasks.none_train,
    )


def load_languages(path: Path) -> dict[str, dict[str, list[str]]]:
    """Messages by intent and language: ``{"intents": {name: {language: [text]}}}``.

    Raises:
        BadInputError: nothing of the kind there, or a message has no translation.
    """
    intents = _read(path).get("intents") or {}
    found = {
        str(name): {str(language): _texts(path, texts) for language, texts in of.items()}
        for name, of in intents.items()
    }
    sizes = {(language, len(texts)) for of in found.values() for language, texts in of.items()}
    languages = {language for language, _ in sizes}
    if not found or len({size for _, size in sizes}) != 1 or any(set(of) != languages for of in found.values()):
        raise BadInputError(f"{path} has no messages of intents with as many in each language.")
    return found


def load_chat(path: Path, part: str = "test") -> list[str]:
    """Messages of a none set, those of one part.

    Raises:
        BadInputError: the file is damaged.
    """
    return _texts(path, _read(path).get(part))


def choose_procedures(procedures: Sequence[Procedure], options: Options, count: int | None) -> list[Procedure]:
    """The procedures of a run, in the order in which they are learned.

    The order is drawn once, so that fewer procedures are always the first of more.

    Raises:
        NotFoundError: a name that was asked for is not there.
    """
    known = {p.name: p for p in procedures}
    for name in options.names:
        if name not in known:
            raise NotFoundError(f"There is no procedure {name!r} in the data.{did_you_mean(name, known)}")
    chosen = [known[name] for name in options.names] if options.names else sorted(procedures, key=lambda p: p.name)
    if count is not None and count < len(chosen):
        random.Random(_ORDER_SEED).shuffle(chosen)
        chosen = chosen[:count]
    return chosen


def halves(procedures: Sequence[Procedure]) -> dict[str, list[Procedure]]:
    """The half that chooses settings, and the half that is looked at once for a change that is kept.

    By the order of names: the first, third, … choose.
    """
    ordered = sorted(procedures, key=lambda p: p.name)
    return {"chooses": ordered[::2], "looked at": ordered[1::2]}


def half_of(procedures: Sequence[Procedure]) -> dict[str, str]:
    """The half of each procedure of a folder, by its name; see ``halves``."""
    return {p.name: half for half, found in halves(procedures).items() for p in found}


def draw(procedure: Procedure, *, pairs: int | None, limit: int | None, seed: int, described: bool) -> Procedure:
    """What one run sees of a procedure.

    Args:
        pairs: example pairs to learn from at most, drawn by ``seed``.
        limit: test pairs at most, the first ones.
        described: put the description in front of every input.
    """
    train = list(procedure.pairs)
    if pairs is not None and pairs < len(train):
        train = random.Random(f"{seed}/{procedure.name}").sample(train, pairs)
    test = procedure.held_out[:limit]
    if described and procedure.description:
        return replace(
            procedure,
            pairs=tuple(_described(procedure, p) for p in train),
            held_out=tuple(_described(procedure, p) for p in test),
        )
    return replace(procedure, pairs=tuple(train), held_out=tuple(test))


def _described(procedure: Procedure, pair: ExamplePair) -> ExamplePair:
    return replace(pair, input=f"{procedure.description}\n\n{pair.input}")


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInputError(f"{path} cannot be read ({error}).", next_step="It must be a UTF-8 JSON file.") from error
    # Lists stand beside procedures in some folders (function calls); they have no keys to find.
    return document if isinstance(document, dict) else {}


def _texts(path: Path, part: object) -> list[str]:
    texts = part or []
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise BadInputError(f"{path}: a part with messages must be a list of strings.")
    return list(texts)


def _procedure(path: Path, document: dict[str, Any]) -> Procedure:
    try:
        train, test = (
            tuple(
                ExamplePair(row["input"], row["response"], tuple(row.get("references") or ()))
                for row in document.get(part) or ()
            )
            for part in ("train", "test")
        )
    except (TypeError, KeyError, AttributeError) as error:
        raise BadInputError(f"{path}: an example needs 'input' and 'response' ({error!r}).") from error
    return Procedure(
        document.get("name") or path.stem, train, test, document.get("description") or "", document.get("pattern")
    )
