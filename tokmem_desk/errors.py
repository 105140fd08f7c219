"""Everything that can go wrong in a way a caller may react to.

Each error carries three texts: a short ``title``, a ``message`` (what was asked, what was found) and a
``next_step`` (what the person can do now). ``exit_code`` is what the command line ends with. Nothing here
prints or logs.

    TokmemError                 1
    ├── UsageError              2   the request itself makes no sense
    ├── BadInputError           1   a file, a pair or a text that cannot be used
    ├── NotFoundError           1   no procedure, profile or model of that name
    ├── ConflictError           1   the name is taken
    ├── FetchError              1   a download failed; what arrived is kept
    ├── OfflineError            1   a download is needed and not allowed
    ├── StorageError            1   disk full, no permission, a damaged database
    ├── LockedError             1   the profile is locked, and no passphrase was given, or a wrong one
    ├── BusyError               3   somebody else holds the lock; try again
    ├── OutOfMemoryError        3   the model or the batch does not fit
    ├── GenerationError         1   no answer of the wanted form came out
    ├── EngineError             1   the engine process died
    ├── IncompatibleError       4   trained for another backbone, or a newer format
    │   ├── ContextLengthError  4   a text is longer than the model's context
    │   ├── DamagedError        4   a file of ours is not what was written; it can be made or fetched again
    │   └── UnsupportedModelError 4 a model whose layers work in a way this version does not know
    └── InterruptedByUser     130   stopped on request
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TokmemError(Exception):
    """Base of all errors that are meant for a person."""

    title = "Something went wrong"
    exit_code = 1

    def __init__(self, message: str, *, next_step: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.message} {self.next_step}".strip()

    def as_dict(self) -> dict[str, str | int]:
        """The form in which an error crosses the engine's pipe."""
        return {
            "kind": type(self).__name__,
            "title": self.title,
            "message": self.message,
            "next_step": self.next_step,
            "exit_code": self.exit_code,
        }


class UsageError(TokmemError):
    title = "That request does not work"
    exit_code = 2


class BadInputError(TokmemError):
    title = "That input cannot be used"


class NotFoundError(TokmemError):
    title = "Not found"


class ConflictError(TokmemError):
    title = "That name is taken"


class FetchError(TokmemError):
    title = "The download failed"


class OfflineError(TokmemError):
    title = "A download is needed"


class StorageError(TokmemError):
    title = "The disk refused"


class LockedError(TokmemError):
    title = "The profile is locked"


class BusyError(TokmemError):
    title = "Busy"
    exit_code = 3


class OutOfMemoryError(TokmemError):
    title = "Not enough memory"
    exit_code = 3


class GenerationError(TokmemError):
    title = "The answer does not fit its schema"


class RoutingError(TokmemError):
    """No route can be told: a memory in the bank gives numbers that are not finite. Leave that memory out."""

    title = "The message cannot be routed"


class EngineError(TokmemError):
    title = "The engine stopped"


class IncompatibleError(TokmemError):
    title = "These do not fit together"
    exit_code = 4


class ContextLengthError(IncompatibleError):
    title = "The text is too long for the model"


class DamagedError(IncompatibleError):
    title = "A file is damaged"


class UnsupportedModelError(IncompatibleError):
    title = "This model is not supported"


class InterruptedByUser(TokmemError):
    title = "Stopped"
    exit_code = 130


_KINDS: dict[str, type[TokmemError]] = {
    kind.__name__: kind
    for kind in (
        UsageError,
        RoutingError,
        BadInputError,
        NotFoundError,
        ConflictError,
        FetchError,
        OfflineError,
        StorageError,
        LockedError,
        BusyError,
        OutOfMemoryError,
        GenerationError,
        EngineError,
        IncompatibleError,
        ContextLengthError,
        UnsupportedModelError,
        DamagedError,
        InterruptedByUser,
    )
}


def error_from_dict(fields: dict[str, str | int]) -> TokmemError:
    """Rebuild an error that crossed the engine's pipe; an unknown kind becomes the base class."""
    kind = _KINDS.get(str(fields.get("kind")), TokmemError)
    return kind(str(fields.get("message", "unknown error")), next_step=str(fields.get("next_step", "")))


def first_line(error: BaseException) -> str:
    """What an error of a library says, short enough to stand inside a sentence of ours."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


def did_you_mean(wanted: str, known: Iterable[str]) -> str:
    """``" Did you mean 'x'?"`` for the nearest known name, or an empty string."""
    nearest = difflib.get_close_matches(wanted, list(known), n=1, cutoff=0.5)
    return f" Did you mean {nearest[0]!r}?" if nearest else ""
