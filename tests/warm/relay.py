"""Stands where a Python process of ours would: hands what it was started with to a server of warm processes.

Started without the site's packages, so that it takes no time: ``relay.py SOCKET MODULE ARGUMENT ...``. Signals are
passed on; it ends as the fork ends. Where the server cannot make what it stands for, it becomes ``python -m MODULE``.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import socket
import sys

PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def limits() -> list[list[int]]:
    """What this process may use, as the server tells its own: nothing of the project can be imported here."""
    kinds = (resource.RLIMIT_AS, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE, resource.RLIMIT_STACK)
    return [list(resource.getrlimit(kind)) for kind in kinds]


def open_streams() -> list[int]:
    """Which of the three are open."""
    found = []
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            continue
        found.append(number)
    return found


def main() -> None:
    """Be the process, as far as others can tell."""
    address, module, *arguments = sys.argv[1:]
    streams = open_streams()
    connection = socket.socket(socket.AF_UNIX)
    waiting: list[int] = []
    for number in PASSED_ON:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda number, _: waiting.append(number))
    ignored = [int(number) for number in PASSED_ON if signal.getsignal(number) == signal.SIG_IGN]
    try:
        folder = os.getcwd()  # noqa: PTH109 - pathlib takes time to import
    except FileNotFoundError:
        folder = ""
    asked = {
        "module": module,
        "arguments": arguments,
        "environment": dict(os.environ),
        "folder": folder,
        "mask": os.umask(0),
        "streams": streams,
        "ignored": ignored,
        "limits": limits(),
    }
    os.umask(asked["mask"])
    data = json.dumps(asked).encode()
    connection.connect(address)
    socket.send_fds(connection, [len(data).to_bytes(8, "big")], streams)
    connection.sendall(data)
    answer = connection.makefile("rb")
    pid = int(answer.readline() or b"-1")
    if pid < 0:
        raise RuntimeError("the server of warm processes is gone")
    if pid == 0:
        for number in PASSED_ON:
            if number not in ignored:
                signal.signal(number, signal.SIG_DFL)
        os.execv(sys.executable, [sys.executable, "-m", module, *arguments])

    def pass_on(number: int, _: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    for number in PASSED_ON:
        if number not in ignored:
            signal.signal(number, pass_on)
    for number in waiting:
        pass_on(number, None)
    for number in streams:
        os.close(number)
    code = int(answer.readline() or b"-9")
    if code < 0:
        if code != -signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


main()
