"""In real pipes: stdin, a reader that leaves, closed streams, no colour for files, the exit code of the worst line."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys

import pytest

from tests.cli.conftest import SECONDS, CommandLine, Ended

KNOWN = "I need to call mum on Monday"

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")


@pytest.fixture
def shell(scripted: CommandLine, pairs_file):
    """Run a pipeline in bash; ``T`` stands for the program. The code is that of T, wherever it stands."""
    scripted("proc", "add", "todo", "--pairs", str(pairs_file))
    assert scripted("train").code == 0
    program = shlex.join([sys.executable, "-m", "tests.cli.scripted_cli", "--yes"])

    def run(line: str) -> Ended:
        script = f'T() {{ {program} "$@"; echo "code $?" >&3; }}; {line}'
        done = subprocess.run(
            ["bash", "-c", f"exec 3>&2; {script}"],
            capture_output=True,
            env=scripted.environment,
            timeout=SECONDS,
            check=False,
        )
        err = done.stderr.decode()
        codes = [int(one.removeprefix("code ")) for one in err.splitlines() if one.startswith("code ")]
        assert len(codes) == 1, err
        assert "Traceback" not in err and "\x1b" not in err and b"\x1b" not in done.stdout
        return Ended(codes[0], done.stdout.decode(), err)

    return run


def test_a_message_comes_from_stdin_and_the_answer_alone_goes_to_stdout(shell):
    ended = shell(f"printf '%s\\n' '{KNOWN}' | T ask - 2>/dev/null | cat")
    assert (ended.code, ended.out) == (0, "( ) call mum due:mon\n")


def test_json_goes_through_a_pipe_in_one_line(shell):
    ended = shell(f"T ask --json '{KNOWN}' 2>/dev/null | wc -l")
    assert (ended.code, ended.out.strip()) == (0, "1")


def test_a_reader_that_has_had_enough_ends_it_without_a_complaint(shell):
    ended = shell("T ask '!slow' 2>/dev/null | head -c 11")
    assert ended.code == 0 and ended.out == "word0 word1"


def test_many_lines_through_plain_chat(shell):
    ended = shell(f"printf '%s\\n' '{KNOWN}' '' '@none hello' | T chat --plain --temporary 2>/dev/null | cat")
    assert ended.code == 0
    assert ended.out.splitlines() == ["( ) call mum due:mon", "You said: hello (2 messages before)"]


def test_a_line_that_fails_is_told_and_the_others_are_answered(shell):
    ended = shell("printf '%s\\n' '@nobody hello' '@none hello' | T chat --plain --temporary | cat")
    assert ended.code == 1 and "no procedure 'nobody'" in ended.err
    assert ended.out.splitlines() == ["You said: hello (0 messages before)"]


def test_closed_streams(shell):
    assert shell("T ask - <&-").code == 2
    assert shell("T chat --plain --temporary <&-").code == 0
    assert shell(f"T ask '{KNOWN}' 2>&- | cat").out == "( ) call mum due:mon\n"
    assert shell("T ask - < /dev/null").code == 2


def test_colour_is_for_terminals_alone(shell):
    ended = shell(f"FORCE_COLOR=1 TERM=xterm-256color T ask '{KNOWN}' 2>&1 | cat")
    assert "[route todo 96 %]" in ended.out
