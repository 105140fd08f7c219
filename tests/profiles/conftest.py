"""A profile in a temporary folder, and Python processes that share it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from profiles.store.store import ProfileStore
from tokmem_desk.procedures import ExamplePair, Procedure

ROOT = Path(__file__).parents[2]
AT_SMALL_COSTS = "from tests.small_costs import lower_costs; lower_costs()\n"


@pytest.fixture(autouse=True)
def no_user_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests never see the person's own TOKMEM_ variables."""
    for name in [name for name in os.environ if name.startswith("TOKMEM_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def paths(tmp_path: Path) -> AppPaths:
    return AppPaths.resolve(tmp_path / "home")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ProfileStore]:
    with ProfileStore(tmp_path / "profile") as opened:
        yield opened


@pytest.fixture
def registry(paths: AppPaths) -> Iterator[ProfileRegistry]:
    with ProfileRegistry(paths) as opened:
        yield opened


@pytest.fixture
def ledger() -> Procedure:
    return Procedure(
        name="ledger",
        pairs=(
            ExamplePair("coffee 3.50", "2024-01-02 coffee 3.50"),
            ExamplePair("tram 2", "2024-01-02 tram 2.00", ("2024-01-02 tram 2",)),
        ),
        held_out=(ExamplePair("bread 4", "2024-01-02 bread 4.00"),),
        description="Write an expense as a ledger line.",
        pattern=r"\d{4}-.*",
    )


@pytest.fixture
def python() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start ``python -c CODE ARGUMENTS…`` at small costs; what still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, *arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", AT_SMALL_COSTS + code, *map(str, arguments)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
