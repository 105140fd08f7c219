"""``tokmem-desk`` with the scripted engine instead of the real one; ``SCRIPTED`` holds options of that engine.

``STOP_SECONDS`` is how long an engine may take to end what was stopped, if not as long as in the program.

``WARM_ENGINE`` holds, as JSON, how that engine is started otherwise than by Python itself (``tests.warm``).
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from tui.cli.main import main


def scripted_command(*, home: Path | None, **_: Any) -> list[str]:
    place = str(home or os.environ["TOKMEM_HOME"])
    more = os.environ.get("SCRIPTED", "").split()
    start = json.loads(os.environ.get("WARM_ENGINE", "null")) or [sys.executable, "-m", "tests.tui.scripted_engine"]
    return [*start, "--home", place, *more]


if __name__ == "__main__":
    with contextlib.suppress(ImportError):  # a package is missing: main says which
        from tui.cli import engine_session

        engine_session.engine_command = scripted_command
        engine_session.STOP_SECONDS = float(os.environ.get("STOP_SECONDS", engine_session.STOP_SECONDS))
    sys.exit(main())
