"""No command, or ``chat`` without ``--plain``: the app in the terminal."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from profiles.settings import Settings
from tokmem_desk.errors import UsageError
from tui.cli.context import Context
from tui.cli.exit_codes import ExitCode
from tui.engine.client import EngineClient, engine_command


def run(context: Context, options: argparse.Namespace) -> int:
    """Open the app and stay until it is closed.

    Raises:
        UsageError: there is no terminal.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("The app needs a terminal.", next_step="For commands see: tokmem-desk --help")
    settings, profile = context.settings, context.profile.name

    def engine(log_file: Path, settings: Settings) -> EngineClient:
        command = engine_command(
            home=options.home,
            model=settings.text("model"),
            offline=settings.flag("offline"),
            device=settings.text("device"),
        )
        return EngineClient(command, log_file)

    # Textual takes a quarter of a second to import: other commands do without.
    from tui.app import TokmemApp

    app = TokmemApp(context.paths, settings, engine, profile)
    app.run()
    return ExitCode.OK if app.return_code is None else app.return_code
