"""No command, or ``chat`` without ``--plain``: the app in the terminal."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from profiles.settings.settings import Settings
from tokmem_desk.errors import UsageError
from tui.cli.context import Context
from tui.cli.exit_codes import ExitCode
from tui.engine_client.client import EngineClient, engine_command
from tui.process.restart import AVAILABLE, receive_handover, replace_process, restoring_terminal

if TYPE_CHECKING:
    from textual.driver import Driver


def run(context: Context, options: argparse.Namespace) -> int:
    """Open the app and stay until it is closed.

    Raises:
        UsageError: there is no terminal.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("The app needs a terminal.", next_step="For commands see: tokmem-desk --help")
    return open_app(context)


def open_app(
    context: Context,
    shared: Mapping[tuple[str, str], Sequence[str]] | None = None,
    driver: type[Driver] | None = None,
) -> int:
    """Open the app without looking for a terminal. Does not return where the program restarts.

    Args:
        context: says which profile, model and home.
        shared: commands that reach an engine of others, by model and device.
        driver: draws; the terminal's own without it.

    Raises:
        TokmemError: nothing can be opened, or the program could not be restarted.
    """
    handover = receive_handover()
    with restoring_terminal(handover):
        options, profile = context.options, None if handover is not None else context.profile.name

        def engine(log_file: Path, settings: Settings) -> EngineClient:
            model, device = settings.text("model"), settings.text("device")
            of_others = None if app.engine.exclusive else (shared or {}).get((model, device))
            command = of_others or engine_command(
                home=options.home, model=model, offline=settings.flag("offline"), device=device
            )
            return EngineClient(command, log_file, shared=of_others is not None)

        # Textual takes a quarter of a second to import: other commands do without.
        from tui.shell.app import TokmemApp

        app = TokmemApp(context.paths, context.settings, engine, profile, handover=handover, restarts_enabled=AVAILABLE)
        if driver is not None:
            app.driver_class = driver
        app.run()
        restart = app.restarts.wish
        if restart is None:
            return ExitCode.OK if app.return_code is None else app.return_code
    replace_process(restart, app.size)
    raise AssertionError("this process is another one now")
