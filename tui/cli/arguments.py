"""The parser of the whole command line, and the options that every command takes. Runs nothing.

What a command takes besides stands in its own module (``commands``), which is imported only when the command is
typed. The global options may stand before or after the command.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tui.cli.commands import COMMANDS, Command
from tui.cli.console import writing_output
from tui.cli.parsing import PROGRAM, LazyParsers, Parser, sentence

GLOBAL_DEFAULTS: dict[str, Any] = {
    "profile": None,
    "home": None,
    "model": None,
    "device": None,
    "offline": None,
    "yes": False,
    "quiet": False,
    "json": False,
    "passphrase_file": None,
}


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; ``function`` in the result does it, None is the app.

    Raises:
        UsageError: it makes no sense.
        SystemExit: ``--help`` or ``--version`` was printed.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    template = None
    if "--" in given and "command" in given[: given.index("--")] and "proc" in given:
        # Before the parser sees it, which would take a second '--' for its own and options of the program for ours.
        given, template = given[: given.index("--")], given[given.index("--") + 1 :]
    options = build_parser().parse_args(given)
    if template is not None:
        options.template = template
    for name, value in GLOBAL_DEFAULTS.items():
        if not hasattr(options, name):
            setattr(options, name, value)
    return options


def build_parser() -> Parser:
    """The parser of all commands; each command's own is made, and its module imported, when it is asked for."""
    shared = _global_options()
    parser = Parser(
        prog=PROGRAM,
        parents=[shared],
        description="Teach a language model on your own computer from example pairs. Without a command: the app.",
        epilog="Data goes to stdout, talk to stderr. Exit codes: 0 ok, 1 failed, 2 usage, 3 busy or out of memory, "
        "4 incompatible, 130 interrupted.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    parser.set_defaults(function=None)
    choices: argparse._SubParsersAction[Parser] = parser.add_subparsers(metavar="COMMAND", title="commands")
    known = {command.name: command for command in COMMANDS}

    def make(name: str) -> Parser:
        return _command_parser(known[name], shared)

    # argparse makes all parsers of commands at once and has no public way to make them later.
    choices._name_parser_map = choices.choices = LazyParsers(known, make)
    choices._choices_actions += [choices._ChoicesPseudoAction(c.name, [], c.help) for c in COMMANDS]
    return parser


def _command_parser(command: Command, shared: Parser) -> Parser:
    """The parser of one command, as its module declares it."""
    module = importlib.import_module(f"tui.cli.{command.module}")
    parser = Parser(prog=f"{PROGRAM} {command.name}", parents=[shared], description=sentence(command.help))
    if (declare := getattr(module, "arguments", None)) is not None:
        declare(parser)
    if (run := getattr(module, "run", None)) is not None:
        parser.set_defaults(function=run)
    return parser


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any, **__: Any) -> None:
        from importlib import metadata

        try:
            version = metadata.version(PROGRAM)
        except metadata.PackageNotFoundError:
            version = "(not installed)"
        with writing_output():
            print(PROGRAM, version, flush=True)
        parser.exit()


def _global_options() -> Parser:
    # SUPPRESS, so that an option before the command is not overwritten by the command's default.
    shared = Parser(add_help=False, argument_default=argparse.SUPPRESS)
    group = shared.add_argument_group("options of every command")
    group.add_argument("--profile", metavar="NAME", help="use this profile instead of the active one")
    group.add_argument("--home", metavar="DIR", type=Path, help="keep everything below DIR (also: TOKMEM_HOME)")
    group.add_argument("--model", metavar="ID", help="'default', a Hub id, a folder or a GGUF file")
    group.add_argument("--device", choices=("auto", "cpu", "cuda"), help="where the model runs")
    group.add_argument("--offline", action="store_true", help="never use the network")
    group.add_argument("--yes", action="store_true", help="answer yes to questions, such as a download")
    group.add_argument("--quiet", action="store_true", help="no talk on stderr but errors")
    group.add_argument(
        "--passphrase-file",
        metavar="FILE",
        type=Path,
        help="its first line opens a locked profile (or TOKMEM_PASSPHRASE)",
    )
    group.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    return shared
