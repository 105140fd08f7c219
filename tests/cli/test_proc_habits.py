"""``proc habits``, with an engine to which all messages lie near each other: forms of answers tell them apart."""

from __future__ import annotations

import json

from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from tests.cli.conftest import scripted_at


def _chat(home, turns):
    with ProfileRegistry(AppPaths.resolve(home)) as registry, registry.open() as store:
        chat = store.chats.create("notes")
        for message, answer in turns:
            store.messages.add(chat, "user", message)
            store.messages.add(chat, "assistant", answer, route="none")


def _kept(home):
    with ProfileRegistry(AppPaths.resolve(home)) as registry, registry.open() as store:
        return store.rows("SELECT * FROM message_vectors")


NOTES = [(f"note the weight of box {place}", f"BOX {place} | {place * 3} kg") for place in range(5)]
OBJECTS = [(f"the meter reads {place}", json.dumps({"meter": place})) for place in range(4)]
TALK = [("how are you", "I am fine, thanks."), ("tell me more", "There is no more to tell.")]


def test_habits_are_listed_taken_and_turned_down(scripted, own_home):
    _chat(own_home, [*TALK, *NOTES, *OBJECTS])
    found = scripted("proc", "habits", "--json").json("proc-habits")["habits"]
    assert [(one["turns"], len(one["pairs"])) for one in found] == [(5, 5), (4, 4)]
    assert found[0]["pairs"][0] == {"input": NOTES[0][0], "response": NOTES[0][1]}
    assert "5 messages" in scripted("proc", "habits").out

    taken = scripted("proc", "habits", "--accept", "1", "--name", "boxes", "--json").json("proc-habits")
    assert taken["added"] == "boxes"
    shown = scripted("proc", "show", "boxes", "--json").json("proc-show")
    assert (shown["pairs"], shown["source"]) == (5, "habit")
    # What is a pair now is no habit any more.
    assert len(scripted("proc", "habits", "--json").json("proc-habits")["habits"]) == 1

    left = scripted("proc", "habits", "--dismiss", "1", "--json").json("proc-habits")["habits"]
    assert left == [] == scripted("proc", "habits", "--json").json("proc-habits")["habits"]
    _chat(own_home, [("the meter reads 44", '{"meter": 44}')])
    assert scripted("proc", "habits", "--json").json("proc-habits")["habits"] == []
    none = scripted("proc", "habits", "--accept", "1")
    assert none.code == 1 and "There are 0 habits." in none.err


def test_chats_are_looked_at_only_with_consent(own_home):
    _chat(own_home, NOTES)
    unasked = scripted_at(own_home, "--offline")
    ended = unasked("proc", "habits")
    assert ended.code == 1 and "config set find_habits yes" in ended.err
    assert unasked("config", "set", "find_habits", "yes").code == 0
    assert len(unasked("proc", "habits", "--json").json("proc-habits")["habits"]) == 1
    assert _kept(own_home)
    assert unasked("config", "set", "find_habits", "no").code == 0
    assert unasked("proc", "habits").code == 1 and not _kept(own_home)


def test_without_chats_no_model_is_needed(tokmem):
    assert tokmem("--yes", "proc", "habits", "--json").json("proc-habits") == {"habits": [], "added": None}
    assert tokmem("--yes", "proc", "habits", "--accept", "1", "--dismiss", "1").code == 2
