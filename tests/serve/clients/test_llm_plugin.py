"""The plugin of ``llm`` without a server: an engine of its own, and refusals that say what to do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from tests.cli.conftest import SECONDS

pytest.importorskip("llm")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not entry_points(group="llm", name="tokmem-desk"), reason="installed before it had the plugin"),
]

Ask = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def ask(tmp_path: Path, tiny_folder: Callable[..., Path]) -> Ask:
    """The command ``llm``."""
    model = tiny_folder("llama", max_position_embeddings=4096)
    places = {"TOKMEM_HOME": tmp_path / "home", "TOKMEM_MODEL": model, "LLM_USER_PATH": tmp_path / "llm"}
    environment = {**os.environ, "TOKMEM_DEVICE": "cpu", "PYTHONWARNINGS": "ignore"}
    environment |= {name: str(place) for name, place in places.items()}
    environment.pop("TOKMEM_TOKEN", None)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "llm", *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, env=environment, check=False, timeout=SECONDS, input=""
        )

    return run


def test_an_answer_without_a_server_is_logged_with_its_route(ask: Ask) -> None:
    first = ask("-m", "tokmem-desk", "-o", "max_tokens", "8", "hello")
    assert first.returncode == 0 and first.stdout.strip(), first.stderr
    again = ask("-c", "-o", "max_tokens", "8", "and again")
    assert again.returncode == 0, again.stderr
    logged = json.loads(ask("logs", "list", "-n", "2", "--json").stdout)
    assert [one["prompt"] for one in logged] == ["hello", "and again"]
    assert len({one["conversation_id"] for one in logged}) == 1
    schema = json.dumps({"type": "object", "properties": {"n": {"type": "integer", "maximum": 9}}, "required": ["n"]})
    held = ask("-m", "tokmem-desk", "--schema", schema, "a number")
    assert isinstance(json.loads(held.stdout)["n"], int), held.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-o", "route", "nobody"), "There is no procedure 'nobody'"),
        (("-o", "profile", "nobody"), "nobody"),
        (("--key", "tokmem-x", "-o", "url", "http://127.0.0.1:9/v1"), "Start it: tokmem-desk serve"),
    ],
)
def test_what_cannot_be_done_is_said(ask: Ask, arguments: tuple[str, ...], said: str) -> None:
    refused = ask("-m", "tokmem-desk", *arguments, "hello")
    assert refused.returncode == 1 and said in refused.stderr and "Traceback" not in refused.stderr
