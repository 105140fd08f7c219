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


@pytest.fixture
def home(own_home: Path, prepared_home: Path) -> Path:
    """A home with the model ready and two untrained procedures."""
    paths = AppPaths.resolve(own_home)
    copy_model(prepared_home, own_home)
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
    return own_home


@pytest.fixture
def client(home: Path, tiny_model_folder: Path) -> Iterator[EngineClient]:
    paths = AppPaths.resolve(home)
    log = private_folder(paths.logs) / "engine.log"
    with EngineClient(warm_engine(home, str(tiny_model_folder)), log) as made:
        yield made
