"""Paths as people type them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tokmem_desk.errors import UsageError
from tokmem_desk.system.disk import typed_path


def test_what_is_there_and_what_could_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "file").touch()
    assert typed_path("~/file") == tmp_path / "file"
    assert typed_path("~/new") == tmp_path / "new"
    assert typed_path("~/file/below") == tmp_path / "file" / "below", "writing there will say what is wrong"


@pytest.mark.parametrize("typed", ["~nobody-of-that-name/x", "a" * 300, "a\0b"])
def test_what_no_path_can_be(typed: str) -> None:
    with pytest.raises(UsageError, match="cannot be used as a path") as caught:
        typed_path(typed)
    assert len(str(caught.value)) < 400
