"""What a command says that changed something and has no data of its own."""

from __future__ import annotations

from typing import Any

from tui.cli.context import Context
from tui.cli.exit_codes import ExitCode


def changed(context: Context, action: str, names: list[str], text: str, **more: Any) -> int:
    """Report a change that has no data of its own: a sentence, or a small object with ``--json``."""
    context.console.say(text)
    context.console.result({"action": action, "names": names, **more}, "")
    return ExitCode.OK
