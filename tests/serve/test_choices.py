"""Several answers to one request, and how likely the tokens of an answer were."""

from __future__ import annotations

from typing import Any

import pytest

from tests.serve.conftest import MILK, Served

LINE = "( ) buy milk due:mon"


def messages(text: str) -> Any:
    return [{"role": "user", "content": text}]


async def streamed(served: Served, **options: Any) -> tuple[dict[int, str], list[Any]]:
    """The text of each choice, and the chunks."""
    async with served.openai() as client:
        chunks = [chunk async for chunk in await client.chat.completions.create(stream=True, **options)]
    texts: dict[int, str] = {}
    for chunk in chunks:
        for choice in chunk.choices:
            texts[choice.index] = texts.get(choice.index, "") + (choice.delta.content or "")
    return texts, chunks


async def test_several_answers_are_drawn_with_seeds_of_their_own(served: Served) -> None:
    options: dict[str, Any] = {
        "model": "none",
        "messages": messages("hello"),
        "n": 3,
        "temperature": 1,
        "seed": 2**63 - 2,
    }
    async with served.openai() as client:
        answer = await client.chat.completions.create(**options)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert {choice.message.content for choice in answer.choices} == {"Once more. You said: hello (0 messages before)"}
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (11, 3 * 7), "the message is read once"
    assert [fields["seed"] for fields in served.link.fields[-3:]] == [2**63 - 2, 2**63 - 1, 0]
    texts, chunks = await streamed(served, **options, stream_options={"include_usage": True})
    assert texts == {place: choice.message.content for place, choice in enumerate(answer.choices)}
    ends = [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason]
    assert ends == ["stop"] * 3 and chunks[-1].usage.completion_tokens == 21


@pytest.mark.parametrize("more", [{}, {"temperature": 1}])
async def test_what_is_not_drawn_is_asked_once(served: Served, more: dict[str, Any]) -> None:
    answer = await served.ask(MILK, n=3, **more)
    assert [choice["message"]["content"] for choice in answer["choices"]] == [
        f"{'Once more. ' if more else ''}{LINE}"
    ] * 3
    assert len(served.link.fields) == 1
    texts, _ = await streamed(served, model="auto", messages=messages(MILK), n=2)
    assert texts == {0: LINE, 1: LINE}


async def test_several_calls(served: Served) -> None:
    tool = {"type": "function", "function": {"name": "clock", "parameters": {"type": "object"}}}
    answer = await served.ask("hello", n=2, tools=[tool], tool_choice="required")
    assert [choice["message"]["tool_calls"][0]["function"]["name"] for choice in answer["choices"]] == ["clock"] * 2
    _, chunks = await streamed(
        served, model="auto", messages=messages("hello"), n=2, tools=[tool], tool_choice="required"
    )
    assert [choice.index for chunk in chunks for choice in chunk.choices if choice.delta.tool_calls] == [0, 1]


async def test_tokens_of_a_chat_completion(served: Served) -> None:
    options: dict[str, Any] = {"model": "auto", "messages": messages(MILK), "logprobs": True, "top_logprobs": 2}
    async with served.openai() as client:
        choice = (await client.chat.completions.create(**options)).choices[0]
    assert choice.logprobs is not None and choice.logprobs.content is not None
    told = choice.logprobs.content
    assert (
        "".join(one.token for one in told) == LINE
        and bytes(b for one in told for b in one.bytes or []).decode() == LINE
    )
    assert [other.logprob for other in told[0].top_logprobs] == [-0.5, -1.0] and told[0].logprob == -0.5
    _, chunks = await streamed(served, **options)
    found = [token for chunk in chunks for one in chunk.choices if one.logprobs for token in one.logprobs.content]
    assert found == told
    assert (await served.ask(MILK, logprobs=True))["choices"][0]["logprobs"]["content"][0]["top_logprobs"] == []
    assert (await served.ask(MILK))["choices"][0]["logprobs"] is None and "others" not in served.link.fields[-1]


async def test_tokens_behind_a_stop_text_and_those_of_the_client_are_left_out(served: Served) -> None:
    told = (await served.ask(MILK, logprobs=True, stop=[" milk"]))["choices"][0]
    assert told["message"]["content"] == "( ) buy"
    assert "".join(one["token"] for one in told["logprobs"]["content"]) == "( ) buy"
    begun = [*messages("hello"), {"role": "assistant", "content": "Well, "}]
    told = (await served.post(model="none", messages=begun, logprobs=True)).json()["choices"][0]
    # The scripted engine's first token has the end of what the client began.
    assert "".join(one["token"] for one in told["logprobs"]["content"]) == " " + told["message"]["content"]


async def test_answers_that_were_copied_have_no_tokens_and_say_so(served: Served) -> None:
    answer = await served.ask(f"{MILK} !copied", logprobs=True)
    assert answer["choices"][0]["logprobs"] is None and answer["tokmem"]["ignored"] == ["logprobs"]
    assert "ignored" not in (await served.ask(MILK, logprobs=True))["tokmem"]


async def test_completions_and_responses(served: Served) -> None:
    async with served.openai() as client:
        made = await client.completions.create(model="auto", prompt=MILK, n=2, best_of=2, logprobs=2)
        assert [choice.text for choice in made.choices] == [LINE, LINE]
        told = made.choices[1].logprobs
        assert told is not None and told.tokens is not None and "".join(told.tokens) == LINE
        assert told.text_offset == [0, 1, 3, 7, 12] and told.top_logprobs == [
            {token: -0.5, " no0": -1.0} for token in told.tokens
        ]
        chunks = [one async for one in await client.completions.create(model="auto", prompt=MILK, n=2, stream=True)]
        assert [one.choices[0].index for one in chunks if one.choices[0].finish_reason] == [0, 1]
        response = await client.responses.create(model="auto", input=MILK, include=["message.output_text.logprobs"])
        part: Any = response.output[0].content[0]  # type: ignore[union-attr]
        assert "".join(one.token for one in part.logprobs) == LINE
        async with client.responses.stream(model="auto", input=MILK, top_logprobs=1) as stream:
            [done] = [event async for event in stream if event.type == "response.output_text.done"]
        assert [one.top_logprobs[0].logprob for one in done.logprobs] == [-0.5] * 5  # type: ignore[index]
