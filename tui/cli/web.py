"""``web``: the app in a browser on this computer, until Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil

from profiles.files.atomic import storage_error
from tui.cli.context import Context
from tui.cli.exit_codes import ExitCode
from tui.cli.parsing import Parser, port_option
from tui.cli.serve import listen, log_to
from tui.engine_client.hub import AVAILABLE, EngineHub

_FOLDER = "tokmem-desk-web-"
_SOCKET_BYTES = 100
"""Longest path of a Unix socket that every system takes."""


def arguments(parser: Parser) -> None:
    """What can be typed behind ``web``."""
    port_option(parser, 8643)


def run(context: Context, options: argparse.Namespace) -> int:
    """Load the model, print a link, and serve windows."""
    _end_like_ctrl_c()
    with listen(options.port) as listener, _socket_folder() as folder:
        context.engine.load(profile=False)
        path = folder / "engine"
        shared = AVAILABLE and len(os.fsencode(path)) <= _SOCKET_BYTES

        # Imported this late: a web server is of no use to the other commands.
        from tui.web.server import BrowserServer

        log_to(context.paths.logs / "web.log", "aiohttp", "textual-serve", "asyncio")
        server = BrowserServer(_shell(_window_command(context, path if shared else None)), listener)
        context.console.say("Open this link in a browser of this computer; Ctrl-C here ends the app:")
        context.console.result({"url": server.link}, server.link)
        context.engine.run(_serve(server, EngineHub(context.engine.link.client, path) if shared else None))
    return ExitCode.OK


def _end_like_ctrl_c() -> None:
    """Tidy up as well when the terminal is closed, or the system asks for the end."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and threading.current_thread() is threading.main_thread():
            signal.signal(number, lambda *_: signal.raise_signal(signal.SIGINT))


@contextlib.contextmanager
def _socket_folder() -> Iterator[Path]:
    """A private folder for the engine's socket; also removes those of servers that were killed.

    Raises:
        StorageError: there is no temporary folder that can be written to.
    """
    try:
        for left in Path(tempfile.gettempdir()).glob(f"{_FOLDER}*-*"):
            owner = left.name.removeprefix(_FOLDER).partition("-")[0]
            if owner.isascii() and owner.isdigit() and not psutil.pid_exists(int(owner)):
                shutil.rmtree(left, ignore_errors=True)
        made = tempfile.TemporaryDirectory(prefix=f"{_FOLDER}{os.getpid()}-")
    except OSError as caught:
        raise storage_error("The temporary folder could not be used (TMPDIR names it)", caught) from caught
    with made as folder:
        yield Path(folder)


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
    command = [sys.executable, "-m", "tui.cli.web_window", str(path or ""), context.model, settings.text("device")]
    command += ["--profile", context.profile.name, "--model", context.model, "--device", settings.text("device")]
    if context.options.home is not None:
        command += ["--home", str(context.options.home)]
    return [*command, "--offline"] if settings.flag("offline") else command


def _shell(command: list[str]) -> str:
    return subprocess.list2cmdline(command) if os.name == "nt" else shlex.join(command)
