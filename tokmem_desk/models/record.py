"""The record of a converted model: what ``backbone.json`` beside its files says, and whether they are as it says.

Reads and describes folders; converts and fetches nothing.
"""

from __future__ import annotations

import hashlib
import json
import re
import stat
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tokmem_desk.models.fetch import Cancelled, sha256_of
from tokmem_desk.system.file_checks import Ledger, read_plain

RECORD_NAME = "backbone.json"
CHECKS_FOLDER = ".checks"
"""Beside the folders of converted models: what is known of their files, see ``file_checks``."""
_RECORD_FORMAT = 1


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file of a converted model; ``sha256`` in hex, ``size`` in bytes."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """What ``backbone.json`` says.

    Attributes:
        source: kind of source and where it was, for people.
        revision: commit on the Hub; empty elsewhere.
        weights_sha256: over the publisher's weight files, whatever they are called.
        quantisation, reason: as in ``convert.Conversion``.
        quantised_share: of the parameters, those in 4 bit; None in records from before it was measured.
        created: UTC, ISO 8601.
        size: bytes of all files.
    """

    id: str
    source: str
    revision: str
    weights_sha256: str
    licence: str
    quantisation: str
    reason: str
    created: str
    files: dict[str, StoredFile] = field(default_factory=dict)
    format: int = _RECORD_FORMAT
    quantised_share: float | None = None

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files.values())


def read_record(folder: Path) -> ModelRecord | None:
    """The record of a converted folder; None when there is none that this version can read."""
    try:
        fields: dict[str, Any] = json.loads(read_plain(folder / RECORD_NAME))
        if fields.get("format") != _RECORD_FORMAT:
            return None
        files = {name: StoredFile(**file) for name, file in fields.pop("files").items()}
        record = ModelRecord(**fields, files=files)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    texts = (record.id, record.source, record.revision, record.weights_sha256, record.licence, record.quantisation)
    sound = all(isinstance(text, str) for text in (*texts, record.reason, record.created)) and all(
        isinstance(file.sha256, str) and isinstance(file.size, int) and name == Path(name).name
        for name, file in files.items()
    )
    share = record.quantised_share
    sound = sound and (share is None or (isinstance(share, (int, float)) and 0 <= share <= 1))
    return record if sound and files else None


def ledger_of(folder: Path) -> Ledger:
    """What is known of the files in a converted model's folder: the record itself, and what was made for the model."""
    return Ledger(folder.parent / CHECKS_FOLDER / f"{folder.name}.json")


def traits_file(folder: Path) -> Path:
    """Where the traits of a converted model in ``folder`` are kept: not among its files, whose digests are known."""
    return folder.parent / CHECKS_FOLDER / f"{folder.name}.traits.json"


def write_record(
    folder: Path, cancelled: Cancelled, *, quantised_share: float | None = None, **facts: str
) -> ModelRecord:
    """Measure the files of a converted folder and write its record.

    Args:
        facts: the text fields of ``ModelRecord``, all but ``created``.

    Raises:
        InterruptedByUser: cancelled.
    """
    files = {
        file.name: StoredFile(sha256_of(file, cancelled), file.stat().st_size) for file in sorted(folder.iterdir())
    }
    fields: dict[str, Any] = {**facts, "quantised_share": quantised_share}
    record = ModelRecord(**fields, created=datetime.now(UTC).isoformat(timespec="seconds"), files=files)
    (folder / RECORD_NAME).write_text(json.dumps(asdict(record), indent=1), encoding="utf-8")
    return record


def damage_of(folder: Path) -> str:
    """What is wrong with a converted folder, judged by sizes and by what was found before; empty when nothing is."""
    record = read_record(folder)
    if record is None:
        return f"{RECORD_NAME} is missing or unreadable"
    for name, file in record.files.items():
        try:
            found = (folder / name).stat()
        except FileNotFoundError:
            return f"{RECORD_NAME} has changed" if _record_was_swapped(folder) else f"{name} is missing"
        except OSError as error:
            return f"{name} cannot be read: {error.strerror}"
        if not stat.S_ISREG(found.st_mode):
            return f"{name} is not a file"
        if found.st_size != file.size:
            if _record_was_swapped(folder):
                return f"{RECORD_NAME} has changed"
            return f"{name} has {found.st_size:,} bytes, not {file.size:,}"
    ledger = ledger_of(folder)
    noted = {name for name, entry in ledger.entries().items() if entry.damaged}
    for name in (RECORD_NAME, *record.files):
        if name in noted and ledger.found_damaged(folder / name):
            return f"{name} has changed"
    return ""


def _record_was_swapped(folder: Path) -> bool:
    """Whether the record is another than was written, so that what it says of the other files means nothing."""
    known = ledger_of(folder).entries().get(RECORD_NAME)
    try:
        return known is not None and bool(known.sha256) and sha256_of(folder / RECORD_NAME) not in known.sha256
    except OSError:
        return False


def weights_sha256(path: Path, cancelled: Cancelled = lambda: False) -> str:
    """SHA-256 of a GGUF file, or over the hashes of a folder's safetensors files in order of their names.

    Raises:
        InterruptedByUser: cancelled.
    """
    if path.is_file():
        return sha256_of(path, cancelled)
    hashes = [sha256_of(file, cancelled) for file in sorted(path.glob("*.safetensors"))]
    return hashlib.sha256("".join(hashes).encode()).hexdigest()


def card_licence(path: Path) -> str:
    """The ``license:`` line of a model card beside the files; empty without one."""
    card = (path if path.is_dir() else path.parent) / "README.md"
    try:
        text = card.read_text(encoding="utf-8", errors="replace")[:20_000]
    except OSError:
        return ""
    found = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
    line = re.search(r"^license(?:_name)?:\s*(\S+)", found.group(1), re.MULTILINE) if found else None
    return line.group(1).strip("\"'") if line else ""


def model_family(folder: Path) -> str:
    """``model_type`` of a converted model's configuration; empty when it cannot be read."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return str(config.get("model_type", "")) if isinstance(config, dict) else ""
