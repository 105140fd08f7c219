"""A first use of a model is measured command by command, in a home of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.speed_first_use import measure_first_use, measured_step
from tokmem_desk.errors import TokmemError

pytest.importorskip("resource", reason="the system does not tell a process's peak")


def test_a_step_that_fails_says_what_the_command_said(tmp_path: Path) -> None:
    with pytest.raises(TokmemError, match="'fetch and convert' failed"):
        measure_first_use(str(tmp_path / "missing.gguf"), tmp_path)
    assert list(tmp_path.iterdir()) == [], "the new home is gone again"


def test_a_step_has_its_time_and_the_peak_of_its_engine(tmp_path: Path, tiny_model_folder: Path) -> None:
    said = {"home": str(tmp_path), "model": str(tiny_model_folder)}
    light = measured_step("list", said, "proc", "list")
    loaded = measured_step("ask", said, "ask", "x", "--route", "none", "--max-tokens", "1")
    assert light["seconds"] > 0 and light["processor_seconds"] > 0
    assert loaded["peak_mb"] > 2 * light["peak_mb"], "the engine's own memory is counted, not the command's alone"
