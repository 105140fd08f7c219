"""kill -9 of the app in the middle of its queue: the next start goes on, and nothing that was made is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from profiles.store.store import ProfileStore
from tests.tui.conftest import MOOD, ROOT, TODO
from tests.tui.driving import ready, until
from tests.tui.scripted_engine import FINGERPRINT
from tui.shell.app import TokmemApp
from tui.training.queue import TrainJob

pytestmark = pytest.mark.asyncio
MakeApp = Callable[..., TokmemApp]

APP = """
import asyncio, os, sys
from pathlib import Path
from profiles.files.paths import AppPaths
from profiles.settings.settings import Settings
from tui.shell.app import TokmemApp
from tui.engine_client.client import EngineClient

home = Path(sys.argv[1])
engine = [sys.executable, "-m", "tests.tui.scripted_engine", "--home", str(home), *sys.argv[2:]]
paths = AppPaths.resolve(home)
app = TokmemApp(paths, Settings.load(paths, environ={}), lambda log, settings: EngineClient(engine, log))

async def main():
    async with app.run_test() as pilot:
        while app.link.state.phase != "ready":
            await pilot.pause(0.02)
        print("ready", flush=True)
        app.train(["mood_log", "todo_line"], "normal")
        while True:
            await pilot.pause(0.02)

asyncio.run(main())
"""


@pytest.fixture
def untaught(seed: Callable[[Callable[[ProfileStore], None]], None], paths: AppPaths) -> None:
    """Two procedures without memories."""

    def add(store: ProfileStore) -> None:
        store.procedures.add(TODO)
        store.procedures.add(MOOD)

    seed(add)
    paths.state.mkdir(parents=True, exist_ok=True)
    (paths.state / "welcomed").touch()


def progress(store: ProfileStore, name: str) -> tuple[str, int]:
    """The state of a job and the last step that is kept of it."""
    for job in store.jobs.list_open():
        if job.procedure == name:
            return job.state, (job.progress or {}).get("train_step", 0)
    return "", 0


async def kill_when(home: Path, there: Callable[[ProfileStore], bool], *options: str) -> None:
    """Start the app in a process of its own, and kill it once something stands in the database."""
    command = [sys.executable, "-c", APP, str(home), *options]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE)
    try:
        with ProfileRegistry(AppPaths.resolve(home)) as registry, registry.open() as store:
            for _ in range(1500):
                if there(store):
                    break
                assert process.poll() is None, "it ended by itself"
                await asyncio.sleep(0.02)
            else:
                raise AssertionError(f"never came so far: {store.jobs.list_open()}")
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait(timeout=60)
        assert process.stdout is not None
        process.stdout.close()


async def test_killed_in_the_middle_of_a_training(make_app: MakeApp, untaught: None, home: Path) -> None:
    slow = ("--steps", "400", "--step-delay", "0.03")
    await kill_when(home, lambda store: progress(store, "mood_log")[1] >= 10, *slow)
    with ProfileRegistry(AppPaths.resolve(home)) as registry, registry.open() as store:
        assert progress(store, "mood_log")[0] == "running" and progress(store, "todo_line") == ("queued", 0)
        kept = progress(store, "mood_log")[1]
    async with make_app("--steps", "400", "--wait-at-step", "400").run_test() as pilot:
        app = await ready(pilot)

        def under_way() -> TrainJob | None:
            job = app.trainings.current
            return job if job is not None and job.progress.train_step == 400 else None

        await until(pilot, under_way, "goes on by itself")
        job = under_way()
        assert job is not None
        assert (job.name, job.record.breaks) == ("mood_log", 1)
        assert [step for step, _ in job.progress.losses][:kept] == list(range(1, kept + 1)), "the curve is whole"
        (app.paths.config_file.parent / "go-on").touch()
        await until(pilot, lambda: [job.state for job in app.trainings.jobs] == ["undecided"] * 2, "both")
        app.trainings.decide(app.trainings.jobs, activate=True)
        assert app.store.memories.active("mood_log", FINGERPRINT) is not None and app.store.damage() == []


async def test_killed_between_result_and_decision(make_app: MakeApp, untaught: None, home: Path) -> None:
    waiting = ("--steps", "20", "--step-delay", "0.01")
    await kill_when(home, lambda store: progress(store, "mood_log")[0] == "undecided", *waiting)
    async with make_app("--steps", "3").run_test() as pilot:
        app = await ready(pilot)
        await until(pilot, lambda: [job.state for job in app.trainings.jobs] == ["undecided"] * 2, "both")
        first = app.trainings.jobs[0]
        assert first.trained is not None and first.trained["scorecard"]["steps"] == 20, "the one from before"
        assert len(app.store.memories.list("mood_log")) == 1


async def test_what_kills_it_twice_is_left_to_the_person(make_app: MakeApp, untaught: None, home: Path) -> None:
    await kill_when(home, lambda store: progress(store, "mood_log")[0] == "running", "--wait-at-step", "2")
    with ProfileRegistry(AppPaths.resolve(home)) as registry, registry.open() as store, store.jobs.working_off():
        job = store.jobs.next()  # begun once more, and no end of it written: as if killed again
        assert job is not None
        assert (job.procedure, job.breaks) == ("mood_log", 1)
    async with make_app("--steps", "3").run_test() as pilot:
        app = await ready(pilot)
        await until(pilot, lambda: [job.state for job in app.trainings.jobs] == ["failed", "undecided"], "the other")
        error = app.trainings.jobs[0].error
        assert error is not None and "in the middle of this training, twice" in error.message
        app.trainings.resume([app.trainings.jobs[0]])
        app.training.work_off()
        await until(pilot, lambda: [job.state for job in app.trainings.jobs] == ["undecided"] * 2, "asked for again")
