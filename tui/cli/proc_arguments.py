"""What can be typed about procedures: ``proc`` and its actions. Imports nothing that takes time, runs nothing."""

from __future__ import annotations

import argparse
from pathlib import Path

from tui.cli.parsing import PROGRAM, Parser, Subparsers, define, define_group, positive_number, whole_number


def add_proc(commands: Subparsers, shared: Parser) -> None:
    actions = define_group(commands, shared, "proc", "procedures: add, list, show, change, remove")
    add = define(actions, shared, "add", "proc", "add", "define a procedure from example pairs")
    add.add_argument("name", metavar="NAME", help="1 to 40 characters of a-z, 0-9, '-' and '_'")
    pairs_option(add, required=True)
    _map_option(add)
    add.add_argument("--description", metavar="TEXT", help="what it does; otherwise that of the file")
    add.add_argument("--schema", metavar="FILE", type=Path, help="JSON schema that its answers are held to")
    add.add_argument(
        "--reads-conversation", action="store_true", help="let it see what was said before, not the message alone"
    )
    _overlap_option(add)
    more = define(actions, shared, "import", "proc", "import_pairs", "add pairs to a procedure, or replace them")
    more.add_argument("name", metavar="NAME")
    pairs_option(more, required=True)
    _map_option(more)
    more.add_argument("--replace", action="store_true", help="put them in the place of the present ones")
    template = define(actions, shared, "template", "proc", "template", "a file of pairs to begin with")
    template.add_argument(
        "file",
        metavar="FILE",
        nargs="?",
        type=Path,
        help="ends in .csv, .tsv, .jsonl or .json; without it CSV on stdout",
    )
    listed = define(actions, shared, "list", "proc", "list_all", "all procedures of the profile")
    listed.add_argument("--group", metavar="GROUP", help="only those of this group")
    show = define(actions, shared, "show", "proc", "show", "one procedure with its pairs and memories")
    show.add_argument("name", metavar="NAME")
    _overlap_option(show)
    rename = define(actions, shared, "rename", "proc", "rename", "give a procedure another name")
    rename.add_argument("name", metavar="NAME")
    rename.add_argument("new_name", metavar="NEW")
    for name, function, help_text in (
        ("remove", "remove", "remove procedures with their pairs and memories (see 'proc undo')"),
        ("enable", "enable", "let procedures take part in recall"),
        ("disable", "disable", "keep procedures but do not recall them"),
    ):
        made = define(actions, shared, name, "proc", function, help_text)
        made.add_argument("names", metavar="NAME", nargs="*")
        made.add_argument("--group", metavar="GROUP", help="all procedures of this group")
    group = define(actions, shared, "group", "proc", "group", "put procedures into a group, or take them out")
    group.add_argument("names", metavar="NAME", nargs="+")
    group.add_argument("--in", dest="group", metavar="GROUP", default="", help="the group; without it they are in none")
    accept = define(actions, shared, "accept", "proc", "accept", "take procedures of a bank as your own")
    accept.add_argument("names", metavar="NAME", nargs="+")
    _tools(actions, shared)
    undo = define(actions, shared, "undo", "proc", "undo", "take back the last change to procedures or pairs")
    undo.add_argument(
        "--forget",
        action="store_true",
        help="delete what was removed and all versions but the present ones, for good; nothing can be taken back then",
    )
    _versions(actions, shared)
    _with_the_model(actions, shared)


def _overlap_option(parser: Parser) -> None:
    parser.add_argument(
        "--overlap", action="store_true", help="say which of its pairs would go to other procedures (loads the model)"
    )


def _with_the_model(actions: Subparsers, shared: Parser) -> None:
    threshold = define(
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
    draft = define(
        actions, shared, "draft", "proc_model", "draft", "let the model write pairs like those of a procedure (JSONL)"
    )
    draft.add_argument("name", metavar="NAME")
    draft.add_argument(
        "--count", metavar="N", type=positive_number, default=5, help="how many (default: 5, at most 50)"
    )
    draft.add_argument("--seed", metavar="N", type=whole_number, help="the same drafts every time")


def _versions(actions: Subparsers, shared: Parser) -> None:
    history = define(actions, shared, "history", "proc_versions", "history", "the versions of a procedure")
    history.add_argument("name", metavar="NAME")
    history.add_argument("--forget", action="store_true", help="delete all versions but the present one, for good")
    diff = define(actions, shared, "diff", "proc_versions", "diff", "what changed between two versions")
    diff.add_argument("name", metavar="NAME")
    diff.add_argument("before", metavar="VERSION", type=whole_number)
    diff.add_argument("after", metavar="OTHER", type=whole_number, nargs="?", help="the present version unless given")
    back = define(actions, shared, "rollback", "proc_versions", "rollback", "go back to an earlier version")
    back.add_argument("name", metavar="NAME")
    back.add_argument("version", metavar="VERSION", type=whole_number)


def _tools(actions: Subparsers, shared: Parser) -> None:
    schema = define(actions, shared, "schema", "tools", "schema", "show or set the JSON schema of its answers")
    schema.add_argument("name", metavar="NAME")
    schema.add_argument("file", metavar="FILE", nargs="?", type=Path, help="the schema; without it the present one")
    schema.add_argument("--none", action="store_true", help="answers are free text again")
    reads = define(actions, shared, "reads", "tools", "reads", "let it see the conversation, or the message alone")
    reads.add_argument("name", metavar="NAME")
    reads.add_argument("what", choices=("conversation", "message"))
    command = define(
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


def pairs_option(parser: Parser, *, required: bool) -> None:
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
