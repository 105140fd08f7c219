"""An engine that trains on workers of this computer; without Ray these tests are left out."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from profiles.files.paths import AppPaths, private_folder
from profiles.registry.registry import ProfileRegistry
from tests.engine.conftest import activate, furnish, result_of
from tokmem_desk.procedures import ExamplePair, Procedure
from tui.engine_client.client import EngineClient, engine_command, run_blocking

ROOT = Path(__file__).parents[3]


_TRIAL = """
import ray
ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
assert ray.get(ray.remote(lambda: 7).remote()) == 7
"""
_TRIAL_SECONDS = 180


@pytest.fixture(scope="session")
def ray() -> Any:
    """Ray, where it is installed and runs: some containers forbid the processes and ports that it needs."""
    module = pytest.importorskip("ray", reason="Ray is not installed: pip install 'tokmem-desk[cluster]'")
    try:
        subprocess.run([sys.executable, "-c", _TRIAL], check=True, capture_output=True, timeout=_TRIAL_SECONDS)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"Ray itself does not run here: {error}")
    return module


def add_procedure(home: Path) -> None:
    """A third one, beside those of ``furnish``."""
    pairs = tuple(ExamplePair(f"mark {i} and {i + 1}", f"<{i}|{i + 1}>") for i in range(10))
    with ProfileRegistry(AppPaths.resolve(home)) as registry, registry.open() as store:
        store.procedures.add(Procedure("mark", pairs))


@pytest.fixture(scope="session")
def here_home(
    shared_folder: Callable[[str, Callable[[Path], object]], Path], prepared_home: Path, tiny_model_folder: Path
) -> Path:
    """A home with three procedures that one engine has trained after one another; only to be read."""

    def build(home: Path) -> None:
        furnish(home, prepared_home)
        add_procedure(home)
        with engine_of(home, tiny_model_folder) as client:
            for name in ("count", "mark", "shout"):
                activate(home, result_of(client, "train", names=[name], preset="normal", span=4))

    return shared_folder("here-home", build)


@pytest.fixture
def cluster_home(own_home: Path, prepared_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same three, not trained."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    furnish(own_home, prepared_home)
    add_procedure(own_home)
    return own_home


def engine_of(home: Path, model: Path) -> EngineClient:
    """A client of an engine whose workers fit quickly."""
    # One thread, as workers have: more of them may add up in another order.
    start = ["env", "OMP_NUM_THREADS=1", sys.executable, "-m", "tests.engine.cluster.quick_engine"]
    command = [*start, *engine_command(home=home, model=str(model), device="cpu")[3:]]
    return EngineClient(command, private_folder(AppPaths.resolve(home).logs) / "engine.log")


def train(client: EngineClient, jobs: list[int], **fields: Any) -> list[dict[str, Any]]:
    """The events of a training on two workers of this computer."""
    request = {"address": "local", "workers": 2, "profile": "default", "jobs": jobs, **fields}
    return list(run_blocking(client.submit("train_cluster", **request)))


def queue(home: Path, *names: str) -> dict[str, int]:
    """Job numbers of procedures that were put into the queue."""
    with ProfileRegistry(AppPaths.resolve(home)) as registry, registry.open() as store:
        jobs = store.jobs.queue(names, {"preset": "normal", "span": 4, "router": "discriminant"})
        return {job.procedure: job.id for job in jobs}
