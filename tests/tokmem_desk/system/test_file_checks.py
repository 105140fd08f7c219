"""Digests kept beside files: what was written is known, what was changed shows, and the ledger can be damaged too."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from tokmem_desk.errors import DamagedError
from tokmem_desk.models import shipped
from tokmem_desk.system import file_checks
from tokmem_desk.system.file_checks import Ledger, health, read_checked, read_plain


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "checks" / "one.json")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "router.safetensors"
    path.write_bytes(b"as it was written")
    return path


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_file_of_an_earlier_version_is_trusted_once(ledger: Ledger, file: Path) -> None:
    assert health(file, ledger) == "new"
    assert read_checked(file, ledger, bytes) == b"as it was written"
    assert health(file, ledger) == "whole"
    before = file.stat()
    file.write_bytes(b"as it was wrjtten")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(DamagedError, match=r"router\.safetensors is damaged"):
        read_checked(file, ledger, bytes)
    assert health(file, ledger) == "damaged"
    assert ledger.found_damaged(file)
    file.write_bytes(b"as it was written")
    assert not ledger.found_damaged(file), "it is another file since"
    assert health(file, ledger) == "whole"


def test_a_kill_between_announcing_and_settling_damages_nothing(ledger: Ledger, file: Path) -> None:
    read_checked(file, ledger, bytes)
    ledger.announce(file.name, sha256(b"the new one"))
    assert read_checked(file, ledger, bytes) == b"as it was written"
    file.write_bytes(b"the new one")
    assert read_checked(file, ledger, bytes) == b"the new one"
    ledger.settle(file, sha256(b"the new one"))
    file.write_bytes(b"as it was written")
    with pytest.raises(DamagedError):
        read_checked(file, ledger, bytes)


@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 100_000, b"\xff", b'{"format": 1, "files": 3, "sha256": "x"}'])
def test_a_damaged_ledger_is_begun_anew(ledger: Ledger, file: Path, content: bytes) -> None:
    read_checked(file, ledger, bytes)
    ledger.file.write_bytes(content)
    assert ledger.entries() == {}
    assert read_checked(file, ledger, bytes) == b"as it was written"
    assert health(file, ledger) == "whole"


def test_a_flipped_bit_in_the_ledger_makes_no_file_damaged(ledger: Ledger, file: Path) -> None:
    read_checked(file, ledger, bytes)
    text = ledger.file.read_text()
    digest = sha256(b"as it was written")
    ledger.file.write_text(text.replace(digest, digest[:-1] + ("0" if digest[-1] != "0" else "1")))
    assert read_checked(file, ledger, bytes) == b"as it was written"


def test_where_nothing_can_be_written_nothing_is_kept_and_files_are_read(tmp_path: Path, file: Path) -> None:
    (tmp_path / "in the way").write_bytes(b"")
    ledger = Ledger(tmp_path / "in the way" / "one.json")
    assert read_checked(file, ledger, bytes) == b"as it was written"
    assert ledger.entries() == {}


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(IsADirectoryError):
            read_plain(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        read_plain(tmp_path / "nothing")


def test_a_large_file_is_hashed_again_when_changed_or_after_a_while(
    ledger: Ledger, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_checked(file, ledger, bytes)
    assert not ledger.is_fresh(file), "small ones always are"
    monkeypatch.setattr(file_checks, "ALWAYS_BELOW", 1)
    assert ledger.is_fresh(file)
    monkeypatch.setattr(file_checks, "STALE_SECONDS", -1)
    assert not ledger.is_fresh(file)
    monkeypatch.setattr(file_checks, "STALE_SECONDS", 1000)
    os.utime(file, ns=(1, 1))
    assert not ledger.is_fresh(file)


def test_shipped_files_are_what_was_shipped() -> None:
    """Whoever makes one anew puts its digest into ``shipped``."""
    assert shipped.damaged_shipped() == []
    folder = Path(shipped.__file__).parents[1] / "fitted"
    assert {file.name for file in folder.glob("*.safetensors")} == set(shipped.SHIPPED_SHA256)
    with pytest.raises(DamagedError, match="comes with the program"):
        shipped.require_whole("splitter.safetensors", b"other")
