"""What crafted files may take of the memory before anybody has agreed to them: ten times their size and 100 MiB."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.banks import bank, bank_bytes, files_of

FREE, FOR_A_BYTE = 100 * 2**20, 10
FILES = files_of(bank_bytes(bank(3, with_pairs=True)))
MANIFEST: dict[str, Any] = json.loads(FILES["manifest.json"])

READ = """
import os, sys, traceback
from pathlib import Path
from profiles.pair_files.pairs_file import read_pairs_file
from tokmem_desk.bank.reader import open_bank
from tokmem_desk.bank.container import needs_passphrase
from tokmem_desk.errors import TokmemError
from tui.banks.words import bank_object, bank_words

def read(kind, path):
    said = "read"
    try:
        if kind == "bank":
            needs_passphrase(path)
            with open_bank(path, lambda name: "x") as bank:
                bank_object(bank), bank_words(bank)
                for one in bank.manifest.procedures[:3]:
                    bank.memory(one)
        elif kind == "pairs":
            read_pairs_file(path)
    except TokmemError as error:
        said = str(error)
    peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print(peak, ascii(said))

for line in sys.stdin:
    kind, path = line.rstrip("\\n").split(" ", 1)
    reader = os.fork()
    if reader == 0:
        try:
            read(kind, Path(path))
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(0)
    print("ended", os.waitstatus_to_exitcode(os.waitpid(reader, 0)[1]), flush=True)
"""
"""Reads what stdin names, each file in a fork of its own, which has everything imported and has read nothing yet."""

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak is read from /proc")


class Reader:
    """A process that reads files (``READ``), until ``end``."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", READ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.empty_handed = self.read("nothing", Path())[0]
        """The peak in bytes where nothing is read."""

    def read(self, kind: str, path: Path) -> tuple[int, str]:
        """Bytes at the peak of the fork that reads a file, and what it says."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{kind} {path}\n")
        self._process.stdin.flush()
        said = [self._process.stdout.readline()]
        while said[-1] and not said[-1].startswith("ended "):
            said.append(self._process.stdout.readline())
        assert len(said) == 2 and said[-1] == "ended 0\n", "".join(said)[-2000:]
        peak, words = said[0].split(maxsplit=1)
        return int(peak) * 1024, words

    def end(self) -> None:
        self._process.communicate()


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    made = Reader()
    yield made
    made.end()


def packed(**changed: bytes) -> bytes:
    """A bank with other files, compressed, that its manifest lists as they are."""
    files = {**FILES, **{name.replace("__", "."): data for name, data in changed.items()}}
    if "manifest__json" not in changed:
        files["manifest.json"] = manifest(files)
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, data in files.items():
            kind = zipfile.ZIP_STORED if name == "bank.safetensors" else zipfile.ZIP_DEFLATED
            archive.writestr(name, data, kind)
    return target.getvalue()


def manifest(files: dict[str, bytes], **more: Any) -> bytes:
    records = {
        name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in files.items()
        if name != "manifest.json"
    }
    return json.dumps({**MANIFEST, "files": records, **more}).encode()


def with_manifest(text: Callable[[bytes], bytes]) -> bytes:
    return packed(manifest__json=text(manifest(FILES)))


def inside(value: bytes) -> Callable[[bytes], bytes]:
    """The manifest with something in it that no reader asks for."""
    return lambda whole: b'{"more": ' + value + b", " + whole[1:]


def chance(count: int) -> bytes:
    """Digits that hardly become smaller, so that no ratio betrays what they are for."""
    return os.urandom(count // 2).hex().encode()


def header(fields: bytes) -> bytes:
    return packed(bank__safetensors=len(fields).to_bytes(8, "little") + fields)


def many_members() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for place in range(50_000):
            archive.writestr(f"file{place}", b"")
    return target.getvalue()


def procedures(count: int) -> bytes:
    one = MANIFEST["procedures"][0]
    return manifest(FILES, procedures=[{**one, "uuid": f"{place:032x}"} for place in range(count)])


LONG = 6 * 2**20
PAIR = (
    b'{"procedure": "%s", "part": "train", "input": "a", "response": "b"}\n'
    % MANIFEST["procedures"][0]["uuid"].encode()
)

PLAN = b'{"procedure": "%s", "steps": "none: a", "names": {}}\n' % MANIFEST["procedures"][0]["uuid"].encode()

CRAFTED: dict[str, Callable[[], bytes]] = {
    "a bank as it should be": lambda: bank_bytes(bank(3, with_pairs=True)),
    "empty lists in the manifest": lambda: with_manifest(inside(b"[" + b"[]," * (8 * 2**20) + b"[]]")),
    "empty objects in the manifest": lambda: with_manifest(inside(b"[" + b"{}," * LONG + b"{}]")),
    "small objects in the manifest": lambda: with_manifest(inside(b"[" + b'{"a":1},' * LONG + b"{}]")),
    "numbers in the manifest": lambda: with_manifest(inside(b"[" + b"1.5," * LONG + b"0]")),
    "one name again and again": lambda: with_manifest(lambda whole: b"{" + b'"a":[],' * LONG + whole[1:]),
    "many names": lambda: with_manifest(inside(b"{" + b",".join(b'"%x":1' % n for n in range(2_000_000)) + b"}")),
    "a manifest nested without end": lambda: with_manifest(inside(b"[" * 5_000_000 + b"]" * 5_000_000)),
    "a table nested deeply": lambda: packed(
        manifest__json=manifest(
            FILES, router={**MANIFEST["router"], "configuration": json.loads('{"a":' * 400 + "1" + "}" * 400)}
        )
    ),
    "a number of many digits": lambda: with_manifest(inside(b"9" * 20_000_000)),
    "a fraction of many digits": lambda: with_manifest(inside(b"0." + b"9" * 20_000_000)),
    "a long text": lambda: with_manifest(inside(b'"' + b"a" * 60_000_000 + b'"')),
    "a long text with one wide sign": lambda: with_manifest(inside(b'"' + b"a" * 30_000_000 + "😀".encode() + b'"')),
    "a long text with one escape": lambda: with_manifest(inside(b'"' + b"a" * 30_000_000 + b'\\ud83d\\ude00"')),
    "halves of surrogate pairs": lambda: with_manifest(inside(b'"' + b"\\ud83d" * 2_000_000 + b'"')),
    "spaces in the manifest": lambda: with_manifest(lambda whole: b" " * 60_000_000 + whole),
    "nothing but zeros": lambda: packed(manifest__json=b"\0" * 60_000_000),
    "many procedures": lambda: packed(manifest__json=procedures(60_000)),
    "a header that is too long": lambda: header(b"{" + b" " * 50_000_000 + b"}"),
    "a header of small tables": lambda: header(b'{"a":[' + b"{}," * 1_300_000 + b"{}]}"),
    "a shape of many sizes": lambda: header(
        b'{"a":{"dtype":"F32","shape":[' + b"9999999999," * 300_000 + b'1],"data_offsets":[0,4]}}'
    ),
    "newlines in the pairs": lambda: packed(pairs__jsonl=b"\n" * (7 * 2**20)),
    "many more newlines": lambda: packed(pairs__jsonl=b"\n" * (300 * 2**20)),
    "newlines in the probes": lambda: packed(probes__jsonl=b"\n" * (15 * 2**20)),
    "many probes": lambda: packed(probes__jsonl=FILES["probes.jsonl"].splitlines(True)[0] * 60_000),
    "many pairs": lambda: packed(pairs__jsonl=PAIR * 300_000),
    "one long line": lambda: packed(pairs__jsonl=b'{"a": "' + b"a" * (300 * 2**20) + b'"}'),
    "a line of small objects": lambda: packed(pairs__jsonl=b'{"a": [' + b"{}," * 2_500_000 + b"{}]}\n"),
    "long references": lambda: packed(
        pairs__jsonl=PAIR.replace(b"}", b', "references": ["%s"]}' % (b"a" * 90_000)) * 3000
    ),
    "many corrections": lambda: packed(
        corrections__jsonl=b'{"text": "a", "wrong": "none", "right": "proc0"}\n' * 200_000
    ),
    "many plans": lambda: packed(plans__jsonl=PLAN * 200_000),
    "a plan of many names": lambda: packed(
        plans__jsonl=PLAN.replace(b"{}", b"{%s}" % b",".join(b'"%x":"%032x"' % (n, n) for n in range(150_000)))
    ),
    "newlines in the plans": lambda: packed(plans__jsonl=b"\n" * (7 * 2**20)),
    "many members": many_members,
    "incompressible noise in the manifest": lambda: with_manifest(inside(b'"' + chance(30_000_000) + b'"')),
    "small objects with noise": lambda: with_manifest(
        inside(b"[" + b",".join(b'{"%s":0}' % chance(8) for _ in range(600_000)) + b"]")
    ),
}


def stored(data: bytes) -> bytes:
    """The same files, not compressed, so that no ratio betrays them."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(target, "w") as plain:
        for name in archive.namelist():
            plain.writestr(name, archive.read(name))
    return target.getvalue()


STORED = [
    what for what in CRAFTED if what not in ("many more newlines", "one long line", "many members", "long references")
]


def judge(what: str, data: bytes, tmp_path: Path, reader: Reader) -> None:
    """Have a fork read a file and hold its peak to the bound; what it refuses it refuses in a sentence."""
    file = tmp_path / "crafted.tokmem"
    file.write_bytes(data)
    peak, said = reader.read("bank", file)
    allowed = FOR_A_BYTE * len(data) + FREE
    assert peak - reader.empty_handed <= allowed, (
        f"{(peak - reader.empty_handed) / 2**20:.0f} of {allowed / 2**20:.0f} MiB: {said}"
    )
    assert said.strip() == "'read'" or ("crafted.tokmem" in said and len(said) < 400), said
    assert said.strip() == "'read'" or what != "a bank as it should be"


@linux
@pytest.mark.parametrize("what", CRAFTED)
def test_no_file_takes_more_memory_than_its_size_allows(what: str, tmp_path: Path, reader: Reader) -> None:
    judge(what, CRAFTED[what](), tmp_path, reader)


@linux
@pytest.mark.parametrize("what", STORED)
def test_no_uncompressed_file_does_either(what: str, tmp_path: Path, reader: Reader) -> None:
    judge(what, stored(CRAFTED[what]()), tmp_path, reader)


# Files of pairs

PAIR_FILES: dict[str, Callable[[], bytes]] = {
    "pairs as they should be": lambda: b'{"input": "a", "response": "b"}\n' * 5,
    "a list of small objects": lambda: b"[" + b"{}," * (8 * 2**20) + b"{}]",
    "a list of empty lists": lambda: b"[" + b"[]," * (8 * 2**20) + b"[]]",
    "newlines": lambda: b"\n" * (12 * 2**20),
    "newlines in a list": lambda: b"[" + b"\n" * (12 * 2**20) + b"{}]",
    "commas": lambda: b"input,response\n" + b"," * (12 * 2**20),
    "quotes that do not end": lambda: b'input,response\n"' + b"a\n" * (10 * 2**20),
    "one line of small objects": lambda: b'{"input": [' + b"{}," * (8 * 2**20) + b'{}], "response": "b"}\n',
    "a long text with one wide sign": lambda: b'{"input": "' + b"a" * (12 * 2**20) + "😀".encode() + b'"}\n',
    "nested without end": lambda: b"[" * (8 * 2**20),
    "many digits": lambda: b'[{"input": ' + b"9" * (8 * 2**20) + b"}]",
    "many rows": lambda: b"input,response\n" + b"a,b\n" * (4 * 2**20),
}


@linux
@pytest.mark.parametrize("what", PAIR_FILES)
def test_no_file_of_pairs_takes_more_memory_than_its_size_allows(what: str, tmp_path: Path, reader: Reader) -> None:
    file = tmp_path / "crafted.json"
    file.write_bytes(PAIR_FILES[what]())
    peak, said = reader.read("pairs", file)
    allowed = FOR_A_BYTE * file.stat().st_size + FREE
    assert peak - reader.empty_handed <= allowed, (
        f"{(peak - reader.empty_handed) / 2**20:.0f} of {allowed / 2**20:.0f} MiB: {said}"
    )
    assert said.strip() == "'read'" or "crafted.json" in said


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
@pytest.mark.parametrize("kind", ["bank", "pairs"])
def test_pipes_and_devices_are_refused_and_never_waited_for(kind: str, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    folder = tmp_path / "folder"
    folder.mkdir()
    os.mkfifo(folder / "manifest.json")
    for path in (pipe, Path("/dev/zero"), Path("/dev/null"), *([folder] if kind == "bank" else [])):
        done = subprocess.run(
            [sys.executable, "-c", READ],
            input=f"{kind} {path}\n",
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert "not a plain file" in done.stdout or "without a manifest" in done.stdout, done.stdout
