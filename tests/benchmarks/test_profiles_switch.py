"""``benchmarks.profiles`` runs and says what it measured."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.profiles import main


def test_a_small_run_has_every_figure(tmp_path: Path) -> None:
    out = tmp_path / "profiles.json"
    assert main(["--procedures", "3", "--switches", "2", "--folder", str(tmp_path), "--out", str(out)]) == 0
    document = json.loads(out.read_text())
    assert document["procedures"] == 3 and document["form"] == "layers"
    for kind in ("plain", "locked"):
        for what in ("first", "cold", "kept"):
            figures = document["switch_seconds"][kind][what]
            assert 0 < figures["best"] <= figures["median"] <= figures["worst"]
    assert document["switch_seconds"]["passphrase_seconds"] > 0
    assert list(tmp_path.iterdir()) == [out], "nothing is left behind"
