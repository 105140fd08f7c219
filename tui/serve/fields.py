"""Reads fields of a request's body: what they must be, and the error that names the field."""

from __future__ import annotations

from typing import Any

from tui.serve.errors import ApiError

NUMBER_LIMIT = 2**63


def text_of(body: dict[str, Any], name: str) -> str:
    """A text; empty where it is not there."""
    value = body.get(name, "")
    if not isinstance(value, str):
        raise wrong(name, "must be text.")
    return value


def object_of(body: dict[str, Any], name: str) -> dict[str, Any]:
    """An object; empty where it is not there."""
    value = body.get(name)
    if value is not None and not isinstance(value, dict):
        raise wrong(name, "must be an object.")
    return value or {}


def flag_of(body: dict[str, Any], name: str) -> bool:
    """True or false; false where it is not there."""
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise wrong(name, "must be true or false.")
    return bool(value)


def number_of(body: dict[str, Any], name: str, least: float, most: float, param: str = "") -> float | None:
    """A number within limits, or None."""
    value = body.get(name)
    if value is None:
        return None
    # Compared before anything is made a float of it: a whole number of a thousand digits is none.
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not least <= value <= most:
        raise wrong(param or name, f"must be a number from {least:g} to {most:g}.")
    return float(value)


def whole_of(body: dict[str, Any], name: str, least: int) -> int | None:
    """A whole number from a limit on, or None. One with a point and nothing behind it is whole, too."""
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value < NUMBER_LIMIT:
        raise wrong(name, "must be a whole number" + (f" of {least} or more." if least > 0 else "."))
    return value


def wrong(param: str, fault: str, *, code: str = "invalid_value") -> ApiError:
    """The error for a field."""
    return ApiError(400, f"{param} {fault}", code=code, param=param)
