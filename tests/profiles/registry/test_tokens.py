"""Tokens: shown once, kept as a digest, bound to one profile."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3

import pytest

import profiles.encryption.keyring
import profiles.store.store
from profiles.database.migrations import PROFILE_STEPS
from profiles.encryption.file_encryption import ProfileKey
from profiles.store.scopes import SCOPES, includes
from tokmem_desk.errors import ConflictError, LockedError, NotFoundError, UsageError

PASSPHRASE = "a long passphrase"


@pytest.fixture(autouse=True)
def light_derivation(monkeypatch):
    monkeypatch.setattr(profiles.encryption.keyring, "_MEMORY_KIB", 64)
    monkeypatch.setattr(profiles.encryption.keyring, "_ITERATIONS", 1)


def test_a_token_opens_its_profile_and_no_other(registry):
    registry.create("anna")
    mine = registry.tokens.create("editor", registry.active().name)
    annas = registry.tokens.create("phone", "anna")
    assert mine != annas
    assert registry.tokens.profile_of(mine) == "default"
    assert registry.tokens.profile_of(annas) == "anna"
    for wrong in ("", "editor", mine[:-1], mine + "x", mine.upper(), "tokmem-\ud800"):
        assert registry.tokens.profile_of(wrong) is None


def test_the_token_is_nowhere_on_disk(registry, paths):
    token = registry.tokens.create("editor", "default")
    secret = token.removeprefix("tokmem-").encode()
    for file in paths.data.rglob("*"):
        assert not file.is_file() or secret not in file.read_bytes(), file


def test_use_is_noted(registry):
    token = registry.tokens.create("editor", "default")
    assert [one.last_used for one in registry.tokens.list()] == [None]
    registry.tokens.profile_of("tokmem-wrong")
    assert [one.last_used for one in registry.tokens.list()] == [None]
    registry.tokens.profile_of(token)
    [info] = registry.tokens.list()
    assert info.last_used is not None and info.last_used.endswith("Z")


def test_removed_tokens_open_nothing(registry):
    token = registry.tokens.create("editor", "default")
    registry.tokens.remove("editor")
    assert registry.tokens.profile_of(token) is None
    assert registry.tokens.list() == []


def test_a_token_follows_its_profile_through_a_new_name_and_goes_with_it(registry):
    registry.create("anna")
    token = registry.tokens.create("editor", "anna")
    registry.rename("anna", "anne")
    assert registry.tokens.profile_of(token) == "anne"
    registry.delete("anne")
    assert registry.tokens.profile_of(token) is None
    assert registry.tokens.list() == []


def test_a_token_follows_its_profile_behind_a_lock(registry):
    registry.create("anna")
    token = registry.tokens.create("phone", "anna")
    before = registry.info("anna").id
    registry.locks.add("anna", PASSPHRASE)
    assert registry.info("anna").id != before
    with pytest.raises(LockedError, match="of this token is locked"):
        registry.tokens.profile_of(token)
    assert registry.tokens.profile_of(token, {"anna": registry.locks.key("anna", PASSPHRASE)}) == "anna"
    registry.locks.remove("anna", registry.locks.key("anna", PASSPHRASE))
    assert registry.tokens.profile_of(token) == "anna"


def test_nobody_makes_lists_or_removes_a_token_of_a_locked_profile_without_its_key(registry, paths):
    registry.create("anna")
    registry.locks.add("anna", PASSPHRASE)
    keys = {"anna": registry.locks.key("anna", PASSPHRASE)}
    for wrong in (None, ProfileKey.new()):
        with pytest.raises(LockedError):
            registry.tokens.create("phone", "anna", key=wrong)
    assert not registry.tokens.exist()
    token = registry.tokens.create("phone", "anna", key=keys["anna"])
    assert registry.tokens.exist() and registry.tokens.unseen() == ["anna"] and registry.tokens.unseen(keys) == []
    assert registry.tokens.list() == [] and [one.name for one in registry.tokens.list(keys)] == ["phone"]
    for file in paths.data.rglob("*"):
        assert not file.is_file() or b"phone" not in file.read_bytes(), "not even its name"
    with pytest.raises(NotFoundError, match="--profile anna"):
        registry.tokens.remove("phone")
    assert registry.tokens.profile_of(token, keys) == "anna"
    registry.tokens.remove("phone", keys)
    assert registry.tokens.profile_of(token, keys) is None and registry.tokens.list(keys) == []


def test_a_planted_hint_opens_nothing(registry, paths):
    """Whoever can write the list of profiles, and nothing else, gets in nowhere; nor does a token that was removed."""
    registry.create("anna")
    registry.locks.add("anna", PASSPHRASE)
    keys = {"anna": registry.locks.key("anna", PASSPHRASE)}
    registry.tokens.create("phone", "anna", key=keys["anna"])
    removed = registry.tokens.create("old", "anna", key=keys["anna"])
    registry.tokens.remove("old", keys)
    planted = "tokmem-planted"
    with sqlite3.connect(paths.registry_file) as connection:
        for token in (planted, removed):
            hint = hashlib.sha256(token.encode()).hexdigest()[:8]
            connection.execute("INSERT INTO token_hints VALUES (?, ?)", (hint, registry.info("anna").id))
    for token in (planted, removed):
        assert registry.tokens.profile_of(token, keys) is None
        with pytest.raises(LockedError):
            registry.tokens.profile_of(token)


def test_a_removed_token_does_not_come_back_with_an_older_database(registry, paths, tmp_path):
    token = registry.tokens.create("editor", "default")
    file = paths.profile_folder(registry.active().id) / "profile.sqlite"
    yesterday = shutil.copy(file, tmp_path / "yesterday")
    registry.tokens.remove("editor")
    shutil.copy(yesterday, file)
    assert registry.tokens.profile_of(token) is None


def test_tokens_of_before_move_into_their_profiles_and_those_of_locked_ones_end(registry, paths):
    registry.create("anna")
    registry.locks.add("anna", PASSPHRASE)
    keys = {"anna": registry.locks.key("anna", PASSPHRASE)}
    with sqlite3.connect(paths.registry_file) as connection:
        for name, profile in (("editor", "default"), ("phone", "anna")):
            digest = hashlib.sha256(f"tokmem-{name}".encode()).hexdigest()
            connection.execute(
                "INSERT INTO tokens VALUES (?, ?, ?, '2026-01-01T00:00:00.000Z', NULL)",
                (name, registry.info(profile).id, digest),
            )
    assert registry.tokens.profile_of("tokmem-editor") == "default"
    assert registry.tokens.profile_of("tokmem-phone", keys) is None
    [info] = registry.tokens.list(keys)
    assert (info.name, info.profile, info.created[:4]) == ("editor", "default", "2026")
    with sqlite3.connect(paths.registry_file) as connection:
        assert connection.execute("SELECT * FROM tokens").fetchall() == []


def test_a_damaged_profile_keeps_no_other_from_its_tokens(registry, paths):
    registry.create("anna")
    mine = registry.tokens.create("editor", "default")
    registry.tokens.create("phone", "anna")
    (paths.profile_folder(registry.info("anna").id) / "profile.sqlite").write_bytes(b"no database" * 1000)
    assert [one.name for one in registry.tokens.list()] == ["editor"]
    assert registry.tokens.profile_of(mine) == "default"


def test_tokens_of_before_have_messages_answered_and_teach_nothing(registry, monkeypatch):
    monkeypatch.setattr(profiles.store.store, "PROFILE_STEPS", PROFILE_STEPS[:13])
    registry.create("anna")
    token = "tokmem-of-before"
    with registry.open("anna") as store:
        columns = [row["name"] for row in store.rows("PRAGMA table_info(tokens)")]
        assert "scope" not in columns
        with store.tokens._database.writing() as connection:
            connection.execute(
                "INSERT INTO tokens (name, digest, created) VALUES ('old', ?, '2026')",
                (hashlib.sha256(token.encode()).hexdigest(),),
            )
    monkeypatch.undo()
    registry.tokens.create("new", "anna", scope="read")
    assert {one.name: one.scope for one in registry.tokens.list()} == {"old": "ask", "new": "read"}


def test_scopes_include_those_before_them():
    assert [[includes(held, wanted) for wanted in SCOPES] for held in SCOPES] == [
        [True, False, False], [True, True, False], [True, True, True],
    ]  # fmt: skip


def test_slips(registry):
    registry.tokens.create("editor", "default")
    with pytest.raises(ConflictError, match="already"):
        registry.tokens.create("editor", "default")
    with pytest.raises(UsageError, match="cannot name a token"):
        registry.tokens.create("My Editor", "default")
    with pytest.raises(NotFoundError, match="no profile 'nobody'"):
        registry.tokens.create("other", "nobody")
    with pytest.raises(NotFoundError, match="Did you mean 'editor'"):
        registry.tokens.remove("editr")
