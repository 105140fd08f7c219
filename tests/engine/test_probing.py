"""Banks out of one home into another: the same routes and answers, or a refusal that says why."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from profiles.store.store import ProfileStore
from tests.banks import files_of, zipped
from tests.engine.conftest import copy_model, result_of, run_engine
from tokmem_desk.bank.reader import OpenBank, open_bank
from tokmem_desk.errors import BadInputError, IncompatibleError, UsageError
from tokmem_desk.memory.file_bytes import take_apart
from tokmem_desk.memory.safetensors_header import read_header
from tokmem_desk.system.file_checks import fitted_ledger, hash_file
from tui.banks.transfer import choose, incoming, plan, prepare_export, refuse_failed, stage, verdict_of, write_export
from tui.engine_client.client import EngineClient, run_blocking
from tui.shared.overview import procedure_lines

MESSAGES = ["say tea 2", "5 of 12 euro", "hello there", "what is the capital of Norway"]


def opened_store(home: Path) -> ProfileStore:
    with ProfileRegistry(AppPaths.resolve(home)) as registry:
        return registry.open()


def exported(
    client: EngineClient, home: Path, file: Path, names: list[str] | None = None, **more: Any
) -> dict[str, Any]:
    backbone = result_of(client, "load")
    with_pairs = bool(more.get("with_pairs"))
    with opened_store(home) as store:
        memories = choose(store, backbone["fingerprint"], names or [])
        probed = result_of(client, "bank_probes", names=[m.procedure for m in memories], with_pairs=with_pairs)
        write_export(file, prepare_export(store, file.stem, memories, probed, **{"with_pairs": False, **more}))
    return probed


def imported(client: EngineClient, home: Path, bank: OpenBank, **tampered: Any) -> dict[str, Any]:
    backbone = result_of(client, "load")
    with opened_store(home) as store, store.banks.quarantine() as folder:
        placements = plan(bank, store, "rename")
        fields = {**stage(bank, placements, store, folder, backbone["router"]), **tampered}
        checked = result_of(client, "bank_check", **fields)
        refuse_failed(checked)
        store.banks.add(incoming(bank, placements, checked["files"]), folder)
    return checked


@pytest.fixture
def elsewhere(tmp_path: Path, prepared_home: Path) -> Path:
    """Another home with the same model and nothing in it."""
    home = tmp_path / "elsewhere"
    copy_model(prepared_home, home)
    return home


def behaviour(client: EngineClient) -> Any:
    routes = result_of(client, "route", texts=MESSAGES)["routes"]
    answers = [
        result_of(client, "ask", text=text, route=route, max_tokens=6)["response"]
        for text in MESSAGES[:2]
        for route in ("auto", "shout", "count")
    ]
    return routes, answers


def test_routes_and_answers_are_the_same_elsewhere(
    trained: EngineClient, trained_home: Path, elsewhere: Path, tiny_model_folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "all.tokmem"
    probed = exported(trained, trained_home, file)
    assert len(probed["probes"]) == 2 and probed["fresh"] == {}
    assert not any("say " in probe["prompt"] or "euro" in probe["prompt"] for probe in probed["probes"])
    before = behaviour(trained)
    with open_bank(file) as bank, opened_store(trained_home) as store:
        for one in bank.manifest.procedures:
            [record] = [m for m in store.memories.list(one.name) if m.status == "active"]
            mine, theirs = take_apart(store.memories.read(record.file), "x"), take_apart(bank.memory(one), "y")
            assert {n: bytes(b.data) for n, b in mine.blocks.items()} == {
                n: bytes(b.data) for n, b in theirs.blocks.items()
            }

        def use(client: EngineClient) -> Any:
            checked = imported(client, elsewhere, bank)
            assert checked["passed"] and not checked["turned"] and len(checked["probes"]) == 2
            return behaviour(client)

        assert run_engine(elsewhere, tiny_model_folder, use) == before


def test_one_procedure_with_its_pairs(
    trained: EngineClient, trained_home: Path, elsewhere: Path, tiny_model_folder: Path, tmp_path: Path
) -> None:
    with opened_store(trained_home) as store:
        store.corrections.add("please shout tea", "none", "shout")
        store.corrections.add("shout nothing", "shout", "count")
        pairs = store.procedures.with_pairs("shout")
    probed = exported(trained, trained_home, tmp_path / "one.tokmem", ["shout"], with_pairs=True, licence="CC0-1.0")
    assert probed["probes"][0]["prompt"] == pairs.pairs[0].input
    with open_bank(tmp_path / "one.tokmem") as bank:
        assert bank.manifest.names == ["shout"] and bank.manifest.licence == "CC0-1.0"
        assert [one.text for one in bank.corrections] == ["please shout tea"]
        run_engine(elsewhere, tiny_model_folder, lambda client: imported(client, elsewhere, bank))
    with opened_store(elsewhere) as store:
        assert store.procedures.with_pairs("shout") == pairs
        assert [one.right_route for one in store.corrections.list()] == ["shout"]
        assert store.procedures.to_train(bank.manifest.backbone.digest) == []


def test_a_space_that_is_turned_elsewhere_is_turned_back(
    trained: EngineClient, trained_home: Path, elsewhere: Path, tiny_model_folder: Path, tmp_path: Path
) -> None:
    """Another machine may find the same router with other signs and angles: nothing but those may differ."""
    exported(trained, trained_home, tmp_path / "all.tokmem")
    before = behaviour(trained)
    turn_stored_space(elsewhere)

    def use(client: EngineClient) -> Any:
        with open_bank(tmp_path / "all.tokmem") as bank:
            assert imported(client, elsewhere, bank)["turned"]
            return behaviour(client)

    routes, answers = run_engine(elsewhere, tiny_model_folder, use)
    assert answers == before[1]
    # The quick fit of the tests leaves more noise in the directions that are turned than a whole one (.02).
    assert_same_routes(before[0], routes, within=0.1)


def test_own_procedures_are_measured_anew_in_a_space_that_was_fitted_anew(
    trained: EngineClient, trained_home: Path, tiny_model_folder: Path
) -> None:
    """Their statistics of the old space would send every message to none, or anywhere."""
    before, _ = behaviour(trained)
    turn_stored_space(trained_home)
    after, _ = run_engine(trained_home, tiny_model_folder, behaviour)
    assert_same_routes(before, after, within=0.05)


def test_what_came_without_pairs_has_to_come_again_then(
    trained: EngineClient, trained_home: Path, elsewhere: Path, tiny_model_folder: Path, tmp_path: Path
) -> None:
    exported(trained, trained_home, tmp_path / "all.tokmem")

    def bring(client: EngineClient) -> None:
        with open_bank(tmp_path / "all.tokmem") as bank:
            imported(client, elsewhere, bank)

    def look(client: EngineClient) -> Any:
        events = run_blocking(client.submit("ask", profile="default", text="hello", max_tokens=2))
        return [event["text"] for event in events if event.get("phase") == "problem"]

    run_engine(elsewhere, tiny_model_folder, bring)
    assert run_engine(elsewhere, tiny_model_folder, look) == []
    turn_stored_space(elsewhere)
    problems = run_engine(elsewhere, tiny_model_folder, look)
    assert len(problems) == 2 and all("imported or trained again" in one for one in problems)


def test_the_space_outlives_the_model(
    trained: EngineClient, trained_home: Path, prepared_home: Path, tiny_model_folder: Path
):
    before, _ = behaviour(trained)
    paths = AppPaths.resolve(trained_home)
    shutil.rmtree(paths.models)
    shutil.copytree(AppPaths.resolve(prepared_home).models, paths.models)
    phases: set[str] = set()

    def load(client: EngineClient) -> Any:
        phases.update(str(event.get("phase")) for event in run_blocking(client.submit("load")))
        return behaviour(client)[0]

    for copy in paths.models.rglob("*router.safetensors"):
        copy.unlink()
    assert run_engine(trained_home, tiny_model_folder, load) == before
    assert "load" in phases and "calibrate" not in phases


def test_another_home_on_the_same_cache_need_not_fit_again(
    prepared_home: Path, tmp_path: Path, tiny_model_folder: Path
) -> None:
    one, other = AppPaths.resolve(prepared_home), AppPaths.resolve(tmp_path)
    shutil.copytree(one.models, other.models)
    phases: set[str] = set()

    def load(client: EngineClient) -> None:
        phases.update(str(event.get("phase")) for event in run_blocking(client.submit("load")))

    run_engine(tmp_path, tiny_model_folder, load)
    assert "load" in phases and "calibrate" not in phases
    [kept], [copied] = (list(paths.fitted.glob("*-router.safetensors")) for paths in (one, other))
    assert kept.read_bytes() == copied.read_bytes()


def assert_same_routes(expected: list[dict[str, Any]], found: list[dict[str, Any]], *, within: float) -> None:
    """The same route for each message, and probabilities that are hardly different."""
    for one, other in zip(expected, found, strict=True):
        assert other["route"] == one["route"]
        probable, now = ({c["route"]: c["probability"] for c in of["candidates"]} for of in (one, other))
        assert now == pytest.approx(probable, abs=within)


def turn_stored_space(home: Path) -> None:
    """As fitting the router on another machine does, and writing it."""
    from safetensors.torch import load, save

    from tokmem_desk.memory.file import read_metadata

    [file] = AppPaths.resolve(home).fitted.glob("*-router.safetensors")
    data = file.read_bytes()
    tensors, metadata = load(data), read_metadata(data)
    generator = torch.Generator().manual_seed(1)
    k = tensors["projection"].shape[1]
    turn, _ = torch.linalg.qr(torch.randn(k, k, generator=generator))
    tensors["projection"], tensors["chat"] = tensors["projection"] @ turn, tensors["chat"] @ turn
    file.write_bytes(save(tensors, metadata))
    fitted_ledger(file.parent).settle(file, hash_file(file))


def test_probes_tell_when_something_is_wrong(
    trained: EngineClient, trained_home: Path, elsewhere: Path, tiny_model_folder: Path, tmp_path: Path
) -> None:
    exported(trained, trained_home, tmp_path / "all.tokmem")

    def use(client: EngineClient) -> None:
        with open_bank(tmp_path / "all.tokmem") as bank:
            probes = [probe.as_dict() for probe in bank.probes]
            other_tokens = [{**p, "tokens": [[token, value - 4] for token, value in p["tokens"]]} for p in probes]
            other_route = [{**p, "probability": 1 - p["probability"]} for p in probes]
            other_likeness = [{**p, "likeness": p["likeness"] - 0.4} for p in probes]
            no_token = [{**p, "tokens": [[10**6, -1.0]]} for p in probes]
            for wrong, said in (
                (other_tokens, "answer begins differently"),
                (other_route, "has probability"),
                (other_likeness, "likeness"),
                (no_token, "does not exist"),
            ):
                with pytest.raises(IncompatibleError, match=f"2 of 2 test messages.*{said}"):
                    imported(client, elsewhere, bank, probes=wrong)
            swapped = swap_steering(bank)
            with pytest.raises(IncompatibleError, match="test messages came out otherwise"):
                imported(client, elsewhere, swapped)

    run_engine(elsewhere, tiny_model_folder, use)
    with opened_store(elsewhere) as store:
        assert store.procedures.list() == [] and not store.banks.quarantine_folder.exists()


def swap_steering(bank: OpenBank) -> Any:
    """The bank with every number of its keys and rows negated: the right shapes, the wrong memory."""
    from dataclasses import replace

    from tokmem_desk.memory.file_bytes import put_together

    class Wrong:
        def __getattr__(self, name: str) -> Any:
            return getattr(bank, name)

        def memory(self, procedure: Any, name: str | None = None) -> bytes:
            parts = take_apart(bank.memory(procedure, name), "x")
            turned = {
                key: replace(
                    block, data=(-torch.frombuffer(bytearray(block.data), dtype=torch.float32)).numpy().tobytes()
                )
                if key.split(".")[0] in ("steering", "keys", "values")
                else block
                for key, block in parts.blocks.items()
            }
            return put_together(replace(parts, blocks=turned))

    return Wrong()


def test_another_model_is_refused_or_offers_training(
    trained: EngineClient, trained_home: Path, tmp_path: Path, tiny_folder: Callable[..., Path]
) -> None:
    exported(trained, trained_home, tmp_path / "bare.tokmem")
    exported(trained, trained_home, tmp_path / "pairs.tokmem", with_pairs=True)
    here = result_of(trained, "load")["identity"]
    other = {**here, "model_id": "other", "weights_sha256": "0" * 64, "digest": "f" * 64}
    with open_bank(tmp_path / "bare.tokmem") as bare, open_bank(tmp_path / "pairs.tokmem") as pairs:
        assert verdict_of(bare, here).kind == "fits"
        assert "test messages will tell" in verdict_of(bare, {**here, "compute_dtype": "float16"}).reason
        refused, offered = verdict_of(bare, other), verdict_of(pairs, other)
        assert (refused.kind, offered.kind) == ("refused", "retrain")
        assert "the model here is other: weights differs" in refused.reason


def test_what_has_no_memory_cannot_be_exported(client: EngineClient, home: Path) -> None:
    with pytest.raises(UsageError, match="no memory for this model"):
        result_of(client, "bank_probes", names=["shout"])
    fingerprint = result_of(client, "load")["fingerprint"]
    with opened_store(home) as store, pytest.raises(UsageError, match="Train it: tokmem-desk train shout"):
        choose(store, fingerprint, ["shout"])


# Banks that want other people's messages


def changed(file: Path, target: Path, tensor: str, change: Callable[[Any], Any]) -> Path:
    """A bank with other numbers in one tensor, and right checksums."""
    files = files_of(file.read_bytes())
    data = bytearray(files["bank.safetensors"])
    header = read_header(bytes(data), len(data))
    at = header.tensors[tensor]
    kind = {"F32": "<f4", "I32": "<i4"}[at.dtype]
    numbers = np.frombuffer(bytes(data[header.start + at.begin : header.start + at.end]), kind)
    data[header.start + at.begin : header.start + at.end] = change(numbers.copy()).astype(kind).tobytes()
    manifest = json.loads(files["manifest.json"])
    manifest["files"]["bank.safetensors"]["sha256"] = hashlib.sha256(data).hexdigest()
    target.write_bytes(
        zipped({**files, "bank.safetensors": bytes(data), "manifest.json": json.dumps(manifest).encode()})
    )
    return target


def test_statistics_that_no_inputs_have_are_refused(trained: EngineClient, trained_home: Path, tmp_path: Path) -> None:
    honest = tmp_path / "all.tokmem"
    exported(trained, trained_home, honest)
    before = behaviour(trained)
    cases: list[tuple[str, Callable[[Any], Any], str]] = [
        ("router.mean", lambda x: x * 1.05, "cannot have"),
        ("router.mean", lambda x: x * 1.5, "mean of length|cannot have"),
        ("router.scatter", lambda x: -x - 1, "negative scatter"),
        ("router.scatter", lambda x: x * 3, "cannot have"),
        ("router.count", lambda x: np.full_like(x, 2**31 - 1), "count 2,147,483,647"),
        ("router.count", lambda x: x * 4, "cannot have"),
        ("router.sketch", lambda x: x * 3, "low-rank scatter"),
        ("address", lambda x: x * 0 + 1e30, "address"),
    ]
    for tensor, change, said in cases:
        file = changed(honest, tmp_path / "bad.tokmem", tensor, change)
        with open_bank(file) as bank, pytest.raises(BadInputError, match=said):
            imported(trained, trained_home, bank)
    with opened_store(trained_home) as store:
        assert [one.name for one in store.procedures.list()] == ["count", "shout"]
    assert behaviour(trained) == before


def test_more_inputs_than_pairs_are_refused(trained: EngineClient, trained_home: Path, tmp_path: Path) -> None:
    exported(trained, trained_home, tmp_path / "all.tokmem")
    with (
        open_bank(tmp_path / "all.tokmem") as bank,
        opened_store(trained_home) as store,
        store.banks.quarantine() as folder,
    ):
        fields = stage(bank, plan(bank, store, "rename"), store, folder, result_of(trained, "load")["router"])
        fields["memories"] = [{**one, "pairs": 3} for one in fields["memories"]]
        with pytest.raises(BadInputError, match="made from 3 pairs"):
            result_of(trained, "bank_check", **fields)


def is_guest(client: EngineClient, name: str) -> bool:
    """What an answer says of the procedure that gives it."""
    events = run_blocking(client.submit("ask", profile="default", text="say tea", route=name, max_tokens=1))
    return next(bool(event["guest"]) for event in events if event["event"] == "route")


def test_a_twin_out_of_a_bank_gives_way_until_it_is_accepted(
    trained: EngineClient, trained_home: Path, tmp_path: Path
) -> None:
    exported(trained, trained_home, tmp_path / "all.tokmem")
    with open_bank(tmp_path / "all.tokmem") as bank:
        checked = imported(trained, trained_home, bank)
    assert checked["overlap"] == []
    routes = result_of(trained, "route", texts=MESSAGES[:2])["routes"]
    assert [one["route"] for one in routes] == ["shout", "count"]
    with opened_store(trained_home) as store:
        fingerprint = result_of(trained, "load")["fingerprint"]
        origins = {one.procedure: one.imported_from for one in store.memories.all_active(fingerprint)}
        assert origins == {"count": "", "shout": "", "count-2": "all.tokmem", "shout-2": "all.tokmem"}
        assert procedure_lines(store, fingerprint)[-1].words == "trained, v1, from all.tokmem"
        assert [is_guest(trained, name) for name in ("shout", "shout-2")] == [False, True]
        assert (store.memories.accept("shout-2"), store.memories.accept("shout-2")) == (1, 0)
        assert not is_guest(trained, "shout-2")
        assert procedure_lines(store, fingerprint)[-1].words == "trained, v1"
