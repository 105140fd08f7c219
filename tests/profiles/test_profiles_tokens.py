"""Tokens: shown once, kept as a digest, bound to one profile."""

from __future__ import annotations

import pytest

from tokmem_desk.errors import ConflictError, NotFoundError, UsageError


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
    registry.add_lock("anna", "a long passphrase")
    assert registry.info("anna").id != before
    assert registry.tokens.profile_of(token) == "anna"


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
