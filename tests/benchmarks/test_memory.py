"""The memory that a conversion takes is measured in a process of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import memory


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell a process's peak")
def test_a_made_up_model_is_converted_within_what_is_allowed(tmp_path: Path) -> None:
    out = tmp_path / "memory.json"
    assert memory.main(["--out", str(out), "--layers", "1"]) == 0
    found = json.loads(out.read_text())["conversions"]["made-up"]
    assert 0 < found["libraries_mb"] < found["peak_mb"] < found["allowed_mb"]
    assert found["largest_tensor_mb"] == pytest.approx(32_000 * 2048 * 2 / 2**20)
    assert 0 < found["quantised_share"] < 1


def test_a_source_that_is_none_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "write_checkpoint", lambda folder, _layers: folder.mkdir())
        assert memory.main(["--out", str(tmp_path / "memory.json")]) != 0
    assert "could not be converted" in capsys.readouterr().err
