"""Answers of two people whose steps are computed together: each is what it is alone, and holds nothing of the other."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from profiles.registry.registry import ProfileRegistry
from tests.isolation.test_interleaving import MARKS, asked, two_profiles
from tests.tiny_loaded import TinyModel
from tokmem_desk.generation import steps_together
from tui.engine import operations
from tui.engine.engine import Engine
from tui.engine.request import Request


@pytest.fixture(autouse=True)
def _light_and_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("profiles.encryption.keyring._MEMORY_KIB", 64)
    # Also where a processor's products are not the same to the bit: who sees what is the same there.
    monkeypatch.setattr(steps_together, "exact_together", lambda _: True)


class Asking:
    """One person's request, step by step."""

    def __init__(self, engine: Engine, owner: str, **fields: Any) -> None:
        self.events: list[dict[str, Any]] = []
        self.cancelled = threading.Event()
        request = Request(1, "ask", {"profile": owner, "max_tokens": 12, **fields}, self.events.append, self.cancelled)
        self._steps: Iterator[None] = operations.discover()["ask"].begin(engine, request)
        self.ended = False

    def step(self) -> None:
        try:
            next(self._steps)
        except StopIteration:
            self.ended = True

    @property
    def response(self) -> str:
        return self.events[-1]["result"]["response"]


def _in_turns(*several: Asking) -> None:
    while any(not one.ended for one in several):
        for one in several:
            if not one.ended:
                one.step()


def _fields(keys: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        "ann": {"text": f"{MARKS['ann']} has a question", "route": "one", "key": keys["ann"].text()},
        "bob": {"text": f"{MARKS['bob']} asks something else, at more length", "route": "one"},
    }


def test_two_people_get_what_each_gets_alone(tiny: TinyModel, tmp_path: Path) -> None:
    with two_profiles(tmp_path / "home", tiny) as (engine, _, keys):
        fields = _fields(keys)
        alone = {owner: asked(engine, "ask", profile=owner, **fields[owner], max_tokens=12) for owner in MARKS}
        assert engine.step_pool.together == 0
        both = {owner: Asking(engine, owner, **fields[owner]) for owner in MARKS}
        _in_turns(*both.values())
        assert engine.step_pool.together > 0
        for owner, other in (("ann", "bob"), ("bob", "ann")):
            assert both[owner].response == alone[owner][-1]["result"]["response"]
            assert MARKS[other] not in repr(both[owner].events)
        assert both["ann"].response != both["bob"].response
        assert not engine.step_pool._waiting


def test_who_stops_takes_nothing_from_the_other(tiny: TinyModel, tmp_path: Path) -> None:
    with two_profiles(tmp_path / "home", tiny) as (engine, _, keys):
        fields = _fields(keys)
        alone = asked(engine, "ask", profile="bob", **fields["bob"], max_tokens=12)[-1]["result"]["response"]
        ann, bob = (Asking(engine, owner, **fields[owner]) for owner in MARKS)
        while engine.step_pool.together < 2:
            ann.step()
            bob.step()
        ann.cancelled.set()
        _in_turns(ann, bob)
        assert bob.response == alone
        assert not engine.step_pool._waiting


def test_a_bank_that_vanishes_in_the_middle_is_its_owners_alone(tiny: TinyModel, tmp_path: Path) -> None:
    with two_profiles(tmp_path / "home", tiny) as (engine, paths, keys):
        fields = _fields(keys)
        alone = {
            owner: asked(engine, "ask", profile=owner, **fields[owner], max_tokens=12)[-1]["result"]["response"]
            for owner in MARKS
        }
        ann, bob = (Asking(engine, owner, **fields[owner]) for owner in MARKS)
        while engine.step_pool.together < 2:
            ann.step()
            bob.step()
        with ProfileRegistry(paths) as registry, registry.open("ann", key=keys["ann"]) as store:
            (store.memories.folder / store.memories.list("one")[0].file).unlink()
        engine.bank_cache.forget(lambda folder: True)
        _in_turns(ann, bob)
        # What had begun goes on with what it holds; what comes then fails, and fails alone.
        assert {"ann": ann.response, "bob": bob.response} == alone
        again = Asking(engine, "bob", **fields["bob"])
        _in_turns(again)
        assert again.response == alone["bob"]
