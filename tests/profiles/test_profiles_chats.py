"""Conversations, search and corrections."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from profiles.store.store import ProfileStore
from tokmem_desk.errors import BadInputError, NotFoundError, UsageError
from tokmem_desk.procedures import Procedure


def test_an_answer_keeps_its_route_and_timing(store: ProfileStore) -> None:
    conversation = store.create_conversation("Money")
    store.add_message(conversation, "user", "coffee 3.50")
    candidates = [{"route": "ledger", "probability": 0.9}, {"route": "none", "probability": 0.1}]
    number = store.add_message(
        conversation,
        "assistant",
        "2024-01-02 coffee",
        route="ledger",
        probability=0.9,
        candidates=candidates,
        timing={"total": 0.5, "tokens": 4},
        status="stopped",
    )
    user, answer = store.messages(conversation)
    assert (user.role, user.route, user.candidates, user.timing, user.status) == ("user", None, None, None, "complete")
    assert answer.candidates == tuple(candidates) and answer.timing == {"total": 0.5, "tokens": 4}
    done = store.update_message(number, content="2024-01-02 coffee 3.50", status="complete")
    assert done == dataclasses.replace(answer, content="2024-01-02 coffee 3.50", status="complete")
    assert store.update_message(number) == done


def test_the_history_shows_what_was_used_last_first(store: ProfileStore) -> None:
    first, second = store.create_conversation("first"), store.create_conversation("second")
    store.add_message(second, "user", "x")
    store.add_message(first, "user", "y")
    rows = store.conversations()
    assert {row.id: row.message_count for row in rows} == {first: 1, second: 1}
    assert [row.updated for row in rows] == sorted((row.updated for row in rows), reverse=True)
    assert len(store.conversations(limit=1)) == 1
    store.rename_conversation(first, "renamed")
    assert {row.title for row in store.conversations()} == {"renamed", "second"}


def test_search_finds_words_beginnings_accents_and_titles(store: ProfileStore) -> None:
    cafe = store.create_conversation("Drinks")
    message = store.add_message(cafe, "user", "Where is the Café near the station?")
    other = store.create_conversation("100% tea")
    store.add_message(other, "user", "two words apart: near and far")

    def found(search: str) -> set[int]:
        return {row.id for row in store.conversations(search=search)}

    assert found("cafe") == {cafe} and found("STAT near") == {cafe}
    assert found("near") == {cafe, other} and found("near station far") == set()
    assert found("100%") == {other} and found("drink") == {cafe} and found("100_") == set()
    assert found("") == {cafe, other} and found("  ") == {cafe, other}
    assert "Café" in store.conversations(search="café")[0].snippet
    store.update_message(message, content="Where is the pub?")
    assert found("cafe") == set() and found("pub") == {cafe}
    store.delete_conversation(cafe)
    assert found("pub") == set()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    search=st.one_of(st.text(), st.sampled_from(['"', "a OR", "NEAR(", "*", "-x", "content:x", "^", "a\0b", "\ud800"]))
)
def test_nothing_in_a_search_is_an_operator(store: ProfileStore, search: str) -> None:
    conversation = store.create_conversation(search)
    store.add_message(conversation, "user", f"before {search} after")
    store.conversations(search=search)
    store.delete_conversation(conversation)


def test_asking_again_deletes_from_there(store: ProfileStore) -> None:
    conversation, other = store.create_conversation(), store.create_conversation()
    numbers = [store.add_message(conversation, "user", f"message {step}") for step in range(4)]
    kept = store.add_message(other, "user", "elsewhere")
    assert store.delete_messages_from(numbers[1]) == 3
    assert [message.id for message in store.messages(conversation)] == numbers[:1]
    assert [message.id for message in store.messages(other)] == [kept]
    with pytest.raises(NotFoundError, match=f"Message {numbers[2]} is not there"):
        store.delete_messages_from(numbers[2])


def test_a_deleted_conversation_is_missed_by_every_call(store: ProfileStore) -> None:
    conversation = store.create_conversation("x")
    number = store.add_message(conversation, "user", "x")
    store.delete_conversation(conversation)
    for call in (
        lambda: store.messages(conversation),
        lambda: store.add_message(conversation, "user", "y"),
        lambda: store.rename_conversation(conversation, "y"),
        lambda: store.delete_conversation(conversation),
        lambda: store.update_message(number, content="y"),
    ):
        with pytest.raises(NotFoundError, match="is not there any more"):
            call()


def test_deleted_chats_leave_no_text_in_the_files(store: ProfileStore) -> None:
    conversation = store.create_conversation("x")
    store.add_message(conversation, "user", "zanzibarprivate " * 500)
    store.delete_conversation(conversation)
    store.close()
    left = b"".join(path.read_bytes() for path in store.folder.rglob("*") if path.is_file())
    assert b"zanzibarprivate zanz" not in left


def test_half_a_surrogate_pair_does_not_lose_the_message(store: ProfileStore) -> None:
    conversation = store.create_conversation("\udce4")
    store.add_message(conversation, "user", "caf\udce9 closed")
    assert store.messages(conversation)[0].content == "caf? closed"


def test_a_correction_keeps_both_routes(store: ProfileStore, ledger: Procedure) -> None:
    store.add_procedure(ledger)
    store.add_procedure(Procedure("dates", ()))
    conversation = store.create_conversation()
    message = store.add_message(conversation, "assistant", "x", route="dates")
    number = store.add_correction("coffee 3.50", "dates", "ledger", message)
    (row,) = store.corrections()
    assert (row.id, row.text, row.wrong_route, row.right_route, row.message_id) == (
        number,
        "coffee 3.50",
        "dates",
        "ledger",
        message,
    )
    store.delete_conversation(conversation)
    assert store.corrections()[0].message_id is None
    store.remove_correction(number)
    assert store.corrections() == [] and not store.corrections(active_only=False)[0].active


def test_the_last_verdict_on_a_text_counts(store: ProfileStore, ledger: Procedure) -> None:
    store.add_procedure(ledger)
    store.add_correction("hello", "ledger", "none")
    store.add_correction("hello", "none", "ledger")
    assert [row.right_route for row in store.corrections()] == ["ledger"]
    assert len(store.corrections(active_only=False)) == 2


def test_corrections_follow_their_procedures(store: ProfileStore, ledger: Procedure) -> None:
    store.add_procedure(ledger)
    store.add_procedure(Procedure("dates", ()))
    store.add_correction("one", "dates", "ledger")
    store.add_correction("two", "ledger", "dates")
    store.rename_procedure("dates", "days")
    store.remove_procedure("days")
    # Chosen wrongly, it is history; as the right answer, it is gone.
    assert [(row.text, row.wrong_route, row.right_route) for row in store.corrections()] == [("one", "days", "ledger")]
    store.undo()
    assert {(row.text, row.wrong_route, row.right_route) for row in store.corrections()} == {
        ("one", "days", "ledger"),
        ("two", "ledger", "days"),
    }


def test_corrections_that_make_no_sense(store: ProfileStore, ledger: Procedure) -> None:
    store.add_procedure(ledger)
    with pytest.raises(UsageError, match="'none' is the route it got"):
        store.add_correction("x", "none", "none")
    with pytest.raises(NotFoundError, match="Did you mean 'ledger'"):
        store.add_correction("x", "none", "leger")
    with pytest.raises(NotFoundError, match="Message 7"):
        store.add_correction("x", "none", "ledger", message_id=7)
    with pytest.raises(BadInputError, match="empty message"):
        store.add_correction(" ", "none", "ledger")
    with pytest.raises(NotFoundError, match="no correction number 9"):
        store.remove_correction(9)
    assert store.corrections(active_only=False) == []
