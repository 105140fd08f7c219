"""Improving a memory from verdicts in the engine: what comes out, what measures it, and what stays where it cannot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from profiles.store.feedback import CHAT_SOURCE
from profiles.store.store import ProfileStore
from tests.engine.conftest import activate, result_of
from tokmem_desk.errors import BadInputError, IncompatibleError
from tokmem_desk.procedures import AnswerVerdict, ExamplePair
from tui.engine.improving import held_out_verdicts
from tui.engine_client.client import EngineClient, run_blocking
from tui.shared.improvable import FEWEST, check_improvable


@contextmanager
def profile(home: Path) -> Iterator[ProfileStore]:
    with ProfileRegistry(AppPaths.resolve(home)) as registry, registry.open() as store:
        yield store


def say(store: ProfileStore, name: str, corrected: int = 4, bad: int = 4) -> None:
    """Answers of a procedure that a person corrected, and such with a thumb down."""
    chat = store.chats.create("said")
    for place in range(corrected + bad):
        question, shown = f"say river {place + 20}", f"RIVE {place}"
        store.messages.add(chat, "user", question)
        details = {"original": shown} if place < corrected else None
        right = f"RIVER! {place}"
        content = right if place < corrected else shown
        answer = store.messages.add(chat, "assistant", content, route=name, details=details)
        if place < corrected:
            store.pairs.add(name, [ExamplePair(question, right)], source=CHAT_SOURCE, message_id=answer)
        else:
            store.feedback.rate(answer, "bad")


def fingerprint_of(store: ProfileStore) -> str:
    return store.memories.list("shout")[0].backbone_fingerprint


def test_verdicts_make_a_candidate_that_they_and_pairs_measure(trained: EngineClient, trained_home: Path) -> None:
    with profile(trained_home) as store:
        say(store, "shout")
        fingerprint = fingerprint_of(store)
        assert store.verdicts.waiting(fingerprint) == {"shout": 8}
        store.jobs.queue(["shout"], {"improve": True})
        job = store.jobs.next()
        assert job is not None
    events = list(run_blocking(trained.submit("train", profile="default", job=job.id, names=["shout"], improve=True)))
    told = [one["phase"] for one in events if one["event"] == "progress" and one.get("procedure")]
    assert told == sorted(told, key=["cache", "train", "evaluate"].index)
    [made] = events[-1]["result"]["trained"]
    said = made["scorecard"]["verdicts"]
    assert (said["learned"], said["held_out"]) == (8, 2)
    assert all(0 <= said[when][key] <= 1 for when in ("before", "now") for key in ("right", "alike"))
    assert made["scorecard"]["before"]["version"] == 1 and made["scorecard"]["prompt"] is None
    with profile(trained_home) as store:
        before, after = store.memories.active("shout", fingerprint), store.memories.get(made["memory_id"])
        assert before is not None and (before.version, after.version, after.status) == (1, 2, "candidate")
        assert after.settings["verdicts"] == 8 and after.settings["span"] == 4
        choice = store.memories.held_out_choice(after.id)
        assert choice is not None and {one.input for one in choice.learned} >= {f"say river {n}" for n in range(20, 24)}
        assert store.verdicts.waiting(fingerprint) == {}, "also where the memory before stays"
        assert store.jobs.get(job.id).state == "undecided"
        store.jobs.decide(job.id, activate=True)
        assert store.verdicts.waiting(fingerprint) == {}
    answer = result_of(trained, "ask", text="say river 20", route="shout", max_tokens=5)
    assert answer["route"] == "shout"
    with profile(trained_home) as store:
        assert store.undo.take_back() == "improved shout from verdicts"
        active = store.memories.active("shout", fingerprint)
        assert active is not None and active.id == before.id
        assert store.memories.get(after.id).status == "archived", "the way forward again, by versions"
        assert not store.damage()


@pytest.mark.parametrize("how", ["keep", "pause", "drop"])
def test_a_stopped_improvement_changes_nothing(trained: EngineClient, trained_home: Path, how: Any) -> None:
    with profile(trained_home) as store:
        say(store, "shout")
    handle = trained.submit("train", profile="default", names=["shout"], improve=True)
    for event in run_blocking(handle):
        if event["event"] == "progress" and event.get("phase") == "train" and event["step"] == 3:
            trained._own_runner().run(handle.cancel(how))
    assert event["result"] == {"cancelled": True, "trained": []}
    with profile(trained_home) as store:
        assert len(store.memories.list("shout")) == 1
        assert store.verdicts.waiting(fingerprint_of(store)) == {"shout": 8}
    again = result_of(trained, "train", names=["shout"], improve=True)
    assert [one["name"] for one in again["trained"]] == ["shout"]


def stopped_at(trained: EngineClient, step: int) -> list[str]:
    """Pause an improvement behind so many steps; returns what was noted."""
    handle, notes = trained.submit("train", profile="default", names=["shout"], improve=True), list[str]()
    for event in run_blocking(handle):
        if event["event"] == "progress":
            notes += [event["note"]] if event.get("note") else []
            if event.get("phase") == "train" and event["step"] == step:
                trained._own_runner().run(handle.cancel("pause"))
    assert event["result"] == {"cancelled": True, "trained": []}
    return notes


def test_a_paused_improvement_goes_on(trained: EngineClient, trained_home: Path) -> None:
    with profile(trained_home) as store:
        say(store, "shout")
    checkpoints = AppPaths.resolve(trained_home).checkpoints
    assert not stopped_at(trained, 3)
    assert [file.name for file in checkpoints.rglob("*-verdicts.safetensors")]
    assert any("Going on where" in note for note in stopped_at(trained, 8))
    events = list(run_blocking(trained.submit("train", profile="default", names=["shout"], improve=True)))
    steps = [one["step"] for one in events if one["event"] == "progress" and one.get("phase") == "train"]
    assert steps[0] > 8 and steps == sorted(set(steps))
    assert [one["name"] for one in events[-1]["result"]["trained"]] == ["shout"]
    assert not list(checkpoints.rglob("*-verdicts.safetensors")), "it is of no use any more"


def test_a_paused_improvement_begins_anew_where_more_was_said(trained: EngineClient, trained_home: Path) -> None:
    with profile(trained_home) as store:
        say(store, "shout")
    stopped_at(trained, 3)
    with profile(trained_home) as store:
        say(store, "shout", 0, 6)
    assert not stopped_at(trained, 1)


def nothing_said(store: ProfileStore) -> None:
    pass


def few_said(store: ProfileStore) -> None:
    say(store, "shout", 2, FEWEST - 3)


def all_used(store: ProfileStore) -> None:
    say(store, "shout")
    store.verdicts.mark([store.memories.list("shout")[0].id], store.verdicts.of("shout"))


def no_pairs(store: ProfileStore) -> None:
    say(store, "shout", 0, 8)
    for pair in store.pairs.list("shout"):
        store.pairs.delete(pair.id)


def no_memory(store: ProfileStore) -> None:
    say(store, "shout")
    [memory] = store.memories.list("shout")
    store.memories.activate(memory.id)
    with store._database.writing() as connection:
        connection.execute("UPDATE memories SET status = 'archived' WHERE id = ?", (memory.id,))


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (nothing_said, "Nobody has said yet"),
        (few_said, "from 6 on"),
        (all_used, "have been used"),
        (no_pairs, "without its pairs"),
        (no_memory, "no memory that could be improved"),
    ],
)
def test_why_a_memory_cannot_be_improved(
    trained: EngineClient, trained_home: Path, prepare: Callable[[ProfileStore], None], message: str
) -> None:
    with profile(trained_home) as store:
        prepare(store)
    with pytest.raises(BadInputError, match=message):
        result_of(trained, "train", names=["shout"], improve=True)
    assert result_of(trained, "route", texts=["say tea 2"])["routes"]


def test_a_memory_of_another_model_is_named(trained_home: Path) -> None:
    with profile(trained_home) as store:
        say(store, "shout")
        with pytest.raises(IncompatibleError, match="of another model"):
            check_improvable(store, "shout", "another fingerprint")


def test_verdicts_on_one_message_stay_together() -> None:
    said = [AnswerVerdict(f"m{place // 2}", f"wrong {place}") for place in range(40)]
    aside = held_out_verdicts(said)
    assert len(aside) == 8 and len({one.input for one in aside}) == 4
    assert held_out_verdicts(said[::-1])[::-1] == aside, "whatever order they come in"
    assert len(held_out_verdicts(said[:12])) == 4


def test_an_improvement_after_another_starts_from_it(trained: EngineClient, trained_home: Path) -> None:
    with profile(trained_home) as store:
        say(store, "shout")
    activate(trained_home, result_of(trained, "train", names=["shout"], improve=True))
    with profile(trained_home) as store:
        say(store, "shout", 0, 1)
        chat = store.chats.create("more")
        store.messages.add(chat, "user", "say lake 1")
        store.feedback.rate(store.messages.add(chat, "assistant", "LAK", route="shout"), "bad")
        assert store.verdicts.waiting(fingerprint_of(store))["shout"] >= 1
    again = result_of(trained, "train", names=["shout"], improve=True)["trained"][0]
    assert again["scorecard"]["before"]["version"] == 2
    assert again["scorecard"]["verdicts"]["learned"] >= 9
