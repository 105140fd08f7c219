"""``chat --plain``: a conversation line by line, for pipes, screen readers and plain terminals."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from profiles.store.pair_rules import text_fault
from tokmem_desk.errors import BadInputError, TokmemError, UsageError
from tui.chat.session import ChatSession
from tui.chat.small_model import small_model_words
from tui.chat.text_files import TextFile, read_text_file, with_files
from tui.chat.turns import split_route
from tui.cli import app
from tui.cli.ask import show_answer
from tui.cli.chats import LAST, conversation_id
from tui.cli.context import Context
from tui.cli.exit_codes import ExitCode
from tui.cli.parsing import Parser, continue_option, system_option
from tui.cli.plan_answers import with_decisions
from tui.cli.texts import system_prompt_of

HELP = (
    "Type a message. '@name message' chooses the procedure, '@none message' none. "
    "/attach FILE sends a text file with the next message, /new begins anew, /quit ends."
)


def arguments(parser: Parser) -> None:
    """What can be typed behind ``chat``."""
    parser.add_argument("--plain", action="store_true", help="line by line instead of the app; works with pipes")
    parser.add_argument("--temporary", action="store_true", help="with --plain: keep nothing of it")
    system_option(parser)
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
    system_prompt = None if options.system is None else system_prompt_of(options.system)
    fingerprint = context.engine.load(fit=False)["fingerprint"]
    session = ChatSession(store, context.engine.link, context.profile.name, fingerprint=fingerprint)
    session.begin(temporary=options.temporary)
    if options.go_on:
        session.open(conversation_id(store, LAST))
    if system_prompt is not None:
        session.set_system_prompt(system_prompt)
    if console.can_ask:
        console.say(HELP, style="dim")
    code: int = ExitCode.OK
    files: list[TextFile] = []
    for line in _lines(context):
        if line == "/quit":
            break
        if line == "/new":
            session.begin(temporary=options.temporary)
            session.set_system_prompt(system_prompt or "")
            console.say("A new conversation.", style="dim")
        elif line == "/help":
            console.say(HELP, style="dim")
        elif line.startswith("/attach "):
            code = max(code, _attach(context, files, line.removeprefix("/attach ").strip()))
        else:
            ended = _answer(context, session, line, files)
            files.clear()
            if console.can_ask:
                continue  # a person has seen what went wrong, and Ctrl-C ends an answer, not the conversation
            if ended == ExitCode.INTERRUPTED:
                return ended
            code = max(code, ended)
    return code


def _attach(context: Context, files: list[TextFile], path: str) -> int:
    """Have a file go with the next message; what is wrong with it is told, and the conversation goes on."""
    try:
        files.append(read_text_file(Path(path)))
    except TokmemError as caught:
        context.console.error(str(caught))
        return caught.exit_code
    context.console.say(f"{files[-1].path.name} goes with the next message.", style="dim")
    return ExitCode.OK


def _answer(context: Context, session: ChatSession, line: str, files: Sequence[TextFile]) -> int:
    """Answer one line. Errors are told and the conversation goes on; the engine starts again by itself."""
    try:
        if fault := text_fault(line):
            raise BadInputError(f"The message {fault}.")
        names = [record.name for record in context.store.procedures.list()]
        route, question = split_route(line, names)
        turn = session.ask(with_files(question, files), route)
        answering = with_decisions(
            context,
            context.engine.drive(session.answer(turn), session.stop),
            lambda run, said: context.engine.drive(session.go_on(turn, run.id, said), session.stop),
        )
        code = show_answer(context.console, answering, as_calls=True)
        words = small_model_words(context.store, context.engine.link.state.backbone, turn.answer.route)
        if words:
            context.console.say(f"({words})", style="dim")
        return code
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
