"""What was learned from answers: found again, taken back, and counted while it waits for training."""

from __future__ import annotations

import pytest

from profiles.store.feedback import CHAT_SOURCE, AnswerFeedback
from profiles.store.store import ProfileStore
from tokmem_desk.errors import NotFoundError
from tokmem_desk.procedures import ExamplePair, Procedure

BACKBONE = "backbone-1"
FIRST = ExamplePair("coffee 3.50", "2025-01-01 coffee 3.50")
LATER = ExamplePair("tea 2", "2025-01-02 tea 2.00")


@pytest.fixture
def answer(store: ProfileStore) -> int:
    """An answer by the wrong procedure."""
    store.procedures.add(Procedure("ledger", (FIRST,)))
    store.procedures.add(Procedure("mood", (FIRST,)))
    conversation = store.chats.create("Money")
    store.messages.add(conversation, "user", LATER.input)
    return store.messages.add(conversation, "assistant", "mood: tea", route="mood", details={"span": 16})


def train(store: ProfileStore, name: str) -> None:
    """Register and activate a memory made from the present pairs."""
    file = store.memories.new_file()
    file.write_bytes(b"x")
    pairs = store.procedures.with_pairs(name).pairs
    record = store.memories.add(store.procedures.get(name).id, BACKBONE, file.name, pairs, {}, {})
    store.memories.activate(record.id)


def conversation_of(store: ProfileStore) -> int:
    return store.chats.list()[0].id


def test_what_came_from_an_answer_is_found_again(store: ProfileStore, answer: int) -> None:
    verdict = store.corrections.add(LATER.input, "mood", "ledger", answer)
    pair = store.pairs.add("ledger", [LATER], source=CHAT_SOURCE, message_id=answer)[0]
    store.feedback.rate(answer, "bad")
    assert store.feedback.of_conversation(conversation_of(store)) == {
        answer: AnswerFeedback(verdict, "mood", pair.id, "ledger")
    }
    message = store.messages.list(conversation_of(store))[1]
    assert (message.rating, message.details) == ("bad", {"span": 16})
    store.corrections.remove(verdict)
    store.pairs.delete(pair.id)
    store.feedback.rate(answer, None)
    assert store.feedback.of_conversation(conversation_of(store)) == {}
    assert store.messages.list(conversation_of(store))[1].rating is None


def test_pairs_of_chats_wait_until_a_memory_knows_them(store: ProfileStore, answer: int) -> None:
    assert store.feedback.waiting(BACKBONE) == {}
    train(store, "ledger")
    store.pairs.add("ledger", [ExamplePair("not from a chat", "x")], source="csv")
    store.pairs.add("ledger", [LATER], source=CHAT_SOURCE, message_id=answer)
    assert store.feedback.waiting(BACKBONE) == {"ledger": 1}
    assert store.feedback.waiting(None) == {"ledger": 1}
    store.procedures.set_enabled("ledger", False)
    assert store.feedback.waiting(BACKBONE) == {}
    store.procedures.set_enabled("ledger", True)
    train(store, "ledger")
    assert store.feedback.waiting(BACKBONE) == {}
    assert store.feedback.waiting("another backbone") == {"ledger": 1}


def test_pairs_outlive_the_chat_also_when_they_come_back(store: ProfileStore, answer: int) -> None:
    pair = store.pairs.add("ledger", [LATER], source=CHAT_SOURCE, message_id=answer)[0]
    store.pairs.delete(pair.id)
    store.chats.delete(conversation_of(store))
    store.undo.take_back()
    assert [one.pair for one in store.pairs.list("ledger")] == [FIRST, LATER]
    assert not store.damage()
    with pytest.raises(NotFoundError):
        store.feedback.rate(answer, "good")
