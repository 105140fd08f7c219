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
    conversation = store.chats.create("Money")
    store.messages.add(conversation, "user", "coffee 3.50")
    candidates = [{"route": "ledger", "probability": 0.9}, {"route": "none", "probability": 0.1}]
    number = store.messages.add(
        conversation,
        "assistant",
        "2024-01-02 coffee",
        route="ledger",
        probability=0.9,
        candidates=candidates,
        timing={"total": 0.5, "tokens": 4},
        status="stopped",
    )
    user, answer = store.messages.list(conversation)
    assert (user.role, user.route, user.candidates, user.timing, user.status) == ("user", None, None, None, "complete")
    assert answer.candidates == tuple(candidates) and answer.timing == {"total": 0.5, "tokens": 4}
    done = store.messages.update(number, content="2024-01-02 coffee 3.50", status="complete")
    assert done == dataclasses.replace(answer, content="2024-01-02 coffee 3.50", status="complete")
    assert store.messages.update(number) == done


def test_the_history_shows_what_was_used_last_first(store: ProfileStore) -> None:
    first, second = store.chats.create("first"), store.chats.create("second")
    store.messages.add(second, "user", "x")
    store.messages.add(first, "user", "y")
    rows = store.chats.list()
    assert {row.id: row.message_count for row in rows} == {first: 1, second: 1}
    assert [row.updated for row in rows] == sorted((row.updated for row in rows), reverse=True)
    assert len(store.chats.list(limit=1)) == 1
    store.chats.rename(first, "renamed")
    assert {row.title for row in store.chats.list()} == {"renamed", "second"}


def test_search_finds_words_beginnings_accents_and_titles(store: ProfileStore) -> None:
    cafe = store.chats.create("Drinks")
    message = store.messages.add(cafe, "user", "Where is the Café near the station?")
    other = store.chats.create("100% tea")
    store.messages.add(other, "user", "two words apart: near and far")

    def found(search: str) -> set[int]:
        return {row.id for row in store.chats.list(search=search)}

    assert found("cafe") == {cafe} and found("STAT near") == {cafe}
    assert found("near") == {cafe, other} and found("near station far") == set()
    assert found("100%") == {other} and found("drink") == {cafe} and found("100_") == set()
    assert found("") == {cafe, other} and found("  ") == {cafe, other}
    assert "Café" in store.chats.list(search="café")[0].snippet
    store.messages.update(message, content="Where is the pub?")
    assert found("cafe") == set() and found("pub") == {cafe}
    store.chats.delete(cafe)
    assert found("pub") == set()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    search=st.one_of(st.text(), st.sampled_from(['"', "a OR", "NEAR(", "*", "-x", "content:x", "^", "a\0b", "\ud800"]))
)
def test_nothing_in_a_search_is_an_operator(store: ProfileStore, search: str) -> None:
    conversation = store.chats.create(search)
    store.messages.add(conversation, "user", f"before {search} after")
    store.chats.list(search=search)
    store.chats.delete(conversation)


def test_asking_again_deletes_from_there(store: ProfileStore) -> None:
    conversation, other = store.chats.create(), store.chats.create()
    numbers = [store.messages.add(conversation, "user", f"message {step}") for step in range(4)]
    kept = store.messages.add(other, "user", "elsewhere")
    assert store.messages.delete_from(numbers[1]) == 3
    assert [message.id for message in store.messages.list(conversation)] == numbers[:1]
    assert [message.id for message in store.messages.list(other)] == [kept]
    with pytest.raises(NotFoundError, match=f"Message {numbers[2]} is not there"):
        store.messages.delete_from(numbers[2])


def test_a_deleted_conversation_is_missed_by_every_call(store: ProfileStore) -> None:
    conversation = store.chats.create("x")
    number = store.messages.add(conversation, "user", "x")
    store.chats.delete(conversation)
    for call in (
        lambda: store.messages.list(conversation),
        lambda: store.messages.add(conversation, "user", "y"),
        lambda: store.chats.rename(conversation, "y"),
        lambda: store.chats.set_system_prompt("y", conversation),
        lambda: store.chats.delete(conversation),
        lambda: store.messages.update(number, content="y"),
    ):
        with pytest.raises(NotFoundError, match="is not there any more"):
            call()


def test_deleted_chats_leave_no_text_in_the_files(store: ProfileStore) -> None:
    conversation = store.chats.create("x")
    store.messages.add(conversation, "user", "zanzibarprivate " * 500)
    store.chats.delete(conversation)
    store.close()
    left = b"".join(path.read_bytes() for path in store.folder.rglob("*") if path.is_file())
    assert b"zanzibarprivate zanz" not in left


def test_a_system_prompt_is_of_the_profile_or_of_one_conversation(store: ProfileStore) -> None:
    first, second = store.chats.create("x", "Answer in French."), store.chats.create("y")
    assert store.chats.system_prompt == ""
    store.chats.set_system_prompt("  Be brief.\n")
    store.chats.set_system_prompt("Rhyme.\nAlways.", second)
    assert store.chats.system_prompt == "Be brief."
    assert [store.chats.get(one).system_prompt for one in (first, second)] == ["Answer in French.", "Rhyme.\nAlways."]
    store.chats.set_system_prompt("", first)
    store.chats.set_system_prompt("")
    assert store.chats.system_prompt == store.chats.get(first).system_prompt == ""


def test_a_replaced_system_prompt_leaves_no_text_in_the_files(store: ProfileStore) -> None:
    store.chats.set_system_prompt("zanzibarprivate " * 500)
    store.chats.set_system_prompt("Be brief.")
    store.close()
    left = b"".join(path.read_bytes() for path in store.folder.rglob("*") if path.is_file())
    assert b"zanzibarprivate zanz" not in left and b"Be brief." in left


def test_half_a_surrogate_pair_does_not_lose_the_message(store: ProfileStore) -> None:
    conversation = store.chats.create("\udce4")
    store.messages.add(conversation, "user", "caf\udce9 closed")
    assert store.messages.list(conversation)[0].content == "caf? closed"


def test_a_correction_keeps_both_routes(store: ProfileStore, ledger: Procedure) -> None:
    store.procedures.add(ledger)
    store.procedures.add(Procedure("dates", ()))
    conversation = store.chats.create()
    message = store.messages.add(conversation, "assistant", "x", route="dates")
    number = store.corrections.add("coffee 3.50", "dates", "ledger", message)
    (row,) = store.corrections.list()
    assert (row.id, row.text, row.wrong_route, row.right_route, row.message_id) == (
        number,
        "coffee 3.50",
        "dates",
        "ledger",
        message,
    )
    store.chats.delete(conversation)
    assert store.corrections.list()[0].message_id is None
    store.corrections.remove(number)
    assert store.corrections.list() == [] and not store.corrections.list(active_only=False)[0].active


def test_the_last_verdict_on_a_text_counts(store: ProfileStore, ledger: Procedure) -> None:
    store.procedures.add(ledger)
    store.corrections.add("hello", "ledger", "none")
    store.corrections.add("hello", "none", "ledger")
    assert [row.right_route for row in store.corrections.list()] == ["ledger"]
    assert len(store.corrections.list(active_only=False)) == 2


def test_corrections_follow_their_procedures(store: ProfileStore, ledger: Procedure) -> None:
    store.procedures.add(ledger)
    store.procedures.add(Procedure("dates", ()))
    store.corrections.add("one", "dates", "ledger")
    store.corrections.add("two", "ledger", "dates")
    store.procedures.rename("dates", "days")
    store.procedures.remove("days")
    # Chosen wrongly, it is history; as the right answer, it is gone.
    assert [(row.text, row.wrong_route, row.right_route) for row in store.corrections.list()] == [
        ("one", "days", "ledger")
    ]
    store.undo.take_back()
    assert {(row.text, row.wrong_route, row.right_route) for row in store.corrections.list()} == {
        ("one", "days", "ledger"),
        ("two", "ledger", "days"),
    }


def test_corrections_that_make_no_sense(store: ProfileStore, ledger: Procedure) -> None:
    store.procedures.add(ledger)
    with pytest.raises(UsageError, match="'none' is the route it got"):
        store.corrections.add("x", "none", "none")
    with pytest.raises(NotFoundError, match="Did you mean 'ledger'"):
        store.corrections.add("x", "none", "leger")
    with pytest.raises(NotFoundError, match="Message 7"):
        store.corrections.add("x", "none", "ledger", message_id=7)
    with pytest.raises(BadInputError, match="empty message"):
        store.corrections.add(" ", "none", "ledger")
    with pytest.raises(NotFoundError, match="no correction number 9"):
        store.corrections.remove(9)
    assert store.corrections.list(active_only=False) == []
