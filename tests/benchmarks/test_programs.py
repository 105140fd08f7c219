"""The programs from the command line to the result file, on a tiny backbone."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import bank, beams, capacity, correction, learning, personal, routing, routing_taught, speed
from benchmarks.correction_user import METHODS, Replay, Said
from benchmarks.methods import Context
from benchmarks.models import Loaded
from benchmarks.routing_features import compute
from benchmarks.routing_methods import ROUTERS
from benchmarks.speed_llama import measure_llama
from benchmarks.speed_training import measure_training
from profiles.store.store import ProfileStore
from tests.benchmarks.conftest import WordRetriever
from tests.quick_fits import fit_quickly
from tokmem_desk.errors import BadInputError, UsageError
from tokmem_desk.memory.router_statistics import RouterStatistics
from tokmem_desk.procedures import ExamplePair, Procedure


@pytest.fixture
def tiny_programs(monkeypatch: pytest.MonkeyPatch, loaded: Loaded) -> None:
    monkeypatch.setattr(learning, "load", lambda _options: loaded)
    monkeypatch.setattr(beams, "load", lambda _options: loaded)
    monkeypatch.setattr(capacity, "load", lambda _options: loaded)
    monkeypatch.setattr(routing, "load", lambda _options: loaded)
    monkeypatch.setattr(correction, "load", lambda _options: loaded)
    monkeypatch.setattr(routing_taught, "load", lambda _options: loaded)
    monkeypatch.setattr("benchmarks.methods.base.MiniLm", lambda *_: WordRetriever())


def _read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text())
    return document


@pytest.mark.usefixtures("tiny_programs")
def test_personal_writes_a_sweep(data_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.json"
    asked = ["--methods", "base,icl", "--shots", "2,4", "--seeds", "2", "--limit", "1", "--procedures", "2"]
    assert personal.main(["--data", str(data_folder), "--out", str(out), *asked]) == 0
    document = _read(out)
    assert document["seeds"] == [0, 1] and list(document["methods"]) == ["base", "icl"]
    assert [entry["setting"]["pairs"] for entry in document["sweep"]] == [2, 4]
    rows = out.with_name("p.predictions.jsonl").read_text().splitlines()
    # Two methods over two procedures; all four pairs are the same for both seeds, so they are measured once.
    assert len(rows) == 2 * 2 * (2 + 1)


@pytest.mark.usefixtures("tiny_programs")
def test_what_no_seed_changes_is_measured_once(data_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.json"
    asked = ["--methods", "base", "--seeds", "3", "--limit", "1", "--procedures", "2"]
    assert personal.main(["--data", str(data_folder), "--out", str(out), *asked]) == 0
    document = _read(out)
    assert document["seeds"] == [0, 1, 2] and document["methods"]["base"]["spread"]["rouge_l"] == 0
    assert len(out.with_name("p.predictions.jsonl").read_text().splitlines()) == 2


@pytest.mark.usefixtures("tiny_programs")
def test_widths_answer_under_the_same_memories(data_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "b.json"
    asked = ["--methods", "width-1,width-2", "--seeds", "1", "--limit", "1", "--procedures", "2"]
    assert beams.main(["--data", str(data_folder), "--out", str(out), *asked]) == 0
    methods = _read(out)["methods"]
    assert list(methods) == ["width-1", "width-2"]
    for method in methods.values():
        assert len(method["per_procedure"]) == 2 and 0 <= method["metrics"]["rouge_l"] <= 1
    assert methods["width-1"]["metrics"]["seconds_to_first"] == 1
    assert methods["width-2"]["metrics"]["seconds_to_first"] > 0


@pytest.mark.usefixtures("tiny_programs")
def test_routing_compares_all_methods(data_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    out = tmp_path / "r.json"
    asked = ["--shots", "2,4", "--seeds", "1", "--chat", str(data_folder / "chat.json")]
    assert routing.main(["--data", str(data_folder), "--out", str(out), *asked]) == 0
    methods = _read(out)["methods"]
    assert list(methods) == list(ROUTERS)
    for method in methods.values():
        for key in ("routing_accuracy", "none_auroc", "known_recall", "false_trigger_rate", "chat_false_trigger_rate"):
            assert 0 <= method["metrics"][key] <= 1
        assert method["metrics"]["add_seconds"] > 0


@pytest.mark.usefixtures("tiny_programs")
def test_corrections_are_replayed(data_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "c.json"
    asked = ["--shots", "1", "--seeds", "2", "--corrections", "1,2,50"]
    assert correction.main(["--data", str(data_folder), "--out", str(out), *asked]) == 0
    document = _read(out)
    assert list(document["methods"]) == list(METHODS)
    assert document["sweep"][0]["setting"] == {"shots": 1, "corrections": 0}
    first = [method["metrics"]["error"] for method in document["sweep"][0]["methods"].values()]
    assert len(set(first)) == 1, "nobody has corrected anything yet"
    uncorrected = [entry["methods"]["uncorrected"]["metrics"]["error"] for entry in document["sweep"]]
    assert len(set(uncorrected)) == 1, "without corrections nothing changes"
    for entry in document["sweep"]:
        assert entry["methods"]["ours"]["metrics"]["corrections"] <= entry["setting"]["corrections"]
    last = document["methods"]["ours"]["metrics"]
    rows = [json.loads(line) for line in out.with_name("c.predictions.jsonl").read_text().splitlines()]
    mine = [row for row in rows if row["method"] == "ours"]
    assert len(mine) == 2 * (3 * 3 + 1), "each seed types three more texts a procedure and one of chat"
    assert sum(row["route"] != row["procedure"] for row in mine) == pytest.approx(2 * last["corrections"])


@pytest.mark.usefixtures("tiny_programs")
def test_near_misses_are_corrected_and_the_others_counted(data_folder: Path, tmp_path: Path) -> None:
    misses = tmp_path / "misses.json"
    texts = [f"is apple number {i} any good?" for i in range(6)]
    misses.write_text(
        json.dumps({"chooses": {"apples": texts}, "looked at": {"pears": ["do pears keep?"], "x": ["y"]}})
    )
    out = tmp_path / "n.json"
    asked = ["--shots", "2", "--seeds", "2", "--corrections", "1,2", "--near-misses", str(misses)]
    assert correction.main(["--data", str(data_folder), "--out", str(out), *asked]) == 0
    document = _read(out)
    assert [entry["setting"]["bank"] for entry in document["sweep"]] == ["all", "all", "alone", "alone"]
    for entry in document["sweep"]:
        for method in entry["methods"].values():
            assert set(method["per_procedure"]) == {"apples", "pears"}
            found = method["per_procedure"]["apples"]
            assert found["corrections"] + found["near_misses"] == 6
            assert found["corrections"] <= entry["setting"]["corrections"]
            assert set(method["halves"]) == {"chooses", "looked at"}


@pytest.mark.usefixtures("tiny_programs")
def test_a_verdict_goes_through_the_profile(loaded: Loaded, tmp_path: Path) -> None:
    texts = ["apple number 1", "pear number 1", "plum and all that", "hello"]
    features = compute(Context(loaded, {}), texts, with_retriever=False)
    known = {"apples": [texts[0]], "pears": [texts[1]]}
    hidden = loaded.backbone.hidden_size
    with Replay(METHODS["ours"], tmp_path, features, loaded.basis, hidden, known) as user:
        before = user.rank([texts[2]])[0][0][0]
        right = next(route for route in (*known, "none") if route != before)
        assert user.say(Said(texts[2], right)) == before
        assert user.rank([texts[2]])[0][0][0] == right
        assert user.corrections == 1
    with ProfileStore(tmp_path) as store:
        assert [record.text for record in store.corrections.list()] == [texts[2]]


def test_an_unknown_method_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        personal.main(["--data", "x", "--out", str(tmp_path / "x.json"), "--methods", "base,magic"])
    assert "magic is none of base, icl" in capsys.readouterr().err


def test_a_missing_folder_is_a_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert personal.main(["--data", str(tmp_path / "no"), "--out", str(tmp_path / "x.json")]) == 1
    assert "is not a folder" in capsys.readouterr().err


def test_both_trainings_take_the_same_steps_to_the_same_loss(tiny_backbone: Callable[..., Any]) -> None:
    pairs = tuple(ExamplePair(f"say {i}", f"the number {i}") for i in range(8))
    found = measure_training(tiny_backbone("llama"), [Procedure("a", pairs), Procedure("b", pairs)], None)
    assert found["measured_steps"] == found["planned_steps_per_epoch"] == 4
    assert found["loss_difference"] < 1e-3
    assert found["cached"]["steps"]["forward"] < found["plain"]["steps"]["forward"] / 2
    assert found["cached"]["fill"]["backward"] == 0
    assert found["epochs"]["5"]["allowed_ratio"] > found["epochs"]["1"]["allowed_ratio"] > 1


def test_speed_knows_its_sections(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        speed.main(["--out", str(tmp_path / "s.json"), "--sections", "start,lunch"])
    assert "lunch is none of" in capsys.readouterr().err


def test_speed_beside_llama_cpp_asks_for_what_it_needs(
    loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = Context(loaded, {})
    with pytest.raises(UsageError, match="as a GGUF"):
        measure_llama(context, None)
    with pytest.raises(BadInputError, match="is no file"):
        measure_llama(context, tmp_path / "none.gguf")
    (tmp_path / "some.gguf").write_bytes(b"GGUF")
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(UsageError, match="needs xllamacpp"):
        measure_llama(context, tmp_path / "some.gguf")


@pytest.mark.parametrize("form", ["rows", "layers"])
def test_bank_measures_a_round_trip(tmp_path: Path, form: str) -> None:
    out = tmp_path / "bank.json"
    asked = ["--procedures", "3", "--runs", "2", "--forms", form, "--folder", str(tmp_path), "--out", str(out)]
    assert bank.main(asked) == 0
    found = _read(out)["forms"][form]
    assert found["bit_identical"] is True and found["megabytes"] > 1
    assert found["total_seconds"]["best"] >= found["import_seconds"]["best"] > 0
    assert [path.name for path in tmp_path.iterdir()] == ["bank.json"]


@pytest.mark.usefixtures("tiny_programs")
def test_a_bank_is_filled(data_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "f.json"
    asked = ["--shots", "3", "--limit", "2", "--sizes", "2,40", "--sections", "scale,rounds"]
    assert capacity.main(["--data", str(data_folder), "--out", str(out), *asked]) == 0
    entries = _read(out)["sweep"]
    scale = [e for e in entries if e["setting"]["section"] == "scale"]
    assert [e["setting"]["procedures"] for e in scale] == [2, 40]
    small, large = (e["methods"]["ours"]["metrics"] for e in scale)
    assert large["router_mb"] > 10 * small["router_mb"] and large["nearest_cosine"] > small["nearest_cosine"]
    rounds = [e for e in entries if e["setting"]["section"] == "rounds"]
    assert list(rounds[0]["methods"]) == ["token", "token-renormalised", "ours"]
    last = rounds[-1]["methods"]["token-renormalised"]["metrics"]
    assert last["latest_norm"] == pytest.approx(last["earlier_norm"], rel=0.01)


def test_made_procedures_are_as_alike_as_asked() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(2, 12, 64, generator=generator) + 2 * torch.randn(2, 1, 64, generator=generator)
    inputs = {name: part / part.norm(dim=1, keepdim=True) for name, part in zip("ab", rows, strict=True)}
    statistics = {name: RouterStatistics.of(part, "") for name, part in inputs.items()}
    real = capacity.Real(statistics, inputs, inputs, rows[0][:0])
    means = torch.stack([one.mean / one.mean.norm() for one in statistics.values()])
    nearest = []
    for similarity in (0.0, 0.5, 0.9):
        made = capacity.synthetic(real, 20, similarity, "")
        middles = torch.stack([one.mean / one.mean.norm() for one in made.values()])
        nearest.append(float((middles @ means.T).max(dim=1).values.mean()))
    assert nearest[0] < nearest[1] < nearest[2] and nearest[2] > 0.8


@pytest.mark.usefixtures("tiny_programs")
def test_a_space_that_an_encoder_taught_is_measured_on_both_halves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit_quickly(monkeypatch.setattr)
    words = ("apple", "plum", "fig", "date")
    intents = {
        word: {part: [f"{word} {part} {number}" for number in range(3)] for part in ("train", "test")} for word in words
    }
    data, texts, out = tmp_path / "intents.json", tmp_path / "texts.json", tmp_path / "taught.json"
    data.write_text(json.dumps({"intents": intents, "out_of_scope": {"test": ["how are you"]}}))
    texts.write_text(json.dumps(["an apple a day", ["eine Pflaume am Tag", "a plum a day"]]))
    asked = ["--data", str(data), "--texts", str(texts), "--out", str(out), "--shots", "2", "--seeds", "1"]
    assert routing_taught.main(asked) == 0
    document = _read(out)
    assert document["data"] == {"name": "intents.json", "routes": 4, "texts": 2}
    settings = [(entry["setting"]["weight"], entry["setting"]["half"]) for entry in document["sweep"]]
    assert settings == [(weight, half) for weight in routing_taught.WEIGHTS for half in ("chose", "looked at")]
    texts.write_text(json.dumps([["one", "two", "three"]]))
    assert routing_taught.main(asked) == BadInputError("").exit_code
