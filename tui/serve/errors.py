"""Errors as clients expect them: a status and ``{"error": {"message", "type", "param", "code"}}``, as OpenAI has them.

At Anthropic's address they have Anthropic's form: ``{"type": "error", "error": {...}}``, with its own types.
"""

from __future__ import annotations

from typing import Any

from tokmem_desk.errors import (
    BadInputError,
    BusyError,
    ConflictError,
    ContextLengthError,
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
    409: "invalid_request_error",
    405: "invalid_request_error",
    408: "invalid_request_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
    423: "permission_error",
    429: "rate_limit_error",
}

_ANTHROPIC_PATH = "/v1/messages"
_OF_ANTHROPIC = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    423: "permission_error",
    429: "rate_limit_error",
    503: "overloaded_error",
}

_BY_KIND: dict[type[TokmemError], tuple[int, str]] = {
    UsageError: (400, "invalid_request"),
    BadInputError: (400, "invalid_request"),
    # The one thing of a request that can be too large for the model.
    IncompatibleError: (400, "context_length_exceeded"),
    DamagedError: (503, "model_damaged"),
    NotFoundError: (404, "model_not_found"),
    ConflictError: (409, "conflict"),
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

    def body_at(self, path: str) -> dict[str, Any]:
        """The JSON object that is sent, in the form of the clients of an address."""
        of_anthropic = path == _ANTHROPIC_PATH or path.startswith(f"{_ANTHROPIC_PATH}/")
        return self.anthropic_body() if of_anthropic else self.body()

    def anthropic_body(self) -> dict[str, Any]:
        """The JSON object in Anthropic's form; ``param`` and ``code`` stand in it as well."""
        kind = _OF_ANTHROPIC.get(self.status, "api_error" if self.status >= 500 else "invalid_request_error")
        return {"type": "error", "error": {**self.body()["error"], "type": kind}}

    def body(self) -> dict[str, Any]:
        """The JSON object in OpenAI's form."""
        kind = _BY_STATUS.get(self.status, "server_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


class VllmError(TokmemError):
    """A vLLM server did not answer one request; others are not touched by it.

    Args:
        message: what was asked, and what came.
        code: for a program, one of ``vllm_away``, ``vllm_busy``, ``vllm_refused``, ``vllm_version``,
            ``vllm_connector``, ``vllm_backbone``, ``vllm_memory`` and ``vllm_answer``.
        next_step: what to do.
    """

    title = "The vLLM server did not answer"

    def __init__(self, message: str, code: str, *, next_step: str = "") -> None:
        super().__init__(message, next_step=next_step)
        self.code = code

    @property
    def status(self) -> int:
        """Of HTTP: 503 for what passes by itself, else 502."""
        return 503 if self.code in ("vllm_away", "vllm_busy") else 502


def api_error(error: TokmemError) -> ApiError:
    """A TokmemError in that form. Of an engine that died no details are sent: its log may quote private text."""
    if isinstance(error, EngineError):
        return ApiError(500, f"{error.message.splitlines()[0]} Ask again.", code="engine_stopped")
    if isinstance(error, VllmError):
        return ApiError(error.status, str(error), code=error.code)
    if isinstance(error, ContextLengthError):
        # Clients that shorten a conversation by themselves look for OpenAI's words.
        message = f"This model's maximum context length is exceeded. {error}"
        return ApiError(400, message, code="context_length_exceeded", param="messages")
    status, code = _BY_KIND.get(type(error), (500, "server_error"))
    param = "model" if status == 404 else None
    return ApiError(status, str(error), code=code, param=param)
