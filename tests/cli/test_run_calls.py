"""``ask --run``: consent, the vector as shown, output and status, with the scripted engine."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator

import pytest

from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from tests.cli.conftest import SECONDS, scripted_at
from tui.cli.ask import show_answer
from tui.cli.console import Console
from tui.cli.run_calls import shown_vector
from tui.engine_client.protocol import Candidate, Message

SHOW = (
    "import json, sys; print(json.dumps(sys.argv[1:])); print('no' 'ise', file=sys.stderr); "
    "sys.exit(int(len(sys.argv) > 5))"
)
SCHEMA = {
    "type": "object",
    "properties": {"text": {"type": "string"}, "due": {"type": "string"}},
    "required": ["text"],
}
ASKED = "gotta ring the dentist on friday"


@pytest.fixture
def tool(scripted, tmp_path):
    """A trained procedure whose answers are calls, and its command; nothing is agreed to beforehand."""
    pairs, schema = tmp_path / "calls.jsonl", tmp_path / "schema.json"
    answer = json.dumps({"text": "ring; rm -rf ~", "due": "-fri"})
    rows = [
        {"input": ASKED, "response": answer},
        {"input": "gotta buy green apples today", "response": '{"text": "a"}'},
    ]
    pairs.write_text("".join(json.dumps(row) + "\n" for row in rows))
    schema.write_text(json.dumps(SCHEMA))
    assert scripted("proc", "add", "todo", "--pairs", str(pairs), "--schema", str(schema)).code == 0
    assert scripted("train").code == 0
    # Without the option that agrees to everything; offline, nobody asks about a download.
    scripted = scripted_at(scripted.home, "--offline")
    command = [sys.executable, "-c", SHOW, "--due={due?}", "--", "{text}"]
    assert scripted("proc", "command", "todo", "--", *command).code == 0
    return scripted


def test_arguments_come_parsed_and_nothing_runs_unasked(tool):
    answer = tool("ask", "--json", ASKED).json("ask")
    [segment] = answer["segments"]
    assert segment["arguments"] == {"text": "ring; rm -rf ~", "due": "-fri"} and "run" not in segment


def test_a_message_between_two_routes_says_so(tool):
    assert "ambiguous" not in tool("ask", "--json", ASKED).json("ask")
    assert tool("ask", "--json", f"{ASKED} !near").json("ask")["ambiguous"] == ["todo", "none"]
    ended = tool("ask", f"{ASKED} !near")
    assert "(This may be meant for plain chat as well as for todo. --route none asks that one.)" in ended.err


def test_without_a_terminal_consent_must_be_given(tool):
    ended = tool("ask", ASKED, "--run")
    assert ended.code == 2 and "needs your consent" in ended.err and "noise" not in ended.err


def test_yes_runs_exactly_what_was_shown(tool):
    ended = tool("ask", ASKED, "--run", "--yes")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out.splitlines()[-1]) == ["--due=-fri", "--", "ring; rm -rf ~"]
    assert "'ring; rm -rf ~'" in ended.err and "noise" in ended.err and "exit status 0" in ended.err
    answer = tool("ask", "--json", ASKED, "--run", "--yes").json("ask")
    run = answer["segments"][0]["run"]
    assert run["vector"][-2:] == ["--", "ring; rm -rf ~"] and run["exit_status"] == 0 and run["stderr"] == "noise\n"


def test_a_program_that_fails_fails_the_command(tool):
    command = [sys.executable, "-c", SHOW, "a", "b", "c", "d", "{text}"]
    tool("proc", "command", "todo", "--", *command)
    ended = tool("ask", ASKED, "--run", "--yes")
    assert ended.code == 1 and "exit status 1" in ended.err


def test_a_value_that_would_be_an_option_is_refused(tool):
    tool("proc", "command", "todo", "--", sys.executable, "-c", SHOW, "{due}")
    ended = tool("ask", ASKED, "--run", "--yes")
    assert ended.code == 1 and "would be read as an option" in ended.err and "noise" not in ended.err


def test_a_free_text_answer_is_one_argument(tool):
    tool("proc", "schema", "todo", "--none")
    refused = tool("proc", "command", "todo", "--", "note", "{text}")
    assert refused.code == 1 and "there is no schema" in refused.err
    assert tool("proc", "command", "todo", "--", sys.executable, "-c", SHOW, "--", "{answer}").code == 0
    ended = tool("ask", "--json", ASKED, "--run", "--yes")
    [segment] = json.loads(ended.out)["segments"]
    assert segment["arguments"] is None
    assert json.loads(segment["run"]["stdout"]) == ["--", segment["response"]]


def test_nothing_to_run_is_said(tool):
    ended = tool("ask", "how are you?", "--route", "none", "--run", "--yes")
    assert ended.code == 0 and "Nothing to run" in ended.err
    tool("proc", "command", "todo", "--none")
    assert "Nothing to run" in tool("ask", ASKED, "--run", "--yes").err


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo terminal")
def test_a_person_is_asked_each_time_until_they_say_always(tool):
    assert "noise" not in on_a_terminal(tool, "n")
    assert tool("proc", "command", "todo", "--json").json("proc-command")["always_allowed"] is False
    assert "noise" in on_a_terminal(tool, "y")
    assert tool("ask", ASKED, "--run").code == 2
    assert "noise" in on_a_terminal(tool, "a")
    assert tool("ask", ASKED, "--run").code == 0
    # Where the message may be meant for plain chat as well, the consent of before does not cover it.
    between = tool("ask", f"{ASKED} !near", "--run")
    assert between.code == 2 and "meant for plain chat as well as for todo" in between.err
    assert tool("ask", f"{ASKED} !near", "--run", "--yes").code == 0
    tool("proc", "command", "todo", "--ask")
    assert tool("ask", ASKED, "--run").code == 2


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo terminal")
def test_a_doubtful_value_is_asked_about_whatever_was_always_allowed(tool):
    assert "noise" in on_a_terminal(tool, "a")
    assert tool("ask", ASKED, "--run").code == 0
    doubtful = f"{ASKED} !doubt"
    refused = tool("ask", doubtful, "--run")
    assert refused.code == 2 and "noise" not in refused.err
    words = 'The answer is right with a probability of 41%. Doubtful: due "-fri" (41%).'
    assert words in " ".join(refused.err.split())
    assert words in " ".join(tool("ask", doubtful).err.split()) and words not in tool("ask", ASKED).err
    shown = on_a_terminal(tool, "n", asked=doubtful)
    assert words in " ".join(shown.split()) and "[a]lways" not in shown and "noise" not in shown
    assert "noise" in on_a_terminal(tool, "y", asked=doubtful)
    # Who agrees to everything has been asked; and what is not doubtful runs as before.
    assert tool("ask", doubtful, "--run", "--yes").code == 0
    assert tool("ask", ASKED, "--run").code == 0


def test_probabilities_stand_beside_the_answer(tool):
    [segment] = tool("ask", "--json", f"{ASKED} !doubt").json("ask")["segments"]
    assert segment["answer_probability"] == 0.41
    assert [(slot["name"], slot["doubtful"]) for slot in segment["slots"]] == [("text", False), ("due", True)]
    assert segment["slots"][1]["others"] == ['"later"', '"never"']


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo terminal")
def test_a_quiet_command_shows_what_it_asks_about(tool):
    shown = on_a_terminal(tool, "n", "--quiet")
    assert "todo would run:" in shown and "'ring; rm -rf ~'" in shown and sys.executable in shown.replace("\r\n", "")
    assert "Run it?" in shown and "noise" not in shown
    assert tool("ask", ASKED, "--run", "--yes", "--quiet").err == ""


def test_a_kept_command_that_is_refused_now_says_so_everywhere_and_runs_nothing(tool):
    template = ["sh", "-c", "--", "echo {text}"]
    [database] = tool.home.glob("data/profiles/*/profile.sqlite")
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE commands SET template = ?", (json.dumps(template),))
    ended = tool("ask", ASKED, "--run", "--yes")
    assert ended.code == 1 and "ring" not in ended.out.splitlines()[1:]
    assert (
        "The command of todo does not run. 'echo {text}' would let a value become part of a shell's script" in ended.err
    )
    assert "proc command todo" in ended.err
    reason = tool("proc", "command", "todo", "--json").json("proc-command")["refused"]
    assert "part of a shell's script" in reason
    assert f"does not run: {reason}" in tool("proc", "command", "todo").out
    assert tool("proc", "show", "todo", "--json").json("proc-show")["command"] == {
        "template": template,
        "refused": reason,
    }
    assert f"does not run: {reason}" in tool("proc", "show", "todo").out
    assert tool("proc", "command", "todo", "--", *template).code == 1
    tool("proc", "command", "todo", "--", "sh", "add.sh", "{text}")
    assert "refused" not in tool("proc", "command", "todo", "--json").json("proc-command")


def test_no_argument_can_pass_for_another_or_hide_a_part():
    vector = (
        "/bin/todo",
        "a\n 2  --force",
        "\u202egnp.exe\x1b]52;c;eA==\x07",
        "",
        "x" * 100 + "  3  '--all'",
        "\u00a0\u200b",
    )
    shown = shown_vector(vector, 40)
    numbered = [line.split()[0] for line in shown[:-1] if line[:4].strip()]
    assert numbered == ["0", "1", "2", "3", "4", "5"] and all(len(line) <= 40 for line in shown[:-1])
    text = "".join(line[6:] for line in shown)
    assert "'a␊ 2  --force'" in text and "'‹U+202E›gnp.exe␛]52;c;eA==␇'" in text and "''" in text
    assert "'‹U+00A0›‹U+200B›'" in text and "stand for characters that cannot be seen" in shown[-1]
    assert shown_vector(("/bin/todo", "a b")) == ["   0  /bin/todo", "   1  'a b'"]


def on_a_terminal(tool, answer, *options, asked=ASKED):
    """What ``ask --run`` says to a person who types ``answer``."""
    ours, theirs = pty.openpty()
    start = [*tool.begin, "ask", asked, "--run", *options]
    process = subprocess.Popen(start, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, env=tool.environment)
    os.close(theirs)
    os.write(ours, f"{answer}\n".encode())
    shown = b""
    while True:
        try:
            data = os.read(ours, 4096)
        except OSError:  # the other side has closed
            break
        if not data:
            break
        shown += data
    assert process.wait(SECONDS) == 0
    return shown.decode()


def test_plain_chat_shows_calls_in_words_and_ask_gives_their_json(tool):
    chatted = tool("chat", "--plain", "--temporary", stdin=f"{ASKED}\nhello\n")
    assert chatted.out.splitlines() == [
        'todo(text="ring; rm -rf ~", due="-fri")',
        "You said: hello (2 messages before)",
    ]
    assert json.loads(tool("ask", ASKED).out) == {"text": "ring; rm -rf ~", "due": "-fri"}


def test_segments_are_shown_one_by_one_and_half_a_call_as_it_is():
    out, err = io.StringIO(), io.StringIO()

    def route(name: str, *, call: bool) -> Message:
        candidates = [Candidate(route=name, probability=0.9)]
        return {"event": "route", "route": name, "probability": 0.9, "candidates": candidates, "call": call}

    def pieces(*texts: str) -> list[Message]:
        return [{"event": "token", "text": text} for text in texts]

    def events(stopped: str) -> Iterator[Message]:
        yield route("todo", call=True)
        yield from pieces('{"text": ', '"milk"', "}", "\n")
        yield route("none", call=False)
        yield from pieces("Fine", ".", "\n")
        yield route("todo", call=True)
        yield from pieces('{"n": [1, 2]', "}" if stopped == "end" else "")
        yield {"event": "done", "result": {"segments": [], "stopped": stopped}}

    console = Console(out=out, err=err)
    assert show_answer(console, events("end"), as_calls=True) == 0
    assert out.getvalue() == 'todo(text="milk")\nFine.\ntodo(n=[1, 2])\n'
    assert err.getvalue().splitlines() == ["[route todo 90 %]", "[route none 90 %]", "[route todo 90 %]"]
    out.truncate(out.seek(0))
    assert show_answer(console, events("cancelled"), as_calls=True) == 130
    assert out.getvalue() == 'todo(text="milk")\nFine.\n{"n": [1, 2]\n'
    out.truncate(out.seek(0))
    assert show_answer(console, events("end")) == 0
    assert out.getvalue() == '{"text": "milk"}\nFine.\n{"n": [1, 2]}\n'


def test_a_consent_that_came_back_with_an_older_database_is_not_honoured_and_that_is_said(tool, tmp_path):
    paths = AppPaths.resolve(tool.home)
    with ProfileRegistry(paths) as registry:
        file = paths.profile_folder(registry.active().id) / "profile.sqlite"
        with registry.open() as store:
            store.commands.allow("todo", "digest")
        yesterday = shutil.copy(file, tmp_path / "yesterday")
        with registry.open() as store:
            store.commands.allow("todo", None)
    shutil.copy(yesterday, file)
    ended = tool("ask", ASKED, "--run")
    assert ended.code == 2 and "older copy" in ended.err and "needs your consent" in ended.err
    shown = tool("proc", "command", "todo")
    assert "asks before each run" in shown.out and "older copy" in shown.out
    assert tool("proc", "command", "todo", "--json").json("proc-command")["always_allowed"] is False
    assert tool("proc", "command", "todo", "--ask").code == 0
    assert "older copy" not in tool("proc", "command", "todo").out
