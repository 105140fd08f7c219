"""Conversations of Open WebUI, LM Studio, oterm and llm."""

from __future__ import annotations

import importlib.util
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from profiles.pair_files.export_file import read_export
from profiles.pair_files.pairs_file import load_pairs
from tokmem_desk.errors import BadInputError
from tokmem_desk.procedures import ExamplePair


def web_ui(key: str, parent: str | None, role: str, content: Any) -> dict[str, Any]:
    return {"id": key, "parentId": parent, "childrenIds": [], "role": role, "content": content}


MESSAGES = [
    web_ui("q", None, "user", "about figs"),
    web_ui("a1", "q", "assistant", "the first answer"),
    web_ui("a2", "q", "assistant", "Sweet."),
    web_ui("q2", "a2", "user", "thanks"),
    web_ui("a3", "q2", "assistant", "Welcome."),
]
WEB_UI = {
    "id": "1",
    "title": "Figs",
    "chat": {"title": "Figs", "history": {"messages": {m["id"]: m for m in MESSAGES}, "currentId": "a3"}},
}
FIGS = (("user", "about figs"), ("assistant", "Sweet."), ("user", "thanks"), ("assistant", "Welcome."))


def text(*texts: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": one} for one in texts]


LM_STUDIO = {
    "name": "Plums",
    "messages": [
        {
            "versions": [{"type": "singleStep", "role": "user", "content": [*text("about plums"), {"type": "file"}]}],
            "currentlySelected": 0,
        },
        {
            "versions": [
                {
                    "type": "multiStep",
                    "role": "assistant",
                    "steps": [{"type": "contentBlock", "content": text("Red.")}],
                },
                {
                    "type": "multiStep",
                    "role": "assistant",
                    "steps": [
                        {"type": "contentBlock", "style": {"type": "thinking"}, "content": text("hm")},
                        {"type": "contentBlock", "content": text("Blue.")},
                        {"type": "debugInfoBlock", "debugInfo": "x"},
                    ],
                },
            ],
            "currentlySelected": 1,
        },
    ],
}
PLUMS = (("user", "about plums"), ("assistant", "Blue."))


def written(folder: Path, value: Any) -> Path:
    path = folder / "chats.json"
    path.write_text(json.dumps(value), "utf-8")
    return path


def test_open_web_ui(tmp_path: Path) -> None:
    other = json.loads(json.dumps(WEB_UI))
    other["chat"]["history"]["currentId"] = "a1"
    talks = read_export(written(tmp_path, [WEB_UI, other]))
    assert [talk.messages for talk in talks] == [FIGS, (("user", "about figs"), ("assistant", "the first answer"))]
    assert talks[0].title == "Figs"
    found = load_pairs(written(tmp_path, [WEB_UI]))
    assert ExamplePair("about figs", "Sweet.") in found.pairs


def test_lm_studio(tmp_path: Path) -> None:
    [talk] = read_export(written(tmp_path, LM_STUDIO))
    assert (talk.title, talk.messages, talk.left_out) == ("Plums", PLUMS, 0)
    assert load_pairs(written(tmp_path, LM_STUDIO)).pairs == (ExamplePair("about plums", "Blue."),)


@pytest.mark.parametrize("shown", [None, "x", -1, 7])
def test_lm_studio_without_a_version_that_is_shown(tmp_path: Path, shown: Any) -> None:
    odd = json.loads(json.dumps(LM_STUDIO))
    odd["messages"][1]["currentlySelected"] = shown
    assert read_export(written(tmp_path, odd))[0].messages == PLUMS, "the newest"
    odd["messages"][1]["versions"] = []
    assert read_export(written(tmp_path, odd))[0].messages == ()


@pytest.mark.parametrize("roles", [("user", "assistant"), ("me", "ollama")])
def test_oterm(tmp_path: Path, roles: tuple[str, str]) -> None:
    path = tmp_path / "store.db"
    with sqlite3.connect(path) as database:
        database.execute('CREATE TABLE "chat" ("id" INTEGER PRIMARY KEY, "name" TEXT, "model" TEXT NOT NULL)')
        database.execute(
            'CREATE TABLE "message" ("id" INTEGER PRIMARY KEY, "chat_id" INTEGER NOT NULL, "author" TEXT NOT NULL, '
            '"text" TEXT NOT NULL, "images" TEXT DEFAULT "[]")'
        )
        database.executemany("INSERT INTO chat VALUES (?, ?, 'x')", [(1, "Figs"), (2, None)])
        said = [(1, roles[0], "about figs"), (1, roles[1], "Sweet."), (2, roles[0], "hello"), (2, roles[1], "Hi.")]
        said += [(1, "tool", "found"), (1, roles[0], "thanks"), (1, roles[1], "Welcome.")]
        database.executemany("INSERT INTO message (chat_id, author, text) VALUES (?, ?, ?)", said)
    newest, oldest = read_export(path)
    assert (oldest.title, oldest.messages) == ("Figs", FIGS)
    assert (newest.title, newest.messages) == ("", (("user", "hello"), ("assistant", "Hi.")))


def test_llm(tmp_path: Path) -> None:
    path = tmp_path / "logs.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE conversations (id TEXT PRIMARY KEY, name TEXT, model TEXT)")
        database.execute(
            "CREATE TABLE responses (id TEXT PRIMARY KEY, prompt TEXT, response TEXT, conversation_id TEXT, "
            "datetime_utc TEXT)"
        )
        database.execute("INSERT INTO conversations VALUES ('c', 'Figs', 'x')")
        rows = [("2", "thanks", "Welcome.", "c", "2"), ("1", "about figs", "Sweet.", "c", "1")]
        database.executemany("INSERT INTO responses VALUES (?, ?, ?, ?, ?)", [*rows, ("3", "hello", None, None, "3")])
    newest, oldest = read_export(path)
    assert (oldest.title, oldest.messages) == ("Figs", FIGS)
    assert newest.messages == () and newest.left_out == 1


@pytest.mark.skipif(importlib.util.find_spec("llm") is None, reason="llm is not installed")
def test_a_database_that_llm_made_itself(tmp_path: Path) -> None:
    program = (
        "import llm, sqlite_utils, llm.migrations\n"
        f"db = sqlite_utils.Database({str(tmp_path / 'logs.db')!r})\n"
        "llm.migrations.migrate(db)\n"
        "db['conversations'].insert({'id': 'c', 'name': 'Figs', 'model': 'x'})\n"
        "db['responses'].insert({'id': '1', 'model': 'x', 'prompt': 'about figs', 'response': 'Sweet.', "
        "'conversation_id': 'c', 'datetime_utc': '1'})\n"
    )
    environment = {**os.environ, "LLM_USER_PATH": str(tmp_path)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, capture_output=True)
    [talk] = read_export(tmp_path / "logs.db")
    assert (talk.title, talk.messages) == ("Figs", FIGS[:2])


def test_other_databases_are_refused_with_what_to_give(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE things (id)")
    with pytest.raises(BadInputError, match=r"neither oterm's nor that of llm") as caught:
        read_export(path)
    assert "logs.db" in str(caught.value)
    path.write_bytes(b"SQLite format 3\0" + bytes(range(200)))
    with pytest.raises(BadInputError, match="cannot be read as a database"):
        read_export(path)
