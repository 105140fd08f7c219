"""Whatever a client sends: an answer, or a refusal in OpenAI's form; never an error of ours, never a traceback."""

from __future__ import annotations

import json
import logging
import random
from typing import Any

import pytest

from tests.serve.conftest import Served
from tests.serve.test_refusals import HELLO, error_of
from tui.serve.requests import read_request

JSON_HEADERS = {"Content-Type": "application/json"}
NUMBERS = ("temperature", "top_p", "max_tokens", "max_completion_tokens", "seed", "n", "top_logprobs")
NUMBERS += ("frequency_penalty", "presence_penalty")
ODD_NUMBERS = (
    "NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1" + "0" * 400, "-1" + "0" * 400, "1" * 5000, "1e400",
    "true", '"1"', "[1]", "{}", '"NaN"', "-1e300",
)  # fmt: skip
FRACTIONS = ("1.5", "1e-300", "0.1")
WHOLE = ("max_tokens", "max_completion_tokens", "seed", "n", "top_logprobs")


async def send(served: Served, body: bytes) -> Any:
    return await served.http.post("/v1/chat/completions", content=body, headers=JSON_HEADERS)


def with_field(name: str, value: str) -> bytes:
    return f'{{"messages": [{{"role": "user", "content": "hello"}}], "{name}": {value}}}'.encode()


async def test_odd_numbers_are_refused_wherever_a_number_is_wanted(served: Served) -> None:
    for name in NUMBERS:
        for value in (*ODD_NUMBERS, *(FRACTIONS if name in WHOLE else ())):
            error = error_of(await send(served, with_field(name, value)), 400)
            assert error["param"] == name or len(value) > 4300, (name, value)
    for value in ODD_NUMBERS:
        error_of(await send(served, with_field("logit_bias", f'{{"50256": {value}}}')), 400)
        error_of(await send(served, with_field("stream", value.replace("true", "1"))), 400)
    assert served.link.handles == [], "the engine hears nothing of it"


async def test_the_second_of_two_limits_is_looked_at_too(served: Served) -> None:
    body = {**HELLO, "max_completion_tokens": 5, "max_tokens": -2}
    assert error_of(await served.post(**body), 400)["param"] == "max_tokens"


async def test_numbers_at_their_limits_are_taken(served: Served) -> None:
    for fields in (
        {"temperature": 2, "top_p": 0, "seed": -(2**63), "max_tokens": 2**62},
        {"temperature": 5e-324, "seed": 2**63 - 1, "n": 1, "frequency_penalty": -2, "logit_bias": {"1": -100}},
        {"temperature": -0.0, "top_p": 1.0},
    ):
        assert (await served.post(**HELLO, **fields)).status_code == 200, fields


class Counted(str):
    """A text that counts how many characters are copied by adding to it."""

    copied = 0

    def __add__(self, other: str) -> Counted:
        Counted.copied += len(self) + len(other)
        return Counted(str.__add__(self, other))


def test_many_messages_of_one_side_are_joined_once(monkeypatch: pytest.MonkeyPatch) -> None:
    messages = [{"role": role, "content": "a"} for role in ("user",) * 100_000 + ("assistant",) * 2 + ("user",)]
    read = read_request(json.dumps({"messages": messages}).encode(), "some/Backbone")
    assert len(read.conversation[0]["content"]) == 3 * 100_000 - 2 and read.message == "a"
    many = [{"role": "user", "content": Counted("a" * 100)} for _ in range(1000)]
    monkeypatch.setattr(json, "loads", lambda _: {"messages": many})
    assert len(read_request(b"", "some/Backbone").message) == 100 * 1000 + 2 * 999
    assert Counted.copied <= 2 * 102 * 1000, "each text is copied a few times, however many there are"


ODD_TEXTS = (
    "", " ", "\n", "\0", "\ud800", "\udfff x", "\u202e", "\x1b]52;c;aGk=\x07", "ä" * 50, "a" * 20_000,
    "../../etc/passwd", "%00", "none", "auto", "todo_line", "scripted/Tiny-Instruct:",
    "scripted/Tiny-Instruct:none", "😀", "\ufeff", "{}",
)  # fmt: skip


def odd_value(draw: random.Random, depth: int = 0) -> Any:
    kinds = [
        lambda: draw.choice(ODD_TEXTS),
        lambda: draw.choice((0, 1, -1, 2**31, 2**63, -(2**63) - 1, 10**400, 1.5, 1e308, float("nan"), float("inf"))),
        lambda: draw.choice((None, True, False)),
    ]
    if depth < 3:
        kinds += [
            lambda: [odd_value(draw, depth + 1) for _ in range(draw.randrange(4))],
            lambda: {draw.choice(ODD_TEXTS): odd_value(draw, depth + 1) for _ in range(draw.randrange(4))},
        ]
    return draw.choice(kinds)()


def odd_body(draw: random.Random) -> dict[str, Any]:
    body: dict[str, Any] = {"messages": [{"role": "user", "content": "hello"}]}
    names = (*NUMBERS, "model", "stream", "stream_options", "stop", "tools", "functions", "logprobs", "modalities")
    names += ("response_format", "logit_bias", "user", "store", "metadata", "service_tier")
    for name in draw.sample(names, draw.randrange(1, 4)):
        body[name] = odd_value(draw)
    match draw.randrange(6):
        case 0:
            body["messages"] = odd_value(draw)
        case 1:
            body["messages"] = [odd_value(draw) for _ in range(3)]
        case 2:
            role = draw.choice(("user", "system", "assistant", "tool", odd_value(draw)))
            body["messages"].insert(0, {"role": role, "content": odd_value(draw)})
        case 3:
            body["messages"][0]["content"] = [{"type": "text", "text": odd_value(draw)}, odd_value(draw)]
    return body


@pytest.mark.parametrize("seed", range(4))
async def test_odd_bodies(served: Served, caplog: pytest.LogCaptureFixture, seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(100):
        body = odd_body(draw)
        text = json.dumps(body, ensure_ascii=draw.random() < 0.5)
        data = bytearray(text.encode("utf-8", "surrogatepass"))
        if draw.random() < 0.2:
            for _ in range(3):
                data[draw.randrange(len(data))] = draw.randrange(256)
        response = await send(served, bytes(data))
        assert response.status_code in (200, 400, 404), (body, response.text)
        if response.status_code != 200:
            error_of(response, response.status_code)
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]


def odd_head(draw: random.Random, served: Served) -> bytes:
    path = draw.choice(
        ("/v1/models", "/v1/models/%ff%fe", "/v1/models/%00", "/v1/models/" + "a" * 5000, "//", "/v1//models", "/../x",
         "/v1/models/..%2f..", "/v1/models/%ed%a0%80", "/v1/models?x=%ff&y", "/v1/models?" + "a=b&" * 500, "*", "/%",
         "http://evil.example/v1/models", "/v1/models#x", "/v1/models/none", "/v1/models/scripted/Tiny-Instruct")
    )  # fmt: skip
    method = draw.choice(("GET", "POST", "HEAD", "OPTIONS", "DELETE", "TRACE", "BREW"))
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close"]
    token = draw.choice((served.token, "wrong", "\xff\xfe", "", " ", "a" * 3000, "tokmem-\u00e9"))
    lines.append(f"Authorization: {draw.choice(('Bearer', 'bearer', 'Basic', ''))} {token}")
    more = ("Cookie: a=\xff; b", "Cookie: ;;;=;", "Content-Type: application/json; charset=\xff", "Accept: \x80",
            "Content-Type: \xe9", "Upgrade: websocket\r\nConnection: upgrade", "Expect: 100-continue",
            "Content-Encoding: gzip", "X-Odd: " + "\xfe" * 3000, "Range: bytes=a-b",
            "Cookie: " + "a=b; " * 2000)  # fmt: skip
    lines += draw.choices(more, k=draw.randrange(4))
    body = draw.choice((b"", b"{}", b"\xff", b"x" * 1000))
    if body and draw.random() < 0.8:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


@pytest.mark.parametrize("seed", range(4))
async def test_odd_heads(served: Served, caplog: pytest.LogCaptureFixture, seed: int) -> None:
    import asyncio

    draw = random.Random(seed)
    host, port = served.url.removeprefix("http://").split(":")
    for _ in range(60):
        head = odd_head(draw, served)
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(head)
        said = b""
        try:
            while piece := await asyncio.wait_for(reader.read(65536), 60):
                said += piece
        except ConnectionError:
            pass
        finally:
            writer.close()
        status = int(said.split(b" ", 2)[1]) if said else 400
        assert status < 500, (head, said)
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]
