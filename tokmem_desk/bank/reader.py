"""Read a bank file: check all of it before anything is believed, then hand out memories as files of their own.

Knows the format and no backbone: whether a bank fits the one in use is the caller's question. No
torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tokmem_desk.bank.container import AskPassphrase, BankSource, open_source
from tokmem_desk.bank.jsonl import (
    BankCorrection,
    BankPlan,
    PairSet,
    Probe,
    read_corrections,
    read_pairs,
    read_plans,
    read_probes,
)
from tokmem_desk.bank.manifest import (
    CORRECTION_FILE,
    FORMAT,
    MANIFEST_FILE,
    PAIR_FILE,
    PLAN_FILE,
    PROBE_FILE,
    TENSOR_FILE,
    BankProcedure,
    Manifest,
)
from tokmem_desk.bank.validation import damaged, read_manifest
from tokmem_desk.memory.file_bytes import Block, MemoryParts, put_together
from tokmem_desk.memory.safetensors_header import ITEM_BYTES, Header, Layout, header_bytes, read_header
from tokmem_desk.memory.steering import kinds
from tokmem_desk.system.file_limits import json_cost
from tokmem_desk.templates.template import TEMPLATE_SETTING

_BLOCK = 4 * 2**20
MAX_SPAN = 4096


@dataclass(frozen=True, slots=True)
class OpenBank:
    """A bank that has passed every check that needs no model.

    Attributes:
        source: its files, open while the context that made this lasts.
        manifest: what it says.
        probes: to be run on the importing machine.
        pairs: by uuid; None when its maker kept them.
        corrections: verdicts on routes; empty when there are none or its maker kept them.
        plans: steps and chains; empty when there are none.
        size: of all files together, in bytes.
    """

    source: BankSource
    manifest: Manifest
    probes: tuple[Probe, ...]
    pairs: dict[str, PairSet] | None
    corrections: tuple[BankCorrection, ...]
    plans: tuple[BankPlan, ...]
    size: int
    _header: Header
    _fingerprint: dict[str, Any]

    @property
    def name(self) -> str:
        """What to call the file."""
        return self.source.name

    def memory(self, procedure: BankProcedure, name: str | None = None) -> bytes:
        """A procedure's memory as a file of its own, as ``tokmem_desk.memory.file`` reads it.

        Args:
            name: to give it instead of its own.

        Raises:
            BadInputError: the file changed since it was checked.
        """
        manifest = self.manifest
        blocks: dict[str, Block] = {}
        self._take(blocks, "address", procedure.row, 1, flat=True)
        self._take(blocks, "router.mean", procedure.row, 1, flat=True)
        settings = dict(procedure.settings)
        for kind, span in procedure.spans.items():
            if not span.count:
                continue
            for tensor in kind.stored_tensors(manifest.backbone.hidden_size, manifest.key_shapes):
                begin, count = span.offset * tensor.rows, span.count * tensor.rows
                self._take(blocks, tensor.name, begin, count, shape=tensor.shape(span.count))
            if kind.settings_field is not None:
                settings[kind.settings_field[0]] = procedure.forms[kind]
        if procedure.answer_form:
            settings[TEMPLATE_SETTING] = procedure.answer_form
        self._take(blocks, "router.sketch", procedure.sketch.offset, procedure.sketch.count)
        self._take(blocks, "router.scatter", procedure.row, 1)
        self._take(blocks, "router.count", procedure.row, 1)
        return put_together(
            MemoryParts(
                name or procedure.name,
                procedure.tied,
                settings,
                self._fingerprint,
                manifest.router.digest,
                blocks,
            )
        )

    def anchors(self) -> bytes:
        """[c x k] float32, the shipped chat messages as the maker's router saw them; empty when not inside."""
        layout = self._header.tensors.get("router.anchors")
        if layout is None:
            return b""
        return self.source.read_at(self._header.start + layout.begin, layout.end - layout.begin)

    def _take(
        self,
        blocks: dict[str, Block],
        name: str,
        begin: int,
        count: int,
        *,
        flat: bool = False,
        shape: tuple[int, ...] | None = None,
    ) -> None:
        """Cut ``count`` rows out of a tensor."""
        layout = self._header.tensors[name]
        row = ITEM_BYTES[layout.dtype] * int(np.prod(layout.shape[1:], dtype=np.int64))
        data = self.source.read_at(self._header.start + layout.begin + begin * row, count * row)
        own_shape = layout.shape[1:] if flat else (count, *layout.shape[1:])
        blocks[name] = Block(layout.dtype, shape or own_shape, data)


@contextmanager
def open_bank(path: Path, ask_passphrase: AskPassphrase | None = None) -> Iterator[OpenBank]:
    """Open and check a bank file, or a folder with the files of one.

    Sizes, checksums, shapes, types and every number are checked here; nothing is written.

    Args:
        ask_passphrase: see ``open_source``.

    Raises:
        NotFoundError: there is no such file.
        BadInputError: it is no bank, it is damaged, or the passphrase is wrong.
        IncompatibleError: it was written for a newer format.
        StorageError: the disk refuses.
    """
    with open_source(path, ask_passphrase) as source:
        manifest = _manifest(source)
        _check_files(source, manifest)
        header = _check_tensors(source, manifest)
        names = {one.uuid: one.name for one in manifest.procedures}
        allowance = source.allowance
        probes = read_probes(_checked(source, manifest, PROBE_FILE), names, source.name, allowance)
        pairs: dict[str, PairSet] | None = None
        corrections: tuple[BankCorrection, ...] = ()
        plans: tuple[BankPlan, ...] = ()
        if PAIR_FILE in manifest.files:
            pairs = read_pairs(_checked(source, manifest, PAIR_FILE), list(names), source.name, allowance)
        if CORRECTION_FILE in manifest.files:
            data = _checked(source, manifest, CORRECTION_FILE)
            corrections = read_corrections(data, list(names.values()), source.name, allowance)
        if PLAN_FILE in manifest.files:
            plans = read_plans(_checked(source, manifest, PLAN_FILE), list(names), source.name, allowance)
        yield OpenBank(
            source,
            manifest,
            probes,
            pairs,
            corrections,
            plans,
            sum(source.sizes.values()),
            header,
            manifest.backbone.as_dict(),
        )


def _check_files(source: BankSource, manifest: Manifest) -> None:
    """Whether the files are those that the manifest lists, with the sizes it says."""
    present = {name: size for name, size in source.sizes.items() if name != MANIFEST_FILE}
    for name in present:
        if name not in manifest.files:
            raise damaged(source.name, f"it holds {name}, which its manifest does not list")
    for name, record in manifest.files.items():
        if name not in present:
            raise damaged(source.name, f"{name} is missing")
        if present[name] != record.bytes:
            raise damaged(source.name, f"{name} has {present[name]:,} bytes, not {record.bytes:,}")


def _manifest(source: BankSource) -> Manifest:
    data = source.read(MANIFEST_FILE)
    # Stays: texts and tables of the manifest are those that were read.
    source.allowance.take(json_cost(data), MANIFEST_FILE)
    return read_manifest(data, source.name)


def _checked(source: BankSource, manifest: Manifest, name: str) -> Iterator[bytes]:
    """The blocks of a file that has its checksum: read once for that, and once more to be used."""
    digest = hashlib.sha256()
    for block in source.blocks(name):
        digest.update(block)
    if digest.hexdigest() != manifest.files[name].sha256:
        raise damaged(source.name, f"{name} does not have the checksum that its manifest gives")
    return source.blocks(name)


def _check_tensors(source: BankSource, manifest: Manifest) -> Header:
    """Header, shapes, types, every number and the checksum of the tensor file, in one pass over it."""
    size = manifest.files[TENSOR_FILE].bytes
    try:
        start = header_bytes(source.read_at(0, min(8, size)))
        head = source.read_at(0, min(start, size))
        header = read_header(head, size)
    except ValueError as error:
        raise damaged(source.name, f"{TENSOR_FILE}: {error}") from error
    if header.metadata.get("format") != FORMAT:
        raise damaged(source.name, f"{TENSOR_FILE} is of another format")
    _check_shapes(source.name, manifest, header)
    digest = hashlib.sha256(head)
    for name, layout in sorted(header.tensors.items(), key=lambda item: item[1].begin):
        for place in range(layout.begin, layout.end, _BLOCK):
            block = source.read_at(header.start + place, min(_BLOCK, layout.end - place))
            digest.update(block)
            if not _sane(block, layout, name):
                raise damaged(source.name, f"tensor {name!r} holds values that are not finite or out of range")
    if digest.hexdigest() != manifest.files[TENSOR_FILE].sha256:
        raise damaged(source.name, f"{TENSOR_FILE} does not have the checksum that its manifest gives")
    return header


def _sane(block: bytes, layout: Layout, name: str) -> bool:
    if layout.dtype == "F32":
        return bool(np.isfinite(np.frombuffer(block, dtype="<f4")).all())
    if layout.dtype == "BF16":
        # An exponent of all ones is an infinity or no number.
        return bool(((np.frombuffer(block, dtype="<u2") & 0x7F80) != 0x7F80).all())
    counts = np.frombuffer(block, dtype="<i4")
    return name == "router.count" and bool((counts >= 1).all())


def _check_shapes(source: str, manifest: Manifest, header: Header) -> None:
    """Whether every tensor has the shape that the manifest implies."""
    n, hidden, k = len(manifest.procedures), manifest.backbone.hidden_size, manifest.router.dimensions
    last = manifest.procedures[-1]
    sketches = last.sketch.offset + last.sketch.count
    longest = max(one.sketch.count for one in manifest.procedures)
    if longest > MAX_SPAN:
        raise damaged(source, f"a memory in it is longer than {MAX_SPAN} positions")
    for kind in kinds():
        most = max(one.span_of(kind).count for one in manifest.procedures)
        if kind.largest_count is not None and most > kind.largest_count:
            raise damaged(source, f"a memory in it is longer than {kind.largest_count} positions")
    numbers = ("F32", "BF16")
    wanted: dict[str, tuple[tuple[int | None, ...], tuple[str, ...]]] = {
        "address": ((n, hidden), numbers),
        "router.mean": ((n, k), numbers),
        "router.sketch": ((sketches, k), numbers),
        "router.scatter": ((n,), numbers),
        "router.count": ((n,), ("I32",)),
    }
    for kind in kinds():
        total = sum(one.span_of(kind).count for one in manifest.procedures)
        for tensor in kind.stored_tensors(hidden, manifest.key_shapes) if total else ():
            wanted[tensor.name] = ((total * tensor.rows, *tensor.trailing), numbers)
    if "router.anchors" in header.tensors:
        wanted["router.anchors"] = ((None, k), ("F32",))
    for name, (shape, types) in wanted.items():
        layout = header.tensors.get(name)
        if layout is None:
            raise damaged(source, f"tensor {name!r} is missing")
        fits = len(shape) == len(layout.shape) and all(
            size is None or size == have for size, have in zip(shape, layout.shape, strict=True)
        )
        if not fits:
            said = " x ".join("any" if size is None else str(size) for size in shape)
            raise damaged(source, f"tensor {name!r} has shape {list(layout.shape)}, not [{said}]")
        if layout.dtype not in types:
            raise damaged(source, f"tensor {name!r} has type {layout.dtype}, not {' or '.join(types)}")
    # A later minor version may add files and fields, but never tensors.
    unknown = sorted(set(header.tensors) - set(wanted))
    if unknown:
        raise damaged(source, f"it holds a tensor {unknown[0]!r} that has no meaning")
