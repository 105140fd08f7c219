"""One declaration for each command: found in one list, imported only when somebody types it."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tui.cli
from tui.cli import arguments
from tui.cli.commands import COMMANDS, Command
from tui.cli.main import main

GREET = '''
"""``greet``: say hello."""

import argparse

from tui.cli.context import Context
from tui.cli.exit_codes import ExitCode
from tui.cli.parsing import Parser


def arguments(parser: Parser) -> None:
    """What can be typed behind ``greet``."""
    parser.add_argument("name", metavar="NAME")


def run(context: Context, options: argparse.Namespace) -> int:
    """Say hello."""
    context.console.result({"greeting": f"Hello {options.name}"}, f"Hello {options.name}")
    return ExitCode.OK
'''


@pytest.fixture
def greet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A command more: its file, and its line in the list."""
    (tmp_path / "greet.py").write_text(GREET)
    monkeypatch.setattr(tui.cli, "__path__", [*tui.cli.__path__, str(tmp_path)])
    monkeypatch.setattr(arguments, "COMMANDS", (*COMMANDS, Command("greet", "greet", "say hello")))
    yield
    sys.modules.pop("tui.cli.greet", None)


def test_a_command_in_one_new_file_and_one_line_runs(
    greet: None, own_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["greet", "Ann"]) == 0
    assert capsys.readouterr().out == "Hello Ann\n"
    assert main(["--json", "greet", "Ann"]) == 0
    assert json.loads(capsys.readouterr().out) == {"greeting": "Hello Ann"}
    assert main(["greet"]) == 2
    assert "tokmem-desk greet --help" in capsys.readouterr().err


def test_a_command_in_one_new_file_and_one_line_is_in_the_help(greet: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "greet" in capsys.readouterr().out and "tui.cli.greet" not in sys.modules
    assert main(["greet", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "Say hello." in shown and "NAME" in shown and "--offline" in shown


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_each_command_has_a_function(command: Command) -> None:
    parser = arguments.build_parser()
    [choices] = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    own = choices.choices[command.name]
    below = [action for action in own._actions if isinstance(action, argparse._SubParsersAction)]
    leaves = list(below[0].choices.values()) if below else [own]
    module = importlib.import_module(f"tui.cli.{command.module}")
    assert leaves and all(callable(leaf.get_default("function")) for leaf in leaves)
    assert bool(below) != hasattr(module, "run"), "either actions or a function of its own"


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["nonsense"]])
def test_no_command_is_imported_for_what_names_none(words: list[str], tmp_path: Path) -> None:
    code = (
        "import sys; from tui.cli.main import main; from tui.cli.commands import COMMANDS; main(sys.argv[1:]); "
        "print([c.module for c in COMMANDS if f'tui.cli.{c.module}' in sys.modules], file=sys.stderr); "
        "print([name for name in ('torch', 'textual', 'sqlite3') if name in sys.modules], file=sys.stderr)"
    )
    environ = {**os.environ, "TOKMEM_HOME": str(tmp_path)}
    ended = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, env=environ, check=True
    )
    assert ended.stderr.splitlines()[-2:] == ["[]", "[]"]
