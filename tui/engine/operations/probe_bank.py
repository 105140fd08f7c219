"""``bank_probes`` and ``bank_check``: make and run the probes of a bank file; see ``tui.engine.probing``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NotRequired, TypedDict

from tui.engine.engine import Engine
from tui.engine.operation import ProfileFields, operation
from tui.engine.probing import check_bank, make_probes
from tui.engine.request import Request


class ProbesFields(ProfileFields):
    """``names``: of the procedures that go into the bank. ``with_pairs`` (true or false) need not be there."""

    names: list[str]


class CheckFields(ProfileFields):
    """Fields of a check; see ``tui.engine.probing.check_bank``. ``inputs`` and ``anchors`` need not be there."""

    folder: str
    memories: list[dict[str, Any]]
    probes: list[dict[str, Any]]


class CheckResult(TypedDict):
    """What the probes said; without ``cancelled`` alone, all keys are there."""

    cancelled: bool
    passed: NotRequired[bool]
    turned: NotRequired[bool]
    probes: NotRequired[list[dict[str, Any]]]
    files: NotRequired[dict[str, str]]
    overlap: NotRequired[Any]


class ProbesResult(TypedDict):
    """What a bank's manifest says of its probes and of the router; ``fresh`` holds memory files in base64 by name."""

    probes: list[dict[str, Any]]
    fingerprint: str
    recipe: str
    licence: str
    configuration: dict[str, Any]
    calibration: dict[str, Any]
    anchors: str
    fresh: dict[str, str]


@operation("bank_probes", fields=ProbesFields, result=ProbesResult)
def bank_probes(engine: Engine, request: Request) -> Iterator[None]:
    """Make probes of the named procedures' active memories."""
    yield from engine.ready(request)
    with engine.profile(request) as (store, _):
        yield from make_probes(request, store, engine.model, engine.bank_cache)


@operation("bank_check", fields=CheckFields, result=CheckResult)
def bank_check(engine: Engine, request: Request) -> Iterator[None]:
    """Run the probes of a bank on its memories in quarantine."""
    yield from engine.ready(request)
    with engine.profile(request) as (store, _):
        yield from check_bank(request, store, engine.model, engine.bank_cache)
