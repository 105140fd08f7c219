"""``ask``: one message, one answer, streamed."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from tokmem_desk.errors import EngineError, NotFoundError, did_you_mean
from tokmem_desk.procedures import AUTO_ROUTE, NONE_ROUTE
from tui.chat_session import ChatSession
from tui.cli.chats import LAST, conversation_id
from tui.cli.console import Console, percent
from tui.cli.context import Context
from tui.cli.exit_codes import ExitCode
from tui.cli.run_calls import run_calls
from tui.cli.texts import message_of
from tui.engine.protocol import Candidate, Message

RUNNERS_UP = 3


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


def show_answer(
    console: Console, events: Iterable[Message], finish: Callable[[dict[str, Any]], int] | None = None
) -> int:
    """Print an answer as it comes: the route to stderr, the text to stdout; with ``--json`` one object at the end.

    Args:
        finish: may add to the finished result before it is shown as JSON, and returns an exit code.

    Returns:
        The exit code: interrupted when the answer was cut short by Ctrl-C.
    """
    result: dict[str, Any] | None = None
    at_line_start = True
    try:
        for event in events:
            match event["event"]:
                case "route":
                    console.end_progress()
                    console.say(route_chip(event["route"], event["probability"], event["candidates"]), style="bold")
                case "progress" if event.get("phase") == "problem":
                    console.end_progress()
                    console.say(event["text"])
                case "token" if not console.json_output:
                    console.data(event["text"], end="")
                    at_line_start = event["text"].endswith("\n")
                case "done":
                    result = event["result"]
    finally:
        # Also after half an answer: what comes next begins a line of its own.
        if not at_line_start:
            console.data("")
    if result is None:
        raise EngineError("The engine ended the request without an answer.", next_step="Try again.")
    for segment in result["segments"]:
        if segment["problem"]:
            console.say(segment["problem"], style="dim")
    if result["stopped"] == "length":
        console.say("(cut: this is the longest answer; --max-tokens allows a longer one)", style="dim")
    code: int = ExitCode.INTERRUPTED if result["stopped"] == "cancelled" else ExitCode.OK
    if finish is not None and code == ExitCode.OK:
        code = finish(result)
    if console.json_output:
        console.json(result)
    return code


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
    names = [record.name for record in context.store.procedures()]
    if route not in (*names, AUTO_ROUTE, NONE_ROUTE):
        raise NotFoundError(
            f"There is no procedure {route!r}.{did_you_mean(route, [*names, AUTO_ROUTE, NONE_ROUTE])}",
            next_step="See: tokmem-desk proc list",
        )
