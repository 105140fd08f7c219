"""What is in the app's memory after a profile was locked or left: a real process and terminal, a scripted engine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from profiles.encryption.file_encryption import ProfileKey
from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from tests.memory_look import (
    CTRL_L,
    CTRL_Q,
    ENTER,
    F5,
    LEFT,
    ONLY_AS_ROOT,
    PASSPHRASE,
    PATIENCE,
    UP,
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
    """A home whose first profile is locked; the second has no passphrase."""
    return with_locked_profile(home)


@pytest.fixture
def app(locked_home: Path) -> Iterator[InTerminal]:
    made = InTerminal("tests.tui.app_in_terminal", "--home", str(locked_home), "--profile", "default")
    yield made
    made.end()


@pytest.fixture
def key(locked_home: Path) -> ProfileKey:
    with ProfileRegistry(AppPaths.resolve(locked_home)) as registry:
        return registry.locks.key("default", PASSPHRASE)


def test_a_lock_leaves_nothing_in_memory(app: InTerminal, locked_home: Path, key: ProfileKey) -> None:
    secrets = secrets_of(key)
    engine = unlock_and_chat(app, locked_home, key)
    assert found_in(app.pid, secrets) >= {"master key", "chat"}, "this test looks where secrets are"
    app.type(CTRL_L)
    until(lambda: app.locked_screens() >= 2 and started_anew(app.pid), "a new process in the old one's place")
    assert not Path(f"/proc/{engine}").exists() and children(app.pid) == [], "the engine has ended"
    assert found_in(app.pid, secrets) == set()
    unlock_and_chat(app, locked_home, key)
    app.type(CTRL_Q)
    assert app.process.wait(PATIENCE) == 0
    assert app.echoes, "the terminal is as it was"


def test_leaving_a_locked_profile_leaves_nothing_in_memory_either(
    app: InTerminal, locked_home: Path, key: ProfileKey
) -> None:
    secrets = secrets_of(key)
    unlock_and_chat(app, locked_home, key)

    def left() -> bool:
        """Go to the first card of the profiles; again where a key came before the cards."""
        for keys in (F5, UP, LEFT, ENTER):
            app.type(keys)
            time.sleep(0.5)
        return started_anew(app.pid)

    until(left, "a new process in the old one's place")
    until(lambda: children(app.pid), "its engine, for the other profile")
    assert found_in(app.pid, secrets) == set()
    assert app.locked_screens() == 1, "the other one has no passphrase"
