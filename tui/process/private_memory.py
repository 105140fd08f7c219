"""What keeps a process's memory from other processes of the same account, and from files that a crash leaves.

It holds against a look from outside, not against an administrator, nor against what the process itself hands out.
"""

from __future__ import annotations

import contextlib
import sys

_PR_SET_DUMPABLE = 4


def keep_memory_private() -> None:
    """Let no crash write a core file, and on Linux no other process of this account read this one's memory.

    Every process calls it for itself: a program started by this one is as any other. Where the system refuses, all goes
    on without.
    """
    try:
        import resource
    except ImportError:  # Windows: nothing writes memory to files there unless an administrator has set that up
        return
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if sys.platform != "linux":
        return
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        # Core files that are piped to a collector are not stopped by the limit, but by this.
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
