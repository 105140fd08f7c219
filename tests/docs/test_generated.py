"""What is made from the program is what the program says now."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from docs import generate
from profiles.settings.setting_keys import KEYS
from tui.cli.exit_codes import ExitCode


@pytest.mark.parametrize(
    ("file", "text"), [(generate.REFERENCE, generate.reference), (generate.MANUAL, generate.manual)]
)
def test_it_is_current(file, text):
    assert file.read_text(encoding="utf-8") == text(), "the program has changed: make docs"


def test_everything_is_in_it():
    text = generate.reference()
    for command in generate.commands(generate.build_parser()):
        assert f"### {' '.join(command.path)}\n" in text
        assert command.summary, f"{command.path} has no help"
    assert all(f"| `{name}` |" in text for name in KEYS)
    assert set(generate.EXIT_CODES) == set(ExitCode)
    assert "`F2`" in text and "`w`" in text


def test_the_manual_is_good_roff():
    if shutil.which("man") is None:
        pytest.skip("there is no man here")
    done = subprocess.run(
        ["man", "--warnings=w", "-l", str(generate.MANUAL)], capture_output=True, text=True, check=True, timeout=60
    )
    assert "tokmem-desk" in done.stdout
    complaints = [line for line in done.stderr.splitlines() if "can't break line" not in line]
    assert complaints == []
