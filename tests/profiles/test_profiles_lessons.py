"""What was learned from answers: found again, taken back, and counted while it waits for training."""

from __future__ import annotations

import pytest

from profiles.store.feedback import CHAT_SOURCE
from profiles.store.records import Lesson
from profiles.store.store import ProfileStore
from tokmem_desk.errors import NotFoundError
from tokmem_desk.procedures import ExamplePair, Procedure

BACKBONE = "backbone-1"
FIRST = ExamplePair("coffee 3.50", "2025-01-01 coffee 3.50")
LATER = ExamplePair("tea 2", "2025-01-02 tea 2.00")


@pytest.fixture
def answer(store: ProfileStore) -> int:
    """An answer by the wrong procedure."""
    store.add_procedure(Procedure("ledger", (FIRST,)))
    store.add_procedure(Procedure("mood", (FIRST,)))
    conversation = store.create_conversation("Money")
    store.add_message(conversation, "user", LATER.input)
    return store.add_message(conversation, "assistant", "mood: tea", route="mood", details={"span": 16})


def train(store: ProfileStore, name: str) -> None:
    """Register and activate a memory made from the present pairs."""
    file = store.new_memory_file()
    file.write_bytes(b"x")
    pairs = store.to_procedure(name).pairs
    record = store.add_memory(store.procedure(name).id, BACKBONE, file.name, pairs, {}, {})
    store.activate_memory(record.id)


def conversation_of(store: ProfileStore) -> int:
    return store.conversations()[0].id


def test_what_came_from_an_answer_is_found_again(store: ProfileStore, answer: int) -> None:
    verdict = store.add_correction(LATER.input, "mood", "ledger", answer)
    pair = store.add_pairs("ledger", [LATER], source=CHAT_SOURCE, message_id=answer)[0]
    store.rate_message(answer, "bad")
    assert store.lessons(conversation_of(store)) == {answer: Lesson(verdict, "mood", pair.id, "ledger")}
    message = store.messages(conversation_of(store))[1]
    assert (message.rating, message.details) == ("bad", {"span": 16})
    store.remove_correction(verdict)
    store.delete_pair(pair.id)
    store.rate_message(answer, None)
    assert store.lessons(conversation_of(store)) == {}
    assert store.messages(conversation_of(store))[1].rating is None


def test_pairs_of_chats_wait_until_a_memory_knows_them(store: ProfileStore, answer: int) -> None:
    assert store.waiting(BACKBONE) == {}
    train(store, "ledger")
    store.add_pairs("ledger", [ExamplePair("not from a chat", "x")], source="csv")
    store.add_pairs("ledger", [LATER], source=CHAT_SOURCE, message_id=answer)
    assert store.waiting(BACKBONE) == {"ledger": 1}
    assert store.waiting(None) == {"ledger": 1}
    store.set_enabled("ledger", False)
    assert store.waiting(BACKBONE) == {}
    store.set_enabled("ledger", True)
    train(store, "ledger")
    assert store.waiting(BACKBONE) == {}
    assert store.waiting("another backbone") == {"ledger": 1}


def test_pairs_outlive_the_chat_also_when_they_come_back(store: ProfileStore, answer: int) -> None:
    pair = store.add_pairs("ledger", [LATER], source=CHAT_SOURCE, message_id=answer)[0]
    store.delete_pair(pair.id)
    store.delete_conversation(conversation_of(store))
    store.undo()
    assert [one.pair for one in store.pairs("ledger")] == [FIRST, LATER]
    assert not store.damage()
    with pytest.raises(NotFoundError):
        store.rate_message(answer, "good")
