"""What an operation of the engine is, and how one is declared.

An operation is one function in a module of ``tui.engine.operations``, under the decorator ``operation``. Nothing else
lists it: ``tui.engine.operations.discover`` finds it there, the server calls it, and clients name it in ``submit``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypedDict, get_args, get_origin, get_type_hints

from tokmem_desk.errors import UsageError
from tui.engine.engine import Engine
from tui.engine.request import Request

Waits = Literal["first", "aside", "patient"]
"""Which requests go before this one.

``first``: none but those of its own kind that came earlier. ``aside``: answers, but not trainings. ``patient``: all
that do not wait as long.
"""

Run = Callable[[Engine, Request], Iterator[None]]
"""Does the operation. Yields wherever another request may have its turn; sends ``done`` itself."""


class ModelFields(TypedDict, total=False):
    """Fields of a request that needs the model."""

    fetch: bool
    """False where the client has no consent for a download: a missing model is then refused."""


class ProfileFields(ModelFields):
    """Fields of a request that opens a profile.

    ``key`` (text: the key of an encrypted profile) and ``settings`` (values that go before those of files) may come
    with each of them.
    """

    profile: str
    """Its name."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation, as it was declared.

    Attributes:
        name: the ``op`` of its requests.
        fields: a TypedDict; requests without its required keys, or with values of other types there, are refused.
        result: a TypedDict of what ``done`` carries.
        waits: which requests go before it.
        run: what it does.
    """

    name: str
    fields: type
    result: type
    waits: Waits
    run: Run

    def begin(self, engine: Engine, request: Request) -> Iterator[None]:
        """The steps of one request.

        Raises:
            UsageError: a required field is missing or of another type.
            TokmemError: what the operation itself refuses.
        """
        self._check(request)
        yield from self.run(engine, request)

    def _check(self, request: Request) -> None:
        hints = get_type_hints(self.fields)
        for name in sorted(self.fields.__required_keys__):  # type: ignore[attr-defined]
            if not _is(request.fields.get(name), hints[name]):
                raise UsageError(f"Request {self.name!r} needs the {_kind(hints[name])} field {name!r}.")


def operation(name: str, *, fields: type, result: type, waits: Waits = "first") -> Callable[[Run], Operation]:
    """Declare an operation; see ``Operation`` for the arguments."""

    def declare(run: Run) -> Operation:
        return Operation(name, fields, result, waits, run)

    return declare


def _is(value: object, hint: Any) -> bool:
    """Whether a value from JSON is of a declared type: str, int, bool, dict, or a list of one of these."""
    if get_origin(hint) is list:
        [element] = get_args(hint)
        return isinstance(value, list) and all(_is(item, element) for item in value)
    kind = get_origin(hint) or hint
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _kind(hint: Any) -> str:
    names = {str: "text", int: "whole number", bool: "yes-or-no", dict: "object"}
    if get_origin(hint) is list:
        return f"list of {names[get_origin(get_args(hint)[0]) or get_args(hint)[0]]}"
    return names[get_origin(hint) or hint]
