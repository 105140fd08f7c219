"""Plans in the store: steps by identity, and runs that go on once and in one process."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from profiles.store.plans import KEPT_RUNS
from profiles.store.store import ProfileStore
from tokmem_desk.errors import BadInputError, BusyError, ConflictError, NotFoundError
from tokmem_desk.procedures import ExamplePair, Procedure

STEPS = "expense\nif {expense.amount} > 50\n  book: {expense}"


@pytest.fixture(autouse=True)
def three(store: ProfileStore) -> None:
    """Procedures to put together."""
    for name in ("expense", "book", "round"):
        store.procedures.add(Procedure(name, (ExamplePair("x", "y"),)))


def test_steps_follow_renaming_and_removal(store: ProfileStore) -> None:
    plans = store.plans
    plans.set_steps("round", STEPS)
    assert plans.steps() == {"round": STEPS}
    store.procedures.rename("book", "reserve")
    assert plans.steps() == {"round": STEPS.replace("  book", "  book = reserve")}
    assert plans.missing("round") == []
    store.procedures.remove("reserve")
    assert plans.missing("round") == ["book"]
    store.procedures.add(Procedure("book", ()))
    assert plans.missing("round") == ["book"], "another procedure of that name is another one"
    store.undo.take_back()
    store.undo.take_back()
    assert plans.missing("round") == []


def test_two_procedures_can_change_names(store: ProfileStore) -> None:
    store.plans.set_steps("round", "expense\nbook")
    for old, new in (("expense", "other"), ("book", "expense"), ("other", "book")):
        store.procedures.rename(old, new)
    assert store.plans.steps()["round"] == "expense = book\nbook = expense"


def test_making_and_unmaking_a_plan_is_undone_like_any_change(store: ProfileStore) -> None:
    store.plans.set_steps("round", STEPS)
    store.plans.set_steps("round", "")
    assert store.plans.steps() == {"round": ""}
    store.plans.set_steps("round", None)
    assert store.plans.steps() == {}
    assert store.undo.take_back() == "round is no plan any more"
    assert store.undo.take_back() == "made round a plan that is taught"
    assert store.plans.steps() == {"round": STEPS}


def test_what_cannot_be_a_plan_is_refused(store: ProfileStore) -> None:
    with pytest.raises(NotFoundError, match="names 'books', and no procedure is called so. Did you mean"):
        store.plans.set_steps("round", "books")
    with pytest.raises(BadInputError, match="Line 1"):
        store.plans.set_steps("round", "Book it!")
    with pytest.raises(NotFoundError):
        store.plans.set_steps("nobody", "book")
    store.plans.set_steps("book", "expense\nround")
    with pytest.raises(ConflictError, match="round → book → round"):
        store.plans.set_steps("round", "book")
    assert "round" not in store.plans.steps()


def test_a_run_is_kept_until_its_question_is_deleted(store: ProfileStore) -> None:
    chat = store.chats.create("about")
    question = store.messages.add(chat, "user", "do the round")
    run = store.plans.begin("round", "do the round", {"plans": {"round": STEPS}, "today": "2026-11-30"}, question)
    assert store.plans.open_runs(question) == [run]
    store.plans.note(run.id, {"1": {"response": "62"}}, "waiting", "book would run a command")
    assert store.plans.get(run.id).answers == {"1": {"response": "62"}}
    store.chats.delete(chat)
    with pytest.raises(NotFoundError):
        store.plans.get(run.id)


def test_an_ended_run_does_not_go_on(store: ProfileStore) -> None:
    run = store.plans.begin("round", "x", {}, None)
    with store.plans.going_on(run):
        store.plans.note(run.id, {}, "done")
    with pytest.raises(ConflictError, match="has ended: done"), store.plans.going_on(run):
        pass


def _hold(folder: Path, run_id: int, held: object, end: object) -> None:
    with ProfileStore(folder) as store, store.plans.going_on(store.plans.get(run_id)):
        held.set()  # type: ignore[attr-defined]
        end.wait()  # type: ignore[attr-defined]


def test_one_process_at_a_time_goes_on_and_its_death_frees_the_run(store: ProfileStore) -> None:
    run = store.plans.begin("round", "x", {}, None)
    assert not store.plans.is_going_on(run)
    context = multiprocessing.get_context("spawn")
    held, end = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(store.folder, run.id, held, end))
    other.start()
    held.wait()
    assert store.plans.is_going_on(run)
    with pytest.raises(BusyError, match="goes on in another tokmem-desk"), store.plans.going_on(run):
        pass
    other.kill()
    other.join()
    with store.plans.going_on(run) as present:
        assert present.status == "running"


def test_old_runs_and_their_locks_go_and_open_ones_stay(store: ProfileStore) -> None:
    waits = store.plans.begin("round", "waits", {}, None)
    store.plans.note(waits.id, {}, "waiting")
    for place in range(KEPT_RUNS + 3):
        run = store.plans.begin("round", f"message {place}", {}, None)
        with store.plans.going_on(run):
            store.plans.note(run.id, {}, "done")
    store.plans.begin("round", "last", {}, None)
    runs = store.plans.runs(1000)
    assert len(runs) == KEPT_RUNS + 2 and runs[-1].id == waits.id
    assert len(list(store.folder.glob("plan-*.guard"))) <= 1
    store.plans.forget(waits.id)
    with pytest.raises(NotFoundError):
        store.plans.forget(waits.id)
