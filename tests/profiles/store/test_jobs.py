"""The queue of trainings: every way from state to state, its order, decisions, and what a crash leaves."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from sqlite3 import Connection

import pytest

from profiles.files.paths import AppPaths
from profiles.store.checkpoints import checkpoint_file, drop_checkpoints
from profiles.store.jobs import JobRecord, JobState
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
        store.procedures.add(Procedure(name, (ExamplePair(f"{name} a", "b"),)))
    store.jobs.queue(NAMES, QUICK)
    return store


def names(store: ProfileStore, *states: JobState) -> list[str]:
    return [job.procedure for job in store.jobs.list_open() if not states or job.state in states]


def train(store: ProfileStore, name: str) -> JobRecord:
    """Work a job off as an engine does, up to its result."""
    job = next(job for job in store.jobs.list_open() if job.procedure == name and job.state == "queued")
    store.jobs.update(job.id, "running")
    record = store.procedures.get(name)
    pairs = store.procedures.with_pairs(name).pairs
    file = store.memories.write(name.encode())
    store.memories.add(record.id, BACKBONE, file, pairs, {}, {"rouge_l": 0.5}, job_id=job.id)
    return store.jobs.get(job.id)


def files(store: ProfileStore) -> int:
    return len(list(store.memories.folder.iterdir()))


def test_a_job_from_the_queue_to_the_decision(queue: ProfileStore) -> None:
    first = queue.jobs.next()
    assert first is not None and (first.procedure, first.state, first.request) == ("one", "running", QUICK)
    assert queue.jobs.update(first.id, progress={"step": 2}).progress == {"step": 2}
    record = queue.procedures.get("one")
    file = queue.memories.write(b"tensors")
    memory = queue.memories.add(record.id, BACKBONE, file, (), {}, {}, job_id=first.id)
    waiting = queue.jobs.get(first.id)
    assert (waiting.state, waiting.memory_id, waiting.progress) == ("undecided", memory.id, {"step": 2})
    assert queue.memories.active("one", BACKBONE) is None, "nothing changes unasked"
    revision = queue.revision
    done = queue.jobs.decide(first.id, activate=True)
    assert (done.state, done.progress) == ("done", None) and queue.revision == revision + 1
    active = queue.memories.active("one", BACKBONE)
    assert active is not None and active.id == memory.id and names(queue) == ["two", "three"]
    with pytest.raises(UsageError, match="is done: there is nothing to decide"):
        queue.jobs.decide(first.id, activate=False)
    with pytest.raises(NotFoundError, match="no job number 99"):
        queue.jobs.get(99)


def test_keeping_the_old_drops_the_new_with_its_file(queue: ProfileStore) -> None:
    old = train(queue, "one")
    queue.jobs.decide(old.id, activate=True)
    queue.jobs.queue(["one"], QUICK)
    new = train(queue, "one")
    assert files(queue) == 2
    queue.jobs.decide(new.id, activate=False)
    assert [memory.id for memory in queue.memories.list("one")] == [old.memory_id] and files(queue) == 1


def test_a_retrained_procedure_has_one_result_to_decide_about_in_the_end(queue: ProfileStore) -> None:
    train(queue, "one")
    queue.jobs.queue(["one"], QUICK)
    newer = train(queue, "one")
    assert names(queue, "undecided") == ["one", "one"]
    queue.jobs.decide(newer.id, activate=True)
    assert names(queue, "undecided") == [] and [m.status for m in queue.memories.list("one")] == ["active"]


def test_a_result_that_was_decided_elsewhere_waits_no_more(queue: ProfileStore) -> None:
    job = train(queue, "one")
    assert job.memory_id is not None
    queue.memories.activate(job.memory_id)
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
    job = queue.jobs.list_open()[0]
    for step in WAY[before]:
        queue.jobs.update(job.id, step)
    if after in ALLOWED[before] | {before}:
        assert queue.jobs.update(job.id, after).state == after
    else:
        with pytest.raises(UsageError, match=f"is {before} and cannot become {after}"):
            queue.jobs.update(job.id, after)
        assert queue.jobs.get(job.id).state == before


def test_a_job_that_goes_on_loses_its_error(queue: ProfileStore) -> None:
    job = queue.jobs.next()
    assert job is not None
    failed = queue.jobs.update(job.id, "failed", error={"message": "no memory"})
    assert failed.error == {"message": "no memory"} and queue.jobs.next() is not None
    assert queue.jobs.resume(job.id).error is None


def test_moving_and_removing(queue: ProfileStore) -> None:
    one, two, three = queue.jobs.list_open()
    assert queue.jobs.move(three.id, -1) and names(queue) == ["one", "three", "two"]
    assert queue.jobs.move(one.id, 1) and names(queue) == ["three", "one", "two"]
    assert not queue.jobs.move(three.id, -1) and not queue.jobs.move(two.id, 1)
    queue.jobs.update(one.id, "paused")
    assert queue.jobs.move(two.id, -1) and names(queue) == ["three", "two", "one"], "past one that is paused"
    first = queue.jobs.next()
    assert first is not None and first.procedure == "three"
    assert not queue.jobs.move(three.id, 1), "what runs does not wait"
    assert not queue.jobs.move(two.id, -1), "nobody gets before what runs"
    queue.jobs.update(two.id, "cancelled")
    assert names(queue) == ["three", "one"] and queue.jobs.next() is None


def test_asking_again_for_what_waits_changes_how_not_when(queue: ProfileStore) -> None:
    thorough = {**QUICK, "preset": "thorough"}
    one = queue.jobs.list_open()[0]
    queue.jobs.update(one.id, "paused", progress={"step": 3})
    queue.jobs.queue(["two", "one"], thorough)
    assert names(queue, "queued") == list(NAMES)
    assert [job.request["preset"] for job in queue.jobs.list_open()] == ["thorough", "thorough", "quick"]
    assert queue.jobs.get(one.id).progress is None, "of other settings"
    queue.jobs.update(one.id, "paused", progress={"step": 4})
    queue.jobs.queue(["one"], thorough)
    assert queue.jobs.get(one.id).progress == {"step": 4}
    with pytest.raises(NotFoundError, match="no procedure 'four'"):
        queue.jobs.queue(["three", "four"], thorough)
    assert queue.jobs.list_open()[2].request == QUICK, "all or nothing"


def test_a_failed_one_goes_to_the_end_when_it_is_asked_for_again(queue: ProfileStore) -> None:
    job = queue.jobs.next()
    assert job is not None
    queue.jobs.update(job.id, "failed", error={"message": "x"})
    queue.jobs.queue(["one"], QUICK)
    assert names(queue, "queued") == ["two", "three", "one"]


def test_what_runs_can_be_asked_for_once_more(queue: ProfileStore) -> None:
    queue.jobs.next()
    queue.jobs.queue(["one"], QUICK)
    assert names(queue, "queued") == ["two", "three", "one"]


def test_what_a_crash_left_is_queued_again_but_not_for_ever(queue: ProfileStore) -> None:
    job = queue.jobs.next()
    assert job is not None
    with queue.jobs.working_off():
        assert (queue.jobs.get(job.id).state, queue.jobs.get(job.id).breaks) == ("queued", 1)
    again = queue.jobs.next()
    assert again is not None and again.id == job.id, "it keeps its place"
    with queue.jobs.working_off():
        failed = queue.jobs.get(job.id)
        assert failed.state == "failed" and failed.error is not None and "twice" in failed.error["message"]
    assert queue.jobs.resume(job.id).breaks == 0


def test_one_works_the_queue_off(queue: ProfileStore) -> None:
    with (
        queue.jobs.working_off(),
        ProfileStore(queue.folder) as other,
        pytest.raises(BusyError, match="in another tokmem-desk"),
        other.jobs.working_off(seconds=0.0),
    ):
        pass


def test_jobs_of_a_removed_procedure_go_and_come_back_with_it(queue: ProfileStore) -> None:
    train(queue, "one")
    queue.procedures.remove("one")
    queue.procedures.remove("two")
    assert names(queue) == ["three"]
    with pytest.raises(NotFoundError):
        queue.jobs.get(1)
    queue.undo.take_back()
    queue.undo.take_back()
    assert names(queue) == list(NAMES) and names(queue, "undecided") == ["one"]
    queue.procedures.rename("one", "uno")
    assert names(queue)[0] == "uno"


def test_jobs_survive_closing(queue: ProfileStore) -> None:
    train(queue, "one")
    before = queue.jobs.list_open()
    with ProfileStore(queue.folder) as again:
        assert again.jobs.list_open() == before


def test_checkpoints_lie_per_procedure_and_backbone(queue: ProfileStore, paths: AppPaths) -> None:
    kept = [checkpoint_file(paths, queue, name, BACKBONE) for name in ("one", "two")]
    other = checkpoint_file(paths, queue, "one", "c" * 64)
    for file in (*kept, other):
        queue.files.write(file, b"state")
    drop_checkpoints(paths, queue, "one")
    assert [file.exists() for file in (*kept, other)] == [False, True, False]


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
        interfere(queue, monkeypatch, lambda: other.jobs.update(1, "cancelled") and None)
        taken = queue.jobs.next()
        assert taken is not None and (taken.id, taken.state) == (1, "running")
        assert queue.jobs.get(1).state == "cancelled", "it came after"


def test_a_break_is_noted_in_one_step_and_leaves_a_cancelled_job_alone(
    queue: ProfileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.jobs.update(1, "running")
    with ProfileStore(queue.folder) as other:
        interfere(queue, monkeypatch, lambda: other.jobs.update(1, "cancelled") and None)
        assert queue.jobs.note_break(1, {"message": "died"}).state == "queued"
        assert queue.jobs.note_break(1, {"message": "died"}).state == "cancelled", "it came after"
    done = train(queue, "two")
    assert queue.jobs.note_break(done.id, {"message": "died"}).state == "undecided", "its result is there"
    assert queue.jobs.get(done.id).breaks == 0


@pytest.mark.parametrize("state", ["running", "undecided", "done", "cancelled"])
def test_only_what_waits_or_failed_is_resumed(queue: ProfileStore, state: JobState) -> None:
    for one in WAY[state]:
        queue.jobs.update(1, one)
    with pytest.raises(UsageError, match=f"Job 1 is {state}: there is nothing to resume"):
        queue.jobs.resume(1)
    assert queue.jobs.get(1).state == state


def test_resuming_what_is_queued_already_is_no_error(queue: ProfileStore) -> None:
    queue.jobs.update(1, "paused")
    assert queue.jobs.resume(1).state == queue.jobs.resume(1).state == "queued"


def test_an_end_does_not_undo_a_result(queue: ProfileStore) -> None:
    done = train(queue, "one")
    ended = queue.jobs.end(done.id, "failed", progress={"step": 3}, error={"message": "the pipe broke"})
    assert (ended.state, ended.error, ended.progress) == ("undecided", None, {"step": 3})
    queue.jobs.update(2, "running")
    failed = queue.jobs.end(2, "failed", error={"message": "no"})
    assert (failed.state, failed.error) == ("failed", {"message": "no"})
