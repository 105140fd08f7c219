"""What can be typed about where things are kept and who may use them: banks, profiles, models, settings, tokens.

Imports nothing that takes time, and runs nothing.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tui.cli.parsing import Parser, Subparsers, define, define_group, positive_number, whole_number

CONFLICTS = ("rename", "replace", "skip")
_MODEL_ID = "'default', an id, a folder or a GGUF file"


def add_bank(commands: Subparsers, shared: Parser) -> None:
    actions = define_group(commands, shared, "bank", "bank files: export memories, look at them, import them")
    export = define(actions, shared, "export", "bank", "export", "write memories into a file for somebody else")
    export.add_argument("file", metavar="FILE", help="NAME.tokmem")
    export.add_argument("names", metavar="NAME", nargs="*", help="default: all that are trained for this model")
    export.add_argument("--with-pairs", action="store_true", help="put the example pairs and corrections in, too")
    export.add_argument("--licence", metavar="TEXT", default="", help="under which others may use it, as in CC-BY-4.0")
    export.add_argument("--force", action="store_true", help="write over a file that is there")
    export.add_argument("--passphrase", action="store_true", help="ask for a passphrase that protects the file")
    incoming = define(actions, shared, "import", "bank", "import_bank", "take the procedures of a file in")
    incoming.add_argument("--dry-run", action="store_true", help="check everything, change nothing")
    incoming.add_argument("--on-conflict", choices=CONFLICTS, help="what to do where a name is taken")
    incoming.add_argument("--retrain", action="store_true", help="take only its pairs, and train them here")
    inspect = define(actions, shared, "inspect", "bank", "inspect", "say what is in a file, and what it can reveal")
    for made in (incoming, inspect):
        made.add_argument("file", metavar="FILE", type=Path, help="NAME.tokmem, or a folder with the files of one")
    for made in (export, incoming, inspect):
        made.add_argument(
            "--bank-passphrase-file", metavar="FILE", type=Path, help="read the file's passphrase from this one"
        )


def add_profile(commands: Subparsers, shared: Parser) -> None:
    actions = define_group(commands, shared, "profile", "profiles: private procedures and chats of one person each")
    define(actions, shared, "list", "profile", "list_all", "all profiles of this computer")
    for name, function, help_text in (
        ("create", "create", "make an empty profile"),
        ("switch", "switch", "make a profile the active one"),
        ("delete", "delete", "erase a profile with everything in it, for good"),
    ):
        made = define(actions, shared, name, "profile", function, help_text)
        made.add_argument("name", metavar="NAME")
    rename = define(actions, shared, "rename", "profile", "rename", "give a profile another name")
    rename.add_argument("name", metavar="NAME")
    rename.add_argument("new_name", metavar="NEW")
    for name, help_text in (
        ("lock", "encrypt a profile with a passphrase; prints its recovery key, once"),
        ("unlock", "decrypt a profile and take its passphrase away"),
        ("passphrase", "change the passphrase of a locked profile, or its recovery key"),
    ):
        made = define(actions, shared, name, "lock", name, help_text)
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


def add_model(commands: Subparsers, shared: Parser) -> None:
    actions = define_group(commands, shared, "model", "backbones: list, fetch, choose, prepare, remove")
    define(actions, shared, "list", "model", "list_all", "the models known by name, and those in the cache")
    for name, function, help_text in (
        ("pull", "pull", "fetch a model and prepare it"),
        ("use", "use", "make it the model that is used when none is named"),
        ("remove", "remove", "delete a prepared model from the cache; of ID+adapted the adapter alone"),
    ):
        made = define(actions, shared, name, "model", function, help_text)
        made.add_argument("id", metavar="ID", help=_MODEL_ID)
    info = define(actions, shared, "info", "model", "info", "licence, size, need of memory, and where it is")
    info.add_argument("id", metavar="ID", nargs="?", help=f"{_MODEL_ID}; without it the one in use")
    prepare = define(
        actions, shared, "prepare", "model", "prepare", "learn where its new memories start; once, some tens of minutes"
    )
    prepare.add_argument("id", metavar="ID", nargs="?", help=f"{_MODEL_ID}; without it the one in use")
    prepare.add_argument("--steps", metavar="N", type=positive_number, help="how long to learn (default: 500)")


def add_config(commands: Subparsers, shared: Parser) -> None:
    actions = define_group(commands, shared, "config", "settings and where everything is")
    define(actions, shared, "path", "config", "path", "where everything is kept")
    define(actions, shared, "show", "config", "show", "all settings, their values and where those come from")
    change = define(actions, shared, "set", "config", "set_key", "change a setting")
    change.add_argument("key", metavar="KEY")
    change.add_argument("value", metavar="VALUE")
    reset = define(actions, shared, "reset", "config", "reset", "put a setting back to its default")
    reset.add_argument("key", metavar="KEY")
    for made in (change, reset):
        made.add_argument("--only-profile", action="store_true", help="for the profile in use alone")


def add_serve(commands: Subparsers, shared: Parser) -> None:
    serve = define(
        commands,
        shared,
        "serve",
        "serve",
        "run",
        "answer other programs of this computer: OpenAI's chat completions on 127.0.0.1, with a token",
    )
    _port_option(serve, 8642)
    web = define(commands, shared, "web", "web", "run", "the app in a browser of this computer; prints a link")
    _port_option(web, 8643)


def _port_option(parser: Parser, default: int) -> None:
    parser.add_argument(
        "--port", metavar="N", type=_port, default=default, help=f"default: {default}; 0 takes any that is free"
    )


def add_token(commands: Subparsers, shared: Parser) -> None:
    actions = define_group(commands, shared, "token", "tokens of 'serve': each opens one profile")
    create = define(actions, shared, "create", "token", "create", "make a token for a profile; it is shown once")
    create.add_argument("name", metavar="NAME", help="what for, such as 'editor'")
    help_text = "tokens: name, profile, last use (those of a locked profile: with its passphrase)"
    define(actions, shared, "list", "token", "list_all", help_text)
    remove = define(actions, shared, "remove", "token", "remove", "forget a token; who uses it is refused")
    remove.add_argument("name", metavar="NAME")


def _port(text: str) -> int:
    number = whole_number(text)
    if number > 65535:
        raise argparse.ArgumentTypeError(f"{number} is no port; the highest is 65535")
    return number
