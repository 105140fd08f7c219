"""The documented format: the forty-line reader reads what we write; files of every format version keep importing."""

from __future__ import annotations

import runpy
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.banks import bank, procedures, write
from tests.tokmem_desk.bank.test_round_trip import same
from tokmem_desk.bank.manifest import VERSION
from tokmem_desk.bank.reader import open_bank
from tokmem_desk.memory.file_bytes import take_apart

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "docs" / "examples"
READER = EXAMPLES / "read_bank.py"
FIXTURES = sorted((ROOT / "tests" / "fixtures").glob("bank-format-*.tokmem"))


def test_the_reader_is_short_and_stands_in_the_document() -> None:
    text = READER.read_text("utf-8")
    assert len(text.splitlines()) <= 40
    assert f"```python\n{text}```" in (ROOT / "docs" / "bank-format.md").read_text("utf-8")
    imported = {line.split()[1] for line in text.splitlines() if line.startswith("import ")}
    assert imported - set(sys.stdlib_module_names) == {"safetensors"}


@pytest.mark.parametrize(
    "file", [EXAMPLES / "bank.tokmem", *FIXTURES, None], ids=lambda file: getattr(file, "name", "now")
)
def test_the_reader_reads_what_we_read(tmp_path: Path, file: Path | None) -> None:
    file = file or write(tmp_path / "a.tokmem", bank(5))
    manifest, memories = runpy.run_path(str(READER))["read_bank"](file)
    with open_bank(file) as opened:
        assert list(memories) == opened.manifest.names and manifest["uuid"] == opened.manifest.uuid
        for one in opened.manifest.procedures:
            blocks = take_apart(opened.memory(one), "x").blocks
            found = memories[one.name]
            assert {*found, "router.scatter"} == set(blocks)
            for name, (shape, numbers) in found.items():
                block = blocks[name]
                code = "i" if block.dtype == "I32" else "f"
                assert numbers == struct.unpack(f"<{len(block.data) // 4}{code}", block.data)
                assert len(numbers) == struct.calcsize(f"{shape[0] * (shape[1] if len(shape) > 1 else 1)}B")


def test_the_reader_is_a_program() -> None:
    done = subprocess.run(
        [sys.executable, READER, EXAMPLES / "bank.tokmem"], capture_output=True, text=True, check=True
    )
    assert "proc0" in done.stdout and "keys.0" in done.stdout


def test_the_examples_open() -> None:
    with (
        open_bank(EXAMPLES / "protected.tokmem", lambda name: "example") as one,
        open_bank(EXAMPLES / "bank.tokmem") as other,
    ):
        assert one.manifest.names == other.manifest.names and one.pairs == other.pairs


def test_every_format_version_has_a_file() -> None:
    assert [file.stem.removeprefix("bank-format-") for file in FIXTURES] == [
        str(number) for number in range(1, int(VERSION.split(".")[0]) + 1)
    ]


def test_format_1_keeps_importing() -> None:
    with open_bank(FIXTURES[0]) as opened:
        for given, found in zip(procedures(3, with_pairs=True, lens=False), opened.manifest.procedures, strict=True):
            assert same(opened.memory(found), given.load())
            assert opened.pairs is not None and opened.pairs[found.uuid] == given.pairs
            assert (found.name, found.output_schema, found.threshold) == (
                given.name,
                given.output_schema,
                given.threshold,
            )
        assert len(opened.probes) == 3 and len(opened.corrections) == 1 and opened.anchors()
