"""``tokmem-desk`` as a program with the scripted engine, also for the app."""

from __future__ import annotations

import sys

from tests.cli.scripted_cli import scripted_command
from tui.cli import app, engine_session
from tui.cli.main import main

if __name__ == "__main__":
    app.engine_command = engine_session.engine_command = scripted_command
    sys.exit(main())
