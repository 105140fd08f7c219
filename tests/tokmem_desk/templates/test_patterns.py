"""Expressions out of files: what they match, what is refused, and that none of them hangs."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokmem_desk.templates.patterns import MAX_PATTERN_CHARACTERS, PatternError, known_pattern, read_pattern, repeated
from tokmem_desk.templates.single_use import FormWalk
from tokmem_desk.templates.template import MOST_LEVELS, MOST_PARTS, AnswerTemplate, Part

SAME = [
    r"\d{4}-\d{2}", r"[^\W\d_]+", r"\w+@\w+\.(com|org)", r"[\w-]+", r"[\S]+ \S+", r"a{,3}b", r"a{2,}", r"a{,}",
    r"x{}", r"[]a]+", r"[^]a]+", r"[\[]x", r"(?i)straße", r"(?P<who>\w+) \D*", r"a\.b\-c\/d", r"\u00e9\x41\0?",
    r"\Aab\Z",
    r".{1,2500}", r"[a-z]{1200}", r"a|b|", r"(?:ab)*?c", r"é+", r"[\b]", r"\s+\S", r"[^\s]+",
]  # fmt: skip
TEXTS = [
    "2024-10", "２０２４-１０", "été", "a_b@c.org", "naïve-word", "b", "aaab", "aa", "", "aaaa", "x{}", "]a", "bc",
    "[x",
    "STRASSE",
    "Ada !?", "a.b-c/d", "éA", "éA\0", "ab", "x" * 2000, "x" * 2600, "q" * 1200, "ababc", "\x08",
    "\u00a0\u2003x",
    "x y",
    "a\nb", "\u2028", "Ⅷ½",
]  # fmt: skip


@pytest.mark.parametrize("pattern", SAME)
def test_expressions_mean_what_they_meant(pattern: str) -> None:
    ours, theirs = read_pattern(pattern), re.compile(pattern)
    for text in TEXTS:
        assert (ours.fullmatch(text) is None) == (theirs.fullmatch(text) is None), (pattern, text)


@given(st.from_regex(r"([ab.]|\\d|\\w|\[[ab]\]|\(a\||\)|[*+?]){1,8}", fullmatch=True), st.text("ab1é", max_size=6))
def test_expressions_by_chance_mean_what_they_meant(pattern: str, text: str) -> None:
    try:
        ours, theirs = read_pattern(pattern), re.compile(pattern)
    except PatternError:
        return
    assert (ours.fullmatch(text) is None) == (theirs.fullmatch(text) is None)


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("(?=a)b", "ahead or behind"),
        ("(?<!a)b", "ahead or behind"),
        (r"(a)\1", "refers back"),
        (r"(?P<x>a)(?P=x)", "trial and error"),
        ("(ab){1,2000}", "more than 1,000 times"),
        ("((a{1,100}){1,100}){1,100}", "more than 1,000 times"),
        ("a{1,99999999}", "times"),
        ("(", "not a regular expression"),
        ("[" * 50_000, "characters"),
        ("(" * 4000 + ")" * 4000, "not a regular expression|characters"),
    ],
)
def test_what_needs_trial_and_error_is_refused_in_words(pattern: str, said: str) -> None:
    with pytest.raises(PatternError, match=said):
        read_pattern(pattern)
    assert known_pattern(pattern) is None


def test_halves_of_surrogate_pairs_match_nothing_and_raise_nothing() -> None:
    assert read_pattern("a+").fullmatch("a\ud800") is None
    with pytest.raises(PatternError):
        read_pattern("\ud800")


def test_long_runs_are_written_out() -> None:
    assert repeated("a", 2, 3) == "a{2,3}"
    assert repeated("a", 1500, 1500) == "a{1000}a{500}"
    assert repeated("a", 1500, None) == "a{1000}a{500}a*"
    assert repeated("a", 1, 2500) == "a{1}a{0,1000}a{0,1000}a{0,499}"


def test_nothing_hangs() -> None:
    """Python's matcher would need longer than the universe for the first of these."""
    script = (
        "from tokmem_desk.templates.patterns import read_pattern as read\n"
        "for bad in ('(a+)+b', '(a|aa)+b', '(a*)*b', '([a-z]+)*[0-9]', '(.*)*x', '(.+.+)+y'):\n"
        "    assert read(bad).fullmatch('a' * 50_000) is None, bad\n"
        f"assert read('a' * {MAX_PATTERN_CHARACTERS}).fullmatch('a' * 50_000) is None\n"
        "print('done')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "done\n"


def test_forms_are_matched_without_going_back() -> None:
    """Eight free parts took seconds on forty letters, and three times as long for every three letters more."""
    script = (
        "from tokmem_desk.templates.template import AnswerTemplate, Part\n"
        "from tokmem_desk.templates.single_use import FormWalk\n"
        "parts = [part for _ in range(12) for part in (Part('free'), Part('text', (',',)))]\n"
        "form = AnswerTemplate((*parts, Part('text', ('!',))), once=True)\n"
        "assert not form.accepts('hello', ',' * 4000 + 'a')\n"
        "assert form.accepts('hello', 'a,' * 12 + '!')\n"
        "assert FormWalk(form, 'hello').taken([',' * 4000]) is None\n"
        "print('done')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "done\n"


def test_forms_with_more_parts_than_any_has_are_refused() -> None:
    free = {"kind": "free"}
    with pytest.raises(ValueError, match="more parts"):
        AnswerTemplate.from_dict({"parts": [free] * (MOST_PARTS + 1)})
    nested: dict[str, object] = free
    for _ in range(MOST_LEVELS):
        nested = {"kind": "forms", "forms": [[nested]]}
    with pytest.raises(ValueError, match="too deeply"):
        AnswerTemplate.from_dict({"parts": [nested]})


def test_a_form_that_a_message_makes_too_large_is_not_followed() -> None:
    part = Part("taken", (), ("as it is", "small", "capital", "title"), tokens=14)
    form = AnswerTemplate((part,) * 400)
    message = " ".join(f"{'word' * 50}{place}" for place in range(90))
    with pytest.raises(PatternError, match="too large"):
        form.pattern(message)
    assert not form.accepts(message, "word")
    assert FormWalk(replace(form, once=True), message).taken(["word"]) is None
