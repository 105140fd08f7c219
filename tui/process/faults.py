"""What the system or a library refuses, in words: too few file handles, too little memory, a missing package.

Both faces of the program and the engine ask here before they call something unforeseen. Loads no library.
"""

from __future__ import annotations

import contextlib
import errno

from tokmem_desk.errors import OutOfMemoryError, StorageError, TokmemError

_MEMORY_WORDS = (
    "cannot allocate memory",
    "failed to map segment",
    "bad_alloc",
    "defaultcpuallocator",
    "can't start new thread",
    "can't allocate",
    "not enough memory",
    "failed to create thread",
    "resource temporarily unavailable",
)
_OWN_PACKAGES = frozenset({"tokmem_desk", "trainer", "profiles", "tui"})
"""One of these that cannot be loaded is a mistake of this program."""
_INSTALL = "Install tokmem-desk again, in an environment of its own."


def in_words(error: BaseException) -> TokmemError | None:
    """The same fault as one of ours; None for what can only be a mistake of this program.

    Args:
        error: of the system or of a library.
    """
    if isinstance(error, TokmemError):
        return error
    text = str(error).lower()
    if (
        isinstance(error, MemoryError)
        or any(words in text for words in _MEMORY_WORDS)
        or _number(error) == errno.ENOMEM
    ):
        return out_of_memory()
    if isinstance(error, ImportError) and (error.name or "").split(".")[0] not in _OWN_PACKAGES:
        return TokmemError(f"{_package(error)} cannot be loaded.", next_step=_INSTALL)
    if _number(error) in (errno.EMFILE, errno.ENFILE) or "too many open files" in text:
        return TokmemError(
            f"Too many files are open for what this shell allows{_handles()}.",
            next_step="Allow more, as with 'ulimit -n 1024', and try again.",
        )
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if isinstance(error.filename, str) else ""
        return StorageError(f"The system refused: {place}{error.strerror.lower()}.", next_step="Try again.")
    return None


def out_of_memory() -> OutOfMemoryError:
    """Memory is used up, or a limit on it is."""
    limit = memory_limit()
    if limit is None:
        return OutOfMemoryError(
            "The memory of this machine, or of its card, is used up.",
            next_step="Close other programs, or choose a smaller model.",
        )
    return OutOfMemoryError(
        f"The memory that this shell allows is used up ({limit / 2**20:,.0f} MiB).",
        next_step="Allow more, as with 'ulimit -v unlimited', or choose a smaller model.",
    )


def memory_limit() -> int | None:
    """Bytes of memory that this process and its children may have; None without a limit, or where none is known."""
    with contextlib.suppress(ImportError):  # Windows has no such limits
        import resource

        limits = [resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA)]
        return min((limit for limit in limits if limit != resource.RLIM_INFINITY), default=None)
    return None


def _handles() -> str:
    with contextlib.suppress(ImportError):
        import resource

        return f" ({resource.getrlimit(resource.RLIMIT_NOFILE)[0]})"
    return ""


def _number(error: BaseException) -> int | None:
    """The system's number of an error, also where a library has wrapped it."""
    seen: BaseException | None = error
    for _ in range(8):
        if seen is None:
            return None
        if isinstance(seen, OSError) and seen.errno is not None:
            return seen.errno
        seen = seen.__cause__ or seen.__context__
    return None


def _package(error: ImportError) -> str:
    name = (error.name or "").partition(".")[0]
    return f"The package {name}, which tokmem-desk needs," if name else "A package that tokmem-desk needs"
