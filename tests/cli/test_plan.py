"""``plan`` and plans in ``ask`` and ``chat --plain``, with the scripted engine: what is done, kept, and done once."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
import time

import pytest

from tests.cli.conftest import SECONDS, checked, scripted_at

EXPENSE = {
    "type": "object",
    "properties": {"amount": {"type": "number"}, "what": {"type": "string"}},
    "required": ["amount"],
}
STEPS = """# what I do with what I spent
expense
if {expense.amount} > 50
  ask me: Tell the boss of {expense.amount} euro?
  boss: about {expense.what}
else
  tell me: {expense.amount} euro need no question.
"""
CHEAP, DEAR = "spent twelve euro on lunch", "spent sixty two euro on a hotel"
APPEND = "import sys; open(sys.argv[1], 'a').write(sys.argv[2] + '\\n'); print('sent')"


@pytest.fixture
def cli(scripted, tmp_path):
    """Procedures and a plan over them; nothing is agreed to beforehand."""
    files = {
        "expense": [
            {"input": CHEAP, "response": '{"amount": 12, "what": "lunch"}'},
            {"input": DEAR, "response": '{"amount": 62, "what": "hotel"}'},
        ],
        "boss": [{"input": "about hotel", "response": "Dear boss, a hotel."}],
    }
    for name, rows in files.items():
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        assert scripted("proc", "add", name, "--pairs", str(path)).code == 0
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps(EXPENSE))
    assert scripted("proc", "schema", "expense", str(schema)).code == 0
    assert scripted("train").code == 0
    (tmp_path / "round.plan").write_text(STEPS)
    made = scripted("plan", "new", "round", "--steps", str(tmp_path / "round.plan"))
    assert made.code == 0, made.err
    return scripted_at(scripted.home, "--offline")


@pytest.fixture
def sent(cli, tmp_path):
    """What the command of the boss has noted so far, one entry for each time that it ran."""
    file = tmp_path / "sent.txt"
    command = [sys.executable, "-c", APPEND, str(file), "{answer}"]
    assert cli("proc", "command", "boss", "--", *command).code == 0
    return lambda: file.read_text().splitlines() if file.exists() else []


def on_a_terminal(cli, arguments: list[str], answer: str) -> str:
    """What is shown where a person can be asked, and answers so."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*cli.begin, *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=cli.environment,
        start_new_session=True,
    )
    os.close(theirs)
    os.write(ours, answer.encode())
    shown = b""
    with contextlib.suppress(OSError):
        while data := os.read(ours, 4096):
            shown += data
    process.wait(timeout=SECONDS)
    os.close(ours)
    return shown.decode()


def ask(cli, *arguments: str, code: int = 0):
    ended = cli("ask", "--json", "--route", "round", *arguments)
    assert ended.code == code, ended.err
    return checked(ended.out, "ask")


def test_each_branch_is_decided_by_the_value_of_the_answer(cli):
    answer = ask(cli, CHEAP)
    assert [segment["place"] for segment in answer["segments"]] == ["0", "1", "2"]
    assert answer["response"] == '{"amount": 12, "what": "lunch"}\n12 euro need no question.'
    [plan] = answer["plans"]
    assert plan["status"] == "done"
    assert plan["lines"] == [
        '1  expense: spent twelve euro on lunch → {"amount": 12, "what": "lunch"}',
        "2  12 > 50: no",
        "2  12 euro need no question.",
        "done",
    ]
    answer = ask(cli, DEAR, "--yes")
    assert answer["segments"][-1]["response"] == "Dear boss, a hotel."
    assert answer["plans"][0]["lines"][1:3] == ["2  62 > 50: yes", "2  Tell the boss of 62 euro? You said yes."]


def test_what_is_shown_of_it(cli):
    ended = cli("ask", "--route", "round", CHEAP)
    assert ended.out == '{"amount": 12, "what": "lunch"}\n12 euro need no question.\n'
    assert "[route round 100 %]\n1  expense\n2  12 > 50: no\n2  round\n(round · 2 steps · done)\n" in ended.err


def test_a_message_finds_a_plan_by_itself(cli, tmp_path):
    (tmp_path / "messages.txt").write_text("please do the usual evening round\n\nthe usual evening round now\n")
    (tmp_path / "evening.plan").write_text("expense: spent twelve euro on lunch\ntell me: All done: {expense.what}")
    made = cli("plan", "new", "evening", "--steps", str(tmp_path / "evening.plan"), "--messages",
               str(tmp_path / "messages.txt"))  # fmt: skip
    assert made.code == 0 and cli("train", "--yes").code == 0
    ended = cli("ask", "--json", "do the usual evening round")
    assert json.loads(ended.out)["response"] == '{"amount": 12, "what": "lunch"}\nAll done: lunch'


def test_a_plan_is_taught_by_pairs_of_steps(cli, tmp_path):
    pairs = tmp_path / "taught.jsonl"
    rows = [
        {"input": "note it and tell the boss too", "response": f"expense: {DEAR}\nboss: about {{expense.what}}"},
        {"input": "only note the small thing", "response": f"expense: {CHEAP}"},
    ]
    pairs.write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = cli("plan", "new", "taught", "--pairs", str(pairs))
    assert made.code == 0, made.err
    assert cli("train", "--yes").code == 0
    ended = cli("ask", "--json", "note it and tell the boss too")
    answer = json.loads(ended.out)
    assert answer["route"] == "taught" and answer["segments"][0]["response"] == ""
    assert [one["response"] for one in answer["segments"][1:]] == [
        '{"amount": 62, "what": "hotel"}', "Dear boss, a hotel.",
    ]  # fmt: skip
    assert cli("proc", "rename", "boss", "chief").code == 0
    renamed = cli("ask", "only note the small thing")
    assert renamed.code == 1 and "The pairs of taught name 'boss', which was removed or renamed" in renamed.err
    rows[0]["response"], rows[1]["response"] = "expense", "expenses: x"
    pairs.write_text("".join(json.dumps(row) + "\n" for row in rows))
    refused = cli("plan", "new", "wrong", "--pairs", str(pairs))
    assert refused.code == 1 and "Pair 2 names 'expenses', and no procedure is called so." in refused.err
    assert "wrong" not in cli("proc", "list").out


def test_without_a_word_nothing_goes_on(cli):
    answer = ask(cli, DEAR)
    [plan] = answer["plans"]
    assert (plan["status"], plan["words"]) == ("waiting", "Tell the boss of 62 euro?")
    assert [one["response"] for one in answer["segments"] if one["route"] == "boss"] == []
    ended = cli("plan", "go-on", str(plan["run"]), "--yes", "--json")
    assert json.loads(ended.out)["plans"][0]["status"] == "done", ended.err
    again = cli("plan", "go-on", str(plan["run"]), "--yes")
    assert again.code == 1 and "has ended: done" in again.err


def test_a_no_stops_it_and_what_was_done_stands(cli):
    ended = on_a_terminal(cli, ["ask", "--route", "round", DEAR], "n\n")
    assert "Go on? [y/N]" in ended and "stopped" in ended
    listed = cli("plan", "runs", "--json").json("plan-runs")
    assert [(run["plan"], run["status"]) for run in listed["runs"]] == [("round", "stopped")]
    assert listed["runs"][0]["lines"][0].startswith("1  expense")


def test_commands_of_steps_run_only_with_consent(cli, sent):
    ask(cli, DEAR, "--yes")
    assert sent() == [], "without --run no command runs"
    waiting = ask(cli, DEAR, "--run", "--yes")
    assert sent() == ["Dear boss, a hotel."]
    assert waiting["segments"][-1]["run"]["stdout"] == "sent\n"
    assert "its command: exit status 0" in waiting["plans"][0]["lines"][3]


def test_a_command_waits_for_a_look_and_can_be_skipped(cli, sent, tmp_path):
    (tmp_path / "short.plan").write_text("boss: about hotel\ntell me: Said.")
    assert cli("plan", "new", "short", "--steps", str(tmp_path / "short.plan")).code == 0
    ended = cli("ask", "--route", "short", "x", "--run")
    assert ended.code == 0 and "boss would run:" in ended.err and "Said." not in ended.out
    run = re.search(r"plan go-on (\d+)", ended.err)
    assert run is not None
    ended = cli("plan", "go-on", run[1], "--skip")
    assert ended.code == 0 and "Said." in ended.out and sent() == []
    ended = on_a_terminal(cli, ["ask", "--route", "short", "x", "--run"], "a\n")
    assert sent() == ["Dear boss, a hotel."]
    assert cli("ask", "--route", "short", "x", "--run").code == 0
    assert sent() == ["Dear boss, a hotel."] * 2, "allowed for always"


def test_a_command_that_fails_ends_the_plan(cli, tmp_path):
    assert cli("proc", "command", "boss", "--", sys.executable, "-c", "import sys; sys.exit(3)", "{answer}").code == 0
    (tmp_path / "short.plan").write_text("boss: about hotel\ntell me: Said.")
    assert cli("plan", "new", "short", "--steps", str(tmp_path / "short.plan")).code == 0
    ended = cli("ask", "--route", "short", "x", "--run", "--yes")
    assert ended.code == 1 and "Said." not in ended.out
    assert "short was not done to its end: The command of boss failed: exit status 3." in ended.err


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (["proc", "remove", "boss", "--yes"], "round names 'boss', which was removed or renamed."),
        (["proc", "disable", "boss"], "round names 'boss', which is switched off."),
        (["proc", "add", "new", "--pairs", "PAIRS"], "other names 'new', which is not trained"),
    ],
)
def test_what_cannot_be_done_to_its_end_is_not_begun(cli, tmp_path, change, reason):
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text('{"input": "a", "response": "b"}\n')
    assert cli(*(str(pairs) if one == "PAIRS" else one for one in change)).code == 0
    name = "round"
    if "new" in change:
        name = "other"
        (tmp_path / "other.plan").write_text("expense\nif {expense.amount} > 500\n  new")
        assert cli("plan", "new", name, "--steps", str(tmp_path / "other.plan")).code == 0
    ended = cli("ask", "--route", name, CHEAP)
    assert ended.code == 1 and reason in ended.err and ended.out == ""
    assert cli("plan", "runs", "--json").json("plan-runs") == {"runs": []}


def test_a_renamed_procedure_is_called_by_its_new_name(cli):
    assert cli("proc", "rename", "boss", "chief").code == 0
    assert "  boss = chief: about {expense.what}" in cli("plan", "steps", "round").out
    assert ask(cli, DEAR, "--yes")["segments"][-1]["route"] == "chief"


def test_a_condition_over_what_is_not_there_ends_it(cli, tmp_path):
    (tmp_path / "odd.plan").write_text("expense\nif {expense.day} < today\n  boss")
    assert cli("plan", "new", "odd", "--steps", str(tmp_path / "odd.plan")).code == 0
    ended = cli("ask", "--route", "odd", CHEAP)
    assert ended.code == 1 and "odd was not done to its end: {expense.day} is not there." in ended.err
    assert "lunch" in ended.out, "what was done is shown"


def test_an_unfit_answer_ends_it(cli):
    ended = cli("ask", "--route", "round", f"{CHEAP} !unfit")
    assert ended.code == 1 and "does not fit" in ended.err and "need no question" not in ended.out


def test_a_kill_in_the_middle_loses_nothing_and_repeats_nothing(cli, sent, tmp_path):
    slow = tmp_path / "slow.py"
    mark = tmp_path / "begun.txt"
    slow.write_text(f"import sys, time; open({str(mark)!r}, 'a').write('x'); time.sleep(600)")
    (tmp_path / "two.plan").write_text("boss: about hotel\nexpense: spent twelve euro on lunch\ntell me: Said.")
    assert cli("plan", "new", "two", "--steps", str(tmp_path / "two.plan")).code == 0
    assert cli("proc", "schema", "expense", "--none").code == 0
    assert cli("proc", "command", "expense", "--", sys.executable, str(slow), "{answer}").code == 0
    process = cli.start("ask", "--route", "two", "x", "--run", "--yes")
    deadline = time.monotonic() + SECONDS
    while not mark.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    listed = cli("plan", "runs", "--json").json("plan-runs")
    assert listed["runs"][0]["status"] == "running"
    busy = cli("plan", "go-on", str(listed["runs"][0]["run"]))
    assert busy.code == 3 and "goes on in another tokmem-desk" in busy.err
    process.kill()
    process.communicate()
    [run] = cli("plan", "runs", "--json").json("plan-runs")["runs"]
    assert run["status"] == "broken off" and sent() == ["Dear boss, a hotel."]
    trace = cli("plan", "trace", str(run["run"]), "--replay", "--json").json("plan-trace")
    assert trace["replayed"] and "its command may have run" in trace["lines"][-2]
    for agree in ([], ["--yes"]):  # a general yes is none to running something twice
        ended = cli("plan", "go-on", str(run["run"]), *agree)
        assert "so it may have run already" in ended.err and mark.read_text() == "x"
    ended = cli("plan", "go-on", str(run["run"]), "--skip")
    assert ended.code == 0 and "Said." in ended.out
    assert sent() == ["Dear boss, a hotel."] and mark.read_text() == "x"


def test_a_plan_that_is_locked_away_in_the_middle_goes_on_once_it_is_opened(cli, sent, tmp_path):
    answer = ask(cli, DEAR)
    number = str(answer["plans"][0]["run"])
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("four words of mine")
    opened = ["--passphrase-file", str(passphrase)]
    assert cli("profile", "lock", "default", *opened).code == 0
    refused = cli("plan", "go-on", number, "--yes")
    assert refused.code == 1 and "is locked" in refused.err and sent() == []
    ended = cli("plan", "go-on", number, "--yes", "--json", *opened)
    assert json.loads(ended.out)["plans"][0]["status"] == "done", ended.err
    assert sent() == ["Dear boss, a hotel."]
    assert "has ended: done" in cli("plan", "go-on", number, "--yes", *opened).err
    assert sent() == ["Dear boss, a hotel."]


@pytest.mark.parametrize("change", [["remove", "boss", "--yes"], ["disable", "boss"]])
def test_a_step_that_went_away_meanwhile_is_said_and_what_was_done_stands(cli, sent, change):
    answer = ask(cli, DEAR)
    number = str(answer["plans"][0]["run"])
    assert cli("proc", *change).code == 0
    ended = cli("plan", "go-on", number, "--yes")
    assert ended.code == 1 and "boss" in ended.err and sent() == []
    [run] = cli("plan", "runs", "--json").json("plan-runs")["runs"]
    assert run["lines"][0].startswith("1  expense") and run["status"] != "done"


def test_runs_are_read_replayed_and_forgotten(cli):
    ask(cli, CHEAP)
    [run] = cli("plan", "runs", "--json").json("plan-runs")["runs"]
    shown = cli("plan", "trace", str(run["run"]), "--replay")
    assert shown.out.endswith("done\nDecided again: the same.\n")
    assert cli("plan", "forget", str(run["run"])).code == 0
    assert cli("plan", "trace", str(run["run"])).code == 1


def test_plans_are_shown_changed_and_listed(cli, tmp_path):
    assert cli("plan", "list", "--json").json("plan-list") == {
        "plans": [{"name": "round", "taught": False, "calls": ["expense", "boss"]}]
    }
    steps = cli("plan", "steps", "round", "--json").json("plan-steps")
    assert steps["steps"] in STEPS and not steps["missing"]
    (tmp_path / "wrong.plan").write_text("expense\n    boss")
    refused = cli("plan", "steps", "round", str(tmp_path / "wrong.plan"))
    assert refused.code == 1 and "Line 2 of the plan" in refused.err
    (tmp_path / "circle.plan").write_text("round")
    assert "The plan would call itself" in cli("plan", "steps", "round", str(tmp_path / "circle.plan")).err
    assert cli("plan", "steps", "round", "--none").code == 0
    assert cli("plan", "list").out == "There are no plans.\n"


def test_a_plan_in_a_chat_goes_on_with_the_next_word(cli):
    ended = cli("--yes", "chat", "--plain", stdin=f"@round {DEAR}\n")
    assert ended.out.endswith("Dear boss, a hotel.\n") and "(round · 3 steps · done)" in ended.err
    temporary = cli("--yes", "chat", "--plain", "--temporary", stdin=f"@round {CHEAP}\n")
    assert "12 euro need no question." in temporary.out
    assert len(cli("plan", "runs", "--json").json("plan-runs")["runs"]) == 1, "nothing is kept of a temporary chat"
