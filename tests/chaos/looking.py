"""What is in a home, as a person would find it at the next start, in parts that can be compared; and what is odd there.

Opens everything with the program's own code, which tidies as a start does. Numbers that differ from run to run (ids,
times, drawn names of files) are left out.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from profiles.encryption.file_encryption import ProfileKey
from profiles.encryption.keyring import LOCK_NAME
from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from profiles.settings.settings import PROFILE_FILE_NAME
from profiles.store.checkpoints import drop_lost_checkpoints
from profiles.store.store import ProfileStore
from tests.undo_log import newest_undo
from tokmem_desk.errors import LockedError

Parts = dict[str, Any]
"""What is in a home; the keys are names of its parts, the values plain JSON."""

LATER = 2 * 86_400.0
"""Seconds that pass between a kill and the next start: enough for everything that waits to be tidied."""

_ID = re.compile(r"[0-9a-f]{32}")
_RUNTIME = re.compile(r"(-wal|-shm|-journal|\.guard|\.lock)$")


def let_time_pass(home: Path) -> None:
    """Make every file older."""
    moment = time.time() - LATER
    for file in _files(home):
        os.utime(file, (moment, moment), follow_symlinks=False)


def look(home: Path, out: Path, passphrases: Sequence[str], *, models: bool = False) -> dict[str, Any]:
    """Open everything.

    Args:
        home: of the program.
        out: where it writes what is for others.
        passphrases: tried on locked profiles, in this order.
        models: whether to ask which models are ready.

    Returns:
        ``parts``, and ``faults``: sentences on what cannot be.
    """
    paths = AppPaths.resolve(home)
    parts: Parts = {}
    faults: list[str] = []
    with ProfileRegistry(paths) as registry:
        faults += [f"the list of profiles: {one}" for one in registry._database.damage()]
        profiles = registry.list()
        known = {info.id for info in profiles}
        keys: dict[str, ProfileKey] = {}
        for info in profiles:
            key, passphrase = _key(registry, info.name, passphrases) if info.locked else (None, "")
            if info.locked and key is None:
                faults.append(f"no passphrase opens {info.name}")
                continue
            if key is not None:
                keys[info.name] = key
            folder = paths.profile_folder(info.id)
            parts[f"profile {info.name}"] = {
                "locked": info.locked,
                "active": info.active,
                "passphrase": passphrase,
                "recovery": _recovery(folder) if info.locked else None,
                "settings": _text(folder / PROFILE_FILE_NAME),
            }
            with registry.open(info.name, key=key) as store:
                faults += [f"{info.name}: {one}" for one in store.damage()]
                store.garbage.collect()
                drop_lost_checkpoints(paths, store)
                _look_into(info.name, store, parts, faults)
        parts["tokens"] = sorted(token.name for token in registry.tokens.list(keys))
    folders = {folder.name for folder in paths.profiles.iterdir()} if paths.profiles.is_dir() else set()
    if folders != known:
        faults.append(f"{len(folders - known)} folders of no profile, {len(known - folders)} profiles without a folder")
    parts["settings"] = _text(paths.config_file)
    for file in _files(out):
        if not file.name.endswith(".part"):  # the same command removes it when it is run again
            parts[f"file {file.name}"] = _outline(file, faults)
    if models:
        from tokmem_desk.models.store import ModelStore

        store_of_models = ModelStore(paths.models, offline=True)
        parts["models"] = sorted(record.id for record in store_of_models.list())
    return {"parts": parts, "faults": faults}


def leftovers(home: Path, out: Path) -> list[str]:
    """Files of halves that nobody reads any more."""
    found = [file for file in (*_files(home), *_files(out)) if file.name.endswith((".part", ".tmp", "-journal"))]
    return sorted(_ID.sub("*", str(file.relative_to(home.parent))) for file in found)


def files_with(text: str, *folders: Path) -> list[str]:
    """The names of files in which a text stands."""
    found = [file for folder in folders for file in _files(folder) if text.encode() in file.read_bytes()]
    return sorted(_ID.sub("*", file.name) for file in found)


def _look_into(name: str, store: ProfileStore, parts: Parts, faults: list[str]) -> None:
    commands = store.commands.by_name()
    referenced = set()
    for record in store.procedures.list():
        memories = store.memories.list(record.name)
        for memory in memories:
            referenced.add(memory.file)
            if not store.memories.read(memory.file):
                faults.append(f"{name}: a memory of {record.name} is empty")
        pairs = [[pair.part, pair.input, pair.response] for pair in store.pairs.list(record.name)]
        if len(pairs) != record.pair_count + record.held_out_count:
            faults.append(f"{name}: {record.name} says {record.pair_count} pairs")
        command = commands.get(record.name)
        parts[f"procedure {name}/{record.name}"] = {
            "description": record.description,
            "enabled": record.enabled,
            "group": record.group,
            "schema": record.output_schema,
            "threshold": record.threshold,
            "command": list(command.template) if command else None,
            "pairs": pairs,
            "memories": [[memory.status, memory.pair_count] for memory in memories],
            "versions": len(store.versions.list(record.name)),
        }
    lost = referenced - {file.name for file in store.memories.folder.iterdir()} if referenced else set()
    if lost:
        faults.append(f"{name}: {len(lost)} memories without their file")
    for conversation in store.chats.list(limit=1000):
        messages = store.messages.list(conversation.id)
        parts[f"chat {name}/{conversation.id}"] = [[one.role, one.content, one.status] for one in messages]
    parts[f"undo {name}"] = newest_undo(store)


def _key(registry: ProfileRegistry, name: str, passphrases: Sequence[str]) -> tuple[ProfileKey | None, str]:
    for passphrase in passphrases:
        try:
            return registry.locks.key(name, passphrase), passphrase
        except LockedError:
            continue
    return None, ""


def _recovery(folder: Path) -> str:
    """What the recovery key is checked against, in short."""
    slots = json.loads((folder / LOCK_NAME).read_text("utf-8"))
    return hashlib.sha256(json.dumps(slots["recovery"], sort_keys=True).encode()).hexdigest()[:16]


def _text(file: Path) -> str:
    return file.read_text("utf-8") if file.exists() else ""


def _outline(file: Path, faults: list[str]) -> Any:
    """Of an archive the names in it, and whether each can be read; of another file its digest."""
    if file.suffix != ".tokmem":
        return hashlib.sha256(file.read_bytes()).hexdigest()
    try:
        with zipfile.ZipFile(file) as archive:
            if archive.testzip():
                faults.append(f"{file.name} is damaged")
            return sorted(archive.namelist())
    except zipfile.BadZipFile as caught:
        faults.append(f"{file.name}: {caught}")
        return None


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and not _RUNTIME.search(path.name))
