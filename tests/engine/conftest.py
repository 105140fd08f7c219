"""A real engine process on a tiny model, with a profile that has something to learn."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from profiles.files.paths import AppPaths, private_folder
from profiles.registry.registry import ProfileRegistry
from tests.quick_fits import fit_quickly
from tests.warm import start_of
from tokmem_desk.procedures import ExamplePair, Procedure
from tui.engine_client.client import EngineClient, engine_command, run_blocking


@pytest.fixture(autouse=True)
def quick_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is fitted in this process is fitted as in ``warm_engine``."""
    fit_quickly(monkeypatch.setattr)


def copy_model(prepared: Path, home: Path) -> None:
    """Have the tiny model ready in another home."""
    one, other = AppPaths.resolve(prepared), AppPaths.resolve(home)
    for folder in ("models", "fitted"):
        shutil.copytree(getattr(one, folder), getattr(other, folder), dirs_exist_ok=True)


def warm_engine(home: Path, model: str) -> list[str]:
    """The command line of the real engine, as a fork of a process with torch loaded, and with quick fits."""
    return [*start_of("tests.engine.quick_engine"), *engine_command(home=home, model=model, device="cpu")[3:]]


def run_engine(home: Path, model: Path, use: Callable[[EngineClient], Any]) -> Any:
    paths = AppPaths.resolve(home)
    log = private_folder(paths.logs) / "engine.log"
    with EngineClient(warm_engine(home, str(model)), log) as client:
        return use(client)


def result_of(client: EngineClient, op: str, **fields: Any) -> dict[str, Any]:
    *_, last = run_blocking(client.submit(op, **{"profile": "default", **fields}))
    assert last["event"] == "done"
    return dict(last["result"])


def activate(home: Path, result: dict[str, Any]) -> None:
    """Take what was trained into use."""
    with ProfileRegistry(AppPaths.resolve(home)) as registry, registry.open() as store:
        for trained in result["trained"]:
            store.memories.activate(trained["memory_id"])


def furnish(home: Path, prepared: Path) -> None:
    """Have the model ready and two untrained procedures."""
    paths = AppPaths.resolve(home)
    copy_model(prepared, home)
    words = ["milk", "bread", "tea", "lunch", "note", "table", "fox", "dog", "card", "blue"]
    shout = Procedure("shout", tuple(ExamplePair(f"say {w} {i}", w.upper()) for i, w in enumerate(words)))
    count = Procedure(
        "count",
        tuple(ExamplePair(f"{i} of 12 euro", f"{i};euro") for i in range(10)),
        (ExamplePair("7 of 9 euro", "7;euro"),),
    )
    with ProfileRegistry(paths) as registry, registry.open() as store:
        for procedure in (shout, count):
            store.procedures.add(procedure)


@pytest.fixture
def home(own_home: Path, prepared_home: Path) -> Path:
    """A home with the model ready and two untrained procedures."""
    furnish(own_home, prepared_home)
    return own_home


@pytest.fixture(scope="session")
def taught_home(
    shared_folder: Callable[[str, Callable[[Path], object]], Path], prepared_home: Path, tiny_model_folder: Path
) -> Path:
    """A home with both procedures trained once, one with keys and values, one of rows alone; only to be copied."""

    def build(home: Path) -> None:
        furnish(home, prepared_home)
        run_engine(home, tiny_model_folder, lambda client: learn(home, client))

    def learn(home: Path, client: EngineClient) -> None:
        activate(home, result_of(client, "train", names=["shout"], preset="quick", span=4))
        activate(home, result_of(client, "train", names=["count"], preset="quick", span=1))

    return shared_folder("taught-home", build)


@pytest.fixture
def trained_home(own_home: Path, taught_home: Path) -> Path:
    """A copy of it, in the place of ``home``."""
    return Path(shutil.copytree(taught_home, own_home))


@pytest.fixture
def trained(trained_home: Path, tiny_model_folder: Path) -> Iterator[EngineClient]:
    """A client of an engine that has both trained procedures."""
    yield from client_of(trained_home, tiny_model_folder)


@pytest.fixture
def client(home: Path, tiny_model_folder: Path) -> Iterator[EngineClient]:
    yield from client_of(home, tiny_model_folder)


def client_of(home: Path, model: Path) -> Iterator[EngineClient]:
    """A client whose engine ends when it is over."""
    log = private_folder(AppPaths.resolve(home).logs) / "engine.log"
    with EngineClient(warm_engine(home, str(model)), log) as made:
        yield made
