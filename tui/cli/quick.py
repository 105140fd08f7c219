"""``quick``: one line, one answer, copied. For a hotkey of the desktop; docs/howto/ask-by-a-hotkey.md says how."""

from __future__ import annotations

import argparse

from tokmem_desk.errors import UsageError
from tui.cli.ask import asked_once, check_route, show_answer
from tui.cli.clipboard import CopiedAnswer, pasted_text
from tui.cli.context import Context
from tui.cli.exit_codes import ExitCode
from tui.cli.parsing import Parser
from tui.cli.texts import message_of


def arguments(parser: Parser) -> None:
    """What can be typed behind ``quick``."""
    parser.add_argument("text", metavar="TEXT", nargs="*", help="the message; without it one line is asked for")
    parser.add_argument("--route", metavar="ROUTE", default="auto", help="auto, none, or a procedure's name")
    parser.add_argument("--paste", action="store_true", help="the message is what is on the clipboard")
    parser.add_argument("--no-copy", action="store_true", help="leave the clipboard as it is")
    parser.add_argument("--stay", action="store_true", help="wait for Enter at the end, so that a window stays open")


def run(context: Context, options: argparse.Namespace) -> int:
    """Ask for a line, answer it, and copy the answer; an empty line ends."""
    if options.paste and options.text:
        raise UsageError("Give either TEXT or --paste.", next_step="See: tokmem-desk quick --help")
    check_route(context, options.route)
    console = context.console
    if options.paste:
        text = pasted_text()
    elif options.text:
        text = message_of(options.text)
    else:
        line = console.ask_text("> " if console.can_ask else "")
        if not line:
            return ExitCode.OK
        text = message_of([line])
    context.engine.load(fit=False)
    copied = CopiedAnswer()
    code = show_answer(console, copied.watching(asked_once(context, text, options.route)))
    if not options.no_copy:
        copied.copy(console)
    if options.stay and console.can_ask:
        console.ask_text("(Enter ends)")
    return code
