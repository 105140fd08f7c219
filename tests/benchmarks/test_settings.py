"""Committed settings, and those that a search keeps for one model."""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks import settings
from benchmarks.methods import METHODS


def test_a_search_is_kept_for_its_model_alone(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    shutil.copy(settings.SETTINGS_FILE, file)
    before = settings.chosen("personal", "some-model", file)
    settings.keep("personal", "some-model", "lora", {**before["lora"], "epochs": 99}, file)
    assert settings.chosen("personal", "some-model", file)["lora"]["epochs"] == 99
    assert settings.chosen("personal", "other-model", file) == before


def test_every_grid_belongs_to_a_method_with_settings() -> None:
    for benchmark in ("personal", "atomic"):
        assert set(settings.grids()) == set(settings.chosen(benchmark, "any")) <= set(METHODS)
