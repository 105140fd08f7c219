"""Plans by the API: steps are the answer, streamed and whole; no command runs, and what waits says so."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from tests.serve.conftest import MILK, Served
from tokmem_desk.procedures import Procedure


@pytest.fixture(autouse=True)
def plans(paths: AppPaths, tmp_path: Path) -> None:
    """Plans over the procedures that are there, of which one has a command."""
    with ProfileRegistry(paths) as registry, registry.open(None) as store:
        store.commands.set("todo_line", [sys.executable, "-c", f"open({str(tmp_path / 'ran')!r}, 'w')", "{answer}"])
        for name, steps in (
            ("round", f"todo_line: {MILK}\nif {{message.number}} > 3\n  tell me: many\nelse\n  tell me: few"),
            ("asks", f"ask me: Really?\ntodo_line: {MILK}"),
            ("broken", "if {message.date} < today\n  todo_line"),
        ):
            store.procedures.add(Procedure(name, ()))
            store.plans.set_steps(name, steps)


async def test_a_plan_is_answered_whole_and_streamed(served: Served, tmp_path: Path) -> None:
    answered = await served.ask("about 5 things", model="round")
    content = answered["choices"][0]["message"]["content"]
    todo = (await served.ask(MILK, model="todo_line"))["choices"][0]["message"]["content"]
    assert content == f"{todo}\nmany" and answered["choices"][0]["finish_reason"] == "stop"
    [plan] = answered["tokmem"]["plans"]
    assert (plan["status"], plan["lines"][1]) == ("done", "2  5 > 3: yes")
    assert [one["place"] for one in answered["tokmem"]["segments"]] == ["0", "1", "2"]
    assert not (tmp_path / "ran").exists()
    async with served.openai() as client:
        stream = await client.chat.completions.create(
            model="round", messages=[{"role": "user", "content": "about 2 things"}], stream=True
        )
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert text == f"{todo}\nfew"


async def test_what_waits_says_so_and_goes_on_elsewhere(served: Served, paths: AppPaths) -> None:
    answered = await served.ask("now", model="asks")
    content = answered["choices"][0]["message"]["content"]
    run = answered["tokmem"]["plans"][0]["run"]
    assert content == f"asks waits: Really? (tokmem-desk plan go-on {run})"
    with ProfileRegistry(paths) as registry, registry.open(None) as store:
        assert store.plans.get(run).status == "waiting"


async def test_a_plan_that_cannot_decide_is_no_good_answer(served: Served) -> None:
    answered = await served.ask("without a day", model="broken")
    assert answered["choices"][0]["finish_reason"] == "content_filter"
    assert "{message.date} is not there" in answered["tokmem"]["segments"][0]["problem"]


async def test_plans_are_models_of_their_own_profile(served: Served) -> None:
    names = [one["id"] for one in (await served.http.get("/v1/models")).json()["data"]]
    assert {"round", "asks", "broken"} <= set(names)
    other = await served.http.get("/v1/models", headers={"Authorization": f"Bearer {served.annas_token}"})
    assert "round" not in [one["id"] for one in other.json()["data"]]
