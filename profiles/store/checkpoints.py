"""Where the state of an unfinished training lies. What stands in it is the trainer's business."""

from __future__ import annotations

import contextlib
from pathlib import Path

from profiles.files.erasing import erase_file
from profiles.files.paths import AppPaths, private_folder
from profiles.store.store import ProfileStore

SUFFIX = ".safetensors"


def checkpoint_file(
    paths: AppPaths, store: ProfileStore, name: str, fingerprint: str, *, improving: bool = False
) -> Path:
    """The file of a procedure on one backbone, in a folder that is there; written and read by the store's ``files``.

    Args:
        improving: of an improvement from verdicts, which has a file of its own beside that of a training.

    Raises:
        NotFoundError: no procedure of that name.
        StorageError: the folder could not be made.
    """
    folder = private_folder(paths.checkpoints / store.folder.name)
    kind = "-verdicts" if improving else ""
    return folder / f"{store.procedures.get(name).uuid}-{fingerprint[:12]}{kind}{SUFFIX}"


def drop_checkpoints(paths: AppPaths, store: ProfileStore, name: str) -> None:
    """Let the next training of a procedure begin anew, on every backbone.

    Raises:
        NotFoundError: no procedure of that name.
    """
    for file in (paths.checkpoints / store.folder.name).glob(f"{store.procedures.get(name).uuid}*{SUFFIX}"):
        with contextlib.suppress(OSError):  # then it is refused or overwritten by the next training
            erase_file(file)


def drop_lost_checkpoints(paths: AppPaths, store: ProfileStore) -> None:
    """Erase checkpoints of procedures that are gone and that no undo can bring back."""
    folder = paths.checkpoints / store.folder.name
    if not folder.is_dir():
        return
    # Listed first: a training that begins meanwhile has its procedure by then.
    files = [file for file in folder.iterdir() if file.is_file()]
    known = store.procedures.uuids()
    for file in files:
        if not any(file.name.lstrip(".").startswith(uuid) for uuid in known):
            with contextlib.suppress(OSError):  # then the next look erases it
                erase_file(file)
