"""Write a bank file: memories of one backbone, what makes their routes the same elsewhere, and how to check that.

The target is an open file; where it lies, and that it is replaced whole, is the caller's business. Numbers are copied
as bytes, never computed with, so a round trip is bit for bit. Beside the numbers goes only what is named here: no chat,
no held-out sample, no profile's name, and no pair unless the person opted in.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, BinaryIO

from tokmem_desk.backbone.fingerprint import Fingerprint
from tokmem_desk.bank.encryption import ProtectedWriter
from tokmem_desk.bank.jsonl import BankCorrection, BankPlan, PairSet, Probe, lines, pair_lines
from tokmem_desk.bank.manifest import (
    CARD_FILE,
    CORRECTION_FILE,
    FORMAT,
    MANIFEST_FILE,
    PAIR_FILE,
    PLAN_FILE,
    PROBE_FILE,
    TENSOR_FILE,
    BankProcedure,
    FileRecord,
    LayerGroup,
    Manifest,
    RouterRecord,
    Span,
    figures,
    plain_settings,
    version_with,
)
from tokmem_desk.bank.readme import UNKNOWN_LICENCE, readme_text
from tokmem_desk.errors import BadInputError, IncompatibleError, UsageError
from tokmem_desk.memory.file_bytes import NEXT_STEP, Block, MemoryParts, take_apart
from tokmem_desk.memory.input_rows import InputRows
from tokmem_desk.memory.kv_positions import KVPositions
from tokmem_desk.memory.safetensors_header import lay_out
from tokmem_desk.memory.steering import kinds
from tokmem_desk.templates.template import TEMPLATE_SETTING

if TYPE_CHECKING:
    from tokmem_desk.memory.steering_part import SteeringPart, StoredTensor

_KEPT_BYTES = 2**30
"""Memories read once are kept up to here; beyond, each is read again for every tensor."""


@dataclass(frozen=True, slots=True)
class ExportProcedure:
    """One procedure to export.

    Attributes:
        load: reads its memory file; may be called several times.
        pairs: to go along, or None.
        other fields: as in ``BankProcedure``.
    """

    uuid: str
    name: str
    load: Callable[[], bytes]
    description: str = ""
    pattern: str | None = None
    threshold: float | None = None
    version: int = 1
    pair_count: int = 0
    pairs_digest: str = "0" * 64
    scorecard: Mapping[str, Any] = field(default_factory=dict)
    trained: str = ""
    pairs: PairSet | None = None
    output_schema: str | None = None
    reads_conversation: bool = False
    group: str = ""
    learned: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class ExportBank:
    """Everything that goes into a bank file.

    Attributes:
        title: for people.
        licence: of the bank, as its owner names it; empty when nobody said.
        recipe: digest of the router's configuration; the memories' statistics are of one fit of it.
        configuration, calibration: of the router, see ``RouterRecord``.
        anchors: bytes of [c x k] float32, the shipped chat messages in the router's space; empty without.
        plans: what its procedures do beside answering.
        generator: names and versions of the programs that made it.
    """

    title: str
    procedures: Sequence[ExportProcedure]
    probes: Sequence[Probe]
    recipe: str
    licence: str = ""
    backbone_licence: str = ""
    configuration: Mapping[str, Any] = field(default_factory=dict)
    calibration: Mapping[str, Any] = field(default_factory=dict)
    anchors: bytes = b""
    corrections: Sequence[BankCorrection] = ()
    plans: Sequence[BankPlan] = ()
    generator: Mapping[str, str] = field(default_factory=dict)


def write_bank(target: BinaryIO, bank: ExportBank, passphrase: str | None = None) -> Manifest:
    """Write ``bank`` to ``target`` and return its manifest.

    Args:
        passphrase: protects the file; None leaves it open.

    Raises:
        UsageError: there is nothing to export.
        BadInputError: a memory is damaged.
        IncompatibleError: the memories are of different backbones or routers.
        OSError: the disk refuses.
    """
    if not bank.procedures:
        raise UsageError("There is nothing to export.", next_step="Train a procedure first: tokmem-desk train")
    content = _Content(bank.procedures)
    moment = time.time()
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))
    sink: BinaryIO = target if passphrase is None else ProtectedWriter(target, passphrase)  # type: ignore[assignment]
    with contextlib.ExitStack() as stack:
        if passphrase is not None:
            stack.enter_context(sink)
        archive = stack.enter_context(zipfile.ZipFile(sink, "w"))
        return _write(archive, bank, content, created, time.gmtime(moment)[:6])


def _write(
    archive: zipfile.ZipFile,
    bank: ExportBank,
    content: _Content,
    created: str,
    date: tuple[int, ...],
) -> Manifest:
    files: dict[str, FileRecord] = {}

    def entry(name: str, size: int, compression: int) -> zipfile.ZipInfo:
        info = zipfile.ZipInfo(name, date)  # type: ignore[arg-type]
        info.compress_type, info.file_size, info.external_attr = compression, size, 0o600 << 16
        return info

    def put(name: str, data: bytes) -> None:
        archive.writestr(entry(name, len(data), zipfile.ZIP_DEFLATED), data)
        files[name] = FileRecord(len(data), hashlib.sha256(data).hexdigest())

    number = uuid.uuid4().hex
    header, size = content.header(bank, number, created)
    digest = hashlib.sha256(header)
    with archive.open(entry(TENSOR_FILE, size, zipfile.ZIP_STORED), "w") as opened:
        opened.write(header)
        for piece in content.pieces(bank.anchors):
            digest.update(piece)
            opened.write(piece)
    files[TENSOR_FILE] = FileRecord(size, digest.hexdigest())
    put(PROBE_FILE, lines([probe.as_dict() for probe in bank.probes]))
    with_pairs = [(one.uuid, one.pairs) for one in bank.procedures if one.pairs is not None]
    if with_pairs:
        put(PAIR_FILE, lines([line for uuid, pairs in with_pairs for line in pair_lines(uuid, pairs)]))
    if bank.corrections:
        rows = [{"text": one.text, "wrong": one.wrong, "right": one.right} for one in bank.corrections]
        put(CORRECTION_FILE, lines(rows))
    if bank.plans:
        put(PLAN_FILE, lines([one.as_dict() for one in bank.plans]))
    readme = readme_text(
        bank.title,
        content.fingerprint.model_id,
        {one.name: one.description for one in bank.procedures},
        licence=bank.licence,
        with_pairs=any(one.pairs is not None for one in bank.procedures),
    )
    put(CARD_FILE, readme.encode())
    manifest = Manifest(
        uuid=number,
        title=bank.title,
        created=created,
        generator=dict(bank.generator),
        licence=bank.licence,
        backbone=content.fingerprint,
        backbone_licence=bank.backbone_licence,
        groups=content.groups,
        router=RouterRecord(bank.recipe, content.dimensions, dict(bank.configuration), dict(bank.calibration)),
        procedures=content.procedures,
        files=files,
        version=content.version,
    )
    data = manifest.to_json()
    archive.writestr(entry(MANIFEST_FILE, len(data), zipfile.ZIP_DEFLATED), data)
    return manifest


_LENGTHS = {
    "address": 1,
    "router.mean": 1,
    "router.sketch": 2,
    "router.scatter": 1,
    "router.count": 1,
}
"""The tensors that every memory has beside its steering, and how many sizes each shape has."""


class _Content:
    """The tensors of a bank: where everything stands, and the bytes in that order."""

    def __init__(self, procedures: Sequence[ExportProcedure]) -> None:
        self._procedures = procedures
        self._kept: dict[int, MemoryParts] = {}
        room = _KEPT_BYTES
        first = self._read(0)
        self.fingerprint = _shareable(first)
        self.router_digest = first.digest
        self.dimensions = self._block(first, "router.mean").shape[0]
        self.groups = _groups(first)
        self._hidden = self.fingerprint.hidden_size
        described: list[BankProcedure] = []
        sketches = 0
        ends: dict[type[SteeringPart], int] = dict.fromkeys(kinds(), 0)
        for at, procedure in enumerate(procedures):
            parts = first if at == 0 else self._read(at)
            self._check(parts, procedure.name)
            self.groups = self.groups or _groups(parts)
            sketch = Span(sketches, parts.blocks["router.sketch"].shape[0])
            spans = {kind: Span(end, self._count(kind, parts)) for kind, end in ends.items()}
            described.append(_described(procedure, parts, at, sketch, spans))
            sketches += sketch.count
            ends = {kind: end + spans[kind].count for kind, end in ends.items()}
            size = sum(len(block.data) for block in parts.blocks.values())
            if size <= room:
                self._kept[at], room = parts, room - size
        self.procedures = tuple(described)
        self._sketches = sketches
        self._counts = {kind: end for kind, end in ends.items() if end}
        self.version = version_with(self._counts)

    def _stored(self, kind: type[SteeringPart]) -> tuple[StoredTensor, ...]:
        """The tensors of a kind of steering; those of layer groups only where a memory with groups has come."""
        shapes = [(group.layers, group.heads, group.key_size, group.value_size) for group in self.groups]
        return kind.stored_tensors(self._hidden, shapes)

    def _count(self, kind: type[SteeringPart], parts: MemoryParts) -> int:
        """How much of a kind a checked memory has."""
        for tensor in self._stored(kind):
            if tensor.name in parts.blocks:
                return parts.blocks[tensor.name].shape[len(tensor.leading)]
        return 0

    def header(self, bank: ExportBank, number: str, created: str) -> tuple[bytes, int]:
        """The header of the tensor file, and how long the file will be."""
        tensors = self._tensors(len(bank.anchors) // (4 * self.dimensions))
        digest = hashlib.sha256()
        for piece in self.pieces(bank.anchors):
            digest.update(piece)
        metadata = {
            "format": FORMAT,
            "version": self.version,
            "uuid": number,
            "modelspec.sai_model_spec": "1.0.0",
            "modelspec.architecture": f"{self.fingerprint.family}/tokmem",
            "modelspec.implementation": "tokmem-desk",
            "modelspec.title": bank.title,
            "modelspec.license": bank.licence or UNKNOWN_LICENCE,
            "modelspec.date": created,
            "modelspec.hash_sha256": f"0x{digest.hexdigest()}",
        }
        layout = [(name, dtype, shape) for name, _, dtype, shape in tensors]
        header = lay_out(layout, metadata)
        return header, len(header) + sum(4 * _product(shape) for _, _, _, shape in tensors)

    def pieces(self, anchors: bytes) -> Iterator[bytes | memoryview]:
        """All numbers, in the header's order."""
        for _, source, _, _ in self._tensors(len(anchors) // (4 * self.dimensions)):
            if source is None:
                yield anchors
                continue
            for at in range(len(self._procedures)):
                block = self._read(at).blocks.get(source)
                if block is not None:
                    yield block.data

    def _tensors(self, anchor_count: int) -> list[tuple[str, str | None, str, tuple[int, ...]]]:
        """Name in the bank, name in a memory file (None: the anchors), dtype and shape."""
        n = len(self._procedures)
        found: list[tuple[str, str | None, str, tuple[int, ...]]] = []
        behind = {InputRows: ("address", (n, self._hidden)), KVPositions: ("router.mean", (n, self.dimensions))}
        for kind in kinds():
            total = self._counts.get(kind, 0)
            found += [
                (tensor.name, tensor.name, "F32", (total * tensor.rows, *tensor.trailing))
                for tensor in (self._stored(kind) if total else ())
            ]
            # The places that files have always had.
            if kind in behind:
                name, shape = behind[kind]
                found.append((name, name, "F32", shape))
        found.append(("router.sketch", "router.sketch", "F32", (self._sketches, self.dimensions)))
        found.append(("router.scatter", "router.scatter", "F32", (n,)))
        if anchor_count:
            found.append(("router.anchors", None, "F32", (anchor_count, self.dimensions)))
        found.append(("router.count", "router.count", "I32", (n,)))
        return found

    def _read(self, at: int) -> MemoryParts:
        kept = self._kept.get(at)
        if kept is not None:
            return kept
        procedure = self._procedures[at]
        return take_apart(procedure.load(), f"The memory of {procedure.name!r}")

    def _check(self, parts: MemoryParts, name: str) -> None:
        """Whether a memory can stand beside the first one."""
        if parts.fingerprint.get("digest") != self.fingerprint.digest:
            raise IncompatibleError(
                f"The memory of {name!r} is for another model than the first one.",
                next_step="Export the procedures of each model apart.",
            )
        if parts.digest != self.router_digest:
            raise IncompatibleError(
                f"The router statistics of {name!r} are of another version than the first ones.", next_step=NEXT_STEP
            )
        for tensor, length in _LENGTHS.items():
            block = self._block(parts, tensor)
            if len(block.shape) != length or block.dtype != ("I32" if tensor == "router.count" else "F32"):
                raise BadInputError(f"Tensor {tensor!r} of {name!r} has an unknown form.", next_step=NEXT_STEP)
        fits = (
            self._block(parts, "address").shape == (self._hidden,)
            and self._block(parts, "router.mean").shape == (self.dimensions,)
            and self._block(parts, "router.sketch").shape[1] == self.dimensions
            and self._block(parts, "router.count").shape == (1,)
            and self._block(parts, "router.scatter").shape == (1,)
            and _groups(parts) in ((), self.groups or _groups(parts))
        )
        known = set(_LENGTHS)
        shapes = [(group.layers, group.heads, group.key_size, group.value_size) for group in _groups(parts)]
        for kind in kinds():
            tensors = kind.stored_tensors(self._hidden, shapes)
            known |= {tensor.name for tensor in tensors}
            self._check_kind(kind, tensors, parts, name, bool(shapes))
        if unknown := sorted(set(parts.blocks) - known):
            # Leaving it out would change routes or answers without a word.
            raise IncompatibleError(
                f"The memory of {name!r} has a tensor {unknown[0]!r}, which no file of procedures can carry."
            )
        if not fits:
            raise BadInputError(f"The memory of {name!r} has other shapes than the first one.", next_step=NEXT_STEP)

    def _check_kind(
        self, kind: type[SteeringPart], tensors: Sequence[StoredTensor], parts: MemoryParts, name: str, grouped: bool
    ) -> None:
        """Whether a memory's tensors of one kind are whole and of the shapes that the kind says."""
        there = [tensor.name for tensor in tensors if tensor.name in parts.blocks]
        if not there and not any(map(kind.holds, parts.blocks)):
            if kind.required:
                self._block(parts, tensors[0].name)
            return
        if kind.memory_fault(parts.settings) or (kind.needs_layer_groups and not grouped):
            raise BadInputError(f"The {kind.name} of {name!r} has an unknown form.", next_step=NEXT_STEP)
        count: int | None = None
        for tensor in tensors:
            block = self._block(parts, tensor.name)
            place = len(tensor.leading)
            if count is None and len(block.shape) > place:
                count = block.shape[place]
            if count is None or block.shape != tensor.shape(count) or block.dtype != "F32":
                raise BadInputError(f"Tensor {tensor.name!r} of {name!r} has an unknown form.", next_step=NEXT_STEP)

    def _block(self, parts: MemoryParts, tensor: str) -> Block:
        block = parts.blocks.get(tensor)
        if block is None:
            raise BadInputError(f"The memory of {parts.name!r} has no tensor {tensor!r}.", next_step=NEXT_STEP)
        return block


def _groups(parts: MemoryParts) -> tuple[LayerGroup, ...]:
    """The layer groups of a memory with keys and values; empty for one of rows alone."""
    groups: list[LayerGroup] = []
    while (keys := parts.blocks.get(f"keys.{len(groups)}")) is not None:
        values = parts.blocks.get(f"values.{len(groups)}")
        same = values is not None and (keys.dtype, values.dtype) == ("F32", "F32")
        if values is None or not same or len(keys.shape) != 4 or keys.shape[:3] != values.shape[:3]:
            raise BadInputError(f"Keys and values of {parts.name!r} do not fit together.", next_step=NEXT_STEP)
        groups.append(LayerGroup(keys.shape[0], keys.shape[1], keys.shape[3], values.shape[3]))
    return tuple(groups)


def _described(
    procedure: ExportProcedure,
    parts: MemoryParts,
    row: int,
    sketch: Span,
    spans: Mapping[type[SteeringPart], Span],
) -> BankProcedure:
    return BankProcedure(
        uuid=procedure.uuid,
        name=procedure.name,
        description=procedure.description,
        pattern=procedure.pattern,
        threshold=procedure.threshold,
        version=procedure.version,
        row=row,
        sketch=sketch,
        spans=spans,
        forms={
            kind: parts.settings[kind.settings_field[0]]
            for kind, span in spans.items()
            if kind.settings_field is not None and span.count
        },
        tied=parts.tied,
        pair_count=procedure.pair_count,
        pairs_digest=procedure.pairs_digest,
        settings=plain_settings(parts.settings),
        scores=figures(procedure.scorecard),
        trained=procedure.trained,
        output_schema=procedure.output_schema,
        reads_conversation=procedure.reads_conversation,
        group=procedure.group,
        answer_form=parts.settings.get(TEMPLATE_SETTING) or {},
        learned=procedure.learned,
    )


def _shareable(parts: MemoryParts) -> Fingerprint:
    """The fingerprint, without the folder in which the backbone may have lain."""
    try:
        found = Fingerprint(**{one.name: parts.fingerprint[one.name] for one in fields(Fingerprint)})
    except KeyError as error:
        raise BadInputError(f"The memory of {parts.name!r} names no model.", next_step=NEXT_STEP) from error
    model = found.model_id
    if PurePath(model).is_absolute() or model.startswith(("~", ".")) or "\\" in model:
        model = model.replace("\\", "/").rstrip("/").rpartition("/")[2]
    return Fingerprint(**{**{one.name: getattr(found, one.name) for one in fields(Fingerprint)}, "model_id": model})


def _product(shape: Sequence[int]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total
