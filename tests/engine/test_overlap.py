"""Overlap, the effect of a threshold, and drafts, by the real engine on a tiny model."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from profiles.store.store import ProfileStore
from tests.engine.conftest import activate, result_of
from tokmem_desk.errors import BadInputError, NotFoundError, UsageError
from tokmem_desk.procedures import ExamplePair, Procedure
from tui.engine_client.client import EngineClient, run_blocking


def opened(home: Path) -> ProfileStore:
    with ProfileRegistry(AppPaths.resolve(home)) as registry:
        return registry.open()


def add(home: Path, procedure: Procedure) -> None:
    with opened(home) as store:
        store.procedures.add(procedure)


def test_a_copy_of_a_procedure_overlaps_it(trained: EngineClient, trained_home: Path) -> None:
    alone = result_of(trained, "overlap", name="shout")
    assert alone["pairs"] == 10 and alone["own"] + alone["none"] + sum(t["count"] for t in alone["to"]) == 10
    with opened(trained_home) as store:
        store.procedures.add(Procedure("again", store.procedures.with_pairs("shout").pairs))
    found = result_of(trained, "overlap", name="again")
    going = {one["name"]: one for one in found["to"]}
    assert going["shout"]["count"] == len(going["shout"]["pairs"]) > 0
    assert all(0 <= place < 10 for place in going["shout"]["pairs"])
    assert found["own"] + found["none"] + sum(one["count"] for one in found["to"]) == 10
    assert all(one["count"] <= one["of"] <= 10 for one in found["from"])
    assert result_of(trained, "overlap", name="again") == found, "read once, told the same"


def test_the_effect_of_a_threshold_is_what_routing_does(trained: EngineClient, trained_home: Path) -> None:
    with opened(trained_home) as store:
        # All pairs present were learned: the effect sees the same mean as the bank does.
        texts = [f"say {word}" for word in ("milk", "coffee", "tea 4", "fox and dog")]
        store.pairs.add("shout", [ExamplePair(text, "X") for text in texts], "held_out")
    activate(trained_home, result_of(trained, "train", names=["shout"], preset="quick", span=4))
    effect = result_of(trained, "effect", name="shout")
    assert effect["measured_on"] == "held_out" and effect["own"]["of"] == 4 and effect["chat"]["of"] == 100
    assert [one["name"] for one in effect["others"]] == ["count"]
    for taken in (effect["own"], effect["chat"], *effect["others"]):
        assert taken["taken"] == sorted(taken["taken"], reverse=True) and len(taken["taken"]) <= taken["of"]
    for level in (0.0, 0.5, 0.9, 1.0):
        with opened(trained_home) as store:
            store.procedures.set_threshold("shout", level)
        routes = [one["route"] for one in result_of(trained, "route", texts=texts)["routes"]]
        assert routes.count("shout") == sum(value >= level for value in effect["own"]["taken"]), level
    with opened(trained_home) as store:
        store.pairs.add_parts("shout", {"held_out": []}, replace=True)
    left_out = result_of(trained, "effect", name="shout")
    assert left_out["measured_on"] == "left_out" and left_out["own"]["of"] == 10 and left_out["threshold"] == 1.0


def test_a_procedure_alone_and_one_of_one_pair(client: EngineClient, home: Path) -> None:
    add(home, Procedure("single", (ExamplePair("only this", "x"),)))
    found = result_of(client, "overlap", name="single")
    assert (found["pairs"], found["to"], found["from"]) == (1, [], [])
    assert result_of(client, "effect", name="single")["others"] == []


@pytest.mark.parametrize(
    ("op", "fields", "error", "said"),
    [
        ("overlap", {"name": "nobody"}, NotFoundError, "nobody"),
        ("overlap", {"name": "empty"}, BadInputError, "no pairs"),
        ("effect", {"name": "empty"}, BadInputError, "no pairs"),
        ("draft", {"name": "empty"}, BadInputError, "too few pairs"),
        ("draft", {"name": "shout", "count": 0}, UsageError, "1 to 50"),
        ("draft", {"name": "shout", "count": "many"}, UsageError, "1 to 50"),
    ],
)
def test_what_cannot_be_told(
    client: EngineClient, home: Path, op: str, fields: dict[str, Any], error: type[Exception], said: str
) -> None:
    add(home, Procedure("empty", ()))
    with pytest.raises(error, match=said):
        result_of(client, op, **fields)


def drafts_of(client: EngineClient, **fields: Any) -> list[dict[str, Any]]:
    return list(run_blocking(client.submit("draft", profile="default", **fields)))


def test_drafts_are_new_pairs_and_stored_nowhere(client: EngineClient, home: Path) -> None:
    events = drafts_of(client, name="shout", count=3, seed=4)
    made, done = events[:-1], events[-1]["result"]
    made = [event for event in made if event["event"] == "draft"]
    assert done["drafted"] == len(made) <= 3 and done["attempts"] <= 12 and not done["cancelled"]
    with opened(home) as store:
        known = {pair.input for pair in store.pairs.list("shout")}
        assert len(known) == 10
    assert not known & {event["input"] for event in made}
    again = [event for event in drafts_of(client, name="shout", count=3, seed=4) if event["event"] == "draft"]
    assert [(one["input"], one["response"]) for one in again] == [(one["input"], one["response"]) for one in made]


def test_an_answer_goes_before_a_draft(client: EngineClient) -> None:
    async def both() -> list[str]:
        order: list[str] = []
        # The model is fitted before: an answer without a procedure would go before the fit as well.
        await client.submit("route", profile="default", texts=["hello"]).result()
        drafting = client.submit("draft", profile="default", name="shout", count=50)

        async def wait() -> None:
            result = await drafting.result()
            assert result["cancelled"]
            order.append("drafted")

        task = asyncio.create_task(wait())
        await client.submit("ask", profile="default", text="hello", route="none", max_tokens=2).result()
        order.append("answered")
        await drafting.cancel()
        await task
        return order

    assert client._own_runner().run(both()) == ["answered", "drafted"]
