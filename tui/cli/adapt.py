"""``adapt``: adapt a model to chains of memories."""

from __future__ import annotations

import argparse
from typing import Any

from tokmem_desk.models.catalogue import ADAPTED
from tui.cli.context import Context
from tui.cli.model import ADAPTERS
from tui.cli.model_run import follow
from tui.cli.parsing import Parser, positive_number
from tui.kit.words import duration


def arguments(parser: Parser) -> None:
    """What can be typed behind ``adapt``."""
    parser.add_argument(
        "--examples", metavar="N", type=positive_number, help="auxiliary requests to learn from (default: 1000)"
    )


def run(context: Context, options: argparse.Namespace) -> int:
    """Run the adaptation phase; what was stopped goes on the next time."""
    backbone = context.engine.load(profile=False)
    origin = context.models.info(context.model).adapter
    if origin != "none" and not context.model.endswith(ADAPTED):
        context.console.say(
            f"This model has {ADAPTERS[origin]} already; the new one takes its place. Memories of "
            f"{backbone['id']}{ADAPTED} have to be trained anew then."
        )
    context.console.say(f"{backbone['id']} on {backbone['device']} ({backbone['reason']})")

    def finished(result: dict[str, Any]) -> str:
        return (
            f"{result['id']} is ready after {duration(result['seconds'])}. Memories belong to one model: use it with "
            f"--model {result['id']}, and train procedures there."
        )

    return follow(context, "adapt", "adapting", finished, examples=options.examples)
