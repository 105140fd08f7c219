"""What ``serve --engine vllm`` sends, to a vLLM server with the connector. It runs where vLLM is installed."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed; it wants an environment of its own")

import torch

from tests.tokmem_vllm import small_model
from tokmem_vllm.bank_service import put_memory
from tokmem_vllm.prompts import answering_prompt, answering_wish, reading_wish
from tui.serve.errors import VllmError
from tui.serve.vllm_server import Stopped, VllmServer

PRINT = small_model.PRINT.digest
IDS = [5, 60, 61, 62, 63, 7, 8, 9, 70, 71]
TOKENS = 12
GREEDY = {"temperature": 0, "top_p": 1, "top_k": 0, "min_p": 0, "repetition_penalty": 1, "ignore_eos": True}


class House:
    """A server, a person and a memory."""

    def __init__(self, folder: Path) -> None:
        self.model = small_model.save(folder / "model")
        self.memory = small_model.memory(0)
        self.digest = put_memory(str(folder / "banks"), "anna", small_model.file_of(self.memory))
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        connector = {
            "kv_connector": "TokmemConnector",
            "kv_connector_module_path": "tokmem_vllm.connector",
            "kv_role": "kv_both",
            "kv_load_failure_policy": "fail",
            "kv_connector_extra_config": {"banks": str(folder / "banks")},
        }
        command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder / "model")]
        command += ["--host", "127.0.0.1", "--port", str(port), "--dtype", "float32", "--enforce-eager"]
        command += ["--enable-prompt-embeds", "--disable-hybrid-kv-cache-manager", "--max-model-len", "512"]
        command += ["--kv-transfer-config", json.dumps(connector)]
        self.log = folder / "server.log"
        usual = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env={**usual, **os.environ})

    def wait(self) -> None:
        """Until it answers; a broken test ends by pytest's own limit."""
        while True:
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            try:
                with urllib.request.urlopen(f"{self.url}/health") as answered:
                    assert answered.status == 200
                return
            except OSError:
                time.sleep(0.5)

    def body(self, digest: str, **more: Any) -> dict[str, Any]:
        wish = answering_wish("anna", IDS, digest, self.memory)
        written = io.BytesIO()
        torch.save(answering_prompt(small_model.facts(), IDS, self.memory), written)
        return {
            "prompt_embeds": base64.b64encode(written.getvalue()).decode(),
            "cache_salt": wish.salt,
            "kv_transfer_params": wish.as_params(),
            "max_tokens": TOKENS,
            "return_tokens_as_token_ids": True,
            "logprobs": 0,
            **GREEDY,
            **more,
        }

    async def ask(self, body: Mapping[str, Any], fingerprint: str = PRINT) -> tuple[str, str, int]:
        server, stop = VllmServer(self.url, fingerprint), asyncio.Event()
        said, finish, tokens = "", "", 0
        try:
            await server.read(IDS, reading_wish("anna", IDS).as_params(), stop)
            async for delta in server.answer(body, stop):
                said, finish, tokens = said + delta.text, finish or delta.finish, tokens or delta.tokens
        finally:
            await server.close()
        return said, finish, tokens


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("server"))
    try:
        house.wait()
        yield house
    finally:
        house.process.terminate()
        house.process.wait()


def test_an_answer_under_a_memory_streams(house: House) -> None:
    from transformers import AutoTokenizer

    said, finish, tokens = asyncio.run(house.ask(house.body(house.digest)))
    right = small_model.expected(house.model, IDS, house.memory, TOKENS)
    tokenizer = AutoTokenizer.from_pretrained(house.log.parent / "model")
    # vLLM keeps the bytes of a letter back until it is whole.
    assert said == tokenizer.decode(right, skip_special_tokens=True).rstrip("\ufffd")
    assert (finish, tokens) == ("length", TOKENS)


def test_a_memory_that_is_gone_is_an_error_of_that_request(house: House) -> None:
    with pytest.raises(VllmError) as caught:
        asyncio.run(house.ask(house.body("0" * 64)))
    assert caught.value.code == "vllm_memory"
    assert asyncio.run(house.ask(house.body(house.digest)))[2] == TOKENS


def test_another_model_is_told_from_the_right_one(house: House) -> None:
    with pytest.raises(VllmError) as caught:
        asyncio.run(house.ask(house.body(house.digest), "f" * 64))
    assert caught.value.code == "vllm_backbone"


def test_a_form_holds_an_answer(house: House) -> None:
    body = house.body(house.digest, structured_outputs={"regex": "[ab]{3}"}, ignore_eos=False)
    said, finish, _ = asyncio.run(house.ask(body))
    assert len(said) == 3 and set(said) <= {"a", "b"} and finish == "stop"


def test_an_answer_that_goes_in_circles_ends(house: House) -> None:
    circles = {"max_pattern_size": 64, "min_pattern_size": 1, "min_count": 4}
    body = house.body(house.digest, structured_outputs={"regex": "a{200}"}, max_tokens=200)
    assert asyncio.run(house.ask({**body, "repetition_detection": circles}))[1] == "repetition"


def test_what_is_stopped_ends_there(house: House) -> None:
    async def stopped() -> None:
        server, stop = VllmServer(house.url, PRINT), asyncio.Event()
        try:
            await server.read(IDS, reading_wish("anna", IDS).as_params(), stop)
            with pytest.raises(Stopped):
                async for _ in server.answer(house.body(house.digest, max_tokens=400), stop):
                    stop.set()
        finally:
            await server.close()

    asyncio.run(stopped())
    while "vllm:num_requests_running" in (metrics := _metrics(house.url)):
        running = [line for line in metrics.splitlines() if line.startswith("vllm:num_requests_running")]
        if all(line.endswith(" 0.0") for line in running):
            break
        time.sleep(0.1)


def _metrics(url: str) -> str:
    with urllib.request.urlopen(f"{url}/metrics") as answered:
        return str(answered.read().decode())
