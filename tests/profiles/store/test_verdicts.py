"""Verdicts on answers: read from chats and pairs, counted while they wait, marked once a memory was made from them."""

from __future__ import annotations

import pytest

from profiles.store.feedback import CHAT_SOURCE
from profiles.store.store import ProfileStore
from profiles.store.verdicts import REJECTED
from tests.profiles.store.test_feedback import BACKBONE, FIRST, train
from tokmem_desk.errors import NotFoundError
from tokmem_desk.procedures import AnswerVerdict, ExamplePair, Procedure


@pytest.fixture
def chat(store: ProfileStore) -> int:
    """A conversation of a profile whose procedure has a memory."""
    store.procedures.add(Procedure("ledger", (FIRST,)))
    train(store, "ledger")
    return store.chats.create("Money")


def ask(store: ProfileStore, chat: int, question: str, answer: str, **more: object) -> int:
    store.messages.add(chat, "user", question)
    return store.messages.add(chat, "assistant", answer, route="ledger", **more)  # type: ignore[arg-type]


def correct(store: ProfileStore, chat: int, question: str, shown: str, right: str) -> int:
    """As the chat does it: a pair, and the text that was shown beside the right one."""
    answer = ask(store, chat, question, right, details={"original": shown})
    return store.pairs.add("ledger", [ExamplePair(question, right)], source=CHAT_SOURCE, message_id=answer)[0].id


def test_what_was_said_of_answers_is_collected(store: ProfileStore, chat: int) -> None:
    pair = correct(store, chat, "tea 2", "tea 2", "tea 2.00")
    liked = ask(store, chat, "milk 1", "milk 1.00")
    store.pairs.add("ledger", [ExamplePair("milk 1", "milk 1.00")], source=CHAT_SOURCE, message_id=liked)
    store.feedback.rate(liked, "good")
    store.feedback.rate(ask(store, chat, "jam 4", "jam"), "bad")
    asked_again = ask(store, chat, "rye 5", "rye", details={REJECTED: [["ledger", "ry"], ["mood", "sad"]]})
    store.feedback.rate(asked_again, "bad")
    part = {"segments": [{"route": "ledger", "part": "eggs 6"}]}
    store.feedback.rate(ask(store, chat, "and eggs, 6", "eggs", details=part), "bad")
    assert store.verdicts.of("ledger") == [
        AnswerVerdict("tea 2", "tea 2", "tea 2.00"),
        AnswerVerdict("milk 1", None, "milk 1.00"),
        AnswerVerdict("jam 4", "jam"),
        AnswerVerdict("rye 5", "rye"),
        AnswerVerdict("rye 5", "ry"),
        AnswerVerdict("eggs 6", "eggs"),
    ]
    store.pairs.delete(pair)
    store.feedback.rate(asked_again, None)
    assert [one.input for one in store.verdicts.of("ledger")] == ["milk 1", "jam 4", "eggs 6"]
    store.chats.delete(chat)
    assert store.verdicts.of("ledger") == [AnswerVerdict("milk 1", None, "milk 1.00")], "pairs outlive their chat"
    with pytest.raises(NotFoundError):
        store.verdicts.of("nobody")


def test_some_thumbs_say_nothing_of_a_memory(store: ProfileStore, chat: int) -> None:
    store.procedures.add(Procedure("mood", (FIRST,)))
    several = {"parts": [{"route": "ledger", "text": "a"}, {"route": "mood", "text": "b"}]}
    for answer in (
        ask(store, chat, "two things", "a\nb", details=several),
        ask(store, chat, "a plan", "done", details={"plans": [{"run": 1}]}),
        ask(store, chat, "stopped", "sto", status="stopped"),
    ):
        store.feedback.rate(answer, "bad")
    # A route that was wrong is the router's business, also where it has become a pair of the right procedure.
    wrong = ask(store, chat, "sad today", "sad 0.00", details={"original": "sad 0.00"})
    store.corrections.add("sad today", "ledger", "mood", wrong)
    store.pairs.add("mood", [ExamplePair("sad today", "mood: sad")], source=CHAT_SOURCE, message_id=wrong)
    assert store.verdicts.of("ledger") == []
    assert store.verdicts.of("mood") == [AnswerVerdict("sad today", None, "mood: sad")]


def test_verdicts_wait_until_a_memory_was_made_from_them(store: ProfileStore, chat: int) -> None:
    assert store.verdicts.waiting(BACKBONE) == {}
    correct(store, chat, "tea 2", "tea 2", "tea 2.00")
    store.feedback.rate(ask(store, chat, "jam 4", "jam"), "bad")
    assert store.verdicts.waiting(BACKBONE) == {"ledger": 2}
    assert store.verdicts.waiting("another") == store.verdicts.waiting(None) == {}, "there is no memory to improve"
    store.procedures.set_enabled("ledger", False)
    assert store.verdicts.waiting(BACKBONE) == {}
    store.procedures.set_enabled("ledger", True)

    memory = store.memories.active("ledger", BACKBONE)
    assert memory is not None
    store.verdicts.mark([memory.id, "gone"], store.verdicts.of("ledger"))
    assert store.verdicts.waiting(BACKBONE) == {}
    store.feedback.rate(ask(store, chat, "rye 5", "rye"), "bad")
    assert store.verdicts.waiting(BACKBONE) == {"ledger": 1}

    train(store, "ledger")
    assert store.verdicts.waiting(BACKBONE) == {"ledger": 2}, "the pair was learned; thumbs down were not"


def test_marks_come_back_with_a_removed_procedure(store: ProfileStore, chat: int) -> None:
    store.feedback.rate(ask(store, chat, "jam 4", "jam"), "bad")
    memory = store.memories.active("ledger", BACKBONE)
    assert memory is not None
    store.verdicts.mark([memory.id], store.verdicts.of("ledger"))
    store.procedures.remove("ledger")
    assert store.rows("SELECT 1 FROM memory_verdicts") == []
    store.undo.take_back()
    assert store.verdicts.waiting(BACKBONE) == {}
    assert not store.damage()
