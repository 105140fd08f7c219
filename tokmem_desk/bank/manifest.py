"""``manifest.json`` of a bank file: what it says. ``validation`` reads one.

Described for other programs in docs/bank-format.md; the schema is docs/schemas/bank-manifest.schema.json. No files
and no tensors here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from tokmem_desk.backbone.fingerprint import Fingerprint
from tokmem_desk.memory.steering import kinds

if TYPE_CHECKING:
    from tokmem_desk.memory.steering_part import SteeringPart

FORMAT = "tokmem-bank"
VERSION = "2.0.0"
"""What is written at least. Another first number means that a reader of this one cannot understand the file."""

TENSOR_FILE, MANIFEST_FILE, PROBE_FILE, PAIR_FILE, CORRECTION_FILE, PLAN_FILE, CARD_FILE = (
    "bank.safetensors",
    "manifest.json",
    "probes.jsonl",
    "pairs.jsonl",
    "corrections.jsonl",
    "plans.jsonl",
    "README.md",
)

MAX_PROCEDURES = 100_000
MAX_COUNT = 2**40

Number = float | int | None


@dataclass(frozen=True, slots=True)
class Span:
    """``count`` entries from ``offset`` on."""

    offset: int
    count: int


@dataclass(frozen=True, slots=True)
class LayerGroup:
    """A group of like layers of the backbone; keys and values of each stand in tensors of their own."""

    layers: int
    heads: int
    key_size: int
    value_size: int


@dataclass(frozen=True, slots=True)
class BankProcedure:
    """One procedure of a bank.

    Attributes:
        uuid: 32 hexadecimal digits, stays the same through renaming.
        row: its row in ``address``, ``router.mean``, ``router.count`` and ``router.scatter``.
        sketch: its rows in ``router.sketch``.
        spans: by kind of steering, where its numbers are (its rows in ``steering``, those in ``lens``, and so on),
            see ``SteeringPart.field``; nothing of a kind whose field the manifest leaves out.
        forms: by kind of steering, what its numbers are, as plain JSON values; see ``SteeringPart.settings_field``.
        tied: the address is the first row of the steering.
        output_schema: JSON schema that answers are held to, as text.
        reads_conversation: the procedure sees earlier turns too.
        group: a name that procedures of one kind share; empty: none. A bank need not say.
        answer_form: the form that its answers keep, see ``AnswerTemplate.as_dict``; empty without one. A bank
            need not say.
        pair_count, pairs_digest: the pairs it was made from.
        learned: places, from 0, of those of its ``train`` lines in the bank's pairs that the memory learned; the others
            were held out, or came later. None without pairs, or where that is not known. A bank need not say.
        settings: how it was trained.
        scores: figures of its scorecard, no text.
        trained: when, UTC, ISO 8601.
    """

    uuid: str
    name: str
    description: str
    pattern: str | None
    threshold: float | None
    version: int
    row: int
    sketch: Span
    spans: Mapping[type[SteeringPart], Span]
    forms: Mapping[type[SteeringPart], dict[str, Any]]
    tied: bool
    pair_count: int
    pairs_digest: str
    settings: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)
    trained: str = ""
    output_schema: str | None = None
    reads_conversation: bool = False
    group: str = ""
    answer_form: dict[str, Any] = field(default_factory=dict)
    learned: tuple[int, ...] | None = None

    def span_of(self, kind: type[SteeringPart]) -> Span:
        """Where its numbers of a kind of steering are; count 0 without any."""
        return self.spans.get(kind, Span(0, 0))


@dataclass(frozen=True, slots=True)
class RouterRecord:
    """The feature space that ``router.mean`` lives in.

    Attributes:
        digest: hash of the configuration; statistics of other digests do not mix with these.
        dimensions: length of a mean.
        configuration: what the digest was taken over, for people.
        calibration: sharpness (the inverse temperature) and weights that turned likeness into probabilities.
    """

    digest: str
    dimensions: int
    configuration: dict[str, Any] = field(default_factory=dict)
    calibration: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FileRecord:
    """Size and SHA-256, in hex, of one file of the bank."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """All that ``manifest.json`` says."""

    uuid: str
    title: str
    created: str
    generator: dict[str, str]
    licence: str
    backbone: Fingerprint
    backbone_licence: str
    groups: tuple[LayerGroup, ...]
    router: RouterRecord
    procedures: tuple[BankProcedure, ...]
    files: dict[str, FileRecord]
    version: str = VERSION

    @property
    def names(self) -> list[str]:
        """The procedures' names, in order."""
        return [procedure.name for procedure in self.procedures]

    def has(self, kind: type[SteeringPart]) -> bool:
        """Whether any procedure has that kind of steering."""
        return any(procedure.span_of(kind).count for procedure in self.procedures)

    @property
    def key_shapes(self) -> list[tuple[int, int, int, int]]:
        """Layers, heads, key size and value size of each layer group."""
        return [(group.layers, group.heads, group.key_size, group.value_size) for group in self.groups]

    def to_json(self) -> bytes:
        """The file's bytes."""
        written = [kind for kind in kinds() if not _came_later(kind) or self.has(kind)]
        whole = {
            "format": FORMAT,
            "version": self.version,
            "uuid": self.uuid,
            "title": self.title,
            "created": self.created,
            "generator": self.generator,
            "licence": self.licence,
            "backbone": {**self.backbone.as_dict(), "licence": self.backbone_licence},
            "layer_groups": [asdict(group) for group in self.groups],
            "router": asdict(self.router),
            "procedures": [_fields(procedure, written) for procedure in self.procedures],
            "files": {name: asdict(record) for name, record in self.files.items()},
        }
        return json.dumps(whole, ensure_ascii=False, indent=1, allow_nan=False).encode() + b"\n"


def newest_version() -> str:
    """The newest version that can be read."""
    return max([VERSION, *(kind.bank_version for kind in kinds())], key=version_number)


def version_with(held: Iterable[type[SteeringPart]]) -> str:
    """The version of a bank with these kinds of steering: the lowest that has them all."""
    return max([VERSION, *(kind.bank_version for kind in held)], key=version_number)


def version_number(version: str) -> tuple[int, ...]:
    """A version such as 2.0.0 as numbers that can be compared."""
    return tuple(int(part) for part in version.split("."))


def _came_later(kind: type[SteeringPart]) -> bool:
    """Whether manifests of the version that is written at least have no field for it."""
    return version_number(kind.bank_version) > version_number(VERSION)


_ORDER = (
    "uuid", "name", "description", "pattern", "threshold", "version", "row", "rows", "positions", "sketch", "reader",
    "reader_form", "tied", "pair_count", "pairs_digest", "settings", "scores", "trained", "output_schema",
    "reads_conversation", "lens", "group", "answer_form", "learned",
)  # fmt: skip
"""Fields of a procedure in the order that manifests have always had; those of kinds that came later follow."""


def _fields(procedure: BankProcedure, written: Sequence[type[SteeringPart]]) -> dict[str, Any]:
    """As ``asdict`` would, without copying every value: banks have thousands of these."""
    found = {one.name: getattr(procedure, one.name) for one in fields(BankProcedure)}
    del found["spans"], found["forms"]
    found["sketch"] = {"offset": procedure.sketch.offset, "count": procedure.sketch.count}
    for kind in written:
        span = procedure.span_of(kind)
        found[kind.field] = {"offset": span.offset, "count": span.count}
        if kind.settings_field is not None:
            found[kind.settings_field[1]] = procedure.forms.get(kind, {})
    if procedure.learned is None:
        del found["learned"]
    return {name: found[name] for name in (*_ORDER, *sorted(set(found) - set(_ORDER))) if name in found}


def plain_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that are numbers, flags or short words: nothing that could name a place or hold a person's text."""
    return {
        key: value
        for key, value in settings.items()
        if _WORD.fullmatch(key)
        and (
            value is None
            or isinstance(value, (bool, int, float))
            or (isinstance(value, str) and _WORD.fullmatch(value) is not None)
        )
    }


def figures(scorecard: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of a scorecard; its samples and its confusion table hold texts and the names of others."""
    found: dict[str, Any] = {key: scorecard[key] for key in _COUNTS if _is_number(scorecard.get(key), int)}
    found |= {key: scorecard[key] for key in _SCORES if _is_number(scorecard.get(key), float)}
    base = scorecard.get("base")
    if isinstance(base, Mapping) and all(_is_number(base.get(score), float) for score in _SCORES[:2]):
        found["base"] = {score: base[score] for score in _SCORES[:2]}
    return found


_WORD = re.compile(r"[A-Za-z0-9_.+-]{0,40}")
_SCORES = ("exact_match", "rouge_l", "routing_accuracy", "false_trigger_rate", "form_valid")
_COUNTS = ("pairs", "held_out", "span", "steps")


def _is_number(value: object, kind: type) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return 0 <= value <= 1 if kind is float else isinstance(value, int) and 0 <= value <= MAX_COUNT
