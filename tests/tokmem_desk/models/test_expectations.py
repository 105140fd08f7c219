"""What is said of models before they are fetched."""

from __future__ import annotations

from tokmem_desk.models.catalogue import CATALOGUE, find_entry
from tokmem_desk.models.expectations import SMALL_BELOW, expectation


def test_the_default_model_is_said_to_be_small() -> None:
    entry = find_entry("default")
    assert entry is not None and entry.parameters < SMALL_BELOW
    said = expectation(entry.parameters)
    assert "toy" in said.chat and "short answers" in said.procedures


def test_larger_models_promise_no_less_and_none_promises_truth() -> None:
    said = [expectation(entry.parameters) for entry in sorted(CATALOGUE, key=lambda one: one.parameters)]
    chats = list(dict.fromkeys(one.chat for one in said))
    assert len(chats) == 3 and chats[0].startswith("a toy")
    assert all("wrong" in words or "check" in words for words in chats)


def test_a_base_model_is_not_for_chat() -> None:
    said = expectation(270_000_000, made_for_chat=False)
    assert "continue texts" in said.chat and said.procedures == expectation(270_000_000).procedures
