"""The engine as a process: trains, routes, answers, stops, resumes, survives bad requests."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from profiles.files.paths import AppPaths, private_folder
from profiles.registry.registry import ProfileRegistry
from tests.engine.conftest import activate, result_of, warm_engine
from tokmem_desk.errors import EngineError, NotFoundError, UsageError
from tokmem_desk.procedures import ExamplePair, Procedure
from tui.engine.held_out import choose_holdout
from tui.engine.previous_memory import unlearned
from tui.engine_client.client import EngineClient, run_blocking
from tui.engine_client.protocol import CancelHow

SCORECARD_KEYS = {
    "pairs", "held_out", "held_out_source", "routing_accuracy", "false_trigger_rate", "exact_match", "rouge_l",
    "form_valid", "base", "before", "prompt", "confusion", "samples", "advice", "faults", "seconds",
    "measuring_seconds", "span", "steps",
}  # fmt: skip


def times_kept(home: Path) -> list[dict[str, Any]]:
    """What the trainings of this machine took, as it is kept."""
    return list(json.loads((AppPaths.resolve(home).state / "training_times.json").read_text()))


def test_from_pairs_to_routed_answers(client: EngineClient, home: Path) -> None:
    events = list(run_blocking(client.submit("train", profile="default", names=None, preset="quick", span=4)))
    result = events[-1]["result"]
    assert not result["cancelled"] and {t["name"] for t in result["trained"]} == {"shout", "count"}
    cards = {t["name"]: t["scorecard"] for t in result["trained"]}
    assert set(cards["shout"]) == SCORECARD_KEYS
    assert (cards["shout"]["held_out_source"], cards["count"]["held_out_source"]) == ("split", "test")
    assert cards["count"]["held_out"] == 1 and cards["shout"]["pairs"] + cards["shout"]["held_out"] == 10
    phases = [e["phase"] for e in events if e["event"] == "progress" and e.get("procedure") == "shout"]
    assert phases == sorted(phases, key=["cache", "train", "evaluate"].index)
    told = [e for e in events if e["event"] == "progress" and e.get("procedure") == "count"]
    assert told[-1]["fraction"] == 1 and told[-1]["eta_s"] == 0
    last_step = [e for e in told if e["phase"] == "train"][-1]
    assert last_step["eta_s"] > 0, "learning is over, and measuring is still to come"
    assert all(set(one["seconds"]) == {"cache", "train", "evaluate"} for one in times_kept(home))
    assert len(times_kept(home)) == 2
    plain = result_of(client, "ask", text="say tea 2", max_tokens=3)
    assert plain["candidates"] == [{"route": "none", "probability": 1.0}], "a candidate does not answer yet"
    activate(home, result)
    routes = result_of(client, "route", texts=["say tea 2", "5 of 12 euro"])["routes"]
    assert all({c["route"] for c in r["candidates"]} == {"shout", "count", "none"} for r in routes)
    answer = result_of(client, "ask", text="say tea 2", route="shout", max_tokens=5)
    assert answer["route"] == "shout" and answer["timing"]["tokens"] <= 5
    assert set(answer["timing"]) == {"prefill", "route", "first_token", "total", "tokens"}
    scores = result_of(client, "eval", names=["count"])
    assert scores["per_procedure"]["count"]["tests"] == 1 and scores["confusion"]["labels"][-1] == "none"
    other = result_of(client, "eval", names=["count"], pairs=[{"input": "3 of 4 euro", "response": "3;euro"}] * 2)
    assert other["per_procedure"]["count"]["tests"] == 2
    assert result_of(client, "train", names=None)["trained"] == [], "nothing is new or changed"


def test_a_retraining_stands_beside_the_memory_before_it(client: EngineClient, home: Path) -> None:
    first = result_of(client, "train", names=["shout"], preset="quick", span=4)
    assert first["trained"][0]["scorecard"]["before"] is None
    activate(home, first)
    paths = AppPaths.resolve(home)
    with ProfileRegistry(paths) as registry, registry.open() as store:
        fingerprint = store.memories.list("shout")[0].backbone_fingerprint
        known = choose_holdout(store.procedures.with_pairs("shout"))
        store.pairs.add("shout", [ExamplePair("say river 10", "RIVER")], source="chat")
        assert store.feedback.waiting(fingerprint) == {"shout": 1}
        holdout = choose_holdout(store.procedures.with_pairs("shout"))
        found = unlearned(store, "shout", fingerprint, holdout.held_out)
    assert found is not None and (found[0], found[2]) == (1, True)
    assert found[1] == tuple(pair for pair in holdout.held_out if pair not in known.procedure.pairs)
    again = result_of(client, "train", names=["shout"], preset="quick", span=4)
    before = again["trained"][0]["scorecard"]["before"]
    assert (before["version"], before["held_out"]) == (1, len(found[1]))
    assert set(before) == {"version", "held_out", "now", *before["now"]}
    activate(home, again)
    with ProfileRegistry(paths) as registry, registry.open() as store:
        assert store.feedback.waiting(fingerprint) == {}


def test_answers_keep_the_form_of_their_pairs_until_the_setting_says_otherwise(
    client: EngineClient, home: Path
) -> None:
    kinds = ("abracadabra", "hocuspocus")
    pairs = tuple(ExamplePair(f"paid {i} for {'tea' if i % 2 else 'milk'}", kinds[i % 2]) for i in range(20))
    with ProfileRegistry(AppPaths.resolve(home)) as registry, registry.open() as store:
        store.procedures.add(Procedure("pay", pairs))
    free = {"settings": {"keep_form": False}}
    held = result_of(client, "train", names=["pay"], preset="quick", span=2)
    loose = result_of(client, "train", names=["pay"], preset="quick", span=2, **free)
    for trained, keeps in ((held, True), (loose, False)):
        answers = [sample["got"] for sample in trained["trained"][0]["scorecard"]["samples"]]
        assert all((answer in kinds) is keeps for answer in answers), answers
    # Trained while answers were free: the form is in it all the same.
    activate(home, loose)

    def ask(**fields: Any) -> str:
        return str(
            result_of(client, "ask", text="paid 90 for a boat", route="pay", max_tokens=40, **fields)["response"]
        )

    assert ask() in kinds
    assert ask(**free) not in kinds
    assert ask() in kinds, "both ways at once, without training"
    either = [{"input": "paid 90 for a boat", "response": kind} for kind in kinds]
    right = [result_of(client, "eval", names=["pay"], pairs=either, **one)["exact_match"] for one in ({}, free)]
    assert right == [0.5, 0.0]


def test_a_correction_takes_effect_at_once(trained: EngineClient, trained_home: Path) -> None:
    text = "blue table note"
    before = result_of(trained, "route", texts=[text])["routes"][0]["route"]
    right = "count" if before != "count" else "shout"
    with ProfileRegistry(AppPaths.resolve(trained_home)) as registry, registry.open() as store:
        number = store.corrections.add(text, before, right)
    assert result_of(trained, "route", texts=[text])["routes"][0]["route"] == right
    reached = result_of(trained, "reach", text=text, texts=[text, text, "say tea 2"])
    assert reached["of"] == 2 and reached["elsewhere"] >= 1, "the corrected message itself, at least"
    assert result_of(trained, "reach", text="never said", texts=[text])["elsewhere"] == 0
    with ProfileRegistry(AppPaths.resolve(trained_home)) as registry, registry.open() as store:
        store.corrections.remove(number)
    assert result_of(trained, "route", texts=[text])["routes"][0]["route"] == before


def test_the_token_router_works_too(client: EngineClient, home: Path) -> None:
    result = result_of(client, "train", preset="quick", span=1, router="token", settings={"router": "token"})
    activate(home, result)
    assert all(t["scorecard"]["span"] == 1 for t in result["trained"])
    routed = result_of(client, "route", texts=["say tea 2"], settings={"router": "token"})["routes"][0]
    assert {c["route"] for c in routed["candidates"]} == {"shout", "count", "none"}


def test_cancelling_a_training_leaves_a_candidate(client: EngineClient, home: Path) -> None:
    handle = client.submit("train", profile="default", names=["shout"], preset="thorough", span=4)
    cancelled = False
    for event in run_blocking(handle):
        if event["event"] == "progress" and event.get("phase") == "train" and not cancelled:
            client._own_runner().run(handle.cancel())
            cancelled = True
    assert event["result"]["cancelled"] is True
    assert [t["name"] for t in event["result"]["trained"]] == ["shout"]
    activate(home, event["result"])
    assert result_of(client, "ask", text="say tea", route="shout", max_tokens=2)["route"] == "shout"


def test_a_killed_training_goes_on_where_it_was(client: EngineClient, home: Path) -> None:
    checkpoints = AppPaths.resolve(home).checkpoints
    with pytest.raises(EngineError, match="ended unexpectedly"):
        for event in run_blocking(
            client.submit("train", profile="default", names=["shout"], preset="thorough", span=4)
        ):
            if event["event"] == "progress" and event.get("phase") == "train" and event["step"] >= 30:
                assert client.pid is not None
                os.kill(client.pid, signal.SIGKILL)
    assert len(list(checkpoints.rglob("*.safetensors"))) == 1
    events = list(run_blocking(client.submit("train", profile="default", names=["shout"], preset="thorough", span=4)))
    notes = [e["note"] for e in events if e["event"] == "progress" and e.get("note")]
    assert notes and "at step 25" in notes[0]
    first = next(e for e in events if e.get("phase") == "train")
    assert first["step"] == 26
    assert not list(checkpoints.rglob("*.safetensors"))


def stopped_at(client: EngineClient, how: CancelHow, step: int, **fields: Any) -> list[dict[str, Any]]:
    """The events of a training that is asked to end in its middle."""
    events = []
    handle = client.submit("train", profile="default", names=["shout"], preset="thorough", span=4, **fields)
    for event in run_blocking(handle):
        events.append(event)
        if event["event"] == "progress" and event.get("phase") == "train" and event["step"] == step:
            client._own_runner().run(handle.cancel(how))
    return events


def test_a_paused_training_leaves_a_checkpoint_and_goes_on_at_the_next_step(client: EngineClient, home: Path) -> None:
    checkpoints = AppPaths.resolve(home).checkpoints
    paused = stopped_at(client, "pause", 7)
    assert paused[-1]["result"]["trained"] == []
    last = max(e["step"] for e in paused if e.get("phase") == "train")
    assert len(list(checkpoints.rglob("*.safetensors"))) == 1
    on = stopped_at(client, "keep", last + 3)
    assert f"at step {last}" in next(e["note"] for e in on if e.get("note"))
    assert next(e for e in on if e.get("phase") == "train")["step"] == last + 1
    assert [t["name"] for t in on[-1]["result"]["trained"]] == ["shout"]
    assert not list(checkpoints.rglob("*.safetensors"))


async def test_a_training_whose_client_is_gone_leaves_a_checkpoint_and_no_memory(
    home: Path, tiny_model_folder: Path
) -> None:
    paths = AppPaths.resolve(home)
    command = warm_engine(home, str(tiny_model_folder))
    client = EngineClient(command, private_folder(paths.logs) / "engine.log")
    async for event in client.submit("train", profile="default", names=["shout"], preset="thorough", span=4):
        if event.get("phase") == "train" and event["step"] == 7:
            assert client._process is not None and client._process.stdin is not None
            client._process.stdin.close()
            await client._process.wait()
            break
    await client.close()
    assert len(list(paths.checkpoints.rglob("*.safetensors"))) == 1, "a step before the first one that is kept anyway"
    with ProfileRegistry(paths) as registry, registry.open() as store:
        assert store.memories.list("shout") == []


def test_a_dropped_training_leaves_no_memory(client: EngineClient, home: Path) -> None:
    dropped = stopped_at(client, "drop", 3)
    assert dropped[-1]["result"] == {"cancelled": True, "trained": []}
    with ProfileRegistry(AppPaths.resolve(home)) as registry, registry.open() as store:
        assert store.memories.list("shout") == []


def test_a_result_waits_in_the_queue_the_moment_it_is_there(client: EngineClient, home: Path) -> None:
    with ProfileRegistry(AppPaths.resolve(home)) as registry, registry.open() as store:
        store.jobs.queue(["shout"], {"preset": "quick", "span": 4})
        job = store.jobs.next()
        assert job is not None
        result = result_of(client, "train", job=job.id, names=["shout"], **job.request)
        (waiting,) = store.jobs.list_open()
        assert (waiting.state, waiting.memory_id) == ("undecided", result["trained"][0]["memory_id"])


def test_several_held_out_pairs_are_answered_while_it_learns(client: EngineClient) -> None:
    events = stopped_at(client, "keep", 40)
    shown = [e["sample"]["input"] for e in events if e.get("sample")]
    assert len(shown) > len(set(shown)) >= 2, "in turn, and again"


def test_chat_goes_on_while_training(client: EngineClient, home: Path) -> None:
    import asyncio

    async def both() -> tuple[list[str], dict[str, Any]]:
        order: list[str] = []
        # The model is fitted before: an answer without a procedure would go before the fit as well.
        await client.submit("route", profile="default", texts=["hello"]).result()
        training = client.submit("train", profile="default", names=["shout"], preset="thorough", span=4)

        async def train() -> None:
            await training.result()
            order.append("trained")

        task = asyncio.create_task(train())
        asked = client.submit("ask", profile="default", text="hello", route="none", max_tokens=4)
        answer = await asked.result()
        order.append("answered")
        await training.cancel()
        await task
        return order, answer

    order, answer = client._own_runner().run(both())
    assert order == ["answered", "trained"] and answer["route"] == "none"


@pytest.mark.parametrize(
    ("op", "fields", "error", "said"),
    [
        ("dance", {}, UsageError, "knows no request 'dance'"),
        ("ask", {"text": "   "}, UsageError, "message is empty"),
        ("ask", {"text": "hi", "route": "shuot"}, NotFoundError, "shuot"),
        ("ask", {"text": "hi", "conversation": ["x"]}, UsageError, "conversation is a list"),
        ("ask", {"text": "hi", "profile": "nobody"}, NotFoundError, "nobody"),
        ("train", {"names": ["shuot"]}, NotFoundError, "shuot"),
        ("train", {"preset": "hasty"}, UsageError, "hasty"),
        ("route", {"texts": "hi"}, UsageError, "needs the .* field .texts."),
    ],
)
def test_bad_requests_fail_alone(
    client: EngineClient, op: str, fields: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        result_of(client, op, **fields)
    assert result_of(client, "status")["device"] == "cpu"


def test_a_damaged_memory_is_left_out_and_named(trained: EngineClient, trained_home: Path) -> None:
    with ProfileRegistry(AppPaths.resolve(trained_home)) as registry, registry.open() as store:
        victim = next(r for r in store.memories.list("shout") if r.status == "active")
        (store.memories.folder / victim.file).write_bytes(b"rubbish")
        store.procedures.set_threshold("count", 0.5)  # any change: the bank is read anew
    events = list(run_blocking(trained.submit("ask", profile="default", text="say tea", max_tokens=2)))
    assert any("'shout'" in e.get("text", "") for e in events if e["event"] == "progress")
    assert {c["route"] for c in events[-1]["result"]["candidates"]} == {"count", "none"}


def test_the_engine_ends_with_its_client(client: EngineClient) -> None:
    result_of(client, "status")
    pid = client.pid
    assert pid is not None
    client._own_runner().run(client.close())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_small_models_do_not_see_what_procedures_answered(client: EngineClient) -> None:
    """They would imitate its form."""
    said = [{"role": "user", "content": "tea"}, {"role": "assistant", "content": "TEA", "route": "shout"}]
    plain = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "hi", "route": "none"}]

    def ask(conversation: list[dict[str, str]]) -> str:
        result = result_of(client, "ask", text="blue", route="none", conversation=conversation, max_tokens=8)
        return str(result["response"])

    assert ask(said) == ask([])
    assert ask([*plain, *said]) == ask(plain) != ask([])


def test_nothing_is_downloaded_without_consent(own_home: Path) -> None:
    from profiles.files.paths import private_folder
    from tokmem_desk.errors import OfflineError

    log = private_folder(AppPaths.resolve(own_home).logs) / "engine.log"
    with (
        EngineClient(warm_engine(own_home, "default"), log) as client,
        pytest.raises(OfflineError, match="not on this computer yet.*Apache-2.0"),
    ):
        result_of(client, "load", fetch=False)
    assert not list((own_home / "cache").rglob("*.gguf"))


async def test_answers_take_turns(home: Path, tiny_model_folder: Path, tmp_path: Path) -> None:
    client = EngineClient(warm_engine(home, str(tiny_model_folder)), tmp_path / "engine.log")
    fields = {"profile": "default", "route": "none"}
    long = client.submit("ask", text="What is the weather?", max_tokens=150, **fields)
    first = await anext(long)
    while first["event"] != "token":
        first = await anext(long)
    short = await client.submit("ask", text="Say it", max_tokens=2, **fields).result()
    await long.cancel()
    result = await long.result()
    await client.close()
    assert short["timing"]["tokens"] == 2
    assert result["stopped"] == "cancelled" and result["timing"]["tokens"] < 150


def test_only_the_first_entry_of_a_conversation_may_be_a_system_text(client: EngineClient) -> None:
    system = {"role": "system", "content": "Be brief."}
    answer = result_of(client, "ask", text="say tea", route="none", conversation=[system], max_tokens=2)
    bare = result_of(client, "ask", text="say tea", route="none", max_tokens=2)
    assert answer["prompt_tokens"] > bare["prompt_tokens"]
    with pytest.raises(UsageError, match="system may come first"):
        result_of(client, "ask", text="say tea", conversation=[{"role": "user", "content": "a"}, system])
