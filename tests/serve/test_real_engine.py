"""Completions from the real engine on a tiny random model: the fields are its own, whatever the answers say."""

from __future__ import annotations

import json
from pathlib import Path

import openai
import pytest

from tests.cli.conftest import SECONDS, interrupt_when, real_at
from tests.engine.conftest import copy_model

pytestmark = pytest.mark.slow

HELLO = [{"role": "user", "content": "What is the weather today?"}]


def test_completions(own_home: Path, tiny_model_folder: Path, prepared_home: Path):
    copy_model(prepared_home, own_home)
    tokmem = real_at(own_home, "--model", str(tiny_model_folder), "--device", "cpu")
    process = tokmem.start("serve", "--port", "0", "--json")
    assert process.stdout is not None
    facts = json.loads(process.stdout.readline())
    with openai.OpenAI(base_url=facts["url"], api_key=facts["token"], max_retries=0, timeout=SECONDS) as client:

        def ask(**more):
            return client.chat.completions.create(**{"model": "auto", "messages": HELLO, "max_tokens": 6, **more})

        plain = ask()
        assert plain.model_extra["tokmem"]["route"] == "none"
        assert plain.usage.completion_tokens == 6 and plain.choices[0].finish_reason == "length"
        assert ask().choices[0].message.content == plain.choices[0].message.content, "greedy unless asked otherwise"
        told = ask(messages=[{"role": "system", "content": "Answer in one word."}, *HELLO])
        assert told.usage.prompt_tokens > plain.usage.prompt_tokens
        drawn = [ask(temperature=1.5, top_p=1, seed=seed).choices[0].message.content for seed in (1, 1, 2)]
        assert drawn[0] == drawn[1] != drawn[2]
        for odd in ({"temperature": 5e-324}, {"temperature": 2, "top_p": 0, "seed": -(2**63)}, {"seed": 2**63 - 1}):
            assert ask(**{"temperature": 1, **odd}).usage.completion_tokens == 6
        streamed = ask(stream=True, stream_options={"include_usage": True})
        chunks = list(streamed)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert text.rstrip() == plain.choices[0].message.content.rstrip()
        assert chunks[-1].usage.prompt_tokens == plain.usage.prompt_tokens
        logged = ask(logprobs=True, top_logprobs=2)
        tokens = logged.choices[0].logprobs.content
        assert "".join(one.token for one in tokens).rstrip() == logged.choices[0].message.content.rstrip()
        assert all(one.top_logprobs[0].logprob == one.logprob for one in tokens), "the likeliest words are taken"
        several = ask(temperature=1.5, top_p=1, seed=1, n=2)
        assert [one.message.content for one in several.choices] == [drawn[0], drawn[2]]
        colour = {"type": "object", "properties": {"colour": {"enum": ["red", "blue"]}}, "required": ["colour"]}
        held = ask(response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": colour}})
        assert json.loads(held.choices[0].message.content)["colour"] in ("red", "blue")
        paint = {"type": "function", "function": {"name": "paint", "parameters": colour}}
        call = ask(tools=[paint], tool_choice="required").choices[0].message.tool_calls[0].function
        assert call.name == "paint" and json.loads(call.arguments)["colour"] in ("red", "blue")
        vectors = [one.embedding for one in client.embeddings.create(model="auto", input=["a b", "a b", "other"]).data]
        assert vectors[0] == pytest.approx(vectors[1]) and sum(x * x for x in vectors[0]) == pytest.approx(1, abs=1e-3)
        begun = ask(messages=[*HELLO, {"role": "assistant", "content": "It is: "}])
        assert not begun.choices[0].message.content.startswith("It is") and begun.usage.completion_tokens > 0
        with pytest.raises(openai.BadRequestError, match="maximum context length") as caught:
            ask(messages=[{"role": "user", "content": "word " * 3000}])
        assert caught.value.code == "context_length_exceeded"
        with pytest.raises(openai.BadRequestError, match="context"):
            ask(messages=[{"role": "user", "content": "word " * 3000}])
    ended = interrupt_when(process, lambda: True)
    assert ended.code == 130
