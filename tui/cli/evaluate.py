"""``eval``: measure trained procedures."""

from __future__ import annotations

import argparse
from typing import Any

from profiles.pair_files.pairs_file import without_problems
from tokmem_desk.errors import EngineError, UsageError
from tui.cli.context import Context
from tui.cli.exit_codes import ExitCode
from tui.cli.parsing import Parser, pairs_option
from tui.cli.scorecards import evaluation_text
from tui.cli.texts import pairs_of


def arguments(parser: Parser) -> None:
    """What can be typed behind ``eval``."""
    parser.add_argument("names", metavar="NAME", nargs="*", help="default: all that are trained")
    pairs_option(parser, required=False)


def run(context: Context, options: argparse.Namespace) -> int:
    """Measure on the held-out pairs, or one procedure on the pairs of a file."""
    names = [context.store.procedures.get(name).name for name in dict.fromkeys(options.names)]
    pairs: list[dict[str, Any]] | None = None
    if options.pairs is not None:
        if len(names) != 1:
            raise UsageError("--pairs needs the one procedure to measure.", next_step="See: tokmem-desk eval --help")
        found = without_problems(*pairs_of(options.pairs))
        pairs = [
            {"input": one.input, "response": one.response, "references": list(one.references)}
            for one in found.held_out or found.pairs
        ]
    context.engine.load()
    result: dict[str, Any] | None = None
    for event in context.engine.stream("eval", names=names or None, pairs=pairs):
        if event["event"] == "progress":
            _show(context, event)
        elif event["event"] == "done":
            result = event["result"]
    context.console.end_progress()
    if result is None:
        raise EngineError("The engine ended the request without a result.", next_step="Try again.")
    context.console.result(result, evaluation_text(result))
    return ExitCode.INTERRUPTED if context.engine.interrupted else ExitCode.OK


def _show(context: Context, event: dict[str, Any]) -> None:
    share = f" {event['fraction']:.0%}" if event.get("fraction") is not None else ""
    context.console.progress(f"Measuring {event.get('text') or ''}{share}".rstrip())
