"""``ask``: one message, one answer, streamed."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from tokmem_desk.errors import EngineError, NotFoundError, did_you_mean
from tokmem_desk.procedures import AUTO_ROUTE, NONE_ROUTE
from tui.chat.session import ChatSession
from tui.chat.turns import WITHOUT_HISTORY
from tui.cli.chats import LAST, conversation_id
from tui.cli.console import Console, percent
from tui.cli.context import Context
from tui.cli.exit_codes import ExitCode
from tui.cli.parsing import Parser, continue_option, positive_number, whole_number
from tui.cli.run_calls import run_calls
from tui.cli.texts import message_of
from tui.engine_client.protocol import Candidate, Message

RUNNERS_UP = 3


def arguments(parser: Parser) -> None:
    """What can be typed behind ``ask``."""
    parser.add_argument("text", metavar="TEXT", nargs="+", help="the message; '-' reads it from stdin")
    parser.add_argument("--route", metavar="ROUTE", default="auto", help="auto, none, or a procedure's name")
    parser.add_argument("--sample", action="store_true", help="draw the answer instead of taking the likeliest words")
    parser.add_argument("--seed", metavar="N", type=whole_number, help="makes --sample repeatable")
    parser.add_argument(
        "--run",
        action="store_true",
        help="hand the answer to its procedure's command, after asking (--yes: without; see 'proc command')",
    )
    parser.add_argument("--max-tokens", metavar="N", type=positive_number, help="longest answer, in tokens")
    continue_option(parser, "go on with the conversation used last, and keep message and answer in it")


def run(context: Context, options: argparse.Namespace) -> int:
    """Answer one message."""
    text = message_of(options.text)
    check_route(context, options.route)
    going_on = conversation_id(context.store, LAST) if options.go_on else None
    context.engine.load()
    if going_on is not None:
        session = ChatSession(context.store, context.engine.link, context.profile.name)
        session.open(going_on)
        answering = session.answer(
            session.ask(text, options.route), again=options.sample, seed=options.seed, max_tokens=options.max_tokens
        )
        events = context.engine.drive(answering, session.stop)
    else:
        events = context.engine.stream(
            "ask",
            text=text,
            route=options.route,
            conversation=[],
            sample=options.sample,
            seed=options.seed,
            max_tokens=options.max_tokens,
        )
    return show_answer(context.console, events, partial(run_calls, context) if options.run else None)


class _Shown:
    """The text of an answer on stdout, as it comes; calls wait until they are whole."""

    def __init__(self, console: Console, *, as_calls: bool) -> None:
        self._console, self._as_calls = console, as_calls
        self._at_line_start = True
        self._call: str | None = None
        self._held = ""

    def begin(self, route: Message) -> None:
        """Begin a segment."""
        self.end()
        self._call = route["route"] if self._as_calls and route.get("call") else None

    def add(self, text: str) -> None:
        """Add text of the segment."""
        if self._call is not None:
            self._held += text
        elif text:
            self._console.data(text, end="")
            self._at_line_start = text.endswith("\n")

    def end(self) -> None:
        """End the segment; an unfinished call is shown as its text."""
        name, text = self._call, self._held.strip()
        self._call, self._held = None, ""
        if name is not None and text:
            self.add((call_words(name, text) or text) + "\n")

    def close(self) -> None:
        """End the answer, so that what comes next begins on a new line."""
        self.end()
        if not self._at_line_start:
            self.add("\n")


def show_answer(
    console: Console,
    events: Iterable[Message],
    finish: Callable[[dict[str, Any]], int] | None = None,
    *,
    as_calls: bool = False,
) -> int:
    """Print an answer as it comes: the routes to stderr, the text to stdout; with ``--json`` one object at the end.

    Args:
        finish: may add to the finished result before it is shown as JSON, and returns an exit code.
        as_calls: for readers, not for programs: ``name(argument="value")`` instead of a call's JSON.

    Returns:
        The exit code: interrupted when the answer was cut short by Ctrl-C, failed where it does not fit its schema.
    """
    result: dict[str, Any] | None = None
    shown = _Shown(console, as_calls=as_calls)
    try:
        for event in events:
            match event["event"]:
                case "route":
                    console.end_progress()
                    shown.begin(event)
                    console.say(route_chip(event["route"], event["probability"], event["candidates"]), style="bold")
                case "progress" if event.get("phase") == "problem":
                    console.end_progress()
                    console.say(event["text"])
                case "token" if not console.json_output:
                    shown.add(event["text"])
                case "done":
                    result = event["result"]
    finally:
        shown.close()
    if result is None:
        raise EngineError("The engine ended the request without an answer.", next_step="Try again.")
    for segment in result["segments"]:
        if segment["problem"]:
            console.say(segment["problem"], style="dim")
    if result["stopped"] == "length":
        console.say("(cut: this is the longest answer; --max-tokens allows a longer one)", style="dim")
    if result.get("without_history"):
        console.say(f"({WITHOUT_HISTORY})", style="dim")
    if result["stopped"] == "repeats":
        console.say("(ended: the model was repeating itself)", style="dim")
    code: int = ExitCode.INTERRUPTED if result["stopped"] == "cancelled" else ExitCode.OK
    if finish is not None and code == ExitCode.OK:
        code = finish(result)
    if code == ExitCode.OK and any(segment["problem"] for segment in result["segments"]):
        code = ExitCode.FAILED
    if console.json_output:
        console.json(result)
    return code


def call_words(name: str, text: str) -> str | None:
    """``add_task(text="buy milk", due="friday")``; None where the text is no object, as when it was cut."""
    try:
        arguments = json.loads(text)
    except ValueError:
        return None
    if not isinstance(arguments, Mapping):
        return None
    told = ", ".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in arguments.items())
    return f"{name}({told})"


def route_chip(route: str, probability: float, candidates: Iterable[Candidate]) -> str:
    """``[contact_card 97 %]  then none 2 %, mood_log 1 %``."""
    others = [one for one in candidates if one["route"] != route][:RUNNERS_UP]
    chip = f"[{route} {percent(probability)}]"
    rest = ", ".join(f"{one['route']} {percent(one['probability'])}" for one in others)
    return f"{chip}  then {rest}" if rest else chip


def check_route(context: Context, route: str) -> None:
    """Find a slip in a route's name before the model is loaded.

    Raises:
        NotFoundError: no procedure is called so.
    """
    names = [record.name for record in context.store.procedures.list()]
    if route not in (*names, AUTO_ROUTE, NONE_ROUTE):
        raise NotFoundError(
            f"There is no procedure {route!r}.{did_you_mean(route, [*names, AUTO_ROUTE, NONE_ROUTE])}",
            next_step="See: tokmem-desk proc list",
        )
