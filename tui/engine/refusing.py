"""Answer every request with one error, where the engine could not start. Loads no library."""

from __future__ import annotations

from typing import BinaryIO

from tokmem_desk.errors import EngineError, TokmemError
from tui.engine_client.protocol import decode, encode


def refuse_all(source: BinaryIO, sink: BinaryIO, error: TokmemError) -> int:
    """Answer every request with ``error`` until the client goes; returns the exit code."""
    for line in source:
        try:
            number = int(decode(line)["id"])
        except (EngineError, KeyError, TypeError, ValueError):
            continue
        sink.write(encode({"id": number, "event": "error", "error": error.as_dict()}))
    return error.exit_code
