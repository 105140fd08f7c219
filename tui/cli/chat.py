"""``chat --plain``: a conversation line by line, for pipes, screen readers and plain terminals."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from profiles.store.pair_rules import text_fault
from tokmem_desk.errors import BadInputError, TokmemError, UsageError
from tui.chat.session import ChatSession
from tui.chat.turns import split_route
from tui.cli import app
from tui.cli.ask import show_answer
from tui.cli.chats import LAST, conversation_id
from tui.cli.context import Context
from tui.cli.exit_codes import ExitCode
from tui.cli.parsing import Parser, continue_option

HELP = "Type a message. '@name message' chooses the procedure, '@none message' none. /new begins anew, /quit ends."


def arguments(parser: Parser) -> None:
    """What can be typed behind ``chat``."""
    parser.add_argument("--plain", action="store_true", help="line by line instead of the app; works with pipes")
    parser.add_argument("--temporary", action="store_true", help="with --plain: keep nothing of it")
    continue_option(parser, "with --plain: go on with the conversation used last, as the app does by itself")


def run(context: Context, options: argparse.Namespace) -> int:
    """Talk until the input ends; without ``--plain`` open the app, which goes on with the last conversation.

    Raises:
        UsageError: the options contradict each other.
        NotFoundError: there is no conversation to go on with.
    """
    if not options.plain:
        return app.run(context, options)
    if options.go_on and options.temporary:
        raise UsageError("A temporary chat has nothing to go on with.", next_step="Leave out -c or --temporary.")
    console, store = context.console, context.store  # opened before the engine, so closed after it: answers are kept
    context.engine.load()
    session = ChatSession(store, context.engine.link, context.profile.name)
    session.begin(temporary=options.temporary)
    if options.go_on:
        session.open(conversation_id(store, LAST))
    if console.can_ask:
        console.say(HELP, style="dim")
    code: int = ExitCode.OK
    for line in _lines(context):
        if line == "/quit":
            break
        if line == "/new":
            session.begin(temporary=options.temporary)
            console.say("A new conversation.", style="dim")
        elif line == "/help":
            console.say(HELP, style="dim")
        else:
            ended = _answer(context, session, line)
            if console.can_ask:
                continue  # a person has seen what went wrong, and Ctrl-C ends an answer, not the conversation
            if ended == ExitCode.INTERRUPTED:
                return ended
            code = max(code, ended)
    return code


def _answer(context: Context, session: ChatSession, line: str) -> int:
    """Answer one line. Errors are told and the conversation goes on; the engine starts again by itself."""
    try:
        if fault := text_fault(line):
            raise BadInputError(f"The message {fault}.")
        names = [record.name for record in context.store.procedures.list()]
        route, question = split_route(line, names)
        turn = session.ask(question, route)
        answering = context.engine.drive(session.answer(turn), session.stop)
        return show_answer(context.console, answering, as_calls=True)
    except TokmemError as caught:
        context.console.end_progress()
        context.console.error(str(caught))
        return caught.exit_code


def _lines(context: Context) -> Iterator[str]:
    """The messages; empty lines are passed over."""
    while True:
        context.console.prompt("> ")
        data = sys.stdin.buffer.readline()
        if not data:
            return
        line = data.decode("utf-8", "replace").strip()
        if line:
            yield line
