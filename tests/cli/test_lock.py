"""``profile lock``, ``unlock`` and ``passphrase``, and every other command on a locked profile."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time

import pytest

import profiles.registry.folders
from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from tests.cli.conftest import SECONDS
from tui.cli.main import main

SECRET = "quetzal feathers"


@pytest.fixture
def passphrase(tmp_path):
    file = tmp_path / "passphrase"
    file.write_text("four words of mine\nnot this line\n")
    return str(file)


def readable(tokmem) -> list[str]:
    return [str(f) for f in tokmem.home.rglob("*") if f.is_file() and SECRET.encode() in f.read_bytes()]


def test_the_life_of_a_lock(tokmem, passphrase, tmp_path):
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text(json.dumps({"input": SECRET, "response": "x"}) + "\n")
    tokmem("proc", "add", "birds", "--pairs", str(pairs))
    assert readable(tokmem)
    made = tokmem("profile", "lock", "default", "--passphrase-file", passphrase, "--json")
    recovery = made.json("change")["recovery_key"]
    assert "kept nowhere" in made.err and not readable(tokmem)
    [listed] = tokmem("profile", "list", "--json").json("profile-list")["profiles"]
    assert listed["locked"] and listed["procedure_count"] is None
    refused = tokmem("proc", "list")
    assert refused.code == 1 and "is locked" in refused.err and "--passphrase-file" in refused.err
    assert "birds" in tokmem("proc", "list", "--passphrase-file", passphrase).out
    assert "birds" in tokmem("proc", "list", TOKMEM_PASSPHRASE="four words of mine").out
    wrong = tokmem("proc", "list", TOKMEM_PASSPHRASE="something else")
    assert wrong.code == 1 and "not the passphrase" in wrong.err
    assert "is locked already" in tokmem("profile", "lock", "--passphrase-file", passphrase).err

    (tmp_path / "new").write_text("five words of mine too")
    (tmp_path / "recovery").write_text(recovery.lower())
    changed = tokmem(
        "profile", "passphrase",
        "--recovery-file", str(tmp_path / "recovery"), "--new-passphrase-file", str(tmp_path / "new"), "--json",
    )  # fmt: skip
    assert "recovery_key" not in changed.json("change")
    assert tokmem("proc", "list", "--passphrase-file", passphrase).code == 1
    newer = tokmem("profile", "passphrase", "--new-recovery-key", "--passphrase-file", str(tmp_path / "new"))
    assert newer.code == 0 and re.fullmatch(r"(\w{4}-){7}\w{4}\n", newer.out) and newer.out.strip() != recovery
    assert tokmem("profile", "passphrase", "--recovery-file", str(tmp_path / "recovery")).code == 1

    kept = tokmem("profile", "unlock", "--passphrase-file", str(tmp_path / "new"))
    assert kept.code == 1 and "--yes" in kept.err and not readable(tokmem)
    assert tokmem("profile", "unlock", "--yes", "--passphrase-file", str(tmp_path / "new")).code == 0
    assert "birds" in tokmem("proc", "list").out
    assert "is not locked" in tokmem("profile", "passphrase").err
    assert "is not locked" in tokmem("profile", "unlock", "--yes").err


def test_too_many_wrong_passphrases_have_to_wait(tokmem, passphrase):
    tokmem("profile", "lock", "--passphrase-file", passphrase)
    for _ in range(3):
        assert tokmem("proc", "list", TOKMEM_PASSPHRASE="something else").code == 1
    refused = tokmem("proc", "list", "--passphrase-file", passphrase)
    # Over two seconds may pass on a busy machine before the command gets there.
    assert (refused.code, "Too many wrong passphrases" in refused.err) in ((3, True), (0, False))


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "There is no file"), (b"", "is empty"), (b"\xff\xfe", "UTF-8"), (b"short", "at least 8 characters")],
)
def test_bad_passphrase_files(tokmem, tmp_path, content, said):
    file = tmp_path / "given"
    if content is not None:
        file.write_bytes(content)
    refused = tokmem("profile", "lock", "--passphrase-file", str(file))
    assert refused.code == 1 and said in refused.err
    assert not tokmem("profile", "list", "--json").json("profile-list")["profiles"][0]["locked"]


def test_nobody_to_ask(tokmem):
    refused = tokmem("profile", "lock")
    assert refused.code == 2 and "no terminal" in refused.err


def test_doctor_tells_of_the_lock(real, passphrase):
    real("profile", "lock", "--passphrase-file", passphrase)
    plain = {f["name"]: f for f in real("doctor", "--json").json("doctor")["findings"]}
    assert (plain["profile"]["state"], "is locked" in plain["profile"]["text"]) == ("note", True)
    found = real("doctor", "--json", "--passphrase-file", passphrase).json("doctor")["findings"]
    assert any(f["name"] == "profile" and "0 procedures, database in order" in f["text"] for f in found)


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="this system has no pseudo-terminals")
def test_a_person_is_asked_and_nothing_typed_is_shown(tokmem):
    def typed(*answers: str, arguments: tuple[str, ...]) -> tuple[int, str]:
        mine, theirs = os.openpty()
        process = subprocess.Popen(
            [*tokmem.begin, *arguments],
            stdin=theirs, stdout=subprocess.DEVNULL, stderr=theirs, start_new_session=True,
            env={**tokmem.environment, "TERM": "xterm"},
        )  # fmt: skip
        os.close(theirs)
        shown = b""
        try:
            for answer in answers:
                seen = len(shown)
                deadline = time.monotonic() + SECONDS
                while b": " not in shown[seen:]:
                    assert time.monotonic() < deadline
                    shown += os.read(mine, 4096)
                os.write(mine, answer.encode() + b"\n")
            while True:
                try:
                    data = os.read(mine, 4096)
                except OSError:  # the other side is closed
                    break
                if not data:
                    break
                shown += data
            return process.wait(timeout=SECONDS), shown.decode()
        finally:
            os.close(mine)

    code, shown = typed("four words of mine", "four words of yours", arguments=("profile", "lock"))
    assert code == 1 and "two different passphrases" in shown and "words" not in shown.replace("typed", "")
    code, shown = typed("four words of mine", "four words of mine", arguments=("profile", "lock"))
    assert code == 0 and "is encrypted now" in shown and "four words" not in shown
    code, shown = typed("wrong one", "four words of mine", arguments=("proc", "list"))
    assert code == 0 and "not the passphrase" in shown


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_recovery_key_is_shown_though_the_plain_copy_stays(own_home, passphrase, monkeypatch, capfd, form):
    def refuses(folder):
        raise PermissionError(13, "no")

    monkeypatch.setattr(profiles.registry.folders, "erase_tree", refuses)
    as_json = ["--json"] if form == "json" else []
    code = main(["--home", str(own_home), "profile", "lock", "--passphrase-file", passphrase, *as_json])
    said = capfd.readouterr()
    recovery = json.loads(said.out)["recovery_key"] if as_json else said.out.strip()
    assert re.fullmatch(r"(\w{4}-){7}\w{4}", recovery)
    assert code == 1 and "encrypted, but what lay there in plain could not be erased" in said.err
    with ProfileRegistry(AppPaths.resolve(own_home)) as registry:
        assert registry.active().locked and registry.locks.key_by_recovery("default", recovery)
