"""``serve`` with the real engine on a tiny random model, for libraries that programs ask models with."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.cli.conftest import SECONDS, interrupt_when, real_at

LONGEST = 24
"""Tokens of an answer: a random model ends none by itself."""


@dataclass(frozen=True)
class RealServed:
    """A running server, and what it takes to talk to it."""

    url: str
    token: str

    def said(self, message: str) -> str:
        """The answer of plain chat by plain HTTP: the likeliest words, so the same each time."""
        body = {"model": "none", "messages": [{"role": "user", "content": message}], "max_tokens": LONGEST}
        headers = {"Authorization": f"Bearer {self.token}"}
        answered = httpx.post(f"{self.url}/chat/completions", json=body, headers=headers, timeout=SECONDS)
        assert answered.status_code == 200, answered.text
        return str(answered.json()["choices"][0]["message"]["content"])


@pytest.fixture(scope="session")
def really_served(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Callable[..., Path]) -> Iterator[RealServed]:
    """One server for all libraries: nothing of a request stays. Its context holds the prompts of the wordiest."""
    home, model = tmp_path_factory.mktemp("served"), tiny_folder("llama", max_position_embeddings=4096)
    tokmem = real_at(home, "--model", str(model), "--device", "cpu", "--yes")
    process = tokmem.start("serve", "--port", "0", "--json")
    assert process.stdout is not None
    facts = json.loads(process.stdout.readline())
    yield RealServed(facts["url"], facts["token"])
    assert interrupt_when(process, lambda: True).code == 130
