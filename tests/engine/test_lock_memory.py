"""What is in the memory of app and engine after a profile was locked: real processes, a real terminal, a real lock."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from profiles.encryption.file_encryption import ProfileKey
from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from tests.memory_look import (
    CTRL_L,
    CTRL_Q,
    ONLY_AS_ROOT,
    PASSPHRASE,
    PATIENCE,
    InTerminal,
    children,
    found_in,
    secrets_of,
    started_anew,
    unlock_and_chat,
    until,
    with_locked_profile,
)

pytestmark = ONLY_AS_ROOT


@pytest.fixture
def locked_home(home: Path) -> Path:
    """The home with the tiny model, its profile locked."""
    return with_locked_profile(home)


@pytest.fixture
def app(locked_home: Path, tiny_model_folder: Path) -> Iterator[InTerminal]:
    made = InTerminal(
        "tui", "--home", str(locked_home), "--profile", "default", "--model", str(tiny_model_folder), "--device", "cpu"
    )
    yield made
    made.end()


@pytest.fixture
def key(locked_home: Path) -> ProfileKey:
    with ProfileRegistry(AppPaths.resolve(locked_home)) as registry:
        return registry.locks.key("default", PASSPHRASE)


def test_a_lock_leaves_nothing_in_memory(app: InTerminal, locked_home: Path, key: ProfileKey) -> None:
    secrets = secrets_of(key)
    engine = unlock_and_chat(app, locked_home, key)
    for pid in (app.pid, engine):
        assert re.search(r"Max core file size +0 ", Path(f"/proc/{pid}/limits").read_text())
    assert found_in(app.pid, secrets) >= {"master key", "chat"}, "this test looks where secrets are"
    assert found_in(engine, secrets) >= {"master key", "chat"}
    app.type(CTRL_L)
    until(lambda: started_anew(app.pid), "a new process in the old one's place")
    until(lambda: app.locked_screens() == 2, "its locked screen")
    assert not Path(f"/proc/{engine}").exists() and children(app.pid) == [], "the engine has ended"
    assert found_in(app.pid, secrets) == set()
    # It is the same app: it opens again, and ends as the first would have.
    engine = unlock_and_chat(app, locked_home, key)
    app.type(CTRL_Q)
    assert app.process.wait(PATIENCE) == 0
    assert app.echoes, "the terminal is as it was"
