"""``route``: which procedure would answer, without answering."""

from __future__ import annotations

import argparse

from tokmem_desk.errors import UsageError
from tui.cli.console import percent, table
from tui.cli.context import Context
from tui.cli.exit_codes import ExitCode
from tui.cli.parsing import Parser
from tui.cli.texts import message_of, read_queries
from tui.shared.doubt import between_words

BATCH = 256
"""Messages in one request: large enough to be routed together, small enough to see lines come."""


def arguments(parser: Parser) -> None:
    """What can be typed behind ``route``."""
    parser.add_argument("text", metavar="TEXT", nargs="*", help="the message; '-' reads it from stdin")
    parser.add_argument(
        "--batch",
        metavar="FILE",
        help="many messages, one a line or JSONL {\"query\"}; '-' for stdin; prints one object a line",
    )


def run(context: Context, options: argparse.Namespace) -> int:
    """Route one message, or many from a file."""
    if bool(options.text) == (options.batch is not None):
        raise UsageError("Give either a message or --batch FILE.", next_step="See: tokmem-desk route --help")
    if options.batch is not None:
        return _batch(context, options.batch)
    text = message_of(options.text)
    context.engine.load()
    [found] = context.engine.result("route", texts=[text])["routes"]
    rows = [(one["route"], percent(one["probability"])) for one in found["candidates"]]
    if "ambiguous" in found:
        context.console.say(f"({between_words(found['ambiguous'])})", style="dim")
    context.console.result(found, table(("route", "probability"), rows, right=(1,)))
    return ExitCode.OK


def _batch(context: Context, file: str) -> int:
    queries = read_queries(file)
    context.engine.load()
    for start in range(0, len(queries), BATCH):
        chunk = queries[start : start + BATCH]
        if len(queries) > BATCH:
            context.console.progress(f"Routing message {start + 1} of {len(queries)}")
        for found in context.engine.result("route", texts=chunk)["routes"]:
            context.console.json(found)
    context.console.end_progress()
    return ExitCode.OK
