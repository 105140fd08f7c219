"""Learning over HTTP: by tokens that were made for it alone; what comes in is what the app's own keys make."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from profiles.store.feedback import CHAT_SOURCE
from profiles.store.store import ProfileStore
from tests.serve.conftest import MILK, Served
from tests.serve.test_refusals import HELLO, error_of

PAIRS = [{"input": f"coffee with {name}", "response": f"meet:{name.lower()}"} for name in ("Ann", "Bo")]
NEW: dict[str, Any] = {"name": "meetings", "description": "Meetings", "pairs": PAIRS}


@pytest.fixture
def teacher(served: Served, paths: AppPaths) -> Served:
    """The same server for a program that may teach."""
    with ProfileRegistry(paths) as registry:
        token = registry.tokens.create("teacher", "default", scope="teach")
    served.http.headers["Authorization"] = f"Bearer {token}"
    return served


def store_of(paths: AppPaths) -> ProfileStore:
    with ProfileRegistry(paths) as registry:
        return registry.open(None)


async def post(served: Served, address: str, body: Any) -> httpx.Response:
    return await served.http.post(f"/v1/{address}", json=body)


async def test_a_wrong_route_and_a_right_answer_are_kept(teacher: Served, paths: AppPaths) -> None:
    body = {"message": MILK, "route": "mood_log", "got": "todo_line", "answer": "mood: hungry"}
    told = (await post(teacher, "feedback", body)).json()
    with store_of(paths) as store:
        [verdict] = store.corrections.list()
        assert (verdict.id, verdict.text, verdict.wrong_route, verdict.right_route) == (
            told["correction"], MILK, "todo_line", "mood_log",
        )  # fmt: skip
        pair = store.pairs.list("mood_log")[-1]
        assert (pair.id, pair.pair.input, pair.pair.response) == (told["pair"], MILK, "mood: hungry")
        assert pair.source == CHAT_SOURCE and store.feedback.waiting(None)["mood_log"] == 1


async def test_without_the_route_that_it_got_the_router_is_asked(teacher: Served, paths: AppPaths) -> None:
    told = (await post(teacher, "feedback", {"message": MILK, "route": "none"})).json()
    assert told["got"] == "todo_line" and told["correction"] is not None and told["pair"] is None
    right = (await post(teacher, "feedback", {"message": MILK, "route": "todo_line"})).json()
    assert right["correction"] is None, "it is right as it is"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"route": "none"}, "message"),
        ({"message": " ", "route": "none"}, "message"),
        ({"message": "a\0", "route": "none"}, "message"),
        ({"message": "a"}, "route"),
        ({"message": "a", "route": 3}, "route"),
        ({"message": "a", "route": "none", "answer": "b"}, "answer"),
        ({"message": "a", "route": "todo_line", "answer": " "}, "answer"),
        ({"message": "a", "route": "todo_line", "rating": 5}, "rating"),
    ],
)
async def test_odd_feedback_is_refused_by_name(teacher: Served, paths: AppPaths, body: Any, param: str) -> None:
    assert error_of(await post(teacher, "feedback", body), 400)["param"] == param


@pytest.mark.parametrize("field", ["route", "got"])
async def test_feedback_on_no_procedure_keeps_nothing(teacher: Served, paths: AppPaths, field: str) -> None:
    body = {"message": MILK, "route": "mood_log", "got": "todo_line", "answer": "x", field: "nothing_of_that_name"}
    assert "nothing_of_that_name" in error_of(await post(teacher, "feedback", body), 404)["message"]
    with store_of(paths) as store:
        assert store.corrections.list() == [] and store.feedback.waiting(None) == {}


async def test_a_procedure_is_defined_and_its_training_queued(teacher: Served, paths: AppPaths) -> None:
    made = await post(teacher, "procedures", {**NEW, "train": True})
    told = made.json()
    assert made.status_code == 201 and told["queued"] and told["pairs"] == 2 and not told["trained"]
    assert any("pairs" in finding for finding in told["findings"]), "two pairs are few, and that is said"
    listed = (await teacher.http.get("/v1/procedures")).json()["data"]
    assert {one["name"]: one["trained"] for one in listed} == {"meetings": False, "mood_log": True, "todo_line": True}
    with store_of(paths) as store:
        assert [(job.procedure, job.state) for job in store.jobs.list()] == [("meetings", "queued")]
        assert store.procedures.get("meetings").source == "api"
    assert error_of(await post(teacher, "procedures", NEW), 409)["code"] == "conflict"


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"name": "No Name"}, "name"),
        ({"name": "auto"}, "name"),
        ({"pairs": []}, "pairs"),
        ({"pairs": [{"input": "a"}]}, "pairs[0]"),
        ({"pairs": [{"input": "a", "response": " "}]}, "pairs[0]"),
        ({"description": 3}, "description"),
        ({"schema": "x"}, "schema"),
        ({"train": "yes"}, "train"),
        ({"weights": []}, "weights"),
    ],
)
async def test_odd_procedures_are_refused_by_name(
    teacher: Served, paths: AppPaths, more: dict[str, Any], param: str
) -> None:
    assert error_of(await post(teacher, "procedures", {**NEW, **more}), 400)["param"] == param
    with store_of(paths) as store:
        assert len(store.procedures.list()) == 2


@pytest.mark.parametrize(
    ("scope", "models", "answers", "teaches"),
    [("read", 200, 403, 403), ("ask", 200, 200, 403), ("teach", 200, 200, 200)],
)
async def test_a_token_may_do_what_it_was_made_for(
    served: Served, paths: AppPaths, scope: Any, models: int, answers: int, teaches: int
) -> None:
    with ProfileRegistry(paths) as registry:
        token = registry.tokens.create("other", "default", scope=scope)
        assert {one.name: one.scope for one in registry.tokens.list()} == {
            "editor": "ask", "other": scope, "phone": "ask",
        }  # fmt: skip
    served.http.headers["Authorization"] = f"Bearer {token}"
    assert (await served.http.get("/v1/models")).status_code == models
    assert (await served.http.get("/v1/procedures")).status_code == models
    assert (await post(served, "chat/completions", HELLO)).status_code == answers
    taught = await post(served, "feedback", {"message": MILK, "route": "mood_log"})
    assert taught.status_code == teaches
    if teaches == 403:
        refused = error_of(taught, 403)
        assert refused["code"] == "insufficient_scope" and "--scope teach" in refused["message"]


async def test_what_is_taught_reaches_the_tokens_profile_alone(teacher: Served, paths: AppPaths) -> None:
    await post(teacher, "procedures", NEW)
    with ProfileRegistry(paths) as registry, registry.open("anna") as store:
        assert [one.name for one in store.procedures.list()] == ["secret"]
