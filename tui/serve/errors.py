"""Errors as OpenAI's clients expect them: a status and ``{"error": {"message", "type", "param", "code"}}``."""

from __future__ import annotations

from typing import Any

from tokmem_desk.errors import (
    BadInputError,
    BusyError,
    DamagedError,
    EngineError,
    IncompatibleError,
    LockedError,
    NotFoundError,
    OfflineError,
    OutOfMemoryError,
    TokmemError,
    UsageError,
)

RETRY_SECONDS = 5
"""How long a client is told to wait where the server is busy."""

_BY_STATUS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "invalid_request_error",
    405: "invalid_request_error",
    408: "invalid_request_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
    423: "permission_error",
    429: "rate_limit_error",
}

_BY_KIND: dict[type[TokmemError], tuple[int, str]] = {
    UsageError: (400, "invalid_request"),
    BadInputError: (400, "invalid_request"),
    # The one thing of a request that can be too large for the model.
    IncompatibleError: (400, "context_length_exceeded"),
    DamagedError: (503, "model_damaged"),
    NotFoundError: (404, "model_not_found"),
    LockedError: (423, "profile_locked"),
    BusyError: (503, "busy"),
    OutOfMemoryError: (503, "out_of_memory"),
    OfflineError: (503, "model_not_ready"),
}


class ApiError(Exception):
    """A refusal that a client can read.

    Args:
        status: of HTTP.
        message: for a person.
        code: for a program.
        param: the field of the request that is at fault.
    """

    def __init__(self, status: int, message: str, *, code: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param

    @property
    def headers(self) -> dict[str, str]:
        """Headers that belong to the status."""
        if self.status == 401:
            return {"WWW-Authenticate": "Bearer"}
        return {"Retry-After": str(RETRY_SECONDS)} if self.status in (429, 503) else {}

    def body(self) -> dict[str, Any]:
        """The JSON object that is sent."""
        kind = _BY_STATUS.get(self.status, "server_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


def api_error(error: TokmemError) -> ApiError:
    """A TokmemError in that form. Of an engine that died no details are sent: its log may quote private text."""
    if isinstance(error, EngineError):
        return ApiError(500, f"{error.message.splitlines()[0]} Ask again.", code="engine_stopped")
    status, code = _BY_KIND.get(type(error), (500, "server_error"))
    param = "model" if status == 404 else None
    return ApiError(status, str(error), code=code, param=param)
