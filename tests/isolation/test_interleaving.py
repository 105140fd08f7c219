"""Whatever two people do in whatever order, each profile is as if the other did not exist."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import profiles.encryption.keyring
from profiles.encryption.file_encryption import ProfileKey
from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from profiles.store.store import ProfileStore
from tests.tiny_loaded import TinyModel
from tests.undo_log import newest_undo
from tokmem_desk.errors import LockedError, TokmemError
from tokmem_desk.procedures import ExamplePair, Procedure
from tui.engine import operations
from tui.engine.bank_cache import BankCache
from tui.engine.engine import Engine
from tui.engine.request import Request

NAMES = ("one", "two", "three")
MARKS = {"ann": "aardvark", "bob": "bluetit"}
"""Stands in everything that this profile is given."""

ACTIONS = ("add", "pairs", "train", "disable", "correct", "chat", "remove", "undo", "rename", "bank", "garbage")

steps = st.tuples(st.sampled_from(sorted(MARKS)), st.sampled_from(ACTIONS), st.integers(0, 2), st.integers(0, 3))


class Home:
    """A home with both profiles, or with one alone, and the banks built from them."""

    def __init__(self, folder: Path, tiny: TinyModel, owners: tuple[str, ...]) -> None:
        self.paths, self.tiny = AppPaths.resolve(folder), tiny
        self.bank_cache = BankCache(tiny.as_loaded())
        self.registry = ProfileRegistry(self.paths)
        for owner in owners:
            self.registry.create(owner)

    def do(self, owner: str, action: str, which: int, number: int) -> None:
        """One action; what the store refuses (a name that is taken, nothing to undo) is refused in every home alike."""
        with self.registry.open(owner) as store:
            try:
                self._do(store, MARKS[owner], action, NAMES[which], number)
            except TokmemError:
                return

    def _do(self, store: ProfileStore, mark: str, action: str, name: str, number: int) -> None:
        pair = ExamplePair(f"{mark} in {number}", f"{mark} out {number}")
        if action == "add":
            store.procedures.add(Procedure(name, (pair,), description=f"{mark} {name}"))
        elif action == "pairs":
            store.pairs.add(name, [pair])
        elif action == "train":
            self.tiny.add(store, name, seed=number + len(mark))
        elif action == "disable":
            store.procedures.set_enabled(name, number % 2 == 0)
        elif action == "correct":
            store.corrections.add(f"{mark} text {number}", "none", name)
        elif action == "chat":
            store.messages.add(store.chats.create(f"{mark} {number}"), "user", f"{mark} said {number}")
        elif action == "remove":
            store.procedures.remove(name)
        elif action == "undo":
            store.undo.take_back()
        elif action == "rename":
            store.procedures.rename(name, f"{name}-{number}")
        elif action == "bank":
            self.bank_cache.bank(store, "discriminant", 0.0)
        else:
            store.garbage.collect(age_seconds=0.0)

    def view(self, owner: str) -> dict[str, Any]:
        """All that a person can see or ask in a profile, without ids and times, which are drawn."""
        with self.registry.open(owner) as store:
            bank = self.bank_cache.bank(store, "discriminant", 0.0)
            messages = ["aardvark in 1", "bluetit in 1", "hello"]
            done = self.tiny.backbone.prefill(
                [self.tiny.backbone.format.query(text) for text in messages],
                feature_layers=self.tiny.basis.layers.pooled,
            )
            return {
                "procedures": [(p.name, p.description, p.enabled, p.version) for p in store.procedures.list()],
                "pairs": {p.name: [pair.pair for pair in store.pairs.list(p.name)] for p in store.procedures.list()},
                "memories": {p.name: [m.status for m in store.memories.list(p.name)] for p in store.procedures.list()},
                "corrections": [(c.text, c.wrong_route, c.right_route) for c in store.corrections.list()],
                "chats": [(c.title, [m.content for m in store.messages.list(c.id)]) for c in store.chats.list()],
                "found": {word: len(store.chats.list(search=word)) for word in MARKS.values()},
                "undo": newest_undo(store),
                "revision": store.revision,
                "bank": sorted(bank.memories),
                "routes": bank.router.candidates(done),
                "problems": self.bank_cache.problems(store),
            }

    def close(self) -> None:
        self.registry.close()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=st.lists(steps, min_size=10, max_size=40))
def test_each_profile_is_as_if_it_were_alone(
    tiny: TinyModel, tmp_path_factory: pytest.TempPathFactory, actions: list[tuple[str, str, int, int]]
) -> None:
    folder = tmp_path_factory.mktemp("homes")
    both = Home(folder / "both", tiny, ("ann", "bob"))
    alone = {owner: Home(folder / owner, tiny, (owner,)) for owner in MARKS}
    with ExitStack() as stack:
        for home in (both, *alone.values()):
            stack.callback(home.close)
        for owner, *action in actions:
            both.do(owner, *action)
            alone[owner].do(owner, *action)
        for owner in MARKS:
            assert both.view(owner) == alone[owner].view(owner)
        ids = {owner: both.registry.info(owner).id for owner in MARKS}
    for owner, other in (("ann", "bob"), ("bob", "ann")):
        files = [file for file in both.paths.profile_folder(ids[owner]).rglob("*") if file.is_file()]
        assert not [file for file in files if MARKS[other].encode() in file.read_bytes()]


@contextmanager
def two_profiles(folder: Path, tiny: TinyModel) -> Iterator[tuple[Engine, AppPaths, dict[str, ProfileKey]]]:
    """An engine over a locked and an unlocked profile, each with a memory under the same name."""
    paths = AppPaths.resolve(folder)
    keys: dict[str, ProfileKey] = {}
    with ProfileRegistry(paths) as registry:
        for place, owner in enumerate(MARKS):
            registry.create(owner)
            with registry.open(owner) as store:
                store.procedures.add(Procedure("one", (ExamplePair(MARKS[owner], MARKS[owner]),)))
                tiny.add(store, "one", seed=50 + place)
        registry.locks.add("ann", "four words of mine")
        keys["ann"] = registry.locks.key("ann", "four words of mine")
    yield Engine(paths, tiny.as_loaded()), paths, keys


def asked(engine: Engine, op: str, **fields: Any) -> list[dict[str, Any]]:
    """All events of one request."""
    events: list[dict[str, Any]] = []
    request = Request(1, op, {"max_tokens": 6, **fields}, events.append, threading.Event())
    for _ in operations.discover()[op].begin(engine, request):
        pass
    return events


@pytest.fixture(autouse=True)
def light_derivation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiles.encryption.keyring, "_MEMORY_KIB", 64)


def test_one_engine_serves_two_people_and_mixes_nothing(tiny: TinyModel, tmp_path: Path) -> None:
    with two_profiles(tmp_path / "home", tiny) as (engine, _, keys):
        key = keys["ann"].text()
        asks = {
            "ann": lambda: asked(engine, "ask", profile="ann", text="hello", route="one", key=key)[-1]["result"],
            "bob": lambda: asked(engine, "ask", profile="bob", text="hello", route="one")[-1]["result"],
        }
        first = {owner: ask()["response"] for owner, ask in asks.items()}
        assert first["ann"] != first["bob"], "the same name, two memories"
        for owner in ("bob", "ann", "ann", "bob"):
            assert asks[owner]()["response"] == first[owner]
        with pytest.raises(LockedError):  # bob cannot ask in ann's name, though her bank is in memory
            asked(engine, "ask", profile="ann", text="hello", route="one")
        with pytest.raises(LockedError):
            asked(engine, "ask", profile="ann", text="hello", route="one", key=ProfileKey.new().text())


def test_one_persons_damaged_memory_is_not_the_others_news(tiny: TinyModel, tmp_path: Path) -> None:
    with two_profiles(tmp_path / "home", tiny) as (engine, paths, keys):
        asked(engine, "ask", profile="bob", text="hello", route="none")
        with ProfileRegistry(paths) as registry, registry.open("ann", key=keys["ann"]) as store:
            (store.memories.folder / store.memories.list("one")[0].file).write_bytes(b"rubbish")
        mine = asked(engine, "ask", profile="ann", text="hello", route="none", key=keys["ann"].text())
        assert any("not encrypted" in event.get("text", "") for event in mine)
        for _ in range(2):
            theirs = asked(engine, "ask", profile="bob", text="hello", route="none")
            assert not [event for event in theirs if event["event"] == "progress"]


def test_forgetting_a_profile_leaves_no_trace_of_it(tiny: TinyModel, tmp_path: Path) -> None:
    with two_profiles(tmp_path / "home", tiny) as (engine, paths, keys):
        asked(engine, "ask", profile="ann", text="hello", key=keys["ann"].text())
        asked(engine, "ask", profile="bob", text="hello")
        with ProfileRegistry(paths) as registry:
            folder = str(paths.profile_folder(registry.info("ann").id))
            other = str(paths.profile_folder(registry.info("bob").id))
        bank_cache = engine.bank_cache

        def remembered(of: str) -> list[str]:
            return [name for name, value in vars(bank_cache).items() if of in repr(value)]

        assert remembered(folder) and remembered(other)
        asked(engine, "forget", profile="ann")
        assert remembered(folder) == [] and remembered(other)
