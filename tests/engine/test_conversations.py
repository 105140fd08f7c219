"""What the engine keeps of conversations: used again, dropped with the profile, never another's."""

from __future__ import annotations

from pathlib import Path

from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from tests.engine.conftest import result_of
from tui.engine_client.client import EngineClient

SAID = [{"role": "user", "content": "say milk"}, {"role": "assistant", "content": "blue fox", "route": "none"}]


def kept(client: EngineClient) -> float:
    return float(result_of(client, "status")["conversations_mb"])


def test_conversations_are_kept_until_the_profile_is_left_or_forgotten(home: Path, client: EngineClient) -> None:
    with ProfileRegistry(AppPaths.resolve(home)) as registry:
        registry.create("other")
    asked = {"text": "and the dog?", "route": "none", "max_tokens": 4, "conversation": SAID}
    first = result_of(client, "ask", **asked)
    mine = kept(client)
    assert mine > 0
    assert result_of(client, "ask", **asked)["response"] == first["response"]
    assert kept(client) == mine, "the same conversation is kept once"
    result_of(client, "ask", profile="other", **{**asked, "conversation": [], "text": "x"})
    assert 0 < kept(client) < mine, "going to another profile drops what was kept"
    result_of(client, "forget", profile="other")
    assert kept(client) == 0
    result_of(client, "ask", **asked)
    result_of(client, "forget")
    assert kept(client) == 0


def test_nothing_is_kept_where_the_setting_says_so(client: EngineClient) -> None:
    asked = {"text": "and the dog?", "route": "none", "max_tokens": 4, "conversation": SAID}
    result_of(client, "ask", **asked, settings={"conversation_cache_mb": 0})
    assert kept(client) == 0
