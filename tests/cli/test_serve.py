"""``serve`` and ``token`` as commands: the first token, the port, Ctrl-C."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.cli.conftest import SECONDS, CommandLine, checked, interrupt_when


class Server:
    """A running ``serve``."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        self.process = process
        self.facts: dict[str, Any] = checked(process.stdout.readline().decode(), "serve")

    def get(self, address: str, token: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.get(self.facts["url"] + address, headers=headers, timeout=SECONDS)


@pytest.fixture
def start(scripted: CommandLine) -> Iterator[Any]:
    """Start a server; it is killed when the test has failed to end it."""
    started: list[subprocess.Popen[bytes]] = []

    def serve(*arguments: str) -> Server:
        started.append(scripted.start("serve", "--port", "0", "--json", *arguments))
        return Server(started[-1])

    yield serve
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_the_first_start_makes_a_token_and_ctrl_c_ends(start, scripted):
    server = start()
    assert server.facts["url"].startswith("http://127.0.0.1:") and server.facts["profile"] == "default"
    assert server.get("/models", server.facts["token"]).status_code == 200
    ended = interrupt_when(server.process, lambda: True)
    assert ended.code == 130 and "Stopped." in ended.err
    assert "shown this once" in ended.err and server.facts["token"] not in ended.err

    again = start()
    assert again.facts["token"] is None, "one is enough"
    assert again.get("/models", server.facts["token"]).status_code == 200
    [listed] = scripted("token", "list", "--json").json("token-list")["tokens"]
    assert listed["name"] == "first" and listed["profile"] == "default" and listed["last_used"] is not None


def test_tokens_come_and_go_while_it_runs(start, scripted):
    scripted("profile", "create", "anna")
    server = start()
    made = scripted("token", "create", "phone", "--profile", "anna", "--json").json("token-create")
    assert made["profile"] == "anna"
    assert server.get("/models", made["token"]).status_code == 200
    scripted("token", "remove", "phone", "--json").json("change")
    assert server.get("/models", made["token"]).status_code == 401


def test_a_token_is_printed_alone_on_stdout(scripted):
    ended = scripted("token", "create", "editor")
    assert ended.out.startswith("tokmem-") and len(ended.out.split()) == 1
    assert "shown this once" in ended.err
    assert ended.out.strip() not in scripted("token", "list").out
    assert "editor" in scripted("token", "list").out
    assert scripted("token", "create", "editor").code == 1
    assert scripted("token", "remove", "nobody").code == 1


def test_a_port_that_is_taken(scripted):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        ended = scripted("serve", "--port", port)
    assert ended.code == 3 and port in ended.err and "--port" in ended.err and ended.out == ""


def test_the_servers_own_log_is_private(start, scripted):
    server = start()
    server.get("/models", "wrong")
    log = scripted.home / "state" / "logs" / "serve.log"
    assert log.stat().st_mode & 0o777 == 0o600
    assert json.dumps(server.facts["token"]) not in log.read_text()


def test_a_locked_profile_is_open_to_its_tokens_once_serve_was_given_the_passphrase(start, scripted, tmp_path):
    secret = tmp_path / "passphrase"
    secret.write_text("a long passphrase\n")
    scripted("profile", "create", "anna")
    locked = scripted("profile", "lock", "anna", "--passphrase-file", str(secret))
    assert locked.code == 0, locked.err
    refused = scripted("token", "create", "phone", "--profile", "anna")
    assert refused.code == 1 and "is locked" in refused.err and refused.out == ""
    with_key = ("--profile", "anna", "--passphrase-file", str(secret))
    token = scripted("token", "create", "phone", *with_key).out.strip()
    listed = scripted("token", "list")
    assert listed.out == "" and "token list --profile anna" in listed.err
    assert "phone" in scripted("token", "list", *with_key).out
    other = start()
    assert other.get("/models", token).status_code == 423
    interrupt_when(other.process, lambda: True)
    opened = start("--profile", "anna", "--passphrase-file", str(secret))
    assert opened.get("/models", token).status_code == 200
    body = {"messages": [{"role": "user", "content": "hello"}]}
    headers = {"Authorization": f"Bearer {token}"}
    answered = httpx.post(opened.facts["url"] + "/chat/completions", json=body, headers=headers, timeout=SECONDS)
    assert answered.status_code == 200


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--engine", "vllm", "--banks", "b"), "--engine vllm needs --url"),
        (("--engine", "vllm", "--url", "http://127.0.0.1:1"), "--engine vllm needs --banks"),
        (("--banks", "b"), "--banks is for another engine"),
        (("--engine", "vllm", "--banks", "b", "--url", "nowhere"), "is no address of a vLLM server"),
    ],
)
def test_options_of_vllm_go_together(scripted, options, said):
    ended = scripted("serve", "--port", "0", *options)
    assert ended.code == 2 and said in ended.err and ended.out == ""


def test_a_vllm_server_that_is_not_there_ends_the_start(scripted):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))  # taken, and nobody listens
        url = f"http://127.0.0.1:{other.getsockname()[1]}"
        ended = scripted("serve", "--port", "0", "--engine", "vllm", "--url", url, "--banks", "b")
    assert ended.code == 1 and f"The vLLM server at {url} does not answer" in ended.err and ended.out == ""
