"""Train: choosing, the queue and its keys, watching, deciding; what closing, locking and crashes leave."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import cast

import pytest
from textual.pilot import Pilot
from textual.widgets import SelectionList

from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from profiles.store.checkpoints import checkpoint_file
from profiles.store.store import ProfileStore
from tests.tui.conftest import MOOD, TODO
from tests.tui.driving import SIZES, ask, ready, texts, train, until
from tests.tui.scripted_engine import FINGERPRINT
from tokmem_desk.errors import EngineError, StorageError, TokmemError
from tokmem_desk.procedures import ExamplePair, Procedure
from tui.chat.screen import ChatScreen
from tui.engine_client.link import EngineLink
from tui.kit.confirm import ConfirmDialog
from tui.kit.failure import FailureDialog
from tui.procedures.screen import ProceduresScreen
from tui.shell.app import TokmemApp
from tui.training.job_table import JobTable
from tui.training.queue import TrainQueue
from tui.training.screen import TrainScreen
from tui.training.train_progress import TrainProgress
from tui.training.train_setup import TrainSetup

pytestmark = pytest.mark.asyncio
MakeApp = Callable[..., TokmemApp]
Seed = Callable[[Callable[[ProfileStore], None]], None]

THIRD = Procedure("units", tuple(ExamplePair(f"{n} km in miles", f"{n * 0.62:.2f} mi") for n in range(1, 9)))
WAITING = ("--steps", "40", "--wait-at-step", "12")
"""An engine that is in the middle until a file says go on."""
QUICK = {"preset": "quick", "span": None, "router": None}


@pytest.fixture
def untaught(seed: Seed) -> None:
    """Two procedures without memories."""

    def add(store: ProfileStore) -> None:
        store.procedures.add(TODO)
        store.procedures.add(MOOD)

    seed(add)


@pytest.fixture
def three(untaught: None, seed: Seed) -> None:
    """Three of them."""
    seed(lambda store: store.procedures.add(THIRD) and None)


async def open_train(pilot: Pilot[None]) -> TokmemApp:
    """Wait for the app and go to the screen."""
    app = await ready(pilot)
    await pilot.press("f4")
    await until(pilot, lambda: isinstance(app.screen, TrainScreen))
    return app


def states(app: TokmemApp) -> list[tuple[str, str]]:
    """The queue: name and state, in order."""
    return [(job.name, job.state) for job in app.trainings.jobs]


def rows(app: TokmemApp) -> list[str]:
    """The queue as it is drawn."""
    table = app.screen.query_one(JobTable)
    return [" ".join(str(cell) for cell in table.get_row_at(row)) for row in range(table.row_count)]


async def at_step(pilot: Pilot[None], app: TokmemApp, name: str, step: int = 2) -> None:
    """Wait until a training is under way."""

    def is_there() -> bool:
        job = app.trainings.current
        return job is not None and job.name == name and job.progress.train_step >= step

    await until(pilot, is_there, f"{name} at step {step}, but: {states(app)}")


@pytest.mark.parametrize("size", SIZES)
async def test_train_watch_and_activate(make_app: MakeApp, untaught: None, size: tuple[int, int]) -> None:
    async with make_app("--steps", "12", "--wait-at-step", "6").run_test(size=size) as pilot:
        app = await open_train(pilot)
        assert train(app).query_one(TrainSetup).names == ["mood_log", "todo_line"]
        await pilot.press("3", "t")
        await until(pilot, lambda: train(app).pane == "progress")
        assert [job.preset for job in app.trainings.jobs] == ["thorough", "thorough"]
        await until(pilot, lambda: "step" in texts(app, "#now") and "left" in texts(app, "#now"))
        await until(pilot, lambda: "loss" in texts(app, "#loss-line"))
        assert app.trainings.text.startswith("training 1 of 2") and "%" in texts(app, "#status")
        assert "learning" in rows(app)[0] and "waits" in rows(app)[1]
        await pilot.press("l")
        await until(pilot, lambda: "(log)" in texts(app, "#loss-line"))
        await until(pilot, lambda: "not seen" in texts(app, "#sample-lines"))
        (app.paths.config_file.parent / "go-on").touch()
        await until(pilot, lambda: states(app) == [("mood_log", "undecided"), ("todo_line", "undecided")])
        await until(pilot, lambda: train(app).pane == "result")
        assert "your choice" in rows(app)[0]
        card = texts(app, "#card")
        for words in ("this memory", "untrained model", "pairs in the prompt", "640 tokens", "none", "found it"):
            assert words in card
        assert app.store.memories.active("mood_log", FINGERPRINT) is None
        await pilot.press("a")
        await until(pilot, lambda: app.store.memories.active("mood_log", FINGERPRINT) is not None)
        await until(pilot, lambda: states(app) == [("todo_line", "undecided")])
        assert app.trainings.text == "1 result waits" and "waits" in texts(app, "#status")
        await pilot.press("enter")
        await until(pilot, lambda: train(app).pane == "setup")
        assert {job.state for job in app.store.jobs.list()} == {"done"}
        assert train(app).query_one(TrainSetup).names == [] and "wait" not in texts(app, "#status")


async def test_nothing_ticked_is_said(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test() as pilot:
        app = await open_train(pilot)
        assert train(app).query_one(TrainSetup).names == []
        await pilot.press("t")
        await until(pilot, lambda: isinstance(app.screen, FailureDialog))
        assert "No procedure is chosen" in texts(app)


async def test_activate_all_better_ones_and_keep_old(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test() as pilot:
        app = await open_train(pilot)
        train(app).query_one(SelectionList).focus()
        await pilot.press("home", "space", "down", "space", "t")
        await until(pilot, lambda: states(app) == [("mood_log", "undecided"), ("todo_line", "undecided")])
        assert "exact 2 of 2, before 1 of 2" in rows(app)[0] and "Better than what you have now" in texts(
            app, "#outcome"
        )
        await pilot.press("A")
        await until(pilot, lambda: train(app).pane == "setup")
        versions = [len(app.store.memories.list(name)) for name in ("mood_log", "todo_line")]
        assert versions == [2, 2]
        train(app).query_one(TrainSetup).choose(["todo_line"])
        await pilot.press("t")
        await until(pilot, lambda: train(app).pane == "result")
        await pilot.press("k")
        await until(pilot, lambda: train(app).pane == "setup")
        assert [len(app.store.memories.list(name)) for name in ("mood_log", "todo_line")] == versions


async def test_escape_asks_and_keeps_the_best(make_app: MakeApp, untaught: None) -> None:
    async with make_app(*WAITING).run_test(size=(80, 24)) as pilot:
        app = await open_train(pilot)
        train(app).query_one(TrainSetup).choose(["mood_log"])
        await pilot.press("t")
        await at_step(pilot, app, "mood_log")
        for answer in ("escape", "enter"):
            await pilot.press("escape")
            await until(pilot, lambda: isinstance(app.screen, ConfirmDialog), "asks")
            assert "Stop the training of mood_log early?" in str(app.screen.query_one(".dialog").border_title)
            await pilot.press(answer)
            await until(pilot, lambda: app.screen is train(app), "closed")
            assert app.trainings.current is not None and app.trainings.current.ending == "", "one key stops nothing"
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog), "asks")
        await pilot.press("tab", "enter")
        await until(pilot, lambda: train(app).pane == "result")
        assert "Not measured" in texts(app, "#outcome") and "best so far can be used" in texts(app, "#outcome")
        assert "not measured" in rows(app)[0]
        await pilot.press("a")
        await until(pilot, lambda: app.store.memories.active("mood_log", FINGERPRINT) is not None)


async def test_pause_and_resume_everything(make_app: MakeApp, untaught: None) -> None:
    async with make_app("--steps", "60", "--wait-at-step", "8").run_test() as pilot:
        app = await open_train(pilot)
        await pilot.press("t")
        await at_step(pilot, app, "mood_log", 8)
        await pilot.press("space")
        await until(pilot, lambda: states(app) == [("mood_log", "paused"), ("todo_line", "paused")])
        await until(pilot, lambda: not app.trainings.working)
        assert app.trainings.text == "training paused" and "paused" in texts(app, "#status")
        stopped_at = app.trainings.jobs[0].progress.train_step
        assert stopped_at >= 8 and f"paused at step {stopped_at} of 60" in rows(app)[0]
        assert "Space goes on from there" in texts(app, "#now")
        assert checkpoint_file(app.paths, app.store, "mood_log", FINGERPRINT).exists()
        (app.paths.config_file.parent / "go-on").touch()
        await pilot.press("space")
        await until(pilot, lambda: states(app) == [("mood_log", "undecided"), ("todo_line", "undecided")])
        curve = app.trainings.jobs[0].progress.losses
        assert [step for step, _ in curve] == list(range(1, 61)), "it went on where it was"
        assert not checkpoint_file(app.paths, app.store, "mood_log", FINGERPRINT).exists()


async def test_one_of_the_paused_goes_on_alone(make_app: MakeApp, untaught: None) -> None:
    async with make_app(*WAITING).run_test() as pilot:
        app = await open_train(pilot)
        await pilot.press("t")
        await at_step(pilot, app, "mood_log")
        await pilot.press("space")
        await until(pilot, lambda: {state for _, state in states(app)} == {"paused"} and not app.trainings.working)
        await pilot.press("down", "r")
        await at_step(pilot, app, "todo_line")
        assert states(app) == [("mood_log", "paused"), ("todo_line", "running")]


async def test_move_remove_and_cancel(make_app: MakeApp, three: None) -> None:
    async with make_app(*WAITING).run_test(size=(120, 40)) as pilot:
        app = await open_train(pilot)
        await pilot.press("t")
        await at_step(pilot, app, "mood_log")
        assert [name for name, _ in states(app)] == ["mood_log", "todo_line", "units"]
        await pilot.press("down", "down", "shift+up")
        await until(pilot, lambda: [name for name, _ in states(app)] == ["mood_log", "units", "todo_line"])
        assert train(app).job is app.trainings.jobs[1], "the cursor goes with it"
        await pilot.press("J")
        await until(pilot, lambda: [name for name, _ in states(app)] == ["mood_log", "todo_line", "units"])
        await pilot.press("d")
        await until(pilot, lambda: [name for name, _ in states(app)] == ["mood_log", "todo_line"])
        await pilot.press("up", "d")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        assert "is lost. The memory you have stays" in texts(app)
        await pilot.press("escape")
        assert states(app)[0] == ("mood_log", "running")
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("tab", "enter")
        await at_step(pilot, app, "todo_line")
        assert states(app) == [("todo_line", "running")] and app.store.memories.list("mood_log") == []
        assert not checkpoint_file(app.paths, app.store, "mood_log", FINGERPRINT).exists()
        assert sorted(job.state for job in app.store.jobs.list()) == ["cancelled", "cancelled", "running"]


async def test_more_can_be_queued_while_one_trains(make_app: MakeApp, three: None) -> None:
    async with make_app(*WAITING).run_test() as pilot:
        app = await open_train(pilot)
        train(app).query_one(TrainSetup).choose(["mood_log"])
        await pilot.press("t")
        await at_step(pilot, app, "mood_log")
        await pilot.press("t")
        await until(pilot, lambda: train(app).pane == "setup")
        assert "In the queue: 1. Esc goes back" in texts(app, "#in-queue")
        await pilot.press("escape")
        await until(pilot, lambda: train(app).pane == "progress")
        assert app.trainings.current is not None and app.trainings.current.ending == "", "that Esc stopped nothing"
        await pilot.press("t")
        train(app).query_one(TrainSetup).choose(["units"])
        await pilot.press("t")
        await until(pilot, lambda: states(app) == [("mood_log", "running"), ("units", "queued")])


async def test_chat_works_meanwhile_and_the_queue_survives_the_screen(make_app: MakeApp, taught: None) -> None:
    async with make_app("--wait-at-step", "4").run_test() as pilot:
        app = await open_train(pilot)
        train(app).query_one(TrainSetup).choose(["mood_log"])
        await pilot.press("t")
        await at_step(pilot, app, "mood_log")
        await pilot.press("f2")
        await until(pilot, lambda: isinstance(app.screen, ChatScreen))
        turn = await ask(pilot, "I need to buy milk")
        assert turn.answer.text == "( ) buy milk due:mon"
        assert app.trainings.running and "%" in texts(app, "#status")
        (app.paths.config_file.parent / "go-on").touch()
        await until(pilot, lambda: not app.trainings.running)
        await pilot.press("f4")
        await until(pilot, lambda: train(app).pane == "result")


async def test_add_pairs_goes_to_the_procedure_and_the_result_waits(make_app: MakeApp, untaught: None) -> None:
    async with make_app().run_test() as pilot:
        app = await open_train(pilot)
        await pilot.press("t")
        await until(pilot, lambda: states(app) == [("mood_log", "undecided"), ("todo_line", "undecided")])
        await pilot.press("down", "p")
        await until(pilot, lambda: isinstance(app.screen, ProceduresScreen))
        await until(pilot, lambda: "todo_line" in texts(app, "#about"))
        await pilot.press("t")
        await until(pilot, lambda: isinstance(app.screen, TrainScreen))
        await until(pilot, lambda: [state for _, state in states(app)] == ["undecided"] * 3)
        await pilot.press("down", "down", "a")
        await until(pilot, lambda: states(app) == [("mood_log", "undecided")])
        assert [memory.status for memory in app.store.memories.list("todo_line")] == ["active"], "the newer one, alone"


async def test_a_dying_engine_is_started_again_once(make_app: MakeApp, untaught: None) -> None:
    async with make_app("--crash-at-step", "8").run_test() as pilot:
        app = await open_train(pilot)
        train(app).query_one(TrainSetup).choose(["todo_line"])
        await pilot.press("t")
        await until(pilot, lambda: states(app) == [("todo_line", "failed")])
        job = app.trainings.jobs[0]
        assert job.record.breaks == 2 and "going on from the last checkpoint" in job.progress.notes[0]
        assert "The memories you had are unchanged" in texts(app, "#now") and "failed: The engine" in rows(app)[0]
        seen: list[bool] = []  # the second try is over before anyone can look
        app.jobs_changed.subscribe(app, lambda _: seen.append(app.trainings.running), immediate=True)
        await pilot.press("r")
        await until(pilot, lambda: any(seen), "it trains again")
        await until(pilot, lambda: states(app) == [("todo_line", "failed")] and not app.trainings.working)
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("tab", "enter")
        await until(pilot, lambda: train(app).pane == "setup")


async def test_quitting_in_the_middle_goes_on_next_time(make_app: MakeApp, untaught: None) -> None:
    async with make_app(*WAITING).run_test() as pilot:
        app = await open_train(pilot)
        await pilot.press("t")
        await at_step(pilot, app, "mood_log", 12)
        await pilot.press("ctrl+q")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        assert "goes on by itself when the app is opened again" in texts(app)
        await pilot.press("enter")
    async with make_app("--steps", "20", "--wait-at-step", "15").run_test() as pilot:
        app = await ready(pilot)
        await at_step(pilot, app, "mood_log", 15)
        assert app.trainings.jobs[0].record.breaks == 0, "by itself"
        (app.paths.config_file.parent / "go-on").touch()
        await until(pilot, lambda: states(app) == [("mood_log", "undecided"), ("todo_line", "undecided")])
        assert len(app.trainings.jobs[0].progress.losses) == 20, "from the checkpoint, and the curve is whole"
    async with make_app().run_test() as pilot:
        app = await open_train(pilot)
        assert train(app).pane == "result" and app.trainings.text == "2 results wait"
        assert "wait" in texts(app, "#status")
        await pilot.press("A")
        await until(pilot, lambda: app.store.memories.active("todo_line", FINGERPRINT) is not None)


async def test_a_queue_that_another_program_works_off_is_shown_and_left_alone(
    make_app: MakeApp, untaught: None
) -> None:
    async with make_app("--steps", "3").run_test() as pilot:
        app = await open_train(pilot)
        with ProfileStore(app.store.folder) as other, other.jobs.working_off():
            other.jobs.queue(["mood_log"], QUICK)
            job = other.jobs.next()
            assert job is not None
            progress = {"phase": "train", "step": 5, "steps": 10, "train_step": 5, "train_steps": 10}
            other.jobs.update(job.id, progress=progress)
            await until(pilot, lambda: states(app) == [("mood_log", "running")], "seen")
            assert "in another tokmem-desk" in rows(app)[0]
            await pilot.press("d")
            await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
            await pilot.press("tab", "enter")
            await until(pilot, lambda: isinstance(app.screen, FailureDialog))
            assert "runs in another tokmem-desk" in texts(app)
            await pilot.press("escape")
            app.train(["todo_line"], "quick")
            await pilot.pause(0.1)
            assert states(app) == [("mood_log", "running"), ("todo_line", "queued")]
        await until(pilot, lambda: states(app) == [("mood_log", "undecided"), ("todo_line", "undecided")], "taken up")


async def test_short_memory_is_said_in_the_line(make_app: MakeApp, untaught: None) -> None:
    async with make_app(*WAITING, "--note", "Memory ran short: going on with 4 pairs at a time.").run_test() as pilot:
        app = await open_train(pilot)
        await pilot.press("t")
        await at_step(pilot, app, "mood_log")
        await until(pilot, lambda: "Memory ran short: going on with 4 pairs at a time." in rows(app)[0])
        assert "4 pairs at a time" in texts(app.screen.query_one(TrainProgress).app, "#notes")


async def test_a_queue_that_the_disk_refuses_says_so_once(
    make_app: MakeApp, untaught: None, seed: Seed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failures() -> int:
        return sum(isinstance(screen, FailureDialog) for screen in app.screen_stack)

    def refuse(_: ProfileStore) -> None:
        raise StorageError("The disk is full.")

    seed(lambda store: store.jobs.queue(["todo_line"], QUICK) and None)
    async with make_app().run_test() as pilot:
        with monkeypatch.context() as patch:
            patch.setattr("profiles.store.jobs.Jobs.next", refuse)
            app = await ready(pilot)
            await until(pilot, lambda: isinstance(app.screen, FailureDialog), "refused")
            for _ in range(3):
                app._look_outside()
                await app.workers.wait_for_complete()
                await pilot.pause()
            assert failures() == 1
            await pilot.press("enter")
            await until(pilot, lambda: failures() == 0, "closed")
            app.train(["mood_log"], "quick")
            await until(pilot, lambda: failures() == 1, "said again to who asks for it")
            await pilot.press("enter")
        app._look_outside()
        await until(pilot, lambda: states(app) == [("todo_line", "undecided"), ("mood_log", "undecided")], "goes on")


class FailingLink:
    """An engine that stores a result and fails afterwards."""

    training = False

    def __init__(self, store: ProfileStore, job: int, error: TokmemError) -> None:
        self.store, self.job, self.error = store, job, error

    def submit(self, op: str, **fields: object) -> None:
        """Nothing is sent."""

    async def events(self, handle: None) -> AsyncIterator[dict[str, object]]:
        key, pairs = self.store.procedures.get(TODO.name).id, TODO.pairs
        file = self.store.memories.write(b"x")
        self.store.memories.add(key, FINGERPRINT, file, pairs, {}, {"rouge_l": 0.5}, job_id=self.job)
        yield {"event": "progress", "phase": "evaluate", "step": 1, "steps": 2}
        raise self.error


@pytest.mark.parametrize("error", [StorageError("The disk is full."), EngineError("The engine ended.")])
async def test_an_error_after_the_result_hides_neither(own_home: Path, error: TokmemError) -> None:
    paths = AppPaths.resolve(own_home)
    with ProfileRegistry(paths) as registry, registry.open() as store:
        store.procedures.add(TODO)
        [job] = store.jobs.queue([TODO.name], QUICK)
        link = cast(EngineLink, FailingLink(store, job.id, error))
        queue = TrainQueue(store, link, "default", paths, lambda: None)
        assert await queue.work(), "what went wrong is no fault of the queue"
        found = store.jobs.get(job.id)
        assert found.state == "undecided" and found.memory_id is not None and found.progress is not None
        assert any("disk is full" in note or "ended unexpectedly" in note for note in found.progress["notes"])
        await queue.remove(queue.jobs[0])
        assert store.memories.list(TODO.name) == []


async def test_pausing_and_resuming_pass_over_what_others_have_cancelled(own_home: Path) -> None:
    paths = AppPaths.resolve(own_home)
    with ProfileRegistry(paths) as registry, registry.open() as store:
        for procedure in (TODO, MOOD, THIRD):
            store.procedures.add(procedure)
        first, second, third = store.jobs.queue([TODO.name, MOOD.name, THIRD.name], QUICK)
        queue = TrainQueue(store, cast(EngineLink, None), "default", paths, lambda: None)
        store.jobs.update(first.id, "cancelled")
        await queue.pause()
        assert [store.jobs.get(one.id).state for one in (first, second, third)] == ["cancelled", "paused", "paused"]
        store.jobs.update(second.id, "cancelled")
        queue.resume(queue.jobs[:])
        assert [store.jobs.get(one.id).state for one in (first, second, third)] == ["cancelled", "cancelled", "queued"]
