"""The engine process: ``python -m tui.engine``. Talks JSON lines on stdin and stdout, see ``protocol``."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from tokmem_desk.system.lean_imports import import_torch_leanly
from tokmem_desk.system.threads import wait_asleep
from tui.engine.library_noise import silence
from tui.engine.refusing import refuse_all
from tui.process.faults import in_words
from tui.process.log_redaction import log_quietly
from tui.process.private_memory import keep_memory_private


def main() -> int:
    """Serve one client until it closes the pipe."""
    keep_memory_private()
    parser = argparse.ArgumentParser(prog="tui.engine", description="The model's own process; started by the app.")
    parser.add_argument("--home", type=Path, default=None)
    parser.add_argument("--model", default="default")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--offline", action="store_true")
    arguments = parser.parse_args()
    # Libraries print to stdout at will; the pipe to the client must hold nothing but events.
    pipe = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    # Not sys.stdin, which Python closes at the end: it would abort where the reader thread still waits there.
    requests = os.fdopen(os.dup(0), "rb")
    if arguments.offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    wait_asleep()
    log_quietly()
    silence()
    try:
        import_torch_leanly()
        from profiles.files.paths import AppPaths
        from tui.engine import operations
        from tui.engine.engine import Engine
        from tui.engine.models import LoadedModel
        from tui.engine.server import Server

        paths = AppPaths.resolve(arguments.home)
        model = LoadedModel(paths, arguments.model, arguments.device, offline=arguments.offline)
        server = Server(requests, pipe, operations.discover(), Engine(paths, model))
    except (ImportError, MemoryError, OSError, RuntimeError) as caught:  # a library is missing, or no room for it
        error = in_words(caught)
        if error is None:
            raise
        return refuse_all(requests, pipe, error)
    return server.run()


if __name__ == "__main__":
    sys.exit(main())
