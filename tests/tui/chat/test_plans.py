"""Plans in the app: one entry that opens, what it waits for, and nothing done twice after a restart."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.widgets import TextArea

from profiles.store.store import ProfileStore
from tests.tui.conftest import remember
from tests.tui.driving import ask, chat, last_view, procedures, ready, texts, turn_texts, until
from tokmem_desk.procedures import ExamplePair, Procedure
from tui.chat.plan_dialog import PlanDialog
from tui.chat.run_call import RunDialog
from tui.procedures.plan_steps import StepsDialog
from tui.procedures.procedure_table import ProcedureTable
from tui.shell.app import TokmemApp

pytestmark = pytest.mark.asyncio
MakeApp = Callable[..., TokmemApp]
Seed = Callable[[Callable[[ProfileStore], None]], None]

SCHEMA = json.dumps({"type": "object", "properties": {"amount": {"type": "number"}}, "required": ["amount"]})
CHEAP, DEAR = "spent twelve euro on lunch", "spent sixty two euro on hotels"
STEPS = (
    "expense\nif {expense.amount} > 50\n  ask me: Tell the boss of {expense.amount}?\n  boss: about hotels\n"
    "else\n  tell me: No question."
)


@pytest.fixture
def sent(tmp_path: Path) -> Path:
    """What the command of the boss writes: a line for each time that it ran."""
    return tmp_path / "sent"


@pytest.fixture
def with_plan(seed: Seed, sent: Path) -> None:
    """A plan over two procedures, of which one has a command."""
    code = f"import sys; open({str(sent)!r}, 'a').write(sys.argv[1] + '\\n'); print('gone')"

    def teach(store: ProfileStore) -> None:
        pairs = (ExamplePair(CHEAP, '{"amount": 12}'), ExamplePair(DEAR, '{"amount": 62}'))
        store.procedures.add(Procedure("expense", pairs, output_schema=SCHEMA))
        store.procedures.add(Procedure("boss", (ExamplePair("about hotels", "Dear boss."),)))
        store.procedures.add(Procedure("round", ()))
        for name in ("expense", "boss"):
            remember(store, name)
        store.commands.set("boss", [sys.executable, "-c", code, "{answer}"])
        store.plans.set_steps("round", STEPS)

    seed(teach)


def lines(sent: Path) -> list[str]:
    return sent.read_text().splitlines() if sent.exists() else []


async def test_a_plan_is_one_entry_that_opens(make_app: MakeApp, with_plan: None) -> None:
    async with make_app().run_test(size=(100, 30)) as pilot:
        app = await ready(pilot)
        await ask(pilot, f"@round {CHEAP}")
        await until(pilot, lambda: "▸ round · 2 steps · done" in turn_texts(app))
        assert "No question." in turn_texts(app) and "12 > 50" not in turn_texts(app)
        last_view(app).focus()
        await pilot.press("enter")
        await until(pilot, lambda: "2  12 > 50: no" in turn_texts(app))
        assert '1  expense: spent twelve euro on lunch → {"amount": 12}' in turn_texts(app)
        await pilot.press("enter")
        await until(pilot, lambda: "12 > 50" not in turn_texts(app))


async def test_it_waits_for_a_word_and_for_a_look_and_runs_once(make_app: MakeApp, with_plan: None, sent: Path) -> None:
    async with make_app().run_test(size=(100, 40)) as pilot:
        app = await ready(pilot)
        await ask(pilot, f"@round {DEAR}")
        await until(pilot, lambda: "Tell the boss of 62?  x goes on" in turn_texts(app))
        last_view(app).focus()
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, PlanDialog))
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, PlanDialog))
        assert "x goes on" in turn_texts(app), "not now is no answer"
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, PlanDialog))
        await pilot.click("#yes")
        await until(pilot, lambda: "boss would run a command.  x goes on" in turn_texts(app))
        assert lines(sent) == []
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, RunDialog))
        await pilot.click("#once")
        await until(pilot, lambda: "▸ round · 3 steps · done" in turn_texts(app))
        assert lines(sent) == ["Dear boss."]
        await pilot.press("x")
        await pilot.pause(0.1)
        assert lines(sent) == ["Dear boss."], "a plan runs the commands of its steps itself, once"


async def test_a_no_ends_it(make_app: MakeApp, with_plan: None, sent: Path) -> None:
    async with make_app().run_test(size=(100, 40)) as pilot:
        app = await ready(pilot)
        await ask(pilot, f"@round {DEAR}")
        await until(pilot, lambda: "x goes on" in turn_texts(app))
        last_view(app).focus()
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, PlanDialog))
        await pilot.click("#no")
        await until(pilot, lambda: "▸ round · 1 step · stopped" in turn_texts(app))
        assert lines(sent) == []


async def test_what_was_broken_off_goes_on_where_it_was(
    make_app: MakeApp, with_plan: None, seed: Seed, sent: Path
) -> None:
    def killed(store: ProfileStore) -> None:
        chat_id = store.chats.create("a round")
        question = store.messages.add(chat_id, "user", DEAR, details={"route": "round"})
        task = {"plans": {"round": STEPS}, "today": "2026-11-30", "steps": STEPS}
        run = store.plans.begin("round", DEAR, task, question)
        segment = {"route": "expense", "probability": 1.0, "response": '{"amount": 62}', "place": "1"}
        said = {"segments": [segment], "response": '{"amount": 62}', "arguments": {"amount": 62}, "fault": ""}
        boss = {"route": "boss", "probability": 1.0, "response": "Dear boss.", "place": "3"}
        begun = {"open": True, "segments": [boss], "response": "Dear boss.", "fault": "", "command": "begun"}
        store.plans.note(run.id, {"1": said, "2": {"said": True}, "3": begun}, "running")

    seed(killed)
    async with make_app().run_test(size=(110, 44)) as pilot:
        app = await ready(pilot)
        await until(pilot, lambda: "broken off" in turn_texts(app))
        last_view(app).focus()
        await pilot.press("r")
        await until(pilot, lambda: "so it may have run already" in " ".join(turn_texts(app).split()))
        assert lines(sent) == [], "what may have run is not run again unasked"
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, RunDialog))
        await pilot.click("#skip")
        await until(pilot, lambda: "▸ round · 3 steps · done" in turn_texts(app))
        assert lines(sent) == []
        assert [run.status for run in app.store.plans.runs()] == ["done"]


async def test_a_kept_plan_is_there_again(make_app: MakeApp, with_plan: None) -> None:
    async with make_app().run_test(size=(100, 30)) as pilot:
        app = await ready(pilot)
        await ask(pilot, f"@round {DEAR}")
        await until(pilot, lambda: "x goes on" in turn_texts(app))
    async with make_app().run_test(size=(100, 30)) as pilot:
        app = await ready(pilot)
        await until(pilot, lambda: "Tell the boss of 62?  x goes on" in turn_texts(app))
        last_view(app).focus()
        assert not last_view(app).check_action("wanted", ("pair",))
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, PlanDialog))
        await pilot.click("#yes")
        await until(pilot, lambda: "boss would run a command" in turn_texts(app))


async def test_of_a_temporary_chat_no_run_is_kept(make_app: MakeApp, with_plan: None) -> None:
    async with make_app().run_test(size=(100, 30)) as pilot:
        app = await ready(pilot)
        await chat(app).action_temporary()
        await ask(pilot, f"@round {DEAR}")
        await until(pilot, lambda: "x goes on" in turn_texts(app))
        last_view(app).focus()
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, PlanDialog))
        await pilot.click("#yes")
        await until(pilot, lambda: "boss would run a command" in turn_texts(app))
        assert app.store.plans.runs() == []


async def test_steps_are_shown_and_changed(make_app: MakeApp, with_plan: None) -> None:
    async with make_app().run_test(size=(110, 40)) as pilot:
        app = await ready(pilot)
        await pilot.press("f3")
        await until(pilot, lambda: procedures(app).query("#procedures"))
        procedures(app).show_procedure("round")
        await until(pilot, lambda: procedures(app).query_one(ProcedureTable).selected_name == "round")
        await pilot.press("N")
        await until(pilot, lambda: isinstance(app.screen, StepsDialog))
        area = app.screen.query_one(TextArea)
        assert area.text == STEPS
        area.text = "expenses"
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "no procedure is called so" in texts(app))
        area.text = "expense\ntell me: {expense.amount}"
        await pilot.press("ctrl+s")
        await until(pilot, lambda: not isinstance(app.screen, StepsDialog))
        assert app.store.plans.steps()["round"] == "expense\ntell me: {expense.amount}"
        await pilot.press("u")
        await until(pilot, lambda: app.store.plans.steps()["round"] == STEPS)
