"""Completions: by the client that most programs use, whole and streamed; routes, stop texts, many at once."""

from __future__ import annotations

import asyncio
import json

import openai
import pytest

from tests.serve.conftest import MILK, Served
from tokmem_desk.errors import InterruptedByUser


async def test_openai_client_gets_an_answer_by_the_right_procedure(served: Served) -> None:
    async with served.openai() as client:
        raw = await client.chat.completions.with_raw_response.create(
            model="auto", messages=[{"role": "user", "content": MILK}]
        )
        answer = raw.parse()
    assert answer.choices[0].message.content == "( ) buy milk due:mon"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (11, 7, 18)
    assert answer.model_extra is not None
    extension = answer.model_extra["tokmem"]
    assert extension["route"] == "todo_line" and extension["candidates"][0]["probability"] == 0.96
    assert raw.headers["x-tokmem-route"] == "todo_line"
    assert raw.headers["x-tokmem-probability"] == "0.9600"


async def test_openai_client_streams(served: Served) -> None:
    async with served.openai() as client:
        stream = await client.chat.completions.create(
            model="auto",
            messages=[{"role": "user", "content": MILK}],
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "( ) buy milk due:mon"
    assert len(chunks) > 5, "word by word"
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[0].model_extra is not None and chunks[0].model_extra["tokmem"]["route"] == "todo_line"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].choices == [] and chunks[-1].usage is not None and chunks[-1].usage.total_tokens == 18
    assert len({chunk.id for chunk in chunks}) == 1


async def test_the_lines_of_a_stream(served: Served) -> None:
    answered = await served.post(messages=[{"role": "user", "content": MILK}], stream=True)
    assert answered.headers["content-type"].startswith("text/event-stream")
    assert answered.headers["x-tokmem-route"] == "todo_line"
    blocks = answered.text.split("\n\n")
    assert blocks[-2:] == ["data: [DONE]", ""]
    chunks = [json.loads(block.removeprefix("data: ")) for block in blocks[:-2]]
    assert all(chunk["object"] == "chat.completion.chunk" and "usage" not in chunk for chunk in chunks)


@pytest.mark.parametrize(
    ("model", "route", "asked"),
    [
        ("auto", "todo_line", "auto"),
        ("scripted/Tiny-Instruct", "todo_line", "auto"),
        ("default", "todo_line", "auto"),
        ("none", "none", "none"),
        ("mood_log", "mood_log", "mood_log"),
        ("scripted/Tiny-Instruct:none", "none", "none"),
        ("scripted/Tiny-Instruct:mood_log", "mood_log", "mood_log"),
        (None, "todo_line", "auto"),
    ],
)
async def test_the_model_picks_the_route(served: Served, model: str | None, route: str, asked: str) -> None:
    answer = await served.ask(MILK, **({} if model is None else {"model": model}))
    assert answer["tokmem"]["route"] == route
    assert answer["model"] == (model or "auto")
    assert served.link.fields[-1]["route"] == asked


async def test_models(served: Served) -> None:
    async with served.openai() as client:
        assert [model.id async for model in client.models.list()] == [
            "auto", "none", "mood_log", "todo_line", "scripted/Tiny-Instruct",
        ]  # fmt: skip
        assert (await client.models.retrieve("scripted/Tiny-Instruct")).owned_by == "tokmem-desk"
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("secret")


async def test_a_token_reaches_its_own_profile_alone(served: Served) -> None:
    async with served.openai(served.annas_token) as client:
        ids = [model.id async for model in client.models.list()]
        assert "secret" in ids and "todo_line" not in ids
        answer = await client.chat.completions.create(
            model="secret", messages=[{"role": "user", "content": "what is my secret word"}]
        )
        assert answer.choices[0].message.content == "xyzzy"
    assert served.link.fields[-1]["profile"] == "anna"
    refused = await served.post(model="secret", messages=[{"role": "user", "content": "what is my secret word"}])
    assert refused.status_code == 404 and "xyzzy" not in refused.text


async def test_conversation_and_system_text_reach_the_engine(served: Served) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": "Be kind."},
        {"role": "user", "content": "hello"},
        {"role": "user", "content": "are you there"},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]},
    ]
    assert (await served.post(model="none", messages=messages)).status_code == 200
    fields = served.link.fields[-1]
    assert fields["text"] == "one\ntwo"
    assert fields["conversation"] == [
        {"role": "system", "content": "Be brief.\n\nBe kind."},
        {"role": "user", "content": "hello\n\nare you there"},
        {"role": "assistant", "content": "Yes."},
    ]


async def test_answers_of_procedures_come_back_with_their_route(served: Served) -> None:
    first = await served.ask(MILK)
    said = first["choices"][0]["message"]["content"]
    messages = [
        {"role": "user", "content": MILK},
        {"role": "assistant", "content": said},
        {"role": "user", "content": "thanks"},
    ]
    await served.post(messages=messages)
    assert served.link.fields[-1]["conversation"][1] == {
        "role": "assistant", "content": said, "route": "todo_line",
    }  # fmt: skip
    headers = {"Authorization": f"Bearer {served.annas_token}"}
    await served.http.post("/v1/chat/completions", json={"messages": messages}, headers=headers)
    assert "route" not in served.link.fields[-1]["conversation"][1], "what was said to one profile is not told another"


async def test_sampling_reaches_the_engine(served: Served) -> None:
    await served.ask("hello", temperature=0.3, top_p=0.5, seed=7, max_tokens=20)
    fields = served.link.fields[-1]
    assert fields["sample"] is True and fields["settings"] == {"temperature": 0.3, "top_p": 0.5}
    assert fields["seed"] == 7 and fields["max_tokens"] == 20
    await served.ask("hello", temperature=0, max_completion_tokens=9)
    assert served.link.fields[-1]["sample"] is False and served.link.fields[-1]["max_tokens"] == 9
    await served.ask("hello")
    assert served.link.fields[-1]["sample"] is False and served.link.fields[-1]["max_tokens"] is None


async def test_what_is_ignored_is_said(served: Served) -> None:
    answer = await served.ask("hello", presence_penalty=0.5, frequency_penalty=0, user="me")
    assert answer["tokmem"]["ignored"] == ["presence_penalty"]
    assert "ignored" not in (await served.ask("hello"))["tokmem"]


@pytest.mark.parametrize("stream", [False, True])
async def test_stop_texts_cut_and_end_the_answer(served: Served, stream: bool) -> None:
    answered = await served.post(
        messages=[{"role": "user", "content": "!slow please"}], stop=["rd4", "never"], stream=stream
    )
    if stream:
        chunks = [json.loads(block[6:]) for block in answered.text.split("\n\n")[:-2]]
        text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
        reason = chunks[-1]["choices"][0]["finish_reason"]
    else:
        choice = answered.json()["choices"][0]
        text, reason = choice["message"]["content"], choice["finish_reason"]
    assert text == "word0 word1 word2 word3 wo" and reason == "stop"
    assert served.link.handles[-1]._cancel_wanted, "the engine does not go on for nobody"


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_does_not_fit_its_schema_says_so(served: Served, stream: bool) -> None:
    answered = await served.post(messages=[{"role": "user", "content": "!unfit hello"}], stream=stream)
    if stream:
        end = [json.loads(block[6:]) for block in answered.text.split("\n\n")[:-2]][-1]
    else:
        end = answered.json()
    assert end["choices"][0]["finish_reason"] == "content_filter"
    assert "hour" in end["tokmem"]["segments"][0]["problem"]


@pytest.mark.parametrize("stream", [False, True])
async def test_how_sure_an_answer_is_stands_beside_it(served: Served, stream: bool) -> None:
    asked = [{"role": "user", "content": "I need to buy milk on Monday !doubt"}]
    answered = await served.post(messages=asked, stream=stream)
    if stream:
        end = [json.loads(block[6:]) for block in answered.text.split("\n\n")[:-2]][-1]
    else:
        end = answered.json()
    assert end["tokmem"]["answer_probability"] == 0.41
    [segment] = end["tokmem"]["segments"]
    assert segment["answer_probability"] == 0.41 and [slot["doubtful"] for slot in segment["slots"]][-1]
    assert "answer_probability" not in (await served.ask("hello"))["tokmem"]


async def test_many_clients_at_once(served: Served) -> None:
    async with served.openai() as mine, served.openai(served.annas_token) as annas:
        asked = [
            client.chat.completions.create(model="none", messages=[{"role": "user", "content": f"number {place}"}])
            for place in range(15)
            for client in (mine, annas)
        ]
        answers = await asyncio.gather(*asked)
    texts = [answer.choices[0].message.content for answer in answers]
    assert texts == [f"You said: number {place} (0 messages before)" for place in range(15) for _ in range(2)]
    assert len({handle.client.pid for handle in served.link.handles}) == 1, "one engine"


async def test_a_stream_that_is_left_is_cancelled(served: Served) -> None:
    body = {"messages": [{"role": "user", "content": "!slow"}], "stream": True}
    async with served.http.stream("POST", "/v1/chat/completions", json=body) as response:
        lines = response.aiter_lines()
        while "word3" not in await anext(lines):
            pass
    handle = served.link.handles[-1]
    assert (await handle.result())["stopped"] == "cancelled"


@pytest.mark.parametrize("stream", [True, False])
async def test_a_long_message_is_read_no_further_once_its_client_has_left(served: Served, until, stream: bool) -> None:
    body = {"messages": [{"role": "user", "content": "!long"}], "stream": stream}
    asking = asyncio.create_task(served.post(**body))
    await until(lambda: served.link.handles and served.link.handles[-1].sent)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    with pytest.raises(InterruptedByUser, match="Stopped while reading"):
        await served.link.handles[-1].result()


async def test_a_whole_answer_that_is_left_is_cancelled(served: Served, until) -> None:
    body = {"messages": [{"role": "user", "content": "!slow"}]}
    asking = asyncio.create_task(served.http.post("/v1/chat/completions", json=body))
    await until(lambda: served.link.handles and served.link.handles[-1].sent)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert (await served.link.handles[-1].result())["stopped"] == "cancelled"
    await until(lambda: served.api._open == 0)
