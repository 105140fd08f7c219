"""``proc improve`` with an engine that pretends to learn: what is queued, kept, said and taken back."""

from __future__ import annotations

import pytest

from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from profiles.store.feedback import CHAT_SOURCE
from tokmem_desk.procedures import ExamplePair, Procedure


@pytest.fixture
def taught(own_home, scripted):
    """A trained procedure; gives a function that marks answers of it."""
    with ProfileRegistry(AppPaths.resolve(own_home)) as registry, registry.open() as store:
        for name in ("ledger", "mood"):
            store.procedures.add(Procedure(name, tuple(ExamplePair(f"{name} {i}", f"{i}.00") for i in range(9))))
    assert scripted("train", "--json").code == 0

    def say(name, count, *more):
        with ProfileRegistry(AppPaths.resolve(own_home)) as registry, registry.open() as store:
            chat = store.chats.create("said")
            for place, message in enumerate([*(f"tea {place}" for place in range(count)), *more]):
                store.messages.add(chat, "user", message)
                answer = store.messages.add(chat, "assistant", "wrong", route=name, details={"original": "wrong"})
                if place % 2:
                    store.pairs.add(name, [ExamplePair(message, "right")], source=CHAT_SOURCE, message_id=answer)
                else:
                    store.feedback.rate(answer, "bad")

    return say


def versions(scripted):
    """Numbers and states of the memories, newest first."""
    memories = scripted("proc", "show", "ledger", "--json").json("proc-show")["memories"]
    return [(one["version"], one["status"]) for one in memories]


def test_what_was_said_is_learned_once_and_taken_back(scripted, taught):
    nothing = scripted("proc", "improve", "--json")
    assert nothing.json("proc-improve")["improved"] == [] and "No verdicts wait" in nothing.err
    taught("ledger", 8)
    taught("mood", 3)
    ended = scripted("proc", "improve", "--json")
    [one] = ended.json("proc-improve")["improved"]
    assert (one["name"], one["kept"], one["verdicts"]["learned"]) == ("ledger", True, 8)
    assert ended.json("proc-improve")["waiting"] == {"ledger": 8, "mood": 3}
    assert "mood, 3 verdicts:" in ended.err and "from 6 on" in ended.err
    assert "ledger answers so from now on" in ended.err and "proc undo" in ended.err
    assert versions(scripted) == [(2, "active"), (1, "archived")]
    assert "Taken back: improved ledger from verdicts." in scripted("proc", "undo").err
    assert versions(scripted) == [(2, "archived"), (1, "active")]
    again = scripted("proc", "improve", "ledger")
    assert again.code == 1 and "have been used" in again.err


def test_a_memory_that_is_not_better_is_dropped(scripted, taught):
    taught("ledger", 8, "!worse 1")
    ended = scripted("proc", "improve", "ledger", "--json")
    [one] = ended.json("proc-improve")["improved"]
    assert not one["kept"] and one["sentence"].startswith("Worse than what you have now: of 2 verdicts set aside")
    assert "The memory of ledger stays as it was." in ended.err
    assert versions(scripted) == [(1, "active")]


def test_what_cannot_be_improved_is_said(scripted, taught, own_home):
    for name, words in (("nobody", "no procedure 'nobody'"), ("ledger", "Nobody has said yet")):
        ended = scripted("proc", "improve", name)
        assert ended.code == 1 and words in ended.err
    taught("ledger", 8)
    with ProfileRegistry(AppPaths.resolve(own_home)) as registry, registry.open() as store:
        [job] = store.jobs.queue(["ledger"], {"preset": "quick"})
    ended = scripted("proc", "improve", "ledger")
    assert ended.code == 3 and "is in the queue already" in ended.err
    with ProfileRegistry(AppPaths.resolve(own_home)) as registry, registry.open() as store:
        assert store.jobs.get(job.id).request == {"preset": "quick"}, "it was not replaced"
