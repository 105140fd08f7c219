"""The queue of trainings: every way from state to state, its order, decisions, and what a crash leaves."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from sqlite3 import Connection

import pytest

from profiles.database.connection import Database
from profiles.database.migrations import PROFILE_STEPS
from profiles.files.paths import AppPaths
from profiles.store.checkpoints import checkpoint_file, drop_checkpoints
from profiles.store.records import JobRecord, JobState
from profiles.store.store import ProfileStore
from tokmem_desk.errors import BusyError, NotFoundError, UsageError
from tokmem_desk.procedures import ExamplePair, Procedure

BACKBONE = "b" * 64
NAMES = ("one", "two", "three")
QUICK = {"preset": "quick", "span": None, "router": None}


@pytest.fixture
def queue(store: ProfileStore) -> ProfileStore:
    """Three procedures, queued in this order."""
    for name in NAMES:
        store.add_procedure(Procedure(name, (ExamplePair(f"{name} a", "b"),)))
    store.queue_training(NAMES, QUICK)
    return store


def names(store: ProfileStore, *states: JobState) -> list[str]:
    return [job.procedure for job in store.open_jobs() if not states or job.state in states]


def train(store: ProfileStore, name: str) -> JobRecord:
    """Work a job off as an engine does, up to its result."""
    job = next(job for job in store.open_jobs() if job.procedure == name and job.state == "queued")
    store.set_job(job.id, "running")
    record = store.procedure(name)
    pairs = store.to_procedure(name).pairs
    file = store.write_memory(name.encode())
    store.add_memory(record.id, BACKBONE, file, pairs, {}, {"rouge_l": 0.5}, job_id=job.id)
    return store.job(job.id)


def files(store: ProfileStore) -> int:
    return len(list(store.memory_folder.iterdir()))


def test_a_job_from_the_queue_to_the_decision(queue: ProfileStore) -> None:
    first = queue.next_job()
    assert first is not None and (first.procedure, first.state, first.request) == ("one", "running", QUICK)
    assert queue.set_job(first.id, progress={"step": 2}).progress == {"step": 2}
    record = queue.procedure("one")
    file = queue.write_memory(b"tensors")
    memory = queue.add_memory(record.id, BACKBONE, file, (), {}, {}, job_id=first.id)
    waiting = queue.job(first.id)
    assert (waiting.state, waiting.memory_id, waiting.progress) == ("undecided", memory.id, {"step": 2})
    assert queue.active_memory("one", BACKBONE) is None, "nothing changes unasked"
    revision = queue.revision
    done = queue.decide_job(first.id, activate=True)
    assert (done.state, done.progress) == ("done", None) and queue.revision == revision + 1
    active = queue.active_memory("one", BACKBONE)
    assert active is not None and active.id == memory.id and names(queue) == ["two", "three"]
    with pytest.raises(UsageError, match="is done: there is nothing to decide"):
        queue.decide_job(first.id, activate=False)
    with pytest.raises(NotFoundError, match="no job number 99"):
        queue.job(99)


def test_keeping_the_old_drops_the_new_with_its_file(queue: ProfileStore) -> None:
    old = train(queue, "one")
    queue.decide_job(old.id, activate=True)
    queue.queue_training(["one"], QUICK)
    new = train(queue, "one")
    assert files(queue) == 2
    queue.decide_job(new.id, activate=False)
    assert [memory.id for memory in queue.memories("one")] == [old.memory_id] and files(queue) == 1


def test_a_retrained_procedure_has_one_result_to_decide_about_in_the_end(queue: ProfileStore) -> None:
    train(queue, "one")
    queue.queue_training(["one"], QUICK)
    newer = train(queue, "one")
    assert names(queue, "undecided") == ["one", "one"]
    queue.decide_job(newer.id, activate=True)
    assert names(queue, "undecided") == [] and [m.status for m in queue.memories("one")] == ["active"]


def test_a_result_that_was_decided_elsewhere_waits_no_more(queue: ProfileStore) -> None:
    job = train(queue, "one")
    assert job.memory_id is not None
    queue.activate_memory(job.memory_id)
    assert names(queue) == ["two", "three"]


ALLOWED: dict[JobState, set[JobState]] = {
    "queued": {"running", "paused", "cancelled"},
    "running": {"queued", "paused", "undecided", "failed", "cancelled"},
    "paused": {"queued", "cancelled"},
    "undecided": {"done", "cancelled"},
    "failed": {"queued", "cancelled"},
    "done": set(),
    "cancelled": set(),
}
WAY: dict[JobState, tuple[JobState, ...]] = {
    "queued": (),
    "running": ("running",),
    "paused": ("paused",),
    "undecided": ("running", "undecided"),
    "failed": ("running", "failed"),
    "done": ("running", "undecided", "done"),
    "cancelled": ("cancelled",),
}


@pytest.mark.parametrize(("before", "after"), itertools.product(ALLOWED, ALLOWED))
def test_each_transition(queue: ProfileStore, before: JobState, after: JobState) -> None:
    job = queue.open_jobs()[0]
    for step in WAY[before]:
        queue.set_job(job.id, step)
    if after in ALLOWED[before] | {before}:
        assert queue.set_job(job.id, after).state == after
    else:
        with pytest.raises(UsageError, match=f"is {before} and cannot become {after}"):
            queue.set_job(job.id, after)
        assert queue.job(job.id).state == before


def test_a_job_that_goes_on_loses_its_error(queue: ProfileStore) -> None:
    job = queue.next_job()
    assert job is not None
    failed = queue.set_job(job.id, "failed", error={"message": "no memory"})
    assert failed.error == {"message": "no memory"} and queue.next_job() is not None
    assert queue.resume_job(job.id).error is None


def test_moving_and_removing(queue: ProfileStore) -> None:
    one, two, three = queue.open_jobs()
    assert queue.move_job(three.id, -1) and names(queue) == ["one", "three", "two"]
    assert queue.move_job(one.id, 1) and names(queue) == ["three", "one", "two"]
    assert not queue.move_job(three.id, -1) and not queue.move_job(two.id, 1)
    queue.set_job(one.id, "paused")
    assert queue.move_job(two.id, -1) and names(queue) == ["three", "two", "one"], "past one that is paused"
    first = queue.next_job()
    assert first is not None and first.procedure == "three"
    assert not queue.move_job(three.id, 1), "what runs does not wait"
    assert not queue.move_job(two.id, -1), "nobody gets before what runs"
    queue.set_job(two.id, "cancelled")
    assert names(queue) == ["three", "one"] and queue.next_job() is None


def test_asking_again_for_what_waits_changes_how_not_when(queue: ProfileStore) -> None:
    thorough = {**QUICK, "preset": "thorough"}
    one = queue.open_jobs()[0]
    queue.set_job(one.id, "paused", progress={"step": 3})
    queue.queue_training(["two", "one"], thorough)
    assert names(queue, "queued") == list(NAMES)
    assert [job.request["preset"] for job in queue.open_jobs()] == ["thorough", "thorough", "quick"]
    assert queue.job(one.id).progress is None, "of other settings"
    queue.set_job(one.id, "paused", progress={"step": 4})
    queue.queue_training(["one"], thorough)
    assert queue.job(one.id).progress == {"step": 4}
    with pytest.raises(NotFoundError, match="no procedure 'four'"):
        queue.queue_training(["three", "four"], thorough)
    assert queue.open_jobs()[2].request == QUICK, "all or nothing"


def test_a_failed_one_goes_to_the_end_when_it_is_asked_for_again(queue: ProfileStore) -> None:
    job = queue.next_job()
    assert job is not None
    queue.set_job(job.id, "failed", error={"message": "x"})
    queue.queue_training(["one"], QUICK)
    assert names(queue, "queued") == ["two", "three", "one"]


def test_what_runs_can_be_asked_for_once_more(queue: ProfileStore) -> None:
    queue.next_job()
    queue.queue_training(["one"], QUICK)
    assert names(queue, "queued") == ["two", "three", "one"]


def test_what_a_crash_left_is_queued_again_but_not_for_ever(queue: ProfileStore) -> None:
    job = queue.next_job()
    assert job is not None
    with queue.working_off():
        assert (queue.job(job.id).state, queue.job(job.id).breaks) == ("queued", 1)
    again = queue.next_job()
    assert again is not None and again.id == job.id, "it keeps its place"
    with queue.working_off():
        failed = queue.job(job.id)
        assert failed.state == "failed" and failed.error is not None and "twice" in failed.error["message"]
    assert queue.resume_job(job.id).breaks == 0


def test_one_works_the_queue_off(queue: ProfileStore) -> None:
    with (
        queue.working_off(),
        ProfileStore(queue.folder) as other,
        pytest.raises(BusyError, match="in another tokmem-desk"),
        other.working_off(seconds=0.0),
    ):
        pass


def test_jobs_of_a_removed_procedure_go_and_come_back_with_it(queue: ProfileStore) -> None:
    train(queue, "one")
    queue.remove_procedure("one")
    queue.remove_procedure("two")
    assert names(queue) == ["three"]
    with pytest.raises(NotFoundError):
        queue.job(1)
    queue.undo()
    queue.undo()
    assert names(queue) == list(NAMES) and names(queue, "undecided") == ["one"]
    queue.rename_procedure("one", "uno")
    assert names(queue)[0] == "uno"


def test_jobs_survive_closing(queue: ProfileStore) -> None:
    train(queue, "one")
    before = queue.open_jobs()
    with ProfileStore(queue.folder) as again:
        assert again.open_jobs() == before


def test_checkpoints_lie_per_procedure_and_backbone(queue: ProfileStore, paths: AppPaths) -> None:
    kept = [checkpoint_file(paths, queue, name, BACKBONE) for name in ("one", "two")]
    other = checkpoint_file(paths, queue, "one", "c" * 64)
    for file in (*kept, other):
        queue.vault.write(file, b"state")
    drop_checkpoints(paths, queue, "one")
    assert [file.exists() for file in (*kept, other)] == [False, True, False]


def test_unfinished_jobs_of_the_old_form_become_paused_ones(tmp_path: Path) -> None:
    file = tmp_path / "profile.sqlite"
    with (
        closing(Database(file, PROFILE_STEPS[:6], backups=tmp_path / "backups")) as old,
        old.writing() as connection,
    ):
        for key, name in enumerate(("ledger", "todo"), 1):
            connection.execute(
                "INSERT INTO procedures VALUES (?, ?, ?, '', NULL, '', 1, NULL, 1, '', '', '', '', NULL, 0)",
                (key, f"uuid{key}", name),
            )
        for state, of in (
            ("done", '["todo"]'),
            ("paused", '["ledger"]'),
            ("running", '["todo", "ledger", "gone"]'),
        ):
            connection.execute(
                "INSERT INTO jobs (kind, state, request, created, updated) VALUES ('train', ?, ?, 'then', 'then')",
                (state, f'{{"names": {of}, "preset": "quick"}}'),
            )
    with ProfileStore(tmp_path) as store:
        found = [(job.procedure, job.state, job.request) for job in store.jobs()]
    assert found == [("todo", "paused", {"preset": "quick"}), ("ledger", "paused", {"preset": "quick"})]


def interfere(store: ProfileStore, monkeypatch: pytest.MonkeyPatch, then: Callable[[], None]) -> None:
    """After the first transaction of ``store`` another program does something."""
    writing, waiting = store._database.writing, [then]

    @contextmanager
    def interrupted() -> Iterator[Connection]:
        with writing() as connection:
            yield connection
        if waiting:
            waiting.pop()()

    monkeypatch.setattr(store._database, "writing", interrupted)


def test_a_job_is_taken_in_one_step(queue: ProfileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with ProfileStore(queue.folder) as other:
        interfere(queue, monkeypatch, lambda: other.set_job(1, "cancelled") and None)
        taken = queue.next_job()
        assert taken is not None and (taken.id, taken.state) == (1, "running")
        assert queue.job(1).state == "cancelled", "it came after"


def test_a_break_is_noted_in_one_step_and_leaves_a_cancelled_job_alone(
    queue: ProfileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.set_job(1, "running")
    with ProfileStore(queue.folder) as other:
        interfere(queue, monkeypatch, lambda: other.set_job(1, "cancelled") and None)
        assert queue.note_break(1, {"message": "died"}).state == "queued"
        assert queue.note_break(1, {"message": "died"}).state == "cancelled", "it came after"
    done = train(queue, "two")
    assert queue.note_break(done.id, {"message": "died"}).state == "undecided", "its result is there"
    assert queue.job(done.id).breaks == 0


@pytest.mark.parametrize("state", ["running", "undecided", "done", "cancelled"])
def test_only_what_waits_or_failed_is_resumed(queue: ProfileStore, state: JobState) -> None:
    for one in WAY[state]:
        queue.set_job(1, one)
    with pytest.raises(UsageError, match=f"Job 1 is {state}: there is nothing to resume"):
        queue.resume_job(1)
    assert queue.job(1).state == state


def test_resuming_what_is_queued_already_is_no_error(queue: ProfileStore) -> None:
    queue.set_job(1, "paused")
    assert queue.resume_job(1).state == queue.resume_job(1).state == "queued"


def test_an_end_does_not_undo_a_result(queue: ProfileStore) -> None:
    done = train(queue, "one")
    ended = queue.end_job(done.id, "failed", progress={"step": 3}, error={"message": "the pipe broke"})
    assert (ended.state, ended.error, ended.progress) == ("undecided", None, {"step": 3})
    queue.set_job(2, "running")
    failed = queue.end_job(2, "failed", error={"message": "no"})
    assert (failed.state, failed.error) == ("failed", {"message": "no"})
