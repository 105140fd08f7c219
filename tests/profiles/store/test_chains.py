"""Which procedure goes on with the answers of which: kept by identity, without circles, undone like any change."""

from __future__ import annotations

import itertools

import pytest

from profiles.store.store import ProfileStore
from tokmem_desk.errors import ConflictError, NotFoundError
from tokmem_desk.procedures import MAX_CHAIN, ExamplePair, Procedure


@pytest.fixture(autouse=True)
def three(store: ProfileStore) -> None:
    """Procedures to put together."""
    for name in ("a", "b", "c"):
        store.procedures.add(Procedure(name, (ExamplePair("x", "y"),)))


def test_a_chain_follows_renaming_and_removal(store: ProfileStore) -> None:
    procedures = store.procedures
    procedures.set_then("a", "b")
    procedures.set_then("b", "c")
    assert procedures.following() == {"a": "b", "b": "c"}
    procedures.rename("b", "between")
    assert procedures.following() == {"a": "between", "between": "c"}
    procedures.remove("between")
    assert procedures.following() == {"a": ""}
    store.undo.take_back()
    assert procedures.following() == {"a": "between", "between": "c"}
    procedures.set_then("a", None)
    assert procedures.following() == {"between": "c"}
    assert store.undo.take_back() == "ended the chain with a"
    assert procedures.following() == {"a": "between", "between": "c"}


def test_a_circle_is_refused(store: ProfileStore) -> None:
    store.procedures.set_then("a", "b")
    store.procedures.set_then("b", "c")
    with pytest.raises(ConflictError, match="c → a → b → c"):
        store.procedures.set_then("c", "a")
    with pytest.raises(ConflictError, match="a → a"):
        store.procedures.set_then("a", "a")
    with pytest.raises(NotFoundError):
        store.procedures.set_then("c", "nobody")
    assert store.procedures.following() == {"a": "b", "b": "c"}


def test_a_chain_that_is_too_long_is_refused(store: ProfileStore) -> None:
    names = [f"step-{number}" for number in range(MAX_CHAIN + 1)]
    for name in names:
        store.procedures.add(Procedure(name, ()))
    half = len(names) // 2
    for before, after in itertools.pairwise(names[:half]):
        store.procedures.set_then(before, after)
    for before, after in itertools.pairwise(names[half:]):
        store.procedures.set_then(before, after)
    with pytest.raises(ConflictError, match=f"at most {MAX_CHAIN}"):
        store.procedures.set_then(names[half - 1], names[half])
