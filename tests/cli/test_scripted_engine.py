"""Commands that ask the engine, with the scripted one: streaming, Ctrl-C, crashes, and what is kept."""

from __future__ import annotations

import json
import re
import subprocess
import time

import pytest

from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from tests.cli.conftest import CommandLine, checked, interrupt_when
from tests.tui.scripted_engine import FINGERPRINT

KNOWN = "I need to call mum on Monday"


@pytest.fixture
def trained(scripted, pairs_file) -> CommandLine:
    """A home with one trained procedure."""
    scripted("proc", "add", "todo", "--pairs", str(pairs_file))
    assert scripted("train").code == 0
    return scripted


def stored(command_line: CommandLine):
    with ProfileRegistry(AppPaths.resolve(command_line.home)) as registry:
        return registry.open()


class TestTrain:
    def test_all_new_ones_are_trained_and_activated(self, scripted, pairs_file):
        scripted("proc", "add", "todo", "--pairs", str(pairs_file))
        result = scripted("train", "--json").json("train")
        assert [one["name"] for one in result["trained"]] == ["todo"]
        with stored(scripted) as store:
            memory = store.memories.active("todo", FINGERPRINT)
            assert memory is not None and memory.id == result["trained"][0]["memory_id"]
            assert [job.state for job in store.jobs.list()] == ["done"]

    def test_nothing_is_trained_twice(self, trained):
        ended = trained("train", "--json")
        assert ended.json("train")["trained"] == [] and "Nothing to train" in ended.err

    def test_the_scorecard_stands_beside_the_untrained_model(self, scripted, pairs_file):
        scripted("proc", "add", "todo", "--pairs", str(pairs_file))
        ended = scripted("train", "todo")
        assert re.search(r"\d of 2 / 0 of 2", ended.out) and "0.88 / 0.21" in ended.out and "note: todo:" in ended.err

    def test_interrupt_keeps_and_activates_the_best(self, scripted, pairs_file):
        scripted("proc", "add", "todo", "--pairs", str(pairs_file))
        process = scripted.start("train", "--json", SCRIPTED="--steps 1000 --step-delay 0.02")
        ended = interrupt_when(process, lambda: learning(scripted))
        assert ended.code == 130 and "kept the best so far of todo" in ended.err
        assert checked(ended.out, "train")["cancelled"] is True
        with stored(scripted) as store:
            assert store.memories.active("todo", FINGERPRINT) is not None
            assert [job.state for job in store.jobs.list()] == ["done"], "activated"

    def test_a_crash_is_told_with_the_end_of_the_log(self, scripted, pairs_file):
        scripted("proc", "add", "todo", "--pairs", str(pairs_file))
        ended = scripted("train", SCRIPTED="--crash-at-step 3")
        assert ended.code == 1 and "ended unexpectedly (exit code 3)" in ended.err and "engine.log" in ended.err
        with stored(scripted) as store:
            assert [job.state for job in store.jobs.list()] == ["failed"]

    def test_a_killed_command_leaves_a_job_that_is_taken_up(self, scripted, pairs_file):
        scripted("proc", "add", "todo", "--pairs", str(pairs_file))
        process = scripted.start("train", SCRIPTED="--steps 1000 --step-delay 0.02")
        while not learning(scripted):
            time.sleep(0.05)
        process.kill()
        process.communicate()
        with stored(scripted) as store:
            assert store.jobs.list_open()[0].progress["train_step"] > 0, "an app could go on with it, too"
        assert scripted("train", SCRIPTED="--steps 1000").code == 0
        with stored(scripted) as store:
            assert [job.state for job in store.jobs.list()] == ["done"]

    def test_what_a_command_cannot_train_does_not_stay_in_the_queue(self, scripted, pairs_file):
        for name in ("one", "two", "three"):
            scripted("proc", "add", name, "--pairs", str(pairs_file))
        process = scripted.start("train", "one", "two", SCRIPTED="--steps 1000 --step-delay 0.02")
        ended = interrupt_when(process, lambda: learning(scripted))
        assert ended.code == 130 and "kept the best so far of one" in ended.err
        with stored(scripted) as store:
            assert {job.procedure: job.state for job in store.jobs.list()} == {"one": "done", "two": "cancelled"}
        assert scripted("train", "three", "two", SCRIPTED="--crash-at-step 3").code == 1
        with stored(scripted) as store:
            assert [(job.procedure, job.state) for job in store.jobs.list_open()] == [("three", "failed")]

    def test_a_second_training_is_told_to_wait(self, trained):
        with stored(trained) as store, store.jobs.working_off():
            ended = trained("train", "todo")
            assert ended.code == 3 and "running in another tokmem-desk" in ended.err


def learning(command_line: CommandLine) -> bool:
    """Whether a job has taken a step. One that only runs may have nothing yet that could be kept."""
    with stored(command_line) as store:
        return any((job.progress or {}).get("train_step", 0) > 0 for job in store.jobs.list("running"))


class TestAsk:
    def test_the_answer_is_data_and_the_route_is_talk(self, trained):
        ended = trained("ask", KNOWN)
        assert (ended.code, ended.out) == (0, "( ) call mum due:mon\n")
        assert "[route todo 96 %]" in ended.err and "none 2 %" in ended.err

    def test_an_answer_that_does_not_fit_its_schema_is_a_failure(self, trained):
        ended = trained("ask", "--json", f"!unfit {KNOWN}")
        assert ended.code == 1
        assert "'hour' is a required property" in checked(ended.out, "ask")["segments"][0]["problem"]

    def test_the_profiles_system_prompt_is_for_plain_chat_and_another_can_be_given(self, trained):
        assert "told nothing" in trained("profile", "system").err
        assert trained("profile", "system", "-", "--json", stdin="Be brief.\n").json("profile-system") == {
            "profile": "default",
            "system_prompt": "Be brief.",
        }
        assert "(0 messages before), as one who was told: Be brief." in trained("ask", "hello").out
        assert trained("ask", "--system", "Rhyme.", "hello").out.endswith("told: Rhyme.\n")
        assert "told" not in trained("ask", "--system", "", "hello").out
        assert trained("ask", KNOWN).out == "( ) call mum due:mon\n"
        talk = trained("chat", "--plain", "--system", "Rhyme.", stdin="hello\n/new\nhello\n")
        assert talk.out.count("told: Rhyme.") == 2
        told = [one["system_prompt"] for one in trained("chats", "list", "--json").json("chats-list")["conversations"]]
        assert told == ["Rhyme.", "Rhyme."]
        assert trained("chats", "export", "last", "--json").json("chats-export")["system_prompt"] == "Rhyme."
        assert trained("profile", "system", "").out == ""
        assert "told" not in trained("ask", "hello").out

    def test_text_files_go_with_the_message(self, trained, tmp_path):
        (tmp_path / "who.txt").write_text("call mum on Monday\n")
        (tmp_path / "picture").write_bytes(b"\0\1")
        attached = trained("ask", "I need to", "--attach", str(tmp_path / "who.txt"), "--json").json("ask")
        assert attached["route"] == "todo" and attached["segments"][0]["part"] == "I need to\n\ncall mum on Monday"
        for name, words in (("picture", "is not a text file"), ("none", "There is no file")):
            refused = trained("ask", "I need to", "--attach", str(tmp_path / name))
            assert refused.code == 1 and words in refused.err and not refused.out

    def test_words_without_quotes_and_stdin_are_the_same(self, trained):
        assert trained("ask", *KNOWN.split()).out == trained("ask", "-", stdin=f"{KNOWN}\n").out

    def test_json(self, trained):
        answer = trained("ask", "--json", "--quiet", KNOWN).json("ask")
        assert (answer["route"], answer["response"]) == ("todo", "( ) call mum due:mon")

    def test_the_route_can_be_forced(self, trained):
        assert trained("ask", KNOWN, "--route", "none").out.startswith("You said:")

    def test_tokens_come_one_by_one_and_interrupt_keeps_the_partial(self, trained):
        process = trained.start("ask", "!slow")
        assert process.stdout is not None
        first = process.stdout.read(5)
        ended = interrupt_when(process, lambda: True)
        assert first == b"word0" and ended.code == 130
        assert len(ended.out.split()) < 500 and ended.out.endswith("\n")

    def test_interrupt_while_a_long_message_is_read(self, trained):
        process = trained.start("ask", "!long")
        assert process.stderr is not None
        lines = iter(process.stderr.readline, b"")
        shown = next(line for line in lines if line.startswith(b"Reading"))
        ended = interrupt_when(process, lambda: True)
        assert b"of 200,000 tokens, " in shown and shown.endswith(b" s\n")
        assert ended.code == 130 and ended.out == "" and "Stopped while reading" in ended.err

    def test_interrupt_while_loading(self, trained):
        began = time.monotonic()
        process = trained.start("ask", "hi", SCRIPTED="--load-delay 60", STOP_SECONDS="1")
        ended = interrupt_when(process, lambda: time.monotonic() - began > 2)
        assert ended.code == 130 and "Stopp" in ended.err
        assert time.monotonic() - began < 40

    def test_a_second_interrupt_does_not_wait(self, trained):
        process = trained.start("ask", "hi", SCRIPTED="--load-delay 60")
        time.sleep(2)
        process.send_signal(subprocess.signal.SIGINT)
        time.sleep(0.5)
        began = time.monotonic()
        ended = interrupt_when(process, lambda: True)
        assert ended.code == 130 and time.monotonic() - began < 5

    def test_a_crash(self, trained):
        ended = trained("ask", f"{KNOWN} !crash")
        assert ended.code == 1 and "The engine ended unexpectedly (exit code 3)" in ended.err
        assert "scripted crash" not in ended.err and "engine's log is" in ended.err

    def test_out_of_memory_may_be_tried_again(self, trained):
        ended = trained("ask", f"{KNOWN} !oom")
        assert ended.code == 3 and "Close other programs" in ended.err

    def test_a_model_that_does_not_fit(self, trained):
        assert trained("ask", "hi", SCRIPTED="--refuse").code == 4


class TestChat:
    def test_conversation_prefixes_and_commands(self, trained):
        lines = ["hello", "", KNOWN, "@none I need", "@nobody hi", "@todo", "/help", "/new", "again", "/quit", "never"]
        ended = trained("chat", "--plain", stdin="\n".join(lines))
        said = ended.out.splitlines()
        assert said == [
            "You said: hello (0 messages before)",
            "( ) call mum due:mon",
            "You said: I need (4 messages before)",
            "You said: again (0 messages before)",
        ]
        assert "no procedure 'nobody'" in ended.err and "no message behind @todo" in ended.err
        assert ended.code == 1, "two lines could not be answered"

    def test_it_is_kept_unless_temporary(self, trained):
        trained("chat", "--plain", "--temporary", stdin="secret quetzal\n")
        written = [file for file in trained.home.rglob("*") if file.is_file() and b"quetzal" in file.read_bytes()]
        assert written == [], "no row, no log, no temporary file"
        trained("chat", "--plain", stdin="hello\n")
        with stored(trained) as store:
            assert [one.title for one in store.chats.list(10)] == ["hello"]

    def test_json_is_an_answer_a_line(self, trained):
        ended = trained("chat", "--plain", "--json", stdin=f"hello\n{KNOWN}\n")
        assert [checked(line, "ask")["route"] for line in ended.out.splitlines()] == ["none", "todo"]

    def test_a_crash_ends_an_answer_not_the_conversation(self, trained):
        ended = trained("chat", "--plain", stdin=f"hello !crash there\n{KNOWN}\n")
        assert ended.out.splitlines()[-1] == "( ) call mum due:mon" and "ended unexpectedly" in ended.err

    def test_interrupt_while_waiting_for_a_line(self, trained):
        process = trained.start("chat", "--plain", stdin=subprocess.PIPE)
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(b"hello\n")
        process.stdin.flush()
        assert process.stdout.readline()
        assert interrupt_when(process, lambda: True).code == 130


class TestDemo:
    def test_it_leaves_nothing_but_the_models(self, scripted):
        ended = scripted("demo")
        assert ended.code == 0, ended.err
        last = ended.out.splitlines()[-1]
        assert last.startswith("demo: routed ") and "/6, none " in last and last.endswith("/3")
        assert "exact / untrained" in ended.out and ended.out.count("\n> ") == 9
        with stored(scripted) as store:
            assert store.procedures.list() == []

    def test_json(self, scripted):
        demo = scripted("demo", "--json", "--quiet").json("demo")
        assert len(demo["answers"]) == 9 and len(demo["trained"]) == 3

    def test_it_can_be_kept(self, scripted):
        scripted("demo", "--keep")
        ended = scripted("demo", "--keep")
        assert "--profile demo-2" in ended.err
        kept = scripted("--profile", "demo", "proc", "list", "--json").json("proc-list")
        assert len(kept["procedures"]) == 3 and all(one["trained"] for one in kept["procedures"])

    def test_a_failure_is_an_exit_code(self, scripted):
        ended = scripted("demo", SCRIPTED="--crash-at-step 2")
        assert ended.code == 1 and "ended unexpectedly" in ended.err

    def test_interrupt(self, scripted):
        process = scripted.start("demo", SCRIPTED="--steps 1000 --step-delay 0.02")
        time.sleep(4)
        ended = interrupt_when(process, lambda: True)
        assert ended.code == 130


def test_every_schema_is_a_schema():
    import jsonschema

    from tests.cli.conftest import SCHEMAS

    files = sorted(SCHEMAS.glob("*.schema.json"))
    assert files
    for file in files:
        jsonschema.Draft202012Validator.check_schema(json.loads(file.read_text("utf-8")))


def test_overlap_is_told_on_demand(scripted, pairs_file, tmp_path):
    scripted("proc", "add", "todo", "--pairs", str(pairs_file))
    scripted("train", "todo")
    twin = tmp_path / "twin.csv"
    twin.write_text("input,response\nI need to sleep,zzz\nsomething else entirely,x\n")
    made = scripted("proc", "add", "twin", "--pairs", str(twin), "--overlap", "--json")
    assert made.json("proc-add")["overlap"]["to"] == [{"name": "todo", "count": 1, "pairs": [0]}]
    assert "Overlaps todo: 1 of 2 pairs would go there, and 1 of 8 of its pairs would come here." in made.err
    shown = scripted("proc", "show", "todo", "--overlap", "--json")
    assert shown.json("proc-show")["overlap"]["own"] == 8 and "No pair of todo" in shown.err
    assert "overlap" not in scripted("proc", "show", "todo", "--json").json("proc-show")


def test_thresholds(scripted, pairs_file):
    scripted("proc", "add", "todo", "--pairs", str(pairs_file))
    set_one = scripted("proc", "threshold", "todo", "0.85", "--json").json("proc-threshold")
    assert (set_one["threshold"], set_one["effect"]) == (0.85, None)
    shown = scripted("proc", "threshold", "todo", "--json").json("proc-threshold")
    assert [(one["threshold"], one["own"], one["others"], one["chat"]) for one in shown["effect"]] == [
        (0.0, 5, 1, 2), (0.5, 5, 1, 2), (0.6, 5, 1, 1), (0.7, 4, 1, 1), (0.8, 4, 0, 1), (0.85, 3, 0, 0),
        (0.9, 3, 0, 0), (0.95, 2, 0, 0), (0.99, 1, 0, 0),
    ]  # fmt: skip
    table = scripted("proc", "threshold", "todo", "auto", "--effect")
    assert "is auto" in table.err and table.out.splitlines()[1].split()[:4] == ["auto", "5", "of", "6"]
    assert scripted("proc", "threshold", "todo", "1.5").code == 2
    assert scripted("proc", "threshold", "todo", "often").code == 2


def test_drafts_are_printed_and_not_stored(scripted, pairs_file):
    scripted("proc", "add", "todo", "--pairs", str(pairs_file))
    made = scripted("proc", "draft", "todo", "--count", "3")
    lines = [checked(line, "proc-draft") for line in made.out.splitlines()]
    assert [line["input"] for line in lines] == ["drafted 1", "drafted 2", "drafted 3"]
    assert "Nothing is stored" in made.err
    assert scripted("proc", "show", "todo", "--json").json("proc-show")["pairs"] == 8
    good = scripted("proc", "draft", "todo", "--count", "5", "--good")
    assert [checked(line, "proc-draft")["input"] for line in good.out.splitlines()] == ["drafted 1", "drafted 3"]
    assert "3 of them are doubtful and left out" in good.err
