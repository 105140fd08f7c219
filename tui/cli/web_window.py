"""One window of the browser: the app, on the shared engine. Started by ``tokmem-desk web``, once for each window.

    python -m tui.cli.web_window SOCKET MODEL DEVICE [options of every command]

SOCKET is empty where engines cannot be shared. A window that is set to another model starts an engine of its own, and
so does one that opens a profile with a passphrase: that engine ends when the profile is locked.
"""

from __future__ import annotations

import sys

from tui.cli.app import open_app
from tui.cli.arguments import parse
from tui.cli.console import Console
from tui.cli.context import Context
from tui.process.private_memory import keep_memory_private
from tui.web.driver import WindowDriver


def main() -> int:
    """Open the app and stay until the window is closed."""
    keep_memory_private()
    shared, model, device, *arguments = sys.argv[1:]
    options = parse(arguments)
    relay = [sys.executable, "-m", "tui.engine_client.relay", shared] if shared else None
    with Context(options, Console(quiet=True)) as context:
        return open_app(context, {(model, device): relay} if relay else {}, WindowDriver)


if __name__ == "__main__":
    sys.exit(main())
