"""``manifest.json`` of a bank file: what it says. ``bank_checks`` reads one.

Described for other programs in docs/bank-format.md; the schema is docs/schemas/bank-manifest.schema.json. No files
and no tensors here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from tokmem_desk.backbone.fingerprint import Fingerprint

FORMAT = "tokmem-bank"
VERSION = "2.0.0"
"""Another first number means that a reader of this one cannot understand the file."""

TENSOR_FILE, MANIFEST_FILE, PROBE_FILE, PAIR_FILE, CORRECTION_FILE, CARD_FILE = (
    "bank.safetensors",
    "manifest.json",
    "probes.jsonl",
    "pairs.jsonl",
    "corrections.jsonl",
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
        rows: its rows in ``steering``.
        positions: its places with keys and values; count 0 for a memory of rows alone.
        sketch: its rows in ``router.sketch``.
        lens: its numbers in ``lens``; count 0 without a KV adapter.
        reader: its numbers in ``reader``; count 0 without an extractor.
        reader_form: what those numbers are, see ``extractor.Extractor.describe``; empty without one.
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
    rows: Span
    positions: Span
    sketch: Span
    reader: Span
    reader_form: dict[str, Any]
    tied: bool
    pair_count: int
    pairs_digest: str
    settings: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)
    trained: str = ""
    output_schema: str | None = None
    reads_conversation: bool = False
    lens: Span = Span(0, 0)
    group: str = ""
    answer_form: dict[str, Any] = field(default_factory=dict)
    learned: tuple[int, ...] | None = None


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

    def to_json(self) -> bytes:
        """The file's bytes."""
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
            "procedures": [_fields(procedure) for procedure in self.procedures],
            "files": {name: asdict(record) for name, record in self.files.items()},
        }
        return json.dumps(whole, ensure_ascii=False, indent=1, allow_nan=False).encode() + b"\n"


def _fields(procedure: BankProcedure) -> dict[str, Any]:
    """As ``asdict`` would, without copying every value: banks have thousands of these."""
    found = {one.name: getattr(procedure, one.name) for one in fields(BankProcedure)}
    for name in ("rows", "positions", "sketch", "lens", "reader"):
        found[name] = {"offset": found[name].offset, "count": found[name].count}
    if procedure.learned is None:
        del found["learned"]
    return found


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
