"""The program open twice on one home, as real processes: nothing is lost, one is told to wait, reading goes on."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import profiles.encryption.keyring
from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from profiles.settings.settings import Settings
from tokmem_desk.errors import BusyError, LockedError
from tokmem_desk.procedures import ExamplePair, Procedure

Start = Callable[..., "subprocess.Popen[str]"]

OPENED = """
import sys, time
from pathlib import Path
from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from profiles.encryption.file_encryption import ProfileKey
from tokmem_desk.procedures import ExamplePair

with ProfileRegistry(AppPaths.resolve(Path(sys.argv[1]))) as registry:
    key = ProfileKey.from_text(sys.argv[3]) if len(sys.argv) > 3 else None
    store = registry.open("default", key=key)
"""

WRITER = (
    OPENED
    + """
print("ready", flush=True)
input()
conversation = store.chats.create(sys.argv[2])
for step in range(30):
    store.pairs.add("shared", [ExamplePair(f"{sys.argv[2]} {step}", "x")])
    store.messages.add(conversation, "user", f"{sys.argv[2]} {step}")
    print(step, flush=True)
store.close()
"""
)

TRAINER = (
    OPENED
    + """
with store.jobs.working_off():
    store.jobs.queue(["shared"], {"preset": "quick"})
    store.jobs.next()
    print("training", flush=True)
    time.sleep(120)
"""
)

SETTER = """
import sys
from pathlib import Path
from profiles.files.paths import AppPaths
from profiles.settings.settings import Settings
input()
settings = Settings.load(AppPaths.resolve(Path(sys.argv[1])), environ={})
for step in range(40):
    settings.set(sys.argv[2], step + 1)
"""


@pytest.fixture
def home(paths: AppPaths) -> Path:
    with ProfileRegistry(paths) as registry, registry.open() as store:
        store.procedures.add(Procedure("shared", (ExamplePair("first", "x"),)))
    return paths.config_file.parent


@pytest.fixture(params=["plain", "locked"])
def key(request: pytest.FixtureRequest, paths: AppPaths, home: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The key of the profile, as an argument; none for a plain one."""
    if request.param == "plain":
        return []
    monkeypatch.setattr(profiles.encryption.keyring, "_MEMORY_KIB", 64)
    with ProfileRegistry(paths) as registry:
        registry.locks.add("default", "four words of mine")
        return [registry.locks.key("default", "four words of mine").text()]


def opened(paths: AppPaths, key: list[str]):
    from profiles.encryption.file_encryption import ProfileKey

    with ProfileRegistry(paths) as registry:
        return registry.open("default", key=ProfileKey.from_text(key[0]) if key else None)


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_two_programs_write_and_nothing_is_lost(paths: AppPaths, home: Path, key: list[str], python: Start) -> None:
    writers = [python(WRITER, home, name, *key) for name in ("a", "b")]
    assert [line(writer) for writer in writers] == ["ready", "ready"]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("\n")
        writer.stdin.flush()
    for writer in writers:
        _, err = writer.communicate(timeout=120)
        assert writer.returncode == 0, err
    with opened(paths, key) as store:
        inputs = {pair.input for pair in store.pairs.list("shared")}
        assert inputs == {"first", *(f"{name} {step}" for name in "ab" for step in range(30))}
        said = {c.title: len(store.messages.list(c.id)) for c in store.chats.list()}
        assert said == {"a": 30, "b": 30} and store.damage() == []


def test_a_program_killed_in_the_middle_takes_nothing_with_it(
    paths: AppPaths, home: Path, key: list[str], python: Start
) -> None:
    writer = python(WRITER, home, "a", *key)
    assert line(writer) == "ready"
    with opened(paths, key) as store:  # the other program is open all the while
        assert writer.stdin is not None
        writer.stdin.write("\n")
        writer.stdin.flush()
        while line(writer) != "9":
            store.pairs.list("shared")  # reading goes on
        writer.send_signal(signal.SIGKILL)
        writer.wait(timeout=60)
        store.pairs.add("shared", [ExamplePair("after", "x")])
        inputs = {pair.input for pair in store.pairs.list("shared")}
        assert inputs >= {"first", "after", *(f"a {step}" for step in range(10))} and store.damage() == []


def test_one_program_trains_the_other_is_told(paths: AppPaths, home: Path, key: list[str], python: Start) -> None:
    trainer = python(TRAINER, home, "a", *key)
    assert line(trainer) == "training"
    with opened(paths, key) as store:
        with (
            pytest.raises(BusyError, match="running in another tokmem-desk.*Chatting and editing go on"),
            store.jobs.working_off(),
        ):
            pass
        assert [job.state for job in store.jobs.list_open()] == ["running"]
        assert store.pairs.add("shared", [ExamplePair("meanwhile", "x")]) is not None
        trainer.send_signal(signal.SIGKILL)
        trainer.wait(timeout=60)
        with store.jobs.working_off():
            assert [(job.state, job.breaks) for job in store.jobs.list_open()] == [("queued", 1)], "taken up again"


def test_two_programs_change_settings_and_both_hold(paths: AppPaths, home: Path, python: Start) -> None:
    names = ("max_answer_tokens", "keep_alive_minutes")
    setters = [python(SETTER, home, name) for name in names]
    for setter in setters:
        _, err = setter.communicate("\n", timeout=120)
        assert setter.returncode == 0, err
    loaded = Settings.load(paths, environ={})
    assert [loaded.whole(name) for name in names] == [40, 40]


def test_a_profile_locked_by_one_program_is_not_begun_anew_by_another(
    paths: AppPaths, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one looked the profile up before it was locked, and opens it after: its old folder is gone by then."""
    with ProfileRegistry(paths) as late:
        found = [{"id": late.info("default").id, "name": "default"}]
        with ProfileRegistry(paths) as registry:
            registry.locks.add("default", "four words of mine")
        look_up = late._folders.named
        monkeypatch.setattr(late._folders, "named", lambda name: found.pop() if found else look_up(name))
        with pytest.raises(LockedError, match="is locked"):
            late.open("default")
        assert not found and [folder.name for folder in paths.profiles.iterdir()] == [late.info("default").id]
