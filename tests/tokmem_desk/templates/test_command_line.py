"""From a call's arguments to an argument vector: a value stays one value."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokmem_desk.errors import BadInputError
from tokmem_desk.templates.command_line import LONGEST_ARGUMENT, check_template, consent_digest, fill

SCHEMA = {"type": "object", "properties": {"text": {}, "list": {}, "tags": {}, "count": {}}}


@pytest.mark.parametrize(
    ("template", "arguments", "vector"),
    [
        (
            ["todo", "{text}"],
            {"text": "buy milk; rm -rf ~ $(x) `y` 'z' \"w\""},
            ["todo", "buy milk; rm -rf ~ $(x) `y` 'z' \"w\""],
        ),
        (["todo", "--list={list}"], {"list": "-x --force"}, ["todo", "--list=-x --force"]),
        (["todo", "--list={list?}", "{text}"], {"text": "a"}, ["todo", "a"]),
        (["todo", "--list={list?}", "{text}"], {"text": "a", "list": None}, ["todo", "a"]),
        (["todo", "--", "{text}"], {"text": "--force"}, ["todo", "--", "--force"]),
        (["tag", "--", "{tags...}"], {"tags": ["a", "-b", "c d"]}, ["tag", "--", "a", "-b", "c d"]),
        (["tag", "{tags...}"], {}, ["tag"]),
        (["tag", "{tags}"], {"tags": ["a", "b"]}, ["tag", '["a", "b"]']),
        (["n", "{count}", "x{count}y"], {"count": 2.5}, ["n", "2.5", "x2.5y"]),
        (["n", "{count}"], {"count": True}, ["n", "true"]),
        (["n", "{{{text}}}", "{{text}}"], {"text": "v"}, ["n", "{v}", "{text}"]),
        (["n", "{text}"], {"text": ""}, ["n", ""]),
        (["n", "{text}{list}"], {"text": "", "list": "ok"}, ["n", "ok"]),
    ],
)
def test_values_fill_their_slots_and_nothing_else(
    template: list[str], arguments: dict[str, object], vector: list[str]
) -> None:
    check_template(template, SCHEMA)
    assert fill(template, arguments) == vector


@pytest.mark.parametrize(
    ("template", "arguments", "reason"),
    [
        (["todo", "{text}"], {"text": "--force"}, "read as an option"),
        (["todo", "{text}"], {"text": "-"}, "read as an option"),
        (["todo", "{count}"], {"count": -5}, "read as an option"),
        (["todo", "{text}{list}"], {"text": "", "list": "-x"}, "read as an option"),
        (["todo", "{tags...}"], {"tags": ["ok", "-x"]}, "read as an option"),
        (["todo", "{text}", "--"], {"text": "-x"}, "read as an option"),
        (["todo", "{text}"], {}, "no value for 'text'"),
        (["todo", "--", "{text}"], {"text": "a\0b"}, "NUL"),
        (["todo", "{text}"], {"text": "\ud800"}, "half a character"),
        (["todo", "{text}"], {"text": "x" * (LONGEST_ARGUMENT + 1)}, "too long"),
    ],
)
def test_a_value_that_would_be_more_than_a_value_is_refused(
    template: list[str], arguments: dict[str, object], reason: str
) -> None:
    check_template(template, SCHEMA)
    with pytest.raises(BadInputError, match=reason):
        fill(template, arguments)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ([], "no program"),
        ([" "], "no program"),
        (["{text}"], "must not choose what runs"),
        (["todo", "{txt}"], r"\{txt\} is no property of the schema \(it has text, list"),
        (["todo", "{text"], "without its partner"),
        (["todo", "text}"], "without its partner"),
        (["todo", "--{tags...}"], "must stand alone"),
        (["todo", "a\0"], "NUL"),
        (["sh", "-c", "echo {text}"], "shell's script"),
        (["/bin/bash", "-lc", "{text}"], "shell's script"),
        (["env", "A=1", "zsh", "-c", "{text}"], "shell's script"),
        (["cmd.exe", "/C", "echo {text}"], "shell's script"),
        (["pwsh", "-Command", "{text}"], "shell's script"),
    ],
)
def test_a_template_that_cannot_be_safe_is_refused(template: list[str], reason: str) -> None:
    with pytest.raises(BadInputError, match=reason):
        check_template(template, SCHEMA)


def test_a_free_text_is_one_value_and_no_code() -> None:
    template = ["todo", "add", "--note={answer}", "--", "{answer}"]
    check_template(template, None)
    value = 'a "b" $(id)\n; rm -rf ~'
    assert fill(template, {"answer": value}) == ["todo", "add", f"--note={value}", "--", value]
    with pytest.raises(BadInputError, match="read as an option"):
        fill(["todo", "{answer}"], {"answer": "--force"})
    for wrong, reason in (
        (["sh", "-c", "{answer}"], "shell's script"),
        (["{answer}"], "cannot be a slot"),
        (["todo", "{text}"], "there is no schema"),
    ):
        with pytest.raises(BadInputError, match=reason):
            check_template(wrong, None)


def test_a_shell_may_run_a_file_of_its_own() -> None:
    check_template(["sh", "add.sh", "{text}"], SCHEMA)
    check_template(["sh", "-c", 'echo "$1"', "sh", "{text}"], SCHEMA)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=200))
def test_what_goes_in_is_what_a_program_gets(text: str) -> None:
    template = ["prog", "--note={text}", "--", "{text}", "{tags...}"]
    assert fill(template, {"text": text, "tags": [text, text]}) == ["prog", f"--note={text}", "--", text, text, text]


def test_a_real_program_gets_the_values_untouched() -> None:
    value = "a b\n\"c\" 'd' $HOME `id` ; | & > x * ? \\ é ☃"
    show = "import json, sys; print(json.dumps(sys.argv[1:]))"
    vector = fill([sys.executable, "-c", show, "--", "{text}", "--list={list}"], {"text": value, "list": value})
    done = subprocess.run(vector, capture_output=True, check=True)
    assert json.loads(done.stdout) == ["--", value, f"--list={value}"]


def test_consent_holds_for_exactly_one_thing() -> None:
    base = consent_digest(["a", "{x}"], "/bin/a", "{}")
    assert base == consent_digest(("a", "{x}"), "/bin/a", "{}")
    others = [(["a", "{y}"], "/bin/a", "{}"), (["a", "{x}"], "/tmp/a", "{}"), (["a", "{x}"], "/bin/a", '{"a": 1}')]
    assert base not in {consent_digest(*other) for other in others}
