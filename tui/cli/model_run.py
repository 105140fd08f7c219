"""Commands that train over a whole model for a long time: their progress on stderr, and how they end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tokmem_desk.errors import InterruptedByUser
from tui.cli.context import Context
from tui.cli.exit_codes import ExitCode
from tui.kit.words import duration


def follow(context: Context, op: str, doing: str, finished: Callable[[dict[str, Any]], str], **fields: Any) -> int:
    """Have the engine do ``op``, show how far it is, print the result; what was stopped goes on the next time.

    Args:
        doing: what it does, for a line of progress: ``adapting``.
        finished: what to say of the result.

    Raises:
        InterruptedByUser: it ended without a result.
        TokmemError: what the engine reported.
    """
    console = context.console
    result: dict[str, Any] | None = None
    for event in context.engine.stream(op, patient=True, **fields):
        if event["event"] == "done":
            result = event["result"]
        elif note := event.get("note"):
            console.end_progress()
            console.say(f"  {note}")
        elif event["event"] == "progress" and event.get("phase") == "open":
            console.progress(f"reading auxiliary procedures, {event['step']} of {event['steps']}")
        elif event["event"] == "progress" and event.get("steps"):
            console.progress(
                f"{doing}, step {event['step']} of {event['steps']}, loss {event['loss']:.3f}, "
                f"{duration(event['eta_s'])} left"
            )
    console.end_progress()
    if result is None:
        raise InterruptedByUser("Stopped.")
    if result["cancelled"]:
        console.result(result, "")
        console.say("Stopped; the same command goes on from here.")
        return ExitCode.INTERRUPTED
    console.result(result, finished(result))
    return ExitCode.OK
