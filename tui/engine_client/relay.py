"""A connection to a shared engine that looks like an engine process: ``python -m tui.engine_client.relay SOCKET``.

Copies its stdin to the hub's socket and the socket to its stdout, and ends when either does.
"""

from __future__ import annotations

import os
import socket
import sys
import threading

from tui.engine_client.protocol import HUB_GONE
from tui.process.private_memory import keep_memory_private

_PIECE = 65536


def main() -> int:
    """Copy until one side ends."""
    keep_memory_private()
    hub = socket.socket(socket.AF_UNIX)
    try:
        hub.connect(sys.argv[1])
    except OSError as caught:
        sys.stderr.write(f"The shared engine is gone ({caught}).\n")
        return HUB_GONE
    threading.Thread(target=_to_hub, args=(hub,), daemon=True).start()
    while piece := hub.recv(_PIECE):
        while piece:
            piece = piece[os.write(1, piece) :]
    return 0


def _to_hub(hub: socket.socket) -> None:
    try:
        while piece := os.read(0, _PIECE):
            hub.sendall(piece)
        hub.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # the hub went first; the other direction notices


if __name__ == "__main__":
    sys.exit(main())
