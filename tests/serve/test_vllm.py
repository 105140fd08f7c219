"""``serve`` with a vLLM server behind it: what is sent there, what comes back, and what happens where it fails."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from openai import APIStatusError

from profiles.registry.registry import ProfileRegistry
from tests.serve.conftest import MILK, Served
from tests.serve.vllm_stand_in import MODEL, StandIn, running
from tests.tui.scripted_engine import FINGERPRINT
from tokmem_desk.errors import UsageError
from tui.serve.errors import VllmError
from tui.serve.vllm_link import VllmLink
from tui.serve.vllm_server import VllmServer


@pytest.fixture
async def vllm() -> AsyncIterator[StandIn]:
    async with running(StandIn()) as stand_in:
        yield stand_in


@pytest.fixture
async def behind(served: Served, vllm: StandIn) -> AsyncIterator[Served]:
    """The server, with answers from vLLM."""
    server = VllmServer(f"{vllm.url}/v1", FINGERPRINT)
    served.api.link = VllmLink(served.link, server, "banks")
    yield served
    await server.close()


async def test_a_procedure_is_answered_under_its_memory(behind: Served, vllm: StandIn) -> None:
    found = await behind.ask(MILK)
    assert found["choices"][0]["message"]["content"] == "under todo_line" and found["tokmem"]["route"] == "todo_line"
    assert found["choices"][0]["finish_reason"] == "stop"
    assert found["usage"] == {"prompt_tokens": len(MILK) + 8, "completion_tokens": 2, "total_tokens": len(MILK) + 10}
    read, answered = vllm.bodies
    assert read["prompt"] == [ord(letter) for letter in MILK] and read["max_tokens"] == 1
    assert read["kv_transfer_params"]["tokmem"]["read"] == "m"
    assert answered["model"] == MODEL and answered["cache_salt"] == "salt of todo_line"
    assert answered["prompt_embeds"] == "AAAA" and "prompt" not in answered
    assert (answered["temperature"], answered["repetition_penalty"], answered["top_k"]) == (0, 1, 0)
    assert answered["stop_token_ids"] == [2]


async def test_none_is_plain_chat_there(behind: Served, vllm: StandIn) -> None:
    found = await behind.ask("what a day", temperature=0.7, max_tokens=5)
    assert found["choices"][0]["message"]["content"] == "again: what a day" and found["tokmem"]["route"] == "none"
    (body,) = vllm.bodies
    assert "kv_transfer_params" not in body and body["max_tokens"] == 5
    assert body["repetition_detection"]["min_count"] == 4
    assert (body["temperature"], body["top_p"], body["stop"]) == (0.7, 0.9, ["###"])


async def test_an_answer_streams(behind: Served) -> None:
    asked = {"model": "auto", "messages": [{"role": "user", "content": MILK}]}
    stream = await behind.openai().chat.completions.create(**asked, stream=True)  # type: ignore[call-overload]
    chunks = [chunk async for chunk in stream]
    assert [c.choices[0].delta.content for c in chunks if c.choices[0].delta.content] == ["under", " todo_line"]
    assert chunks[0].tokmem["route"] == "todo_line" and chunks[-1].choices[0].finish_reason == "stop"


async def test_an_answer_that_goes_in_circles_ends(behind: Served, vllm: StandIn) -> None:
    vllm.finish = "repetition"
    found = await behind.ask("what a day")
    assert found["choices"][0]["finish_reason"] == "stop" and found["tokmem"]["route"] == "none"


async def test_a_server_of_a_shorter_context_answers_in_what_is_left(served: Served) -> None:
    async with running(StandIn(length=len(MILK) + 8 + 3)) as short:
        server = VllmServer(short.url, FINGERPRINT)
        served.api.link = VllmLink(served.link, server, "banks")
        await served.ask(MILK)
        assert short.bodies[-1]["max_tokens"] == 3
        refused = await served.post(messages=[{"role": "user", "content": f"{MILK} and Tuesday"}])
        assert refused.status_code == 400 and refused.json()["error"]["code"] == "context_length_exceeded"
        await server.close()


async def test_stop_texts_end_an_answer(behind: Served) -> None:
    found = await behind.ask("one two three four", stop=["three"])
    assert found["choices"][0]["message"]["content"] == "again: one two "


async def test_what_vllm_cannot_carry_is_answered_here(behind: Served, vllm: StandIn) -> None:
    found = await behind.ask("hello !here")
    assert found["choices"][0]["message"]["content"].startswith("You said: hello !here") and not vllm.bodies


async def test_arguments_are_read_by_the_procedures_schema(behind: Served, vllm: StandIn) -> None:
    with ProfileRegistry(behind.api.paths) as registry, registry.open("default") as store:
        store.procedures.set_schema("todo_line", json.dumps({"type": "object", "properties": {}}))
    found = await behind.ask(MILK)
    assert "does not fit the procedure's schema" in found["tokmem"]["segments"][0]["problem"]
    assert found["choices"][0]["finish_reason"] == "content_filter"
    assert vllm.bodies[-1]["structured_outputs"] == {"grammar": "start: /.*/"}


@pytest.mark.parametrize(
    ("fault", "status", "code", "said"),
    [
        ("memory", 502, "vllm_memory", "could not answer under this memory"),
        ("refused", 502, "vllm_refused", "refused the request (400)"),
        ("busy", 503, "vllm_busy", "too much to do"),
        ("cut", 502, "vllm_answer", "broke off an answer"),
        ("odd", 502, "vllm_answer", "that vLLM does not send"),
    ],
)
async def test_a_fault_is_an_error_of_one_request(
    behind: Served, vllm: StandIn, fault: str, status: int, code: str, said: str
) -> None:
    vllm.fault = fault
    failed = await behind.post(messages=[{"role": "user", "content": MILK}])
    error = failed.json()["error"]
    assert (failed.status_code, error["code"]) == (status, code) and said in error["message"]
    assert "private words" not in failed.text
    vllm.fault = ""
    assert (await behind.ask(MILK))["tokmem"]["route"] == "todo_line"


async def test_an_error_in_the_middle_ends_a_stream(behind: Served, vllm: StandIn) -> None:
    vllm.fault = "cut"
    asked = {"messages": [{"role": "user", "content": MILK}], "stream": True}
    lines = [
        json.loads(line.removeprefix("data: "))
        for line in (await behind.http.post("/v1/chat/completions", json=asked)).text.splitlines()
        if line
    ]
    assert lines[-1]["error"]["code"] == "vllm_answer"


async def test_a_server_that_went_away_is_asked_again_when_it_is_back(served: Served) -> None:
    stand_in = StandIn()
    async with running(stand_in):
        port = int(stand_in.url.rpartition(":")[2])
        server = VllmServer(stand_in.url, FINGERPRINT)
        served.api.link = VllmLink(served.link, server, "banks")
        await served.ask(MILK)
    away = await served.post(messages=[{"role": "user", "content": MILK}])
    assert (away.status_code, away.json()["error"]["code"]) == (503, "vllm_away")
    assert away.headers["retry-after"]
    async with running(StandIn(version="0.33.0"), port):
        newer = await served.post(messages=[{"role": "user", "content": MILK}])
    assert newer.json()["error"]["code"] == "vllm_version", "what came back is looked at again"
    async with running(StandIn(), port):
        await served.ask(MILK)
    await server.close()


@pytest.mark.parametrize(
    ("stand_in", "code", "said"),
    [
        (StandIn(version="0.31.2"), "vllm_version", "is vLLM 0.31.2; memories were tried with 0.32.0 alone"),
        (StandIn(fingerprint=None), "vllm_connector", "does not run our connector"),
        (StandIn(fingerprint="f" * 64), "vllm_backbone", "serves another model"),
        (StandIn(key="k"), "vllm_refused", "wants a key"),
    ],
)
async def test_a_server_that_is_none_of_ours_is_refused(stand_in: StandIn, code: str, said: str) -> None:
    async with running(stand_in):
        server = VllmServer(stand_in.url, FINGERPRINT)
        with pytest.raises(VllmError, match=said) as caught:
            await server.check()
        await server.close()
    assert caught.value.code == code


async def test_the_key_opens_it() -> None:
    async with running(StandIn(key="k")) as stand_in:
        server = VllmServer(stand_in.url, FINGERPRINT, "k")
        await server.check()
        await server.close()


async def test_another_model_in_its_place_is_found_before_it_answers(behind: Served, vllm: StandIn) -> None:
    await behind.ask(MILK)
    vllm.fingerprint, vllm.bodies = "0" * 64, []
    failed = await behind.post(messages=[{"role": "user", "content": MILK}])
    assert failed.json()["error"]["code"] == "vllm_backbone"
    assert [("prompt_embeds" in body) for body in vllm.bodies] == [False]


async def test_whoever_goes_away_ends_the_answer_there(
    behind: Served, vllm: StandIn, until: Callable[..., Any]
) -> None:
    vllm.fault = "endless"
    asked = {"messages": [{"role": "user", "content": MILK}], "stream": True}
    async with behind.http.stream("POST", "/v1/chat/completions", json=asked) as stream:
        async for line in stream.aiter_lines():
            if " on" in line:
                break
    await until(lambda: vllm.aborted)


async def test_a_cancelled_request_keeps_what_was_said(behind: Served, vllm: StandIn) -> None:
    vllm.fault = "endless"
    link = behind.api.link
    handle = link.submit("ask", profile="default", text=MILK, route="auto", conversation=[], sample=False)
    events = []
    async for event in link.events(handle):
        events.append(event)
        if event["event"] == "token":
            await handle.cancel()
    result = events[-1]["result"]
    assert result["stopped"] == "cancelled" and result["response"].startswith("under")
    assert vllm.aborted <= 1


async def test_a_request_is_cancelled_while_it_is_routed(behind: Served, vllm: StandIn) -> None:
    link = behind.api.link
    handle = link.submit("ask", profile="default", text="!slowly routed", route="auto", conversation=[], sample=False)

    async def drained() -> None:
        async for _ in link.events(handle):
            pass

    task = asyncio.create_task(drained())
    while not handle.sent:
        await asyncio.sleep(0.01)
    await handle.cancel()
    with pytest.raises(Exception, match="Stopped before there was a route"):
        await task
    assert not vllm.bodies


async def test_other_requests_go_to_the_engine_here(behind: Served, vllm: StandIn) -> None:
    vectors = await behind.http.post("/v1/embeddings", json={"input": ["a"]})
    assert vectors.status_code == 200 and not vllm.bodies


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://x", "http://", "http://x/?a=b"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="is no address of a vLLM server"):
        VllmServer(url, FINGERPRINT)


async def test_an_error_status_reaches_openais_client(behind: Served, vllm: StandIn) -> None:
    vllm.fault = "memory"
    with pytest.raises(APIStatusError) as caught:
        await behind.openai().chat.completions.create(model="auto", messages=[{"role": "user", "content": MILK}])
    assert caught.value.status_code == 502
