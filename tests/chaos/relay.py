"""Stands where the engine's process would: hands its streams to a process that has the libraries loaded already.

Started as a script without the site's packages, so that it takes no time: ``relay.py SOCKET KIND ARGUMENT ...``.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys


def main() -> None:
    """Send streams, arguments and environment; end as the engine ends."""
    wanted = {"kind": sys.argv[2], "arguments": sys.argv[3:], "environ": dict(os.environ)}
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(sys.argv[1])
        socket.send_fds(connection, [b" "], [0, 1, 2])
        connection.sendall(json.dumps(wanted).encode() + b"\n")
        code = connection.recv(16)
    if not code:
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(int(code))


main()
