"""Completion: what Tab offers in each place, and that real shells take the script."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import ROOT, CommandLine


@pytest.fixture
def tab(tokmem: CommandLine, tmp_path: Path):
    """What Tab offers behind a line."""

    def complete(line: str) -> list[str]:
        answer = tmp_path / "answer"
        environment = {
            **tokmem.environment,
            "_ARGCOMPLETE": "1",
            "_ARGCOMPLETE_IFS": "\n",
            "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
            "COMP_LINE": f"tokmem-desk {line}",
            "COMP_POINT": str(len(f"tokmem-desk {line}")),
        }
        subprocess.run([sys.executable, "-m", "tui"], env=environment, check=True, capture_output=True, cwd=tmp_path)
        return sorted(word.rstrip() for word in answer.read_text().splitlines())

    return complete


@pytest.fixture
def filled(tokmem: CommandLine, pairs_file: Path) -> None:
    for name in ("todo", "mood"):
        tokmem("proc", "add", name, "--pairs", str(pairs_file))
    tokmem("profile", "create", "anna")
    tokmem("proc", "add", "secret", "--pairs", str(pairs_file), "--profile", "anna")
    tokmem("token", "create", "editor")


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("proc show ", ["mood", "todo"]),
        ("proc show t", ["todo"]),
        ("train ", ["mood", "todo"]),
        ("--profile anna train ", ["secret"]),
        ("ask hello --route ", ["auto", "mood", "none", "todo"]),
        ("--profile ", ["anna", "default"]),
        ("profile switch a", ["anna"]),
        ("profile create ", []),
        ("proc add ", []),
        ("token remove ", ["editor"]),
        ("train --preset ", ["normal", "quick", "thorough"]),
        ("config set max_", ["max_answer_tokens"]),
        ("completion ", ["bash", "fish", "zsh"]),
        ("se", ["serve"]),
        ("serve --po", ["--port"]),
    ],
)
def test_what_is_offered(tab, filled, line, offered):
    assert tab(line) == offered


def test_files_are_offered_where_a_file_is_wanted(tab, tmp_path):
    (tmp_path / "pairs.csv").touch()
    assert tab("proc add new --pairs pa") == ["pairs.csv"]


def test_tab_makes_no_files_and_survives_what_is_wrong(tab, tokmem):
    assert tab("proc show ") == []
    assert tab("--profile nobody proc show ") == []
    assert not tokmem.home.exists()
    data = tokmem.home / "data"
    data.mkdir(parents=True)
    (data / "registry.sqlite").write_bytes(b"this is no database, whatever its name says")
    assert tab("proc show ") == []


SHELLS = {
    "bash": (
        'eval "$(tokmem-desk completion bash)"; COMP_LINE="tokmem-desk proc show t"; COMP_POINT=${#COMP_LINE}; '
        "COMP_WORDS=(tokmem-desk proc show t); COMP_CWORD=3; COMP_TYPE=9; "
        "$(complete -p tokmem-desk | sed 's/.*-F \\([^ ]*\\).*/\\1/') tokmem-desk t show; echo ${COMPREPLY[@]}"
    ),
    "zsh": (
        'autoload -Uz compinit; compinit -u -D; eval "$(tokmem-desk completion zsh)"; '
        "[[ -n $_comps[tokmem-desk] ]] && echo todo"
    ),
    "fish": 'tokmem-desk completion fish | source; complete -C "tokmem-desk proc show t"',
}


@pytest.mark.parametrize("shell", SHELLS)
def test_in_a_real_shell(tokmem, filled, tmp_path, shell):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    program = tmp_path / "bin" / "tokmem-desk"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m tui "$@"\n')
    program.chmod(0o755)
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**tokmem.environment, "PATH": path, "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    options = ["-f"] if shell == "zsh" else ["--norc"] if shell == "bash" else ["--no-config"]
    done = subprocess.run(
        [shell, *options, "-c", SHELLS[shell]], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.split() == ["todo"], done.stderr
