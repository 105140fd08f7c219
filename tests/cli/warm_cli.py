"""``tokmem-desk`` with the real engine, started as ``WARM_ENGINE`` says (``tests.warm``)."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from tui.cli import engine_session
from tui.cli.main import main
from tui.engine_client.client import engine_command


def warm_command(**options: Any) -> list[str]:
    """The real command line, but for how it begins."""
    return [*json.loads(os.environ["WARM_ENGINE"]), *engine_command(**options)[3:]]


if __name__ == "__main__":
    engine_session.engine_command = warm_command
    sys.exit(main())
