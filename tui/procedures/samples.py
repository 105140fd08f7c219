"""The sample procedures that ship with the project."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from profiles.pair_files.pairs_file import PairsFile, read_pairs_file


def sample_files() -> list[PairsFile]:
    """All samples, by name.

    Raises:
        BadInputError: a file was damaged.
    """
    found = []
    for entry in sorted(resources.files("tokmem_desk").joinpath("samples").iterdir(), key=lambda one: one.name):
        if entry.name.endswith(".json"):
            with resources.as_file(entry) as path:
                found.append(read_pairs_file(Path(path)))
    return found
