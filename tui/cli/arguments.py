"""What can be typed: all commands and their options. Imports nothing that takes time, and runs nothing.

Each command names the module and the function that do it, which ``main`` imports only then. The global options may
stand before or after the command.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tui.cli.console import writing_output
from tui.cli.keeping_arguments import add_bank, add_config, add_model, add_profile, add_serve, add_token
from tui.cli.parsing import PROGRAM, Parser, Subparsers, define, define_group, positive_number, whole_number
from tui.cli.proc_arguments import add_proc, pairs_option

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
PRESETS = ("quick", "normal", "thorough")
ROUTERS = ("token", "discriminant")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; ``module`` and ``function`` in the result say what does it.

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
    """The parser of all commands."""
    shared = _global_options()
    parser = Parser(
        prog=PROGRAM,
        parents=[shared],
        description="Teach a language model on your own computer from example pairs. Without a command: the app.",
        epilog="Data goes to stdout, talk to stderr. Exit codes: 0 ok, 1 failed, 2 usage, 3 busy or out of memory, "
        "4 incompatible, 130 interrupted.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    parser.set_defaults(module="app", function="run")
    commands = parser.add_subparsers(metavar="COMMAND", title="commands")
    _demo(commands, shared)
    add_proc(commands, shared)
    _train(commands, shared)
    _adapt(commands, shared)
    _ask(commands, shared)
    _route(commands, shared)
    _eval(commands, shared)
    _chat(commands, shared)
    _chats(commands, shared)
    add_bank(commands, shared)
    add_profile(commands, shared)
    add_model(commands, shared)
    add_config(commands, shared)
    add_serve(commands, shared)
    add_token(commands, shared)
    completion = define(
        commands, shared, "completion", "completion", "run", "print what makes a shell complete commands and names"
    )
    completion.add_argument("shell", choices=("bash", "zsh", "fish"), help="for which shell")
    define(commands, shared, "doctor", "doctor", "run", "check this installation and say what the model runs on")
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


def _demo(commands: Subparsers, shared: Parser) -> None:
    demo = define(
        commands,
        shared,
        "demo",
        "demo",
        "run",
        "define, train, measure and ask sample procedures; fetches the model unasked",
    )
    demo.add_argument("--keep", action="store_true", help="keep the result as a new profile")
    demo.add_argument("--preset", choices=PRESETS, default="normal", help="how long training takes its time")


def _train(commands: Subparsers, shared: Parser) -> None:
    train = define(commands, shared, "train", "train", "run", "train the named procedures, or all new or changed ones")
    train.add_argument("names", metavar="NAME", nargs="*")
    train.add_argument("--preset", choices=PRESETS, help="how long it may take (default: normal)")
    train.add_argument("--span", metavar="K", type=whole_number, help="embeddings in a memory (default: the preset's)")
    train.add_argument("--router", choices=ROUTERS, help="how a memory is chosen (default: discriminant)")


def _ask(commands: Subparsers, shared: Parser) -> None:
    ask = define(commands, shared, "ask", "ask", "run", "one message, one answer by the right procedure or by none")
    ask.add_argument("text", metavar="TEXT", nargs="+", help="the message; '-' reads it from stdin")
    ask.add_argument("--route", metavar="ROUTE", default="auto", help="auto, none, or a procedure's name")
    ask.add_argument("--sample", action="store_true", help="draw the answer instead of taking the likeliest words")
    ask.add_argument("--seed", metavar="N", type=whole_number, help="makes --sample repeatable")
    ask.add_argument(
        "--run",
        action="store_true",
        help="hand the answer to its procedure's command, after asking (--yes: without; see 'proc command')",
    )
    ask.add_argument("--max-tokens", metavar="N", type=positive_number, help="longest answer, in tokens")
    _continue_option(ask, "go on with the conversation used last, and keep message and answer in it")


def _route(commands: Subparsers, shared: Parser) -> None:
    route = define(commands, shared, "route", "route", "run", "which procedure would answer, without answering")
    route.add_argument("text", metavar="TEXT", nargs="*", help="the message; '-' reads it from stdin")
    route.add_argument(
        "--batch", metavar="FILE", help="many messages: JSONL {\"query\"}, '-' for stdin; prints one object a line"
    )


def _eval(commands: Subparsers, shared: Parser) -> None:
    evaluate = define(commands, shared, "eval", "evaluate", "run", "measure trained procedures on held-out pairs")
    evaluate.add_argument("names", metavar="NAME", nargs="*", help="default: all that are trained")
    pairs_option(evaluate, required=False)


def _chat(commands: Subparsers, shared: Parser) -> None:
    chat = define(commands, shared, "chat", "chat", "run", "talk; '@name' before a message chooses the procedure")
    chat.add_argument("--plain", action="store_true", help="line by line instead of the app; works with pipes")
    chat.add_argument("--temporary", action="store_true", help="with --plain: keep nothing of it")
    _continue_option(chat, "with --plain: go on with the conversation used last, as the app does by itself")


def _continue_option(parser: Parser, help_text: str) -> None:
    parser.add_argument("-c", "--continue", action="store_true", dest="go_on", help=help_text)


def _chats(commands: Subparsers, shared: Parser) -> None:
    actions = define_group(commands, shared, "chats", "conversations: list, search, export, delete")
    listing = define(actions, shared, "list", "chats", "list_all", "the conversations used last, newest first")
    listing.add_argument("--search", metavar="WORDS", help="only those where a message holds all words")
    listing.add_argument("--limit", metavar="N", type=positive_number, default=50, help="at most so many (default: 50)")
    export = define(actions, shared, "export", "chats", "export", "write a conversation as Markdown or JSON")
    export.add_argument("id", metavar="ID", help="its number, or 'last'")
    export.add_argument("file", metavar="FILE", nargs="?", help="ends in .md or .json; without it: stdout")
    export.add_argument("--format", choices=("md", "json"), help="whatever the file is called")
    gone = define(actions, shared, "delete", "chats", "delete", "delete a conversation for good")
    gone.add_argument("id", metavar="ID", help="its number, or 'last'")


def _adapt(commands: Subparsers, shared: Parser) -> None:
    made = define(
        commands,
        shared,
        "adapt",
        "adapt",
        "run",
        "adapt a model to chains of memories, beside its weights; the default model brings that",
    )
    made.add_argument(
        "--examples", metavar="N", type=positive_number, help="auxiliary requests to learn from (default: 1000)"
    )
