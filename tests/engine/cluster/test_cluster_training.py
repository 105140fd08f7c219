"""Procedures trained on workers: the same memories as here, whatever happens to a worker or to who asked."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from profiles.store.checkpoints import checkpoint_file
from tests.engine.cluster.conftest import engine_of, queue, train
from tests.engine.cluster.quick_engine import KILL_FOLDER
from tokmem_desk.errors import EngineError, OfflineError, UsageError
from tui.engine_client.client import EngineClient

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray")]


def memory_of(home: Path, name: str) -> tuple[dict[str, bytes], dict[str, Any], dict[str, Any]]:
    """Tensors of the newest memory, what stands beside them, and its scorecard without times."""
    with ProfileRegistry(AppPaths.resolve(home)) as registry, registry.open() as store:
        record = store.memories.list(name)[0]
        file = store.memories.folder / record.file
    with safe_open(file, "pt") as opened:
        tensors = {key: opened.get_tensor(key).numpy().tobytes() for key in opened.keys()}  # noqa: SIM118 - no mapping
        metadata = {k: v for k, v in opened.metadata().items() if k not in ("settings", "fingerprint")}
        metadata |= {k: json.loads(opened.metadata()[k]) for k in ("settings", "fingerprint")}
    other = ("seconds", "measuring_seconds", "confusion", "advice")  # times, and what depends on the other procedures
    card = {k: v for k, v in record.scorecard.items() if k not in other}
    return tensors, metadata, card


def states(home: Path) -> dict[str, str]:
    with ProfileRegistry(AppPaths.resolve(home)) as registry, registry.open() as store:
        return {job.procedure: job.state for job in store.jobs.list()}


def of_jobs(events: list[dict[str, Any]], name: str) -> list[str]:
    return [e["state"] for e in events if e["event"] == "job" and e["procedure"] == name]


def notes(events: list[dict[str, Any]]) -> str:
    return "\n".join(str(e["note"]) for e in events if e.get("note"))


def test_lost_workers_cost_their_current_steps_and_nothing_else(
    cluster_home: Path, here_home: Path, tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill = tmp_path / "kill"
    kill.mkdir()
    for name in ("shout.1", "count.1", "count.2"):
        (kill / name).touch()
    monkeypatch.setenv(KILL_FOLDER, str(kill))
    jobs = queue(cluster_home, "shout", "mark", "count")
    with engine_of(cluster_home, tiny_model_folder) as client:
        events = train(client, list(jobs.values()))

    assert of_jobs(events, "shout") == ["running", "queued", "running", "undecided"]
    assert of_jobs(events, "mark") == ["running", "undecided"]
    assert of_jobs(events, "count") == ["running", "queued", "running", "failed"]  # lost twice: given up
    assert states(cluster_home) == {"shout": "undecided", "mark": "undecided", "count": "failed"}
    assert not list(kill.iterdir())
    assert "at step 25" in notes(events)  # from the checkpoint that had come back, not from the beginning
    assert sorted(one["name"] for one in events[-1]["result"]["trained"]) == ["mark", "shout"]
    for name in ("mark", "shout"):
        there, here = memory_of(cluster_home, name), memory_of(here_home, name)
        assert there[0] == here[0]  # to the last bit
        assert there[1] == here[1]
        routed = ("routing_accuracy", "false_trigger_rate")  # measured among what was there before the run
        assert {k: v for k, v in there[2].items() if k not in routed} == {
            k: v for k, v in here[2].items() if k not in routed
        }


def test_a_run_whose_engine_was_killed_is_taken_up_from_its_checkpoints(
    cluster_home: Path, here_home: Path, tiny_model_folder: Path
) -> None:
    jobs = queue(cluster_home, "shout")
    with ProfileRegistry(AppPaths.resolve(cluster_home)) as registry, registry.open() as store:
        fingerprint = store_fingerprint(here_home)
        checkpoint = checkpoint_file(AppPaths.resolve(cluster_home), store, "shout", fingerprint)
    client = engine_of(cluster_home, tiny_model_folder)
    with client:
        kill_when(client, checkpoint, list(jobs.values()))
    registry = ProfileRegistry(AppPaths.resolve(cluster_home))
    with registry, registry.open() as store, store.jobs.working_off():  # what the next command does first
        assert store.jobs.get(jobs["shout"]).state == "queued"
    with engine_of(cluster_home, tiny_model_folder) as again:
        events = train(again, list(jobs.values()))
    assert "at step 25" in notes(events)
    assert memory_of(cluster_home, "shout")[0] == memory_of(here_home, "shout")[0]


def store_fingerprint(home: Path) -> str:
    with ProfileRegistry(AppPaths.resolve(home)) as registry, registry.open() as store:
        return store.memories.list("shout")[0].backbone_fingerprint


def kill_when(client: EngineClient, there: Path, jobs: list[int]) -> None:
    """Train, and kill the engine as soon as that file is there."""

    async def run() -> None:
        handle = client.submit("train_cluster", address="local", workers=1, profile="default", jobs=jobs)
        killed = False
        with pytest.raises(EngineError):
            async for _ in handle:
                if not killed and there.exists():
                    killed = True
                    assert client.pid is not None
                    os.kill(client.pid, signal.SIGKILL)
        assert killed

    asyncio.run(run())


def test_an_address_where_nothing_answers_is_refused_soon(cluster_home: Path, tiny_model_folder: Path) -> None:
    jobs = list(queue(cluster_home, "shout").values())
    with engine_of(cluster_home, tiny_model_folder) as client:
        with pytest.raises(OfflineError, match="No cluster answers at '127.0.0.1:1'"):
            train(client, jobs, address="127.0.0.1:1")
        with pytest.raises(UsageError, match="is no address of a cluster"):
            train(client, jobs, address="ray://somewhere:10001")
        with pytest.raises(UsageError, match="no room for a worker of 1 CPU, 4 GPU"):
            train(client, jobs, gpus=4)
    assert states(cluster_home) == {"shout": "queued"}
