"""Stop texts however they are cut into pieces; known answers; reading a request."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from tui.serve.answers import _KNOWN_ANSWERS, KnownAnswers, StopTexts
from tui.serve.requests import read_request, route_of


@given(st.lists(st.text("abc", max_size=4), max_size=12), st.lists(st.text("abc", min_size=1, max_size=3), max_size=3))
def test_stop_texts_do_not_depend_on_the_pieces(pieces: list[str], stops: list[str]) -> None:
    filtered = StopTexts(stops)
    shown = "".join(filtered.feed(piece) for piece in pieces) + filtered.rest()
    whole = "".join(pieces)
    # The stop that is complete first ends the answer, as it would when read letter by letter.
    ends = sorted((whole.find(stop) + len(stop), whole.find(stop)) for stop in stops if stop in whole)
    assert filtered.found == bool(ends)
    if not ends:
        assert shown == whole
    else:
        assert whole.startswith(shown) and not any(stop in shown for stop in stops)


def test_nothing_is_held_back_that_cannot_become_a_stop_text() -> None:
    filtered = StopTexts(["###"])
    assert [filtered.feed(piece) for piece in ("one", " #", "2", "#", "##", "more")] == ["one", " ", "#2", "", "", ""]
    assert filtered.found and filtered.rest() == ""


def test_known_answers_are_forgotten_in_time() -> None:
    known = KnownAnswers()
    for place in range(_KNOWN_ANSWERS + 1):
        known.add("default", f"q{place}", "a", "todo")
    told = known.with_routes("default", [{"role": "user", "content": "q0"}, {"role": "assistant", "content": "a"}])
    assert "route" not in told[1]
    told = known.with_routes("default", [{"role": "user", "content": "q1 "}, {"role": "assistant", "content": "a\n"}])
    assert told[1]["route"] == "todo"


def test_a_greeting_of_the_client_is_kept() -> None:
    messages = [{"role": "assistant", "content": "Hi!"}, {"role": "user", "content": "hello"}]
    read = read_request(json.dumps({"messages": messages}).encode(), "some/Backbone")
    assert [turn["role"] for turn in read.conversation] == ["user", "assistant"] and read.message == "hello"


def test_routes() -> None:
    assert route_of("some/Backbone", "some/Backbone") == "auto"
    assert route_of("some/Backbone:todo", "some/Backbone") == "todo"
    assert route_of("other/Backbone:todo", "some/Backbone") == "other/Backbone:todo", "which no procedure is called"
