"""The engine on a locked profile: the key comes by pipe, nothing plain reaches the disk, it forgets on request."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import profiles.encryption.keyring
from profiles.encryption.file_encryption import ProfileKey, is_encrypted
from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from tests.engine.conftest import result_of
from tokmem_desk.errors import EngineError, LockedError
from tui.engine_client.client import EngineClient, run_blocking

PASSPHRASE = "four words of mine"
MARK = b"euro"
"""Stands in every pair of the procedure that is trained."""


@pytest.fixture
def key(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProfileKey]:
    monkeypatch.setattr(profiles.encryption.keyring, "_MEMORY_KIB", 64)
    with ProfileRegistry(AppPaths.resolve(home)) as registry:
        registry.locks.add("default", PASSPHRASE)
        yield registry.locks.key("default", PASSPHRASE)


def readable(home: Path) -> list[Path]:
    """Files outside the models in which a pair can be read."""
    paths = AppPaths.resolve(home)
    files = [file for root in (paths.data, paths.state) for file in root.rglob("*") if file.is_file()]
    return [file for file in files if MARK in file.read_bytes()]


def test_a_killed_training_of_a_locked_profile_goes_on_and_leaves_nothing_to_read(
    client: EngineClient, home: Path, key: ProfileKey
) -> None:
    paths = AppPaths.resolve(home)
    request = {"names": ["count"], "preset": "thorough", "span": 4, "key": key.text()}
    with pytest.raises(LockedError, match="'default' is locked"):
        result_of(client, "train", names=["count"])
    with pytest.raises(LockedError, match="passphrase again"):
        result_of(client, "train", names=["count"], key=ProfileKey.new().text())
    with pytest.raises(LockedError, match="no key of a profile"):
        result_of(client, "train", names=["count"], key="rubbish")
    with pytest.raises(EngineError, match="ended unexpectedly"):
        for event in run_blocking(client.submit("train", profile="default", **request)):
            far = event["event"] == "progress" and event.get("phase") == "train" and event["step"] >= 30
            # Steps that it had told before it died still come.
            if far and client.pid is not None:
                os.kill(client.pid, signal.SIGKILL)
    [checkpoint] = paths.checkpoints.rglob("*.safetensors")
    assert is_encrypted(checkpoint.read_bytes()) and readable(home) == []
    events = list(run_blocking(client.submit("train", profile="default", **request)))
    assert any("at step 25" in (event.get("note") or "") for event in events)
    assert not checkpoint.exists()
    with ProfileRegistry(paths) as registry, registry.open(key=key) as store:
        memory = store.memories.activate(events[-1]["result"]["trained"][0]["memory_id"])
        assert is_encrypted((store.memories.folder / memory.file).read_bytes())
        assert store.pairs.list("count")[0].input.endswith("euro")
    answer = result_of(client, "ask", text="7 of 9 euro", route="count", max_tokens=4, key=key.text())
    assert answer["route"] == "count"
    assert readable(home) == [], "no log, no temporary file, no write-ahead log"
    assert key.text() not in client.log_file.read_text()


def test_what_was_forgotten_answers_no_more(client: EngineClient, home: Path, key: ProfileKey) -> None:
    trained = result_of(client, "train", names=["count"], preset="quick", span=2, key=key.text())["trained"]
    with ProfileRegistry(AppPaths.resolve(home)) as registry, registry.open(key=key) as store:
        store.memories.activate(trained[0]["memory_id"])
    assert result_of(client, "ask", text="7 of 9", route="count", max_tokens=2, key=key.text())["route"] == "count"
    assert result_of(client, "forget") == {}
    with pytest.raises(LockedError):
        result_of(client, "ask", text="7 of 9", route="count", max_tokens=2)
    assert result_of(client, "forget", profile="nobody") == {}
    assert result_of(client, "ask", text="7 of 9", route="count", max_tokens=2, key=key.text())["route"] == "count"
