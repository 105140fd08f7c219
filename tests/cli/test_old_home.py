"""A home that an earlier version wrote opens unchanged: profiles, memories, the model, the router, in plain and locked.

``tests/fixtures/home-0.1.0.tar.xz`` was made by the commands of version 0.1.0 with a tiny random model. Two profiles
hold the same: ``ada`` is plain, ``grace`` is locked with the passphrase below. The test uses it as its owner would.
"""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from tests.cli.conftest import CommandLine

pytestmark = pytest.mark.slow

ARCHIVE = Path(__file__).parents[1] / "fixtures" / "home-0.1.0.tar.xz"
PASSPHRASE = "a long passphrase of four words"
RECOVERY_KEY = "A8YW-4VZN-E16D-A3TE-8XZM-RG21-6TV6-H31X"

# Asked with that version on one machine; another CPU rounds differently, hence the tolerance below.
ROUTES = {
    "note jam": {"list": 0.980, "ring": 0.019, "none": 0.001},
    "ring Sam at 12": {"ring": 0.882, "list": 0.073, "none": 0.045},
    # It was .769 then; the home's verdicts, which sent messages to plain chat, reach further by now.
    "why is the sky blue": {"none": 0.884, "list": 0.013, "ring": 0.103},
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("old-home")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    (folder / "passphrase").write_text(PASSPHRASE)
    return folder / "home"


@pytest.fixture(params=["ada", "grace"])
def tokmem(request: pytest.FixtureRequest, home: Path) -> CommandLine:
    options = ["--model", "tiny-llama", "--device", "cpu", "--offline", "--profile", request.param]
    options += ["--passphrase-file", str(home.parent / "passphrase")]
    return CommandLine(home, options=options, engine="tui.engine")


def test_procedures_and_pairs(tokmem):
    listed = {one["name"]: one for one in tokmem("proc", "list", "--json").json("proc-list")["procedures"]}
    assert set(listed) == {"list", "ring"}
    assert all(one["trained"] and one["state"].startswith("trained") for one in listed.values())
    shown = tokmem("proc", "show", "list", "--json").json("proc-show")
    assert shown["description"] == "a shopping note"
    assert {"input": "note tea", "response": "- tea"} in shown["train"] + shown["test"]
    assert shown["pairs"] + shown["held_out"] == 6
    [memory] = shown["memories"]
    assert memory["status"] == "active"


def test_the_command_is_there(tokmem):
    shown = tokmem("proc", "command", "ring", "--json").json("proc-command")
    assert shown["command"] == ["echo", "{who}", "{hour}"]


def test_conversations(tokmem):
    [chat] = tokmem("chats", "list", "--json").json("chats-list")["conversations"]
    exported = tokmem("chats", "export", str(chat["id"]))
    assert "note ham" in exported.out and "note jam" in exported.out


@pytest.mark.parametrize("message", ROUTES)
def test_messages_find_what_they_found(tokmem, message):
    answer = tokmem("ask", message, "--max-tokens", "4", "--json").json("ask")
    assert answer["route"] == max(ROUTES[message], key=lambda route: ROUTES[message][route])
    for candidate in answer["candidates"]:
        assert candidate["probability"] == pytest.approx(ROUTES[message][candidate["route"]], abs=0.08)
    assert answer["response"]
    if answer["route"] == "ring":
        assert set(answer["segments"][0]["arguments"]) == {"who", "hour"}


def test_tokens(tokmem):
    named = {(one["name"], one["profile"]) for one in tokmem("token", "list", "--json").json("token-list")["tokens"]}
    assert ("editor-ada", "ada") in named


def test_the_recovery_key_opens_what_is_locked(home):
    from profiles.files.paths import AppPaths
    from profiles.registry.registry import ProfileRegistry

    registry = ProfileRegistry(AppPaths.resolve(home))
    key = registry.locks.key_by_recovery("grace", RECOVERY_KEY)
    with registry.open("grace", key=key) as store:
        assert {record.name for record in store.procedures.list()} == {"list", "ring"}
        assert [one.right_route for one in store.corrections.list()] == ["none"]
