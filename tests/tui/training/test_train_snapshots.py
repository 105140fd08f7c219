"""Pictures of Train: choosing, and the queue in each of its states, at two sizes and in two themes.

After a wanted change: ``pytest tests/tui/training/test_train_snapshots.py --snapshot-update``, and look at them.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from textual.pilot import Pilot

from profiles.store.store import ProfileStore
from tests.tui.conftest import MOOD, TODO, Pictures
from tests.tui.driving import texts, train, until
from tests.tui.training.test_train import QUICK, THIRD, at_step, open_train, states
from tui.shell.app import TokmemApp
from tui.training.job_table import JobTable

pytestmark = pytest.mark.asyncio
MakeApp = Callable[..., TokmemApp]
Seed = Callable[[Callable[[ProfileStore], None]], None]

NOTE = "Memory ran short: going on with 4 pairs at a time."


@pytest.fixture(autouse=True)
def no_toasts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A toast that is about to go must not decide a picture."""
    monkeypatch.setattr(TokmemApp, "notify", lambda *args, **kwargs: None)


@pytest.fixture
def three(seed: Seed) -> None:
    """Three procedures without memories."""

    def add(store: ProfileStore) -> None:
        for procedure in (TODO, MOOD, THIRD):
            store.procedures.add(procedure)

    seed(add)


async def test_setup(pictures: Pictures, make_app: MakeApp, three: None) -> None:
    await pictures(make_app(), open_train)


async def test_setup_without_procedures(pictures: Pictures, make_app: MakeApp) -> None:
    await pictures(make_app(), open_train)


async def test_setup_beside_a_queue(pictures: Pictures, make_app: MakeApp, three: None, seed: Seed) -> None:
    def pause(store: ProfileStore) -> None:
        (job,) = store.jobs.queue(["units"], QUICK)
        store.jobs.update(job.id, "paused")

    seed(pause)

    async def steps(pilot: Pilot[None]) -> None:
        app = await open_train(pilot)
        await pilot.press("t")
        await until(pilot, lambda: train(app).pane == "setup")

    await pictures(make_app(), steps)


async def test_running(pictures: Pictures, make_app: MakeApp, three: None) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        app = await open_train(pilot)
        await pilot.press("t")
        await at_step(pilot, app, "mood_log", 26)
        await until(pilot, lambda: "step 26 of 40" in texts(app, "#now"))

    await pictures(make_app("--steps", "40", "--wait-at-step", "26", "--note", NOTE), steps)


async def test_paused(pictures: Pictures, make_app: MakeApp, three: None) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        app = await open_train(pilot)
        await pilot.press("t")
        await at_step(pilot, app, "mood_log", 26)
        await pilot.press("space")
        await until(pilot, lambda: {state for _, state in states(app)} == {"paused"} and not app.trainings.working)

    await pictures(make_app("--steps", "40", "--wait-at-step", "26"), steps)


async def test_undecided(pictures: Pictures, make_app: MakeApp, three: None) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        app = await open_train(pilot)
        await pilot.press("t")
        await until(pilot, lambda: {state for _, state in states(app)} == {"undecided"} and not app.trainings.working)
        app.screen.query_one(JobTable).focus()
        await pilot.press("down")

    await pictures(make_app(), steps)


async def test_failed(pictures: Pictures, make_app: MakeApp, three: None, seed: Seed) -> None:
    def fail(store: ProfileStore) -> None:
        failing, waiting = store.jobs.queue(["units", "todo_line"], QUICK)
        error = {
            "kind": "OutOfMemoryError",
            "message": "Training does not fit into the memory, even with one pair at a time.",
            "next_step": "Close other programs, make the memory shorter, or choose a smaller model.",
        }
        store.jobs.update(failing.id, "running")
        store.jobs.update(failing.id, "failed", error=error)
        store.jobs.update(waiting.id, "paused")

    seed(fail)
    await pictures(make_app(), open_train)
