"""``train --cluster`` from the command line's side: what is said, what is agreed to, and what is refused."""

from __future__ import annotations

import argparse
import importlib.util
from types import SimpleNamespace
from typing import Any

import pytest

from tokmem_desk.errors import BadInputError, UsageError
from tui.cli import train
from tui.cli.arguments import parse
from tui.cli.cluster_training import agree_to_send


class Said:
    """A console that keeps what is said, and answers with ``answer``; None: nobody is there."""

    def __init__(self, answer: bool | None = None) -> None:
        self.lines: list[str] = []
        self.answer = answer
        self.say = self.tell = self.lines.append

    @property
    def can_ask(self) -> bool:
        return self.answer is not None

    def ask(self, question: str) -> bool:
        self.lines.append(question)
        return bool(self.answer)


def context(said: Said, *, locked: bool, yes: bool = False) -> Any:
    return SimpleNamespace(console=said, profile=SimpleNamespace(locked=locked), options=argparse.Namespace(yes=yes))


def test_what_leaves_an_encrypted_profile_is_said_and_agreed_to() -> None:
    said = Said(answer=True)
    agree_to_send(context(said, locked=True), "10.0.0.1:6379", 12)
    text = "\n".join(said.lines)
    assert "pairs of 12 procedures" in text and "10.0.0.1:6379" in text and "not encrypted" in text
    assert "Key and passphrase stay here." in text and text.endswith("Send them?")


@pytest.mark.parametrize("address", ["10.0.0.1:6379", "local"])
def test_without_agreement_nothing_of_it_is_sent(address: str) -> None:
    with pytest.raises(BadInputError, match="Nothing was sent"):
        agree_to_send(context(Said(answer=False), locked=True), address, 1)
    with pytest.raises(BadInputError, match="nobody agreed"):
        agree_to_send(context(Said(), locked=True), address, 1)
    agree_to_send(context(said := Said(), locked=True, yes=True), address, 1)
    assert said.lines  # agreed to beforehand, and said all the same


def test_of_other_profiles_it_is_said_where_they_go() -> None:
    agree_to_send(context(said := Said(), locked=False), "10.0.0.1:6379", 2)
    assert "10.0.0.1:6379" in said.lines[0]
    agree_to_send(context(said := Said(), locked=False), "local", 2)
    assert not said.lines


def _run(*options: str) -> None:
    store = SimpleNamespace(procedures=SimpleNamespace(get=None, list=lambda: ["one"]))
    train.run(SimpleNamespace(store=store, console=Said()), parse(["train", *options]))  # type: ignore[arg-type]


def test_workers_without_a_cluster_are_refused() -> None:
    with pytest.raises(UsageError, match="Workers belong to a cluster"):
        _run("--workers", "2")


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "find_spec", lambda name: None if name == "ray" else importlib.util.find_spec(name))
    with pytest.raises(UsageError, match="needs Ray") as caught:
        _run("--cluster", "local")
    assert "pip install 'tokmem-desk[cluster]'" in caught.value.next_step


@pytest.mark.parametrize("value", ["-1", "half", "nan", "inf"])
def test_a_share_of_a_card_is_a_number(value: str) -> None:
    with pytest.raises(UsageError, match="is not a number of 0 or more"):
        parse(["train", "--cluster", "local", "--worker-gpus", value])
