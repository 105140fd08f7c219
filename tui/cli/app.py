"""No command, or ``chat`` without ``--plain``: the app in the terminal."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
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
    return open_app(context)


def open_app(context: Context, shared: Mapping[tuple[str, str], Sequence[str]] | None = None) -> int:
    """Open the app without looking for a terminal.

    Args:
        context: says which profile, model and home.
        shared: commands that reach an engine of others, by model and device.
    """
    options, profile = context.options, context.profile.name

    def engine(log_file: Path, settings: Settings) -> EngineClient:
        model, device = settings.text("model"), settings.text("device")
        relay = (shared or {}).get((model, device))
        command = relay or engine_command(
            home=options.home, model=model, offline=settings.flag("offline"), device=device
        )
        return EngineClient(command, log_file, shared=relay is not None)

    # Textual takes a quarter of a second to import: other commands do without.
    from tui.app import TokmemApp

    app = TokmemApp(context.paths, context.settings, engine, profile)
    app.run()
    return ExitCode.OK if app.return_code is None else app.return_code
