"""Broken and hostile bank files: each is refused with an error of ours or taken in whole, and nothing else is touched.

``make fuzz`` runs thousands of inputs, plain ``pytest`` two hundred (``TOKMEM_FUZZ_EXAMPLES``).
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tokmem_desk.bank.encryption
from profiles.store.banks import place_names
from profiles.store.store import ProfileStore
from tests.banks import FINGERPRINT, PLANS, bank, bank_bytes, files_of, zipped
from tokmem_desk.bank.reader import open_bank
from tokmem_desk.errors import BadInputError, TokmemError
from tokmem_desk.memory.file_bytes import take_apart
from tokmem_desk.memory.safetensors_header import read_header
from tui.banks.transfer import incoming, stage

EXAMPLES = int(os.environ.get("TOKMEM_FUZZ_EXAMPLES", "200"))
PASSPHRASE = "x"
NAMES = [
    "../../evil",
    "/tmp/evil",
    "..",
    "a/../../b",
    "C:\\evil",
    "con\x00fig",
    "",
    "x" * 5000,
    ".bashrc",
    "manifest.json",
]
VALUES: list[Any] = [
    None, True, -1, 0, 1, 2**31, 2**63, 10**400, 0.5, 1e308, "", "x", "../x", "none", "\x00", "\ud800", "é" * 100,
    "f" * 64, [], {}, [[]], {"a": {}}, "99.0.0", "1.0.0",
]  # fmt: skip

BASE = bank_bytes(bank(3, with_pairs=True, plans=PLANS))
FILES = files_of(BASE)


# Mutations: each takes a source of chance and gives the bytes of a file


def flipped(chance: random.Random) -> bytes:
    data = bytearray(BASE)
    for _ in range(chance.choice((1, 1, 2, 8, 64))):
        data[chance.randrange(len(data))] = chance.randrange(256)
    return bytes(data)


def cut(chance: random.Random) -> bytes:
    return BASE[: chance.randrange(len(BASE))]


def spliced(chance: random.Random) -> bytes:
    first, second = sorted(chance.randrange(len(BASE)) for _ in range(2))
    piece = chance.choice((b"", chance.randbytes(chance.randrange(2000)), BASE[first:second] * 2))
    return BASE[:first] + piece + BASE[second:]


def noise(chance: random.Random) -> bytes:
    return chance.choice((b"", b"PK\x03\x04", b"TOKMEM-PROTECTED\n", BASE[:200])) + chance.randbytes(
        chance.randrange(4000)
    )


def manifest_changed(chance: random.Random) -> bytes:
    manifest = json.loads(FILES["manifest.json"])
    for _ in range(chance.choice((1, 1, 1, 3))):
        change_somewhere(manifest, chance)
    text = json.dumps(manifest)
    if chance.random() < 0.1:
        text = chance.choice(
            (text.replace("1", "1e999"), text.replace("null", "NaN"), "[" * 200_000, text[:-5], "null")
        )
    return zipped({**FILES, "manifest.json": text.encode("utf-8", "surrogatepass")})


def change_somewhere(value: Any, chance: random.Random) -> None:
    while True:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not keys:
            return
        key = chance.choice(keys)
        if isinstance(value[key], (dict, list)) and value[key] and chance.random() < 0.75:
            value = value[key]
            continue
        what = chance.random()
        if what < 0.15 and isinstance(value, dict):
            del value[key]
        elif what < 0.25 and isinstance(value, dict):
            value[chance.choice(NAMES)] = value.pop(key)
        elif what < 0.35 and isinstance(value, list):
            value.append(value[key])
        elif isinstance(value[key], int) and what < 0.7:
            value[key] += chance.choice((-1, 1, 7, 2**20))
        else:
            value[key] = chance.choice(VALUES)
        return


def with_checksums(files: dict[str, bytes]) -> bytes:
    """A bank whose manifest agrees with changed files, so that what is in them is looked at."""
    manifest = json.loads(files["manifest.json"])
    for name, data in files.items():
        if name != "manifest.json":
            manifest["files"][name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    return zipped({**files, "manifest.json": json.dumps(manifest).encode()})


def numbers_changed(chance: random.Random) -> bytes:
    data = bytearray(FILES["bank.safetensors"])
    header = read_header(bytes(data), len(data))
    layout = header.tensors[chance.choice(sorted(header.tensors))]
    at = header.start + chance.randrange(layout.begin, layout.end - 3)
    bad = (
        struct.pack("<f", chance.choice((float("nan"), float("inf"), 1e38))),
        struct.pack("<i", -chance.randrange(9)),
    )
    data[at : at + 4] = chance.choice((*bad, chance.randbytes(4)))
    return with_checksums({**FILES, "bank.safetensors": bytes(data)})


def header_changed(chance: random.Random) -> bytes:
    data = FILES["bank.safetensors"]
    start = read_header(data, len(data)).start
    fields = json.loads(data[8:start])
    change_somewhere(fields, chance)
    text = json.dumps(fields).encode("utf-8", "surrogatepass")
    length = chance.choice((len(text), len(text), len(text), 0, 2**40, len(text) - 3, 2**63))
    return with_checksums({**FILES, "bank.safetensors": length.to_bytes(8, "little") + text + data[start:]})


def lines_changed(chance: random.Random) -> bytes:
    name = chance.choice(("probes.jsonl", "pairs.jsonl", "corrections.jsonl", "plans.jsonl"))
    rows = [json.loads(row) for row in FILES[name].splitlines()]
    change_somewhere(rows, chance)
    data = b"\n".join(json.dumps(row).encode("utf-8", "surrogatepass") for row in rows)
    if chance.random() < 0.1:
        data = chance.choice((b"\xff\xfe", b"{}\n" * 100, b"[" * 100_000, data * 30, b""))
    return with_checksums({**FILES, name: data})


def entries_changed(chance: random.Random) -> bytes:
    entries = list(FILES.items())
    chance.shuffle(entries)
    what = chance.randrange(5)
    if what == 0:
        entries.append((chance.choice(NAMES) or "x", b"evil"))
    elif what == 1:
        entries.append(chance.choice(entries))
    elif what == 2:
        entries.pop()
    elif what == 3:
        at = chance.randrange(len(entries))
        entries[at] = (chance.choice(NAMES) or "y", entries[at][1])
    return zipped(entries, chance.choice((0, 0, 8, 12, 14)) if what == 4 else 0)


def bomb(chance: random.Random) -> bytes:
    target = io.BytesIO()
    big = chance.choice(sorted(FILES))
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in FILES.items():
            kind = zipfile.ZIP_DEFLATED if name == big else zipfile.ZIP_STORED
            archive.writestr(name, b"\0" * chance.choice((10_000, 3_000_000)) if name == big else data, kind)
    data = bytearray(target.getvalue())
    if chance.random() < 0.5:  # sizes that are not true
        at = data.rindex(b"PK\x01\x02")
        struct.pack_into("<I", data, at + chance.choice((20, 24)), chance.choice((0, 5, 2**31, 2**32 - 1)))
    return bytes(data)


def protected(chance: random.Random) -> bytes:
    data = bytearray(PROTECTED)
    for _ in range(chance.choice((1, 3))):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(data[: chance.choice((len(data), len(data), chance.randrange(len(data))))])


def as_it_was(chance: random.Random) -> bytes:
    return BASE


def small_cost() -> Iterator[None]:
    before = tokmem_desk.bank.encryption._COST
    tokmem_desk.bank.encryption._COST = 2
    yield
    tokmem_desk.bank.encryption._COST = before


MUTATIONS: list[Callable[[random.Random], bytes]] = [
    flipped, cut, spliced, noise, manifest_changed, numbers_changed, header_changed, lines_changed, entries_changed,
    bomb, protected, as_it_was,
]  # fmt: skip

_cheap = small_cost()
next(_cheap)
PROTECTED = bank_bytes(bank(3), PASSPHRASE)
next(_cheap, None)


# The property


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a profile, a file of somebody else's, and nothing more."""
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "precious.txt").write_text("mine")
    with ProfileStore(folder / "profile"):
        pass
    return folder


def outside(place: Path) -> dict[str, bytes]:
    """Everything but the profile and the file under test."""
    return {
        str(path.relative_to(place)): path.read_bytes() if path.is_file() else b""
        for path in place.rglob("*")
        if path.relative_to(place).parts[0] != "profile" and path.name != "bad.tokmem"
    }


def taken_in(store: ProfileStore, file: Path) -> list[str]:
    """What an import does, but for the engine's probes."""
    with open_bank(file, lambda name: PASSPHRASE) as opened, store.banks.quarantine() as folder:
        placements = place_names(opened.manifest.names, (), "rename")
        fields = stage(opened, placements, store, folder, "")
        files = {one["uuid"]: one["file"] for one in fields["memories"]}
        return store.banks.add(incoming(opened, placements, files), folder)


def check(place: Path, data: bytes) -> bool:
    """Import ``data``; True when it went in whole."""
    file = place / "bad.tokmem"
    file.write_bytes(data)
    with ProfileStore(place / "profile") as store:
        before = store.revision
        try:
            names = taken_in(store, file)
        except TokmemError:
            assert store.procedures.list() == [] and store.revision == before
            assert not store.memories.folder.is_dir() or not any(store.memories.folder.iterdir())
            went_in = False
        else:
            backbone = store.memories.list(names[0])[0].backbone_fingerprint
            records = store.memories.all_active(backbone, enabled_only=False)
            for one in store.procedures.list():
                assert one.enabled is (one.steps is None), "nobody has said yes to a plan"
            assert sorted(names) == sorted(record.procedure for record in records) != []
            for record in records:
                take_apart(store.memories.read(record.file), record.file)
            store.undo.take_back()
            store.undo.forget()
            store.garbage.collect(age_seconds=-1)
            went_in = True
        assert not store.banks.quarantine_folder.exists()
    assert outside(place) == {"precious.txt": b"mine"}
    return went_in


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=EXAMPLES <= 200,
    suppress_health_check=list(HealthCheck),
    database=None,
)
@given(mutation=st.sampled_from(MUTATIONS), seed=st.integers(0, 2**64))
@pytest.mark.timeout(3600)
def test_any_file_is_refused_or_taken_in_whole(place: Path, mutation: Callable[..., bytes], seed: int) -> None:
    went_in = check(place, mutation(random.Random(seed)))
    if mutation is as_it_was:
        assert went_in
    if mutation in (cut, bomb):
        assert not went_in


def test_truncated_at_every_kilobyte(place: Path) -> None:
    data = bank_bytes(bank(200, with_pairs=True))
    assert len(data) > 100_000
    for length in range(0, len(data), 1024):
        assert not check(place, data[:length]), length
    assert check(place, data)


def test_the_engine_would_refuse_what_only_it_can_tell(place: Path) -> None:
    """A bank that is right in itself and made for no backbone of ours goes as far as the fingerprint."""
    file = place / "bad.tokmem"
    file.write_bytes(BASE)
    with open_bank(file) as opened:
        assert opened.manifest.backbone.digest == FINGERPRINT.digest
    file.write_bytes(PROTECTED)
    with pytest.raises(BadInputError, match="does not open"), open_bank(file, lambda name: "y"):
        pass
