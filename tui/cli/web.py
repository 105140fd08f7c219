"""``web``: the app in a browser on this computer, until Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from tui.cli.context import Context
from tui.cli.exit_codes import ExitCode
from tui.cli.serve import HOST, listen
from tui.engine.hub import AVAILABLE, EngineHub


def run(context: Context, options: argparse.Namespace) -> int:
    """Load the model, print a link, and serve windows."""
    with listen(options.port) as listener, tempfile.TemporaryDirectory(prefix="tokmem-desk-") as folder:
        context.engine.load(profile=False)
        path = Path(folder) / "engine" if AVAILABLE else None

        # Imported this late: a web server is of no use to the other commands.
        from tui.web.server import BrowserServer

        server = BrowserServer(_shell(_window_command(context, path)), listener)
        context.console.say(f"The app is at http://{HOST}:{server.port}  (Ctrl-C ends). Open this link:")
        context.console.result({"url": server.link}, server.link)
        context.engine.run(_serve(server, None if path is None else EngineHub(context.engine.link.client, path)))
    return ExitCode.OK


async def _serve(server: object, hub: EngineHub | None) -> None:
    from tui.web.server import BrowserServer

    assert isinstance(server, BrowserServer)
    if hub is not None:
        await hub.start()
    try:
        await server.run(asyncio.Event().wait())
    finally:
        if hub is not None:
            await hub.close()


def _window_command(context: Context, path: Path | None) -> list[str]:
    """What each window runs; it takes the model, the profile and the home of this command."""
    settings = context.settings
    command = [sys.executable, "-m", "tui.web.window", str(path or ""), context.model, settings.text("device")]
    command += ["--profile", context.profile.name, "--model", context.model, "--device", settings.text("device")]
    if context.options.home is not None:
        command += ["--home", str(context.options.home)]
    return [*command, "--offline"] if settings.flag("offline") else command


def _shell(command: list[str]) -> str:
    return subprocess.list2cmdline(command) if os.name == "nt" else shlex.join(command)
