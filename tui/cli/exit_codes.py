"""What the command line ends with; errors carry the same numbers (``TokmemError.exit_code``)."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Part of the contract with other programs."""

    OK = 0
    FAILED = 1
    USAGE = 2
    RETRY = 3
    """Busy, or out of memory: the same command may work later."""
    INCOMPATIBLE = 4
    INTERRUPTED = 130
