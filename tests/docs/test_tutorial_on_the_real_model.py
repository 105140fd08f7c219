"""The tutorial on the default model, trained in full: what stands below a command is what a person gets."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from profiles.files.paths import AppPaths
from tests.cli.conftest import ROOT
from tests.docs.test_tutorial import TUTORIAL
from tokmem_desk.models.store import ModelStore

pytestmark = [pytest.mark.real_model, pytest.mark.slow, pytest.mark.timeout(1800)]

MOSTLY = [
    (r"\b(\d+ min )?\d+ s\b", "<time>"),
    (r"\b[34] of 4 / 0 of 4\b", "<most> / 0 of 4"),
    (r"\b[34] of 4 answers are exact", "<most> answers are exact"),
    (r"\b[0-3] of 100\b", "<few> of 100"),
    (r"\b(0\.9\d|1\.00) / 0\.\d\d", "<alike> / <unlike>"),
    (r"\b(100|9\d) %", "<sure>"),
    (r"\b\d %", "<hardly>"),
    (r" +", " "),
]
"""What may differ a little from one processor to the next: figures of the scorecard, times and probabilities."""


def masked(line: str) -> str:
    """A line with what may differ replaced."""
    for pattern, name in MOSTLY:
        line = re.sub(pattern, name, line)
    return line.strip()


def steps(page: str) -> list[tuple[str, list[str]]]:
    """Each command of a page, with a here-document that belongs to it, and the lines that are shown below it."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"^```console\n(.*?)^```$", page, flags=re.S | re.M):
        is_inside = False
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
                is_inside = "<<'END'" in line
            elif is_inside:
                found[-1] = (f"{found[-1][0]}\n{line}", [])
                is_inside = line != "END"
            else:
                found[-1][1].append(line)
    return found


def test_every_shown_line_is_what_a_person_gets(own_home: Path, real_model_store: ModelStore, tmp_path: Path) -> None:
    models = AppPaths.resolve(own_home).models
    models.parent.mkdir(parents=True)
    models.symlink_to(real_model_store.folder, target_is_directory=True)
    program = tmp_path / "bin" / "tokmem-desk"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, "-m", "tui", "--device", "cpu"])} "$@"\n')
    program.chmod(0o755)
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    compared = 0
    for command, shown in steps(TUTORIAL.read_text("utf-8")):
        done = subprocess.run(
            ["bash", "-e", "-c", command],
            cwd=tmp_path,
            env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=900,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n\n{done.stdout}"
        got = {masked(line) for line in done.stdout.splitlines()}
        for line in shown:
            if line.endswith("…"):  # plain chat, which may go another way
                continue
            assert masked(line) in got, f"{command}\n\nshown: {line}\n\n{done.stdout}"
            compared += 1
    assert compared >= 15
