"""Conversations that ChatGPT and Claude exported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from profiles.pair_files.chat_exports import exported_talk
from profiles.pair_files.pairs_file import load_pairs, read_pairs_file
from tokmem_desk.procedures import ExamplePair


def node(parent: str | None, role: str, parts: list[Any], kind: str = "text", **metadata: Any) -> dict[str, Any]:
    message = {"author": {"role": role}, "content": {"content_type": kind, "parts": parts}, "metadata": metadata}
    return {"parent": parent, "message": message}


TREE = {
    "root": {"parent": None, "message": None},
    "s": node("root", "system", [""], is_visually_hidden_from_conversation=True),
    "q": node("s", "user", ["about figs"]),
    "a1": node("q", "assistant", ["the first answer"]),
    "t": node("q", "assistant", ["search()"], kind="code"),
    "r": node("t", "tool", ["found"]),
    "a2": node("r", "assistant", ["Sweet.", {"content_type": "image_asset_pointer"}]),
    "q2": node("a2", "user", ["thanks"]),
    "a3": node("q2", "assistant", ["Welcome."]),
    "q3": node("a3", "user", ["never answered"]),
}
CHATGPT = {"title": "Figs", "create_time": 1, "mapping": TREE, "current_node": "q3"}
CLAUDE = {
    "uuid": "u",
    "name": "Plums",
    "chat_messages": [
        {"sender": "assistant", "text": "Hello!"},
        {"sender": "human", "text": "x", "content": [{"type": "text", "text": "about plums"}]},
        {"sender": "human", "text": "and now", "content": []},
        {"sender": "assistant", "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Blue."}]},
        {"sender": "assistant", "text": "", "content": [{"type": "tool_use"}]},
    ],
}


def test_the_branch_that_was_shown_last() -> None:
    talk = exported_talk(CHATGPT)
    assert talk is not None and talk.title == "Figs" and talk.left_out == 1
    assert talk.messages == (
        ("user", "about figs"), ("assistant", "Sweet."), ("user", "thanks"), ("assistant", "Welcome."),
    )  # fmt: skip
    other = exported_talk({**CHATGPT, "current_node": "a1"})
    assert other is not None and other.messages == (("user", "about figs"), ("assistant", "the first answer"))


def test_turns_of_claude() -> None:
    talk = exported_talk(CLAUDE)
    assert talk is not None and (talk.title, talk.left_out) == ("Plums", 1)
    assert talk.messages == (("user", "about plums\n\nand now"), ("assistant", "Blue."))


def test_an_export_is_a_source_of_pairs(tmp_path: Path) -> None:
    file = tmp_path / "conversations.json"
    empty = {"title": "Empty", "mapping": {}, "current_node": None}
    file.write_text(json.dumps([CHATGPT, empty, CLAUDE]), "utf-8")
    found = load_pairs(file)
    assert found.pairs == (
        ExamplePair("about figs", "Sweet."), ExamplePair("thanks", "Welcome."),
        ExamplePair("about plums\n\nand now", "Blue."),
    )  # fmt: skip
    assert found.forms == ("export",) and found.dropped == {"media": 2}


def test_circles_and_odd_trees_end(tmp_path: Path) -> None:
    circle = {"a": node("b", "user", ["x"]), "b": node("a", "assistant", ["y"])}
    talk = exported_talk({"mapping": circle, "current_node": "a"})
    assert talk is not None and talk.messages == ()
    file = tmp_path / "a.jsonl"
    file.write_text(json.dumps({"mapping": circle, "current_node": "b"}), "utf-8")
    assert read_pairs_file(file).pairs == (ExamplePair("x", "y"),)


VALUES = st.recursive(
    st.none() | st.booleans() | st.text(max_size=3) | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


@given(st.sampled_from(["mapping", "chat_messages"]), VALUES, VALUES)
def test_any_json_is_a_conversation_or_none(key: str, value: Any, last: Any) -> None:
    talk = exported_talk({key: value, "current_node": last, "title": last})
    assert talk is None or len(talk.messages) % 2 == 0
