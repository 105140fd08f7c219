"""What can be typed: all commands and their options. Imports nothing that takes time, and runs nothing.

Each command names the module and the function that do it, which ``main`` imports only then. The global options may
stand before or after the command.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from tokmem_desk.errors import UsageError, did_you_mean

PROGRAM = "tokmem-desk"
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
CONFLICTS = ("rename", "replace", "skip")
_Subparsers = Any  # argparse has no public name for what add_subparsers returns


class Parser(argparse.ArgumentParser):
    """A parser that reports with our errors instead of printing and exiting."""

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Raise instead of exit.

        Raises:
            UsageError: always.
        """
        sentence = message[:1].upper() + message[1:]
        raise UsageError(f"{sentence.rstrip('.')}.", next_step=f"See: {self.prog} --help")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        # The only seam argparse offers for a nearer hint than the list of all choices.
        if action.choices is not None and value not in action.choices:
            known = [str(choice) for choice in action.choices]
            what = "command" if isinstance(action, argparse._SubParsersAction) else "value"
            raise argparse.ArgumentError(
                None if what == "command" else action,
                f"there is no {what} {value!r}.{did_you_mean(str(value), known)} Known: {', '.join(known)}",
            )


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
    _proc(commands, shared)
    _train(commands, shared)
    _adapt(commands, shared)
    _ask(commands, shared)
    _route(commands, shared)
    _eval(commands, shared)
    _chat(commands, shared)
    _chats(commands, shared)
    _bank(commands, shared)
    _profile(commands, shared)
    _model(commands, shared)
    _config(commands, shared)
    _serve(commands, shared)
    _token(commands, shared)
    completion = _command(
        commands, shared, "completion", "completion", "run", "print what makes a shell complete commands and names"
    )
    completion.add_argument("shell", choices=("bash", "zsh", "fish"), help="for which shell")
    _command(commands, shared, "doctor", "doctor", "run", "check this installation and say what the model runs on")
    return parser


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any, **__: Any) -> None:
        from importlib import metadata

        try:
            version = metadata.version(PROGRAM)
        except metadata.PackageNotFoundError:
            version = "(not installed)"
        print(PROGRAM, version)
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


def _command(
    commands: _Subparsers, shared: Parser, name: str, module: str, function: str, help_text: str, **more: Any
) -> Parser:
    made: Parser = commands.add_parser(name, parents=[shared], help=help_text, description=_sentence(help_text), **more)
    made.set_defaults(module=module, function=function)
    return made


def _group(commands: _Subparsers, shared: Parser, name: str, help_text: str) -> _Subparsers:
    made = commands.add_parser(name, parents=[shared], help=help_text, description=_sentence(help_text))
    return made.add_subparsers(metavar="ACTION", title="actions", required=True)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def _demo(commands: _Subparsers, shared: Parser) -> None:
    demo = _command(
        commands,
        shared,
        "demo",
        "demo",
        "run",
        "define, train, measure and ask sample procedures; fetches the model unasked",
    )
    demo.add_argument("--keep", action="store_true", help="keep the result as a new profile")
    demo.add_argument("--preset", choices=PRESETS, default="normal", help="how long training takes its time")


def _proc(commands: _Subparsers, shared: Parser) -> None:
    actions = _group(commands, shared, "proc", "procedures: add, list, show, change, remove")
    add = _command(actions, shared, "add", "proc", "add", "define a procedure from example pairs")
    add.add_argument("name", metavar="NAME", help="1 to 40 characters of a-z, 0-9, '-' and '_'")
    _pairs_option(add, required=True)
    _map_option(add)
    add.add_argument("--description", metavar="TEXT", help="what it does; otherwise that of the file")
    add.add_argument("--schema", metavar="FILE", type=Path, help="JSON schema that its answers are held to")
    add.add_argument(
        "--reads-conversation", action="store_true", help="let it see what was said before, not the message alone"
    )
    _overlap_option(add)
    more = _command(actions, shared, "import", "proc", "import_pairs", "add pairs to a procedure, or replace them")
    more.add_argument("name", metavar="NAME")
    _pairs_option(more, required=True)
    _map_option(more)
    more.add_argument("--replace", action="store_true", help="put them in the place of the present ones")
    template = _command(actions, shared, "template", "proc", "template", "a file of pairs to begin with")
    template.add_argument(
        "file",
        metavar="FILE",
        nargs="?",
        type=Path,
        help="ends in .csv, .tsv, .jsonl or .json; without it CSV on stdout",
    )
    listed = _command(actions, shared, "list", "proc", "list_all", "all procedures of the profile")
    listed.add_argument("--group", metavar="GROUP", help="only those of this group")
    show = _command(actions, shared, "show", "proc", "show", "one procedure with its pairs and memories")
    show.add_argument("name", metavar="NAME")
    _overlap_option(show)
    rename = _command(actions, shared, "rename", "proc", "rename", "give a procedure another name")
    rename.add_argument("name", metavar="NAME")
    rename.add_argument("new_name", metavar="NEW")
    for name, function, help_text in (
        ("remove", "remove", "remove procedures with their pairs and memories (see 'proc undo')"),
        ("enable", "enable", "let procedures take part in recall"),
        ("disable", "disable", "keep procedures but do not recall them"),
    ):
        made = _command(actions, shared, name, "proc", function, help_text)
        made.add_argument("names", metavar="NAME", nargs="*")
        made.add_argument("--group", metavar="GROUP", help="all procedures of this group")
    group = _command(actions, shared, "group", "proc", "group", "put procedures into a group, or take them out")
    group.add_argument("names", metavar="NAME", nargs="+")
    group.add_argument("--in", dest="group", metavar="GROUP", default="", help="the group; without it they are in none")
    _tools(actions, shared)
    _command(actions, shared, "undo", "proc", "undo", "take back the last change to procedures or pairs")
    _versions(actions, shared)
    _with_the_model(actions, shared)


def _overlap_option(parser: Parser) -> None:
    parser.add_argument(
        "--overlap", action="store_true", help="say which of its pairs would go to other procedures (loads the model)"
    )


def _with_the_model(actions: _Subparsers, shared: Parser) -> None:
    threshold = _command(
        actions, shared, "threshold", "proc_model", "threshold", "how sure the router must be for this procedure"
    )
    threshold.add_argument("name", metavar="NAME")
    threshold.add_argument(
        "value",
        metavar="VALUE|auto",
        nargs="?",
        type=_threshold,
        help="0 to 1, or auto: the most probable route answers; without it the effect of several is shown",
    )
    threshold.add_argument("--effect", action="store_true", help="show the effect after setting it (loads the model)")
    draft = _command(
        actions, shared, "draft", "proc_model", "draft", "let the model write pairs like those of a procedure (JSONL)"
    )
    draft.add_argument("name", metavar="NAME")
    draft.add_argument(
        "--count", metavar="N", type=_positive_number, default=5, help="how many (default: 5, at most 50)"
    )
    draft.add_argument("--seed", metavar="N", type=_whole_number, help="the same drafts every time")


def _threshold(text: str) -> float | str:
    if text == "auto":
        return text
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a probability from 0 to 1 nor 'auto'")
    return value


def _versions(actions: _Subparsers, shared: Parser) -> None:
    history = _command(actions, shared, "history", "proc_versions", "history", "the versions of a procedure")
    history.add_argument("name", metavar="NAME")
    history.add_argument("--forget", action="store_true", help="delete all versions but the present one, for good")
    diff = _command(actions, shared, "diff", "proc_versions", "diff", "what changed between two versions")
    diff.add_argument("name", metavar="NAME")
    diff.add_argument("before", metavar="VERSION", type=_whole_number)
    diff.add_argument("after", metavar="OTHER", type=_whole_number, nargs="?", help="the present version unless given")
    back = _command(actions, shared, "rollback", "proc_versions", "rollback", "go back to an earlier version")
    back.add_argument("name", metavar="NAME")
    back.add_argument("version", metavar="VERSION", type=_whole_number)


def _tools(actions: _Subparsers, shared: Parser) -> None:
    schema = _command(actions, shared, "schema", "tools", "schema", "show or set the JSON schema of its answers")
    schema.add_argument("name", metavar="NAME")
    schema.add_argument("file", metavar="FILE", nargs="?", type=Path, help="the schema; without it the present one")
    schema.add_argument("--none", action="store_true", help="answers are free text again")
    reads = _command(actions, shared, "reads", "tools", "reads", "let it see the conversation, or the message alone")
    reads.add_argument("name", metavar="NAME")
    reads.add_argument("what", choices=("conversation", "message"))
    command = _command(
        actions,
        shared,
        "command",
        "tools",
        "command",
        "show or set the local program that its answers may be handed to",
        usage=f"{PROGRAM} proc command NAME [-- PROGRAM ARGUMENT ...]",
        epilog="After '--' comes the command: a program and its arguments, each with slots like {text}. A slot stands "
        "for the value of that property of the schema; {text?} leaves the argument out when there is none, {tags...} "
        "alone becomes an argument for each item. No shell is involved. A value that begins with '-' is refused "
        "unless '--' stands before its slot. You are asked before each run.",
    )
    command.add_argument("name", metavar="NAME")
    command.add_argument("--none", action="store_true", help="take the command away")
    command.add_argument("--ask", action="store_true", help="take back 'always allow': ask before each run again")
    command.set_defaults(template=None)


def _pairs_option(parser: Parser, *, required: bool) -> None:
    parser.add_argument(
        "--pairs",
        metavar="FILE",
        type=Path,
        required=required,
        help='CSV with the columns input and response, JSONL {"input", "response"}, a procedure\'s JSON, Alpaca, '
        "ShareGPT or chat messages",
    )


def _map_option(parser: Parser) -> None:
    parser.add_argument(
        "--map",
        metavar="input=COL,response=COL",
        help="which columns or keys to take; A+B joins two, numbers count columns of a table without a header",
    )
    parser.add_argument("--skip-bad", action="store_true", help="leave rows out that cannot be used, and name them")


def _train(commands: _Subparsers, shared: Parser) -> None:
    train = _command(
        commands, shared, "train", "train", "run", "train the named procedures, or all new or changed ones"
    )
    train.add_argument("names", metavar="NAME", nargs="*")
    train.add_argument("--preset", choices=PRESETS, help="how long it may take (default: normal)")
    train.add_argument("--span", metavar="K", type=_whole_number, help="embeddings in a memory (default: the preset's)")
    train.add_argument("--router", choices=ROUTERS, help="how a memory is chosen (default: discriminant)")


def _ask(commands: _Subparsers, shared: Parser) -> None:
    ask = _command(commands, shared, "ask", "ask", "run", "one message, one answer by the right procedure or by none")
    ask.add_argument("text", metavar="TEXT", nargs="+", help="the message; '-' reads it from stdin")
    ask.add_argument("--route", metavar="ROUTE", default="auto", help="auto, none, or a procedure's name")
    ask.add_argument("--sample", action="store_true", help="draw the answer instead of taking the likeliest words")
    ask.add_argument("--seed", metavar="N", type=_whole_number, help="makes --sample repeatable")
    ask.add_argument(
        "--run",
        action="store_true",
        help="hand the answer to its procedure's command, after asking (--yes: without; see 'proc command')",
    )
    ask.add_argument("--max-tokens", metavar="N", type=_positive_number, help="longest answer, in tokens")
    _continue_option(ask, "go on with the conversation used last, and keep message and answer in it")


def _route(commands: _Subparsers, shared: Parser) -> None:
    route = _command(commands, shared, "route", "route", "run", "which procedure would answer, without answering")
    route.add_argument("text", metavar="TEXT", nargs="*", help="the message; '-' reads it from stdin")
    route.add_argument(
        "--batch", metavar="FILE", help="many messages: JSONL {\"query\"}, '-' for stdin; prints one object a line"
    )


def _eval(commands: _Subparsers, shared: Parser) -> None:
    evaluate = _command(commands, shared, "eval", "evaluate", "run", "measure trained procedures on held-out pairs")
    evaluate.add_argument("names", metavar="NAME", nargs="*", help="default: all that are trained")
    _pairs_option(evaluate, required=False)


def _chat(commands: _Subparsers, shared: Parser) -> None:
    chat = _command(commands, shared, "chat", "chat", "run", "talk; '@name' before a message chooses the procedure")
    chat.add_argument("--plain", action="store_true", help="line by line instead of the app; works with pipes")
    chat.add_argument("--temporary", action="store_true", help="with --plain: keep nothing of it")
    _continue_option(chat, "with --plain: go on with the conversation used last, as the app does by itself")


def _continue_option(parser: Parser, help_text: str) -> None:
    parser.add_argument("-c", "--continue", action="store_true", dest="go_on", help=help_text)


def _chats(commands: _Subparsers, shared: Parser) -> None:
    actions = _group(commands, shared, "chats", "conversations: list, search, export, delete")
    listing = _command(actions, shared, "list", "chats", "list_all", "the conversations used last, newest first")
    listing.add_argument("--search", metavar="WORDS", help="only those where a message holds all words")
    listing.add_argument(
        "--limit", metavar="N", type=_positive_number, default=50, help="at most so many (default: 50)"
    )
    export = _command(actions, shared, "export", "chats", "export", "write a conversation as Markdown or JSON")
    export.add_argument("id", metavar="ID", help="its number, or 'last'")
    export.add_argument("file", metavar="FILE", nargs="?", help="ends in .md or .json; without it: stdout")
    export.add_argument("--format", choices=("md", "json"), help="whatever the file is called")
    gone = _command(actions, shared, "delete", "chats", "delete", "delete a conversation for good")
    gone.add_argument("id", metavar="ID", help="its number, or 'last'")


def _bank(commands: _Subparsers, shared: Parser) -> None:
    actions = _group(commands, shared, "bank", "bank files: export memories, look at them, import them")
    export = _command(actions, shared, "export", "bank", "export", "write memories into a file for somebody else")
    export.add_argument("file", metavar="FILE", help="NAME.tokmem")
    export.add_argument("names", metavar="NAME", nargs="*", help="default: all that are trained for this model")
    export.add_argument("--with-pairs", action="store_true", help="put the example pairs and corrections in, too")
    export.add_argument("--licence", metavar="TEXT", default="", help="under which others may use it, as in CC-BY-4.0")
    export.add_argument("--force", action="store_true", help="write over a file that is there")
    export.add_argument("--passphrase", action="store_true", help="ask for a passphrase that protects the file")
    incoming = _command(actions, shared, "import", "bank", "import_bank", "take the procedures of a file in")
    incoming.add_argument("--dry-run", action="store_true", help="check everything, change nothing")
    incoming.add_argument("--on-conflict", choices=CONFLICTS, help="what to do where a name is taken")
    incoming.add_argument("--retrain", action="store_true", help="take only its pairs, and train them here")
    inspect = _command(actions, shared, "inspect", "bank", "inspect", "say what is in a file, and what it can reveal")
    for made in (incoming, inspect):
        made.add_argument("file", metavar="FILE", type=Path, help="NAME.tokmem, or a folder with the files of one")
    for made in (export, incoming, inspect):
        made.add_argument(
            "--bank-passphrase-file", metavar="FILE", type=Path, help="read the file's passphrase from this one"
        )


def _profile(commands: _Subparsers, shared: Parser) -> None:
    actions = _group(commands, shared, "profile", "profiles: private procedures and chats of one person each")
    _command(actions, shared, "list", "profile", "list_all", "all profiles of this computer")
    for name, function, help_text in (
        ("create", "create", "make an empty profile"),
        ("switch", "switch", "make a profile the active one"),
        ("delete", "delete", "erase a profile with everything in it, for good"),
    ):
        made = _command(actions, shared, name, "profile", function, help_text)
        made.add_argument("name", metavar="NAME")
    rename = _command(actions, shared, "rename", "profile", "rename", "give a profile another name")
    rename.add_argument("name", metavar="NAME")
    rename.add_argument("new_name", metavar="NEW")
    for name, help_text in (
        ("lock", "encrypt a profile with a passphrase; prints its recovery key, once"),
        ("unlock", "decrypt a profile and take its passphrase away"),
        ("passphrase", "change the passphrase of a locked profile, or its recovery key"),
    ):
        made = _command(actions, shared, name, "lock", name, help_text)
        made.add_argument("name", metavar="NAME", nargs="?", help="default: the profile in use")
        if name == "passphrase":
            _passphrase_options(made)


def _passphrase_options(parser: Parser) -> None:
    parser.add_argument("--recovery", action="store_true", help="ask for the recovery key instead of the passphrase")
    parser.add_argument("--recovery-file", metavar="FILE", type=Path, help="read the recovery key from its first line")
    parser.add_argument(
        "--new-passphrase-file", metavar="FILE", type=Path, help="read the new one there (or TOKMEM_NEW_PASSPHRASE)"
    )
    parser.add_argument(
        "--new-recovery-key", action="store_true", help="replace the recovery key and keep the passphrase"
    )


def _adapt(commands: _Subparsers, shared: Parser) -> None:
    made = _command(
        commands, shared, "adapt", "adapt", "run", "adapt a model to chains of memories, beside its weights"
    )
    made.add_argument(
        "--examples", metavar="N", type=_positive_number, help="auxiliary requests to learn from (default: 1000)"
    )


def _model(commands: _Subparsers, shared: Parser) -> None:
    actions = _group(commands, shared, "model", "backbones: list, fetch, choose, remove")
    _command(actions, shared, "list", "model", "list_all", "the models known by name, and those in the cache")
    for name, function, help_text in (
        ("pull", "pull", "fetch a model and prepare it"),
        ("use", "use", "make it the model that is used when none is named"),
        ("info", "info", "licence, size, need of memory, and where it is"),
        ("remove", "remove", "delete a prepared model from the cache"),
    ):
        made = _command(actions, shared, name, "model", function, help_text)
        made.add_argument("id", metavar="ID", help="'default', an id, a folder or a GGUF file")


def _config(commands: _Subparsers, shared: Parser) -> None:
    actions = _group(commands, shared, "config", "settings and where everything is")
    _command(actions, shared, "path", "config", "path", "where everything is kept")
    _command(actions, shared, "show", "config", "show", "all settings, their values and where those come from")
    change = _command(actions, shared, "set", "config", "set_key", "change a setting")
    change.add_argument("key", metavar="KEY")
    change.add_argument("value", metavar="VALUE")
    reset = _command(actions, shared, "reset", "config", "reset", "put a setting back to its default")
    reset.add_argument("key", metavar="KEY")
    for made in (change, reset):
        made.add_argument("--only-profile", action="store_true", help="for the profile in use alone")


def _serve(commands: _Subparsers, shared: Parser) -> None:
    serve = _command(
        commands,
        shared,
        "serve",
        "serve",
        "run",
        "answer other programs of this computer: OpenAI's chat completions on 127.0.0.1, with a token",
    )
    _port_option(serve, 8642)
    web = _command(commands, shared, "web", "web", "run", "the app in a browser of this computer; prints a link")
    _port_option(web, 8643)


def _port_option(parser: Parser, default: int) -> None:
    parser.add_argument(
        "--port", metavar="N", type=_port, default=default, help=f"default: {default}; 0 takes any that is free"
    )


def _token(commands: _Subparsers, shared: Parser) -> None:
    actions = _group(commands, shared, "token", "tokens of 'serve': each opens one profile")
    create = _command(actions, shared, "create", "token", "create", "make a token for a profile; it is shown once")
    create.add_argument("name", metavar="NAME", help="what for, such as 'editor'")
    _command(actions, shared, "list", "token", "list_all", "all tokens: name, profile, last use")
    remove = _command(actions, shared, "remove", "token", "remove", "forget a token; who uses it is refused")
    remove.add_argument("name", metavar="NAME")


def _port(text: str) -> int:
    number = _whole_number(text)
    if number > 65535:
        raise argparse.ArgumentTypeError(f"{number} is no port; the highest is 65535")
    return number


def _whole_number(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = -1
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 0 or more")
    return number


def _positive_number(text: str) -> int:
    number = _whole_number(text)
    if number == 0:
        raise argparse.ArgumentTypeError("0 is too small")
    return number
