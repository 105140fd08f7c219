"""What finding habits reads and keeps: turns of plain chat alone, vectors as long as their message."""

from __future__ import annotations

from profiles.store.store import ProfileStore
from tokmem_desk.procedures import ExamplePair, Procedure


def _turn(store: ProfileStore, message: str, answer: str, route: str | None = "none", **more: str) -> int:
    chat = store.chats.create("a chat")
    asked = store.messages.add(chat, "user", message)
    store.messages.add(chat, "assistant", answer, route=route, **more)  # type: ignore[arg-type]
    return asked


def test_only_turns_of_plain_chat_without_a_pair_are_given(store: ProfileStore) -> None:
    _turn(store, "ring Ann", "( ) ring Ann")
    _turn(store, "by a procedure", "x", route="todo")
    _turn(store, "stopped", "half", status="stopped")
    _turn(store, "blank", " ")
    _turn(store, "known", "y")
    store.procedures.add(Procedure("todo", (ExamplePair("known", "y"),)))
    chat = store.chats.create("two")
    for role, text in (("user", "a"), ("assistant", "b"), ("user", "c")):
        store.messages.add(chat, role, text)  # type: ignore[arg-type]
    assert [(one.message, one.answer) for one in store.habits.turns()] == [("ring Ann", "( ) ring Ann"), ("a", "b")]
    assert [one.message for one in store.habits.turns(1)] == ["a"]


def test_vectors_go_with_their_message(store: ProfileStore) -> None:
    one, other = _turn(store, "a", "b"), _turn(store, "c", "d")
    store.habits.keep_vectors("s", {one: b"12", other: b"34", 99: b"56"})
    assert store.habits.vectors("s") == {one: b"12", other: b"34"} and store.habits.vectors("t") == {}
    store.messages.update(one, content="changed")
    store.messages.delete(other)
    assert store.habits.vectors("s") == {}
    store.habits.keep_vectors("s", {one: b"78"})
    store.habits.keep_vectors("t", {one: b"90"})
    assert store.habits.vectors("s") == {} and store.habits.vectors("t") == {one: b"90"}
    store.habits.forget_vectors()
    assert store.habits.vectors("t") == {}


def test_a_habit_that_was_turned_down_stays_so(store: ProfileStore) -> None:
    turns = [_turn(store, f"m{place}", "x") for place in range(4)]
    store.habits.dismiss(turns[:3])
    store.habits.dismiss([*turns[:3], 99])
    assert store.habits.dismissed(turns[1:]) and not store.habits.dismissed(turns[2:])
    store.messages.delete(turns[1])
    assert not store.habits.dismissed(turns[1:])
