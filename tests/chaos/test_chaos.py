"""A share of ``make chaos``: every operation is killed, disks of some sizes are full. Nothing is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.environments import ROOT
from tests.chaos.operations import OPERATIONS

pytestmark = pytest.mark.skipif(not hasattr(os, "fork") or sys.platform != "linux", reason="forks, and mounts as Linux")

KILLS = 60
"""More than there are operations."""


def test_a_share_of_the_chaos(tmp_path: Path) -> None:
    file = tmp_path / "chaos.json"
    options = ("--tiny-model", "0", "--mutations", "0", "--environments", "0", "--step-kib", "200", "--jobs", "1")
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos", "--kills", str(KILLS), *options, "--out", str(file)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"},
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(file.read_text("utf-8"))
    assert report["failures"] == []
    assert sum(report["kills"]["found"].values()) == report["kills"]["kills"] == KILLS
    assert set(report["kills"]["by_operation"]) == {one.name for one in OPERATIONS}
    assert {"before", "after"} <= set(report["kills"]["found"])
    disks = report["full_disks"]
    assert disks.get("left_out") or (disks["sizes"] >= 3 and disks["refused"] > 0)
