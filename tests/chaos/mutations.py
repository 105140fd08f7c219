"""Ways in which files of ours are damaged on a disk: a seeded list, for tests and for harnesses that want more of it.

Plain: no pytest, no torch. Each mutation names a group of files, chooses one of them by its seed and changes it in
place. What has to follow is the same for all: an answer as before, or a ``TokmemError`` that names the file, never an
answer out of the damaged file.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Group = Literal["weights", "config", "tokenizer", "record", "beside", "fitted", "ledger", "memory"]
"""weights, config, tokenizer: what conversion wrote; record: ``backbone.json``; beside: what was fitted or learned, in
the model's folder; fitted: the same with the data; ledger: the digests of both; memory: of profiles."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where the files of a home lie.

    Attributes:
        model: the converted model's folder.
        fitted: the data's folder of fitted files.
        ledgers: the files with digests.
        memories: the profiles' memory files.
        other: a folder with another model's files of the same names, for swapping.
    """

    model: Path
    fitted: Path
    ledgers: tuple[Path, ...]
    memories: tuple[Path, ...] = ()
    other: Path | None = None

    def files(self, group: Group) -> list[Path]:
        """The files of a group that are there, in order of their names."""
        if group == "fitted":
            return sorted(self.fitted.glob("*.safetensors"))
        if group == "ledger":
            return sorted(file for file in self.ledgers if file.exists())
        if group == "memory":
            return sorted(self.memories)
        return sorted(file for file in self.model.iterdir() if file.is_file() and group_of(file.name) == group)


def group_of(name: str) -> Group:
    """The group of a file in a converted model's folder."""
    if name == "backbone.json":
        return "record"
    if name.startswith("model") and name.endswith(".safetensors"):
        return "weights"
    if name.endswith(".safetensors"):
        return "beside"
    return "config" if name in ("config.json", "generation_config.json") else "tokenizer"


Change = Callable[[Path, random.Random], None]


@dataclass(frozen=True, slots=True)
class Mutation:
    """One damage.

    Attributes:
        name: says what is done to what; unique in a list.
        group: which files one of is chosen from.
        change: what is done to it.
        seed: of the choice and of what is random in the change.
        quiet: whether size and time stay as they were, as when a disk rots.
    """

    name: str
    group: Group
    change: Change
    seed: int
    quiet: bool = False

    def apply(self, places: Places) -> Path:
        """Do it; returns the file that was changed.

        Raises:
            LookupError: the group has no files here.
        """
        chance = random.Random(self.seed)
        files = places.files(self.group)
        if not files:
            raise LookupError(f"no files of the group {self.group}")
        file = chance.choice(files)
        before = file.stat()
        if self.change is swap:
            swap_with(file, places)
        else:
            self.change(file, chance)
        if self.quiet and file.is_file():
            os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        return file


def flip_bits(count: int) -> Change:
    """That many bits anywhere in the file."""

    def change(file: Path, chance: random.Random) -> None:
        data = bytearray(file.read_bytes())
        for _ in range(count):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        _in_place(file, bytes(data))

    return change


def flip_in_header(file: Path, chance: random.Random) -> None:
    """Three bits among the first bytes, where formats say what follows."""
    data = bytearray(file.read_bytes())
    for _ in range(3):
        data[chance.randrange(min(len(data), 400))] ^= 1 << chance.randrange(8)
    _in_place(file, bytes(data))


def zero_stretch(file: Path, chance: random.Random) -> None:
    """A quarter of the file becomes zeros, as one layer of a model."""
    data = bytearray(file.read_bytes())
    size = max(1, len(data) // 4)
    start = chance.randrange(max(1, len(data) - size))
    data[start : start + size] = bytes(len(data[start : start + size]))
    _in_place(file, bytes(data))


def truncate(file: Path, chance: random.Random) -> None:
    """The end is missing."""
    os.truncate(file, chance.randrange(1, max(2, file.stat().st_size)))


def empty(file: Path, chance: random.Random) -> None:
    """Nothing is left."""
    os.truncate(file, 0)


def remove(file: Path, chance: random.Random) -> None:
    """The file is gone."""
    file.unlink()


def lengthen(file: Path, chance: random.Random) -> None:
    """Something stands behind the end."""
    with file.open("ab") as opened:
        opened.write(chance.randbytes(100))


def garbage(file: Path, chance: random.Random) -> None:
    """As many bytes, all at random."""
    _in_place(file, chance.randbytes(file.stat().st_size))


def folder_instead(file: Path, chance: random.Random) -> None:
    """A folder has its name."""
    file.unlink()
    file.mkdir()


def pipe_instead(file: Path, chance: random.Random) -> None:
    """A pipe has its name that nobody writes to."""
    file.unlink()
    os.mkfifo(file)


def broken_link(file: Path, chance: random.Random) -> None:
    """A link to nowhere has its name."""
    file.unlink()
    file.symlink_to(file.with_name("nowhere"))


def deep_nesting(file: Path, chance: random.Random) -> None:
    """JSON that no reader follows to its end."""
    _in_place(file, b"[" * 200_000)


def swap(file: Path, chance: random.Random) -> None:
    """Another model's file of the same name; see ``Places.other``."""
    raise NotImplementedError("done by Mutation.apply, which knows the other model")


def swap_with(file: Path, places: Places) -> None:
    """Put the file of the same kind of another model in a file's place."""
    if places.other is None:
        raise LookupError("no other model to swap with")
    ending = file.name.split("-")[-1] if file.parent == places.fitted else file.name
    [found] = [one for one in places.other.iterdir() if one.name == ending]
    shutil.copyfile(found, file)


def change_field(name: str, value: object) -> Change:
    """One field of a JSON file says something else; files without it get it."""

    def change(file: Path, chance: random.Random) -> None:
        fields = json.loads(file.read_text("utf-8"))
        fields[name] = value
        _in_place(file, json.dumps(fields).encode())

    return change


def _in_place(file: Path, data: bytes) -> None:
    """Overwrite without a new file, as a disk does."""
    with file.open("r+b") as opened:
        opened.write(data)
        opened.truncate()


_CHANGES: dict[str, Change] = {
    "one bit flipped": flip_bits(1),
    "200 bits flipped": flip_bits(200),
    "header flipped": flip_in_header,
    "a quarter zeroed": zero_stretch,
    "truncated": truncate,
    "emptied": empty,
    "removed": remove,
    "lengthened": lengthen,
    "all at random": garbage,
    "a folder instead": folder_instead,
    "a pipe instead": pipe_instead,
    "a broken link instead": broken_link,
}
_OF_JSON: dict[str, Change] = {"nested too deep": deep_nesting}
_QUIET = ("one bit flipped", "200 bits flipped", "a quarter zeroed")
_GROUPS: tuple[Group, ...] = ("weights", "config", "tokenizer", "record", "beside", "fitted", "ledger", "memory")


def _all(seed: int) -> Iterator[Mutation]:
    """One round: every change to every group it makes sense for."""
    for group in _GROUPS:
        changes = dict(_CHANGES)
        if group in ("config", "record", "ledger"):
            changes |= _OF_JSON
        if group == "config":
            changes |= {"another number of heads": change_field("num_attention_heads", 2)}
        if group in ("weights", "tokenizer", "config", "record", "fitted", "beside"):
            changes |= {"that of another model": swap}
        for number, (name, change) in enumerate(changes.items()):
            own = seed * 1000 + number * 17 + _GROUPS.index(group)
            yield Mutation(f"{group}: {name} ({own})", group, change, own)
            if name in _QUIET:
                yield Mutation(f"{group}: {name}, time unchanged ({own})", group, change, own, quiet=True)


def mutations(count: int, seed: int = 0, groups: tuple[Group, ...] = _GROUPS) -> list[Mutation]:
    """That many mutations, spread over the groups; the same seed gives the same, and a longer list begins alike."""
    found: list[Mutation] = []
    rounds = seed
    while len(found) < count:
        one_round = [mutation for mutation in _all(rounds) if mutation.group in groups]
        random.Random(rounds).shuffle(one_round)
        found += one_round
        rounds += 1
    return found[:count]
