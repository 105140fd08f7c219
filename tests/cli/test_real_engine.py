"""The commands with the real engine and a tiny random model: everything fits together, whatever the answers say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from tests.cli.conftest import CommandLine, checked, interrupt_when, real_at
from tests.engine.conftest import copy_model

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path, prepared_home: Path) -> CommandLine:
    """A home with one procedure, trained on the tiny model."""
    folder = tmp_path_factory.mktemp("real-engine")
    copy_model(prepared_home, folder / "home")
    tokmem = real_at(folder / "home", "--model", str(tiny_model_folder), "--device", "cpu")
    file = folder / "pairs.jsonl"
    rows = [{"input": f"note {what}", "response": f"- {what}"} for what in ("tea", "milk", "bread", "rice", "salt")]
    file.write_text("\n".join(map(json.dumps, rows)))
    assert tokmem("proc", "add", "note", "--pairs", str(file)).code == 0
    ended = tokmem("train", "--preset", "quick", "--span", "2", "--json")
    result = ended.json("train")
    assert [one["name"] for one in result["trained"]] == ["note"] and not result["cancelled"]
    return tokmem


def test_what_was_trained_is_active(trained):
    [listed] = trained("proc", "list", "--json").json("proc-list")["procedures"]
    assert listed["trained"] and listed["state"] == "trained, v1"
    [memory] = trained("proc", "show", "note", "--json").json("proc-show")["memories"]
    assert memory["status"] == "active" and memory["scorecard"]["span"] == 2


def test_ask_streams_under_a_forced_route(trained):
    ended = trained("ask", "note", "sugar", "--route", "note", "--max-tokens", "5")
    assert ended.code == 0 and ended.out.endswith("\n") and "[route note " in ended.err


def test_ask_json_and_its_candidates(trained):
    answer = trained("ask", "note sugar", "--max-tokens", "5", "--json").json("ask")
    assert {one["route"] for one in answer["candidates"]} == {"note", "none"}
    assert sum(one["probability"] for one in answer["candidates"]) == pytest.approx(1, abs=1e-3)
    assert answer["route"] == answer["candidates"][0]["route"]


def test_route_and_batch_agree(trained, tmp_path):
    queries = ["note sugar", "why is the sky blue", "note oil"]
    single = trained("route", "--json", queries[0]).json("route")
    file = tmp_path / "queries.jsonl"
    file.write_text("".join(json.dumps({"query": query}) + "\n" for query in queries))
    ended = trained("route", "--batch", str(file))
    lines = [checked(line, "route") for line in ended.out.splitlines()]
    assert len(lines) == 3
    assert lines[0]["route"] == single["route"]
    assert lines[0]["probability"] == pytest.approx(single["probability"], abs=0.05)


def test_eval(trained, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text("input,response\nnote jam,- jam\nnote figs,- figs\n")
    result = trained("eval", "note", "--pairs", str(other), "--json").json("eval")
    assert result["per_procedure"]["note"]["tests"] == 2
    assert result["confusion"]["labels"] == ["note", "none"]


def test_doctor_loads_the_model(trained):
    report = trained("doctor", "--json").json("doctor")
    assert report["ok"]
    assert {"device", "backbone", "profile"} <= {one["name"] for one in report["findings"]}


def test_chat(trained):
    ended = trained("chat", "--plain", "--temporary", "--json", stdin="@note note ham\n")
    assert checked(ended.out, "ask")["route"] == "note"


def test_interrupted_training_ends_as_interrupted(trained):
    process = trained.start("train", "note", "--preset", "thorough", "--json")

    def learning() -> bool:
        return any((trained.home / "state" / "checkpoints").rglob("*.safetensors")) or bool(running())

    def running() -> list[int]:
        with ProfileRegistry(AppPaths.resolve(trained.home)) as registry, registry.open() as store:
            return [job.id for job in store.jobs.list("running")]

    ended = interrupt_when(process, learning)
    assert ended.code == 130
    [listed] = trained("proc", "list", "--json").json("proc-list")["procedures"]
    assert listed["trained"], "what was active stays, or the best so far took its place"


@pytest.fixture
def real(own_home: Path) -> CommandLine:
    """The command line with the real engine, in an empty home."""
    return real_at(own_home)


@pytest.mark.parametrize("broken", ["empty", "no_weights", "truncated"])
def test_models_that_are_none(real, tmp_path, tiny_model_folder, broken):
    folder = tmp_path / "model"
    folder.mkdir()
    if broken != "empty":
        for file in tiny_model_folder.iterdir():
            content = file.read_bytes()
            if file.suffix == ".safetensors":
                if broken == "no_weights":
                    continue
                content = content[: len(content) // 2]
            (folder / file.name).write_bytes(content)
    ended = real("--model", str(folder), "ask", "hi")
    assert ended.code in (1, 4) and ended.out == ""
    assert "model" in ended.err and "unforeseen" not in ended.err


def test_a_damaged_gguf(real, tmp_path):
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF" + b"\0" * 1000)
    ended = real("--model", str(file), "ask", "hi")
    assert ended.code in (1, 4) and "unforeseen" not in ended.err


def test_cuda_that_is_not_there(real, tiny_model_folder):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA card")
    ended = real("--model", str(tiny_model_folder), "--device", "cuda", "ask", "hi")
    assert ended.code == 4 and "--device auto" in ended.err


def test_a_procedure_that_reads_the_conversation_is_steered_too(trained, tmp_path):
    """Values that stand in the message are read off it; only trained steering can take some from the conversation."""
    file = tmp_path / "calls.jsonl"
    words = ("tea", "milk", "bread", "rice", "salt", "soap", "ham", "jam")
    rows = [{"input": f"get {one} now", "response": json.dumps({"item": one})} for one in words]
    file.write_text("\n".join(map(json.dumps, rows)))

    def settings(name: str) -> dict[str, Any]:
        with ProfileRegistry(AppPaths.resolve(trained.home)) as registry, registry.open() as store:
            [memory] = store.memories.list(name)
            return memory.settings

    for name, *more in (("alone", ""), ("told", "--reads-conversation")):
        assert trained("proc", "add", name, "--pairs", str(file), *filter(None, more)).code == 0
        assert trained("train", name, "--preset", "quick", "--span", "2").code == 0
    assert settings("alone")["reader"]["alone"] is True and settings("alone")["steps"] == 1
    assert settings("told")["reader"]["alone"] is False and settings("told")["steps"] > 1
    assert "tokmem-desk train alone" in trained("proc", "reads", "alone", "conversation").err
    assert "train" not in trained("proc", "reads", "told", "conversation").err
    assert "train" not in trained("proc", "reads", "alone", "message").err


def test_a_model_with_recurrent_layers_from_first_to_last(tmp_path, tiny_folder):
    tokmem = real_at(tmp_path / "home", "--model", str(tiny_folder("lfm2")), "--device", "cpu")
    file = tmp_path / "pairs.jsonl"
    rows = [{"input": f"note {what}", "response": f"- {what}"} for what in ("tea", "milk", "bread", "rice", "salt")]
    file.write_text("\n".join(map(json.dumps, rows)))
    assert tokmem("proc", "add", "note", "--pairs", str(file)).code == 0
    ended = tokmem("train", "--preset", "quick", "--span", "2", "--json")
    assert [one["name"] for one in ended.json("train")["trained"]] == ["note"]
    answer = tokmem("ask", "--json", "--route", "note", "--max-tokens", "4", "note ham").json("ask")
    assert answer["route"] == "note" and answer["timing"]["tokens"] >= 1
    lines = "hello\nand then?\n"
    chatted = tokmem("chat", "--plain", "--temporary", "--json", stdin=lines)
    assert len([checked(line, "ask") for line in chatted.out.splitlines()]) == 2
    found = {one["name"]: one for one in tokmem("doctor", "--json").json("doctor")["findings"]}
    assert found["memories"]["state"] == "ok" and "recurrent layers keep their state" in found["memories"]["text"]
    assert "layers" not in found, "nothing runs from the beginning"
    told = tokmem("model", "info", str(tiny_folder("lfm2")), "--json").json("model-info")
    assert told["memory_form"] == found["memories"]["text"]


def test_a_first_question_does_not_wait_for_what_procedures_need(tmp_path, tiny_model_folder, prepared_home):
    home = tmp_path / "home"
    copy_model(prepared_home, home)
    paths = AppPaths.resolve(home)
    shutil.rmtree(paths.fitted)
    for file in paths.models.rglob("router.safetensors"):
        file.unlink()
    tokmem = real_at(home, "--model", str(tiny_model_folder), "--device", "cpu")
    ended = tokmem("ask", "hello there", "--max-tokens", "3")
    assert ended.code == 0 and "[none 100 %]" in ended.err.replace("route ", ""), ended.err
    assert not list(paths.fitted.glob("*router*")), "plain chat needs none of it"
    assert tokmem("chat", "--plain", stdin="hello\n").code == 0
    assert not list(paths.fitted.glob("*router*"))
