"""The line files of a bank: probes, plans, and, where the person opted in, example pairs and corrections.

One JSON object a line. Checked as strictly as the manifest; no files here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any

from tokmem_desk.bank.manifest import (
    CORRECTION_FILE,
    PAIR_FILE,
    PLAN_FILE,
    PROBE_FILE,
)
from tokmem_desk.bank.validation import damaged, strict_json
from tokmem_desk.errors import BadInputError
from tokmem_desk.plans.steps import MAX_CHARACTERS, procedures_of, read_steps
from tokmem_desk.procedures import MAX_CHAIN, NONE_ROUTE, ExamplePair
from tokmem_desk.system.file_limits import LONGEST_LINE, MOST_LINES, Allowance, json_cost, texts_cost

MAX_PROBES = 50
_LONGEST_TEXT = 100_000
"""Characters, as in a profile."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One message, and what happened to it where the bank was made.

    Attributes:
        procedure: uuid of the procedure whose memory is probed.
        prompt: the message.
        route: name of the procedure that this bank alone chooses for it, or ``none``.
        probability: of that route.
        likeness: cosine of the message to the probed procedure's mean.
        tokens: the likeliest first tokens of an answer under the probed memory, with their log-probabilities.
    """

    procedure: str
    prompt: str
    route: str
    probability: float
    likeness: float
    tokens: tuple[tuple[int, float], ...]

    def as_dict(self) -> dict[str, Any]:
        """As it stands in the file and crosses the engine's pipe."""
        return {
            "procedure": self.procedure,
            "prompt": self.prompt,
            "route": self.route,
            "probability": self.probability,
            "likeness": self.likeness,
            "tokens": [list(token) for token in self.tokens],
        }


@dataclass(frozen=True, slots=True)
class PairSet:
    """The pairs of one procedure; ``held_out`` only measure."""

    train: tuple[ExamplePair, ...]
    held_out: tuple[ExamplePair, ...]


@dataclass(frozen=True, slots=True)
class BankCorrection:
    """A verdict on a message: ``right`` instead of ``wrong``, names of procedures of the bank, or ``none``."""

    text: str
    wrong: str
    right: str


@dataclass(frozen=True, slots=True)
class BankPlan:
    """What one procedure of a bank does beside answering: the steps of a plan, or what goes on with its answers.

    Attributes:
        procedure: uuid of the procedure.
        steps: as ``tokmem_desk.plans.steps`` reads them; empty where its answers are its steps; None: it is no plan.
        names: the uuid of each procedure that the steps name, in the bank or not.
        then: uuid of the procedure of the bank that goes on with its answers; empty: none does.
    """

    procedure: str
    steps: str | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    then: str = ""

    def as_dict(self) -> dict[str, Any]:
        """As it stands in the file."""
        found: dict[str, Any] = {"procedure": self.procedure}
        if self.steps is not None:
            found |= {"steps": self.steps, "names": dict(self.names)}
        return found | ({"then": self.then} if self.then else {})


def lines(objects: Sequence[Mapping[str, Any]]) -> bytes:
    """The bytes of a line file."""
    return b"".join(json.dumps(one, ensure_ascii=False, allow_nan=False).encode() + b"\n" for one in objects)


def pair_lines(uuid: str, pairs: PairSet) -> list[dict[str, Any]]:
    """The lines of one procedure."""
    found = []
    for part, some in (("train", pairs.train), ("test", pairs.held_out)):
        for pair in some:
            more = {"references": list(pair.references)} if pair.references else {}
            found.append({"procedure": uuid, "part": part, "input": pair.input, "response": pair.response, **more})
    return found


def probe_of(fields: Mapping[str, Any]) -> Probe:
    """Rebuild from ``as_dict``.

    Raises:
        ValueError: a field is missing or of another type.
    """
    procedure, prompt, route = (_text(fields, key) for key in ("procedure", "prompt", "route"))
    tokens = fields.get("tokens")
    if not isinstance(tokens, list) or not 1 <= len(tokens) <= 100:
        raise ValueError("tokens")
    pairs = []
    for token in tokens:
        if not isinstance(token, list) or len(token) != 2 or type(token[0]) is not int or not 0 <= token[0] < 2**31:
            raise ValueError("tokens")
        pairs.append((token[0], _number({"log-probability": token[1]}, "log-probability", 1e6)))
    probability, likeness = _number(fields, "probability", 1.0), _number(fields, "likeness", 2.0)
    return Probe(procedure, prompt, route, probability, likeness, tuple(pairs))


def read_probes(
    data: bytes | Iterable[bytes], names: Mapping[str, str], source: str, allowance: Allowance | None = None
) -> tuple[Probe, ...]:
    """Read ``probes.jsonl``.

    Args:
        data: the file, whole or in blocks.
        names: of the bank's procedures, by uuid.
        allowance: what the file may take of the memory; without one there is no bound.

    Raises:
        BadInputError: a line is not a probe of this bank; or there is none, or too many.
    """
    found: list[Probe] = []
    for number, fields in _rows(data, PROBE_FILE, source, allowance):
        if len(found) == MAX_PROBES:
            raise damaged(source, f"it holds more than {MAX_PROBES} probes")
        try:
            probe = probe_of(fields)
            if probe.procedure not in names or probe.route not in (*names.values(), NONE_ROUTE):
                raise ValueError("procedure")
        except ValueError as error:
            raise damaged(source, f"{PROBE_FILE}, line {number}: {error} cannot be read") from None
        found.append(probe)
    if not found:
        raise damaged(source, f"it holds 0 probes, and 1 to {MAX_PROBES} are allowed")
    return tuple(found)


def read_pairs(
    data: bytes | Iterable[bytes], uuids: Sequence[str], source: str, allowance: Allowance | None = None
) -> dict[str, PairSet]:
    """Read ``pairs.jsonl``: pairs by uuid, an entry for each procedure of the bank.

    Raises:
        BadInputError: a line is not a pair of this bank.
    """
    found: dict[str, dict[str, list[ExamplePair]]] = {uuid: {"train": [], "test": []} for uuid in uuids}
    for number, fields in _rows(data, PAIR_FILE, source, allowance):
        try:
            references = fields.get("references", [])
            if not isinstance(references, list) or not all(isinstance(text, str) for text in references):
                raise ValueError("references")
            pair = ExamplePair(_text(fields, "input"), _text(fields, "response"), tuple(references))
            found[_text(fields, "procedure")][_text(fields, "part")].append(pair)
            if allowance is not None:
                allowance.take(texts_cost((pair.input, pair.response, *pair.references)), PAIR_FILE)
        except (ValueError, KeyError) as error:
            raise damaged(source, f"{PAIR_FILE}, line {number}: {str(error)[:80]} cannot be read") from None
    return {uuid: PairSet(tuple(parts["train"]), tuple(parts["test"])) for uuid, parts in found.items()}


def read_corrections(
    data: bytes | Iterable[bytes], names: Sequence[str], source: str, allowance: Allowance | None = None
) -> tuple[BankCorrection, ...]:
    """Read ``corrections.jsonl``.

    Raises:
        BadInputError: a line is not a correction between routes of this bank.
    """
    routes, found = {*names, NONE_ROUTE}, []
    for number, fields in _rows(data, CORRECTION_FILE, source, allowance):
        try:
            one = BankCorrection(_text(fields, "text"), _text(fields, "wrong"), _text(fields, "right"))
            if one.right not in routes or one.wrong not in routes or one.right == one.wrong:
                raise ValueError("route")
        except ValueError as error:
            raise damaged(source, f"{CORRECTION_FILE}, line {number}: {error} cannot be read") from None
        if allowance is not None:
            allowance.take(texts_cost((one.text, one.wrong, one.right)), CORRECTION_FILE)
        found.append(one)
    return tuple(found)


def read_plans(
    data: bytes | Iterable[bytes], uuids: Sequence[str], source: str, allowance: Allowance | None = None
) -> tuple[BankPlan, ...]:
    """Read ``plans.jsonl``. Nothing of it is done; that a plan's procedures are there is looked at before it runs.

    Args:
        uuids: of the bank's procedures.

    Raises:
        BadInputError: a line is no plan and no chain of this bank, or plans or chains come back to their beginning.
    """
    known, found = set(uuids), dict[str, BankPlan]()
    for number, fields in _rows(data, PLAN_FILE, source, allowance):
        try:
            one = _plan(fields, known)
            if one.procedure in found:
                raise ValueError("procedure")
        except (ValueError, BadInputError) as error:
            reason = error.message if isinstance(error, BadInputError) else f"{error} cannot be read"
            raise damaged(source, f"{PLAN_FILE}, line {number}: {reason.rstrip('.')[:200]}") from None
        if allowance is not None:
            texts = (one.procedure, one.steps or "", one.then, *one.names, *one.names.values())
            allowance.take(texts_cost(texts), PLAN_FILE)
        found[one.procedure] = one
    if _circular({uuid: set(one.names.values()) for uuid, one in found.items()}):
        raise damaged(source, f"{PLAN_FILE}: plans in it call one another in a circle")
    following = {uuid: one.then for uuid, one in found.items() if one.then}
    if _circular({uuid: {then} for uuid, then in following.items()}):
        raise damaged(source, f"{PLAN_FILE}: a chain in it comes back to its beginning")
    lengths: dict[str, int] = {}
    for uuid in TopologicalSorter({one: {then} for one, then in following.items()}).static_order():
        lengths[uuid] = 1 + lengths.get(following.get(uuid, ""), 0)
    if any(length > MAX_CHAIN for length in lengths.values()):
        raise damaged(source, f"{PLAN_FILE}: a chain in it has more than {MAX_CHAIN} procedures")
    return tuple(found.values())


def _plan(fields: Mapping[str, Any], known: set[str]) -> BankPlan:
    """One line.

    Raises:
        ValueError: a field cannot be read; its name is the text.
        BadInputError: the steps cannot be read.
    """
    procedure, steps, names, then = (fields.get(key) for key in ("procedure", "steps", "names", "then"))
    if not isinstance(procedure, str) or procedure not in known:
        raise ValueError("procedure")
    if then is not None and (not isinstance(then, str) or then not in known):
        raise ValueError("then")
    if steps is None:
        if then is None or names is not None:
            raise ValueError("steps")
        return BankPlan(procedure, then=then)
    if not isinstance(steps, str) or len(steps) > MAX_CHARACTERS or "\x00" in steps:
        raise ValueError("steps")
    called = [name for name in procedures_of(read_steps(steps)) if name != NONE_ROUTE] if steps else []
    # Every name has its identity: else it would mean whatever is called so where the bank goes.
    if not isinstance(names, dict) or set(names) != set(called):
        raise ValueError("names")
    if not all(isinstance(uuid, str) and _UUID.fullmatch(uuid) for uuid in names.values()):
        raise ValueError("names")
    return BankPlan(procedure, steps, names, then or "")


_UUID = re.compile(r"[0-9a-f]{32}")


def _circular(graph: Mapping[str, set[str]]) -> bool:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError:
        return True
    return False


def _rows(
    data: bytes | Iterable[bytes], file: str, source: str, allowance: Allowance | None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a line file, with the numbers of their lines; one line at a time is in memory."""
    for number, row in _numbered(data, file, source):
        if not row.strip():
            continue
        if allowance is not None:
            allowance.check(json_cost(row), f"line {number} of {file}")
        fields = strict_json(row, f"{file} of {source}, line {number},")
        if not isinstance(fields, dict):
            raise damaged(source, f"{file}, line {number} is not an object")
        yield number, fields


def _numbered(data: bytes | Iterable[bytes], file: str, source: str) -> Iterator[tuple[int, bytes]]:
    rest, number = b"", 0
    for block in (data,) if isinstance(data, bytes) else data:
        *whole, rest = (rest + block).split(b"\n")
        for row in whole:
            number += 1
            yield number, row
        if number > MOST_LINES:
            raise damaged(source, f"{file} has more than {MOST_LINES:,} lines")
        if len(rest) > LONGEST_LINE:
            raise damaged(source, f"{file}, line {number + 1} is longer than {LONGEST_LINE:,} bytes")
    yield number + 1, rest


def _text(fields: Mapping[str, Any], key: str) -> str:
    value = fields.get(key)
    if not isinstance(value, str) or not value or len(value) > _LONGEST_TEXT:
        raise ValueError(key)
    return value


def _number(fields: Mapping[str, Any], key: str, largest: float) -> float:
    value = fields.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= largest:
        raise ValueError(key)
    return float(value)
