"""What a fork of another process cannot take over; imports nothing heavy."""

from __future__ import annotations

import resource

FORK_CANNOT_CHANGE = (
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "PYTHONCOERCECLOCALE",
    "PYTHONIOENCODING",
    "PYTHONUNBUFFERED",
    "PYTHONUTF8",
    "OMP_NUM_THREADS",
)
"""Variables that are read when Python or a library starts."""


def limits() -> list[list[int]]:
    """The limits of this process, as a relay tells its own."""
    kinds = (resource.RLIMIT_AS, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE, resource.RLIMIT_STACK)
    return [list(resource.getrlimit(kind)) for kind in kinds]
