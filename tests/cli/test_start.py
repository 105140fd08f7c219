"""How the command line starts: quickly, without heavy imports, and with clear words about slips."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from tests.cli.conftest import CommandLine

HEAVY = ("torch", "transformers", "textual", "sqlite3")


def imported(tokmem: CommandLine, *arguments: str) -> set[str]:
    """The top-level modules that a command imports."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "tui", *arguments],
        capture_output=True,
        env=tokmem.environment,
        text=True,
        check=True,
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rsplit("|", 1)[1].strip().split(".")[0] for line in lines}


@pytest.mark.parametrize("arguments", [("--help",), ("--version",)])
def test_help_imports_nothing_heavy(tokmem, arguments):
    assert imported(tokmem, *arguments).isdisjoint(HEAVY)


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "--help"),
        ("proc", "add", "--help"),
        ("serve", "--help"),
        ("proc", "list"),
        ("model", "list"),
        ("config", "show"),
        ("profile", "list"),
        ("token", "list"),
        ("completion", "bash"),
    ],
)
def test_commands_without_a_model_import_neither_torch_nor_textual(tokmem, arguments):
    assert imported(tokmem, *arguments).isdisjoint({"torch", "transformers", "textual"})


def test_help_is_quick(tokmem):
    def seconds() -> float:
        began = time.perf_counter()
        assert tokmem("--help").code == 0
        return time.perf_counter() - began

    assert min(seconds() for _ in range(5)) < 0.4


def test_help_touches_no_file(tokmem):
    tokmem("--help")
    tokmem("config", "path")
    assert not tokmem.home.exists()


def test_module_and_entry_point_are_the_same(tokmem):
    assert tokmem("--version").out.startswith("tokmem-desk ")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("trian",), "Did you mean 'train'?"),
        (("proc",), "ACTION"),
        (("proc", "ad"), "Did you mean 'add'?"),
        (("ask",), "TEXT"),
        (("ask", ""), "The message is empty"),
        (("ask", "hi", "--rout", "none"), "--rout"),
        (("route",), "either a message or --batch"),
        (("route", "hi", "--batch", "x"), "either a message or --batch"),
        (("train", "--preset", "slow"), "quick"),
        (("train", "--span", "-3"), "whole number"),
        (("train", "--span", "many"), "whole number"),
        (("ask", "hi", "--max-tokens", "0"), "too small"),
        (("serve", "--port", "70000"), "no port"),
        (("serve", "--host", "0.0.0.0"), "--host"),
        (("token", "create", "My token"), "cannot name a token"),
        (("--device", "tpu", "doctor"), "cpu"),
        (("eval", "--pairs", "x.csv"), "--pairs needs the one procedure"),
        (("config", "set", "temprature", "1"), "Did you mean 'temperature'?"),
        (("proc", "add", "None!", "--pairs", "x"), "cannot name a procedure"),
        (("proc", "add", "none", "--pairs", "x"), "reserved"),
        ((), "needs a terminal"),
        (("chat",), "needs a terminal"),
    ],
)
def test_slips_are_usage_errors(tokmem, arguments, says):
    ended = tokmem(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert says in ended.err and len(ended.err.splitlines()) == 1


def test_global_options_stand_before_or_after_the_command(tokmem):
    tokmem("profile", "create", "anna")
    before = tokmem("--profile", "anna", "--json", "proc", "list").json("proc-list")
    after = tokmem("proc", "list", "--json", "--profile", "anna").json("proc-list")
    assert before == after and after["profile"] == "anna"


def test_home_wins_over_the_environment(tokmem, tmp_path):
    places = tokmem("config", "path", "--json", "--home", str(tmp_path / "other")).json("config-path")
    assert places["data"] == str(tmp_path / "other" / "data")


def test_unexpected_errors_end_in_one_sentence_and_a_log(tokmem):
    # An option of the interpreter stands for a mistake of ours: the store cannot be imported.
    code = "import sys; sys.modules['profiles.pair_files.lint'] = None; from tui.cli.main import main; sys.exit(main())"
    broken = CommandLine(tokmem.home, ("-c", code))
    ended = broken("proc", "list")
    assert ended.code == 1 and len(ended.err.splitlines()) == 1
    log = tokmem.home / "state" / "logs" / "command.log"
    assert str(log) in ended.err and "Traceback" in log.read_text()
    assert log.stat().st_mode & 0o077 == 0


def test_debugging_shows_the_traceback(tokmem):
    done = subprocess.run(
        [sys.executable, "-m", "tui", "proc", "show", "nothing"],
        env={**tokmem.environment, "TOKMEM_DEBUG": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and "Traceback" in done.stderr


def test_a_closed_reader_is_no_failure(tokmem):
    # The shell form of "| head -0": the reader goes before the first line comes.
    process = tokmem.start("config", "show")
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.wait(timeout=60) == 0
    assert process.stderr.read() == b""
    process.stderr.close()
