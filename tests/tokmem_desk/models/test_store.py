"""Converting once, atomically; finding, checking and removing what was converted."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from tokmem_desk.backbone.backbone import load_backbone
from tokmem_desk.backbone.traits import Traits, keep_traits, read_traits
from tokmem_desk.errors import (
    BadInputError,
    BusyError,
    IncompatibleError,
    InterruptedByUser,
    NotFoundError,
    OfflineError,
    StorageError,
)
from tokmem_desk.models import convert, fetch
from tokmem_desk.models.catalogue import CATALOGUE, DEFAULT_ID, find_entry
from tokmem_desk.models.record import read_record
from tokmem_desk.models.store import ModelStore
from tokmem_desk.system.device import DeviceChoice

CPU = DeviceChoice("cpu", "bfloat16", "test")


def silent(phase: str, fraction: float | None, text: str) -> None:
    """Progress nobody looks at."""


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models")


@pytest.fixture
def source(tiny_model_folder: Path, tmp_path: Path) -> Path:
    """A publisher's folder that a test may change."""
    return shutil.copytree(tiny_model_folder, tmp_path / "My Model")


def visible(store: ModelStore) -> list[str]:
    """Names of the folders that a user sees in the cache."""
    return (
        [path.name for path in store.folder.iterdir() if not path.name.startswith(".")] if store.folder.exists() else []
    )


# --- converting ------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "gemma3"])
def test_a_local_folder_is_converted_and_answers_as_before(
    store: ModelStore, tiny_folder: Callable[..., Path], family: str
) -> None:
    from bitsandbytes.nn.modules import Linear4bit
    from transformers import AutoModelForCausalLM

    origin = tiny_folder(family)
    assert not store.is_ready(str(origin))
    seen = []
    folder = store.ensure(str(origin), CPU, lambda phase, fraction, text: seen.append((phase, fraction, text)))
    assert {phase for phase, _, _ in seen} == {"convert"}
    assert seen[-1][1] == 1.0
    assert store.is_ready(str(origin))

    backbone = load_backbone(folder, CPU, "tiny")
    layers = [m for m in backbone.model.modules() if isinstance(m, Linear4bit)]
    assert len(layers) == 7 * backbone.layer_count
    assert {(layer.weight.quant_type, layer.weight.quant_state.nested) for layer in layers} == {("nf4", True)}
    assert {layer.compute_dtype for layer in layers} == {torch.bfloat16}
    assert backbone.format.has_template
    assert backbone.model.generation_config.eos_token_id == 2
    assert backbone.fingerprint.quantization == "nf4-double"

    plain = AutoModelForCausalLM.from_pretrained(origin, dtype=torch.float32)
    ids = torch.tensor([backbone.format.query("What is the weather today?")])
    with torch.no_grad():
        ours, theirs = backbone.model(ids).logits.float(), plain(ids).logits
    assert float(torch.cosine_similarity(ours, theirs, dim=-1).mean()) > 0.9


def test_the_record_says_what_was_done(store: ModelStore, source: Path) -> None:
    (source / "README.md").write_text("---\nlicense: apache-2.0\ntags: [x]\n---\n# Card\n")
    folder = store.ensure(str(source), CPU, silent)
    record = read_record(folder)
    assert record is not None
    assert record.licence == "apache-2.0"
    assert record.quantisation == "nf4-double"
    assert record.source == f"folder: {source}"
    assert record.created.endswith("+00:00")
    assert set(record.files) == {path.name for path in folder.iterdir()} - {"backbone.json"}
    assert {"chat_template.jinja", "config.json", "generation_config.json", "model.safetensors"} <= set(record.files)
    assert record.size == sum((folder / name).stat().st_size for name in record.files)
    assert folder.name.startswith("my-model-")
    assert [info.folder for info in store.list()] == [folder]
    assert store.info(str(source)).record == record
    store.verify(str(source))


def test_a_checkpoint_in_parts_is_the_same_model(store: ModelStore, source: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    parts = shutil.copytree(source, tmp_path / "parts")
    (parts / "model.safetensors").unlink()
    AutoModelForCausalLM.from_pretrained(source).save_pretrained(parts, max_shard_size="100KB")
    assert len(list(parts.glob("model-*.safetensors"))) > 2
    one, two = (load_file(store.ensure(str(s), CPU, silent) / "model.safetensors") for s in (source, parts))
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)

    gone = sorted(parts.glob("model-*.safetensors"))[-1]
    gone.unlink()
    with pytest.raises(IncompatibleError):
        store.ensure(str(parts), CPU, silent)
    (parts / "model.safetensors.index.json").write_text('{"weight_map": {"x": "../elsewhere.safetensors"}}')
    with pytest.raises(IncompatibleError):
        store.ensure(str(parts), CPU, silent)
    assert len(store.list()) == 2


def test_a_large_model_is_written_in_parts_and_loads(
    store: ModelStore, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convert, "_SHARD_BYTES", 50_000)
    folder = store.ensure(str(source), CPU, silent)
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    store.verify(str(source))
    load_backbone(folder, CPU, "parts")


def test_a_model_that_is_quantised_already_keeps_its_weights(store: ModelStore, source: Path, tmp_path: Path) -> None:
    """As publishers' own 4-bit folders are."""
    from safetensors.torch import load_file

    published = shutil.copytree(store.ensure(str(source), CPU, silent), tmp_path / "published-4bit")
    (published / "backbone.json").unlink()
    folder = store.ensure(str(published), CPU, silent)
    record = read_record(folder)
    assert record is not None and record.quantisation == "as published"
    before, after = (load_file(one / "model.safetensors") for one in (published, folder))
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    ids = torch.tensor([[3, 4, 5]])
    first, second = (load_backbone(one, CPU, "tiny").model(input_ids=ids).logits for one in (published, folder))
    assert torch.equal(first, second)


def test_the_second_time_nothing_is_done(store: ModelStore, source: Path) -> None:
    folder = store.ensure(str(source), CPU, silent)
    before = (folder / "model.safetensors").stat()

    def refuse(phase: str, fraction: float | None, text: str) -> None:
        raise AssertionError(text)

    assert store.ensure(str(source), CPU, refuse) == folder
    assert (folder / "model.safetensors").stat() == before
    assert not list((store.folder / ".work").iterdir())


def test_a_changed_source_is_another_model(store: ModelStore, source: Path) -> None:
    first = store.ensure(str(source), CPU, silent)
    os.utime(source / "model.safetensors", ns=(1, 1))
    assert not store.is_ready(str(source))
    assert store.ensure(str(source), CPU, silent) != first
    assert len(store.list()) == 2


def test_one_publisher_file_has_one_fingerprint_wherever_it_lies(
    store: ModelStore, source: Path, tmp_path: Path
) -> None:
    elsewhere = shutil.copytree(source, tmp_path / "elsewhere")
    one, two = (load_backbone(store.ensure(str(path), CPU, silent), CPU, path.name) for path in (source, elsewhere))
    assert one.fingerprint.digest == two.fingerprint.digest


@pytest.mark.parametrize(
    "changes",
    [
        {"intermediate_size": 100},
        {"hidden_size": 96, "head_dim": 24, "intermediate_size": 160},
        {"hidden_size": 48, "head_dim": 12, "intermediate_size": 33},
    ],
)
def test_odd_layer_sizes_still_load_and_run(
    store: ModelStore, tiny_folder: Callable[..., Path], changes: dict[str, int]
) -> None:
    """Rows that hold no whole number of NF4 blocks stay in bfloat16: the CPU kernel reads them wrongly."""
    from transformers import AutoModelForCausalLM

    origin = tiny_folder("llama", **changes)
    backbone = load_backbone(store.ensure(str(origin), CPU, silent), CPU, "odd")
    record = store.info(str(origin)).record
    assert record is not None
    assert "of odd size stay in bfloat16" in record.reason
    plain = AutoModelForCausalLM.from_pretrained(origin, dtype=torch.float32)
    ids = torch.tensor([backbone.format.query("What is the weather today?")])
    with torch.no_grad(), backbone.forms.decoding():
        ours = backbone.model(ids).logits.float()
    with torch.no_grad():
        theirs = plain(ids).logits
    assert float(torch.cosine_similarity(ours, theirs, dim=-1).mean()) > 0.9


def test_without_bitsandbytes_the_model_stays_in_bfloat16(
    store: ModelStore, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    real = importlib.util.find_spec
    absent = {"bitsandbytes"}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name in absent else real(name, *rest))
    backbone = load_backbone(store.ensure(str(source), CPU, silent), CPU, "plain")
    record = store.info(str(source)).record
    assert record is not None
    assert record.quantisation == "bfloat16"
    assert "bitsandbytes is not installed" in record.reason
    assert backbone.fingerprint.quantization == "none"
    assert not backbone.forms.can_pack


# --- interruptions ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "moment", ["text.startswith('Reading')", "(fraction or 0) > 0.4", "text.startswith('Writing')"]
)
def test_a_process_killed_while_converting_leaves_nothing_visible(store: ModelStore, source: Path, moment: str) -> None:
    program = (
        "import os, sys, pathlib\n"
        "from tokmem_desk.models.store import ModelStore\n"
        "from tokmem_desk.system.device import DeviceChoice\n"
        "def progress(phase, fraction, text):\n"
        f"    if {moment}: os._exit(9)\n"
        "store, source = ModelStore(pathlib.Path(sys.argv[1])), sys.argv[2]\n"
        "store.ensure(source, DeviceChoice('cpu', 'bfloat16', ''), progress)\n"
    )
    arguments = [sys.executable, "-c", program, str(store.folder), str(source)]
    done = subprocess.run(arguments, check=False, capture_output=True)
    assert done.returncode == 9, done.stderr.decode()
    assert any((store.folder / ".work").rglob("new"))
    assert visible(store) == []
    assert store.list() == []
    assert not store.is_ready(str(source))
    load_backbone(store.ensure(str(source), CPU, silent), CPU, "again")
    assert not list((store.folder / ".work").iterdir())


def test_cancelling_leaves_nothing_visible(store: ModelStore, source: Path) -> None:
    steps = []

    def cancelled() -> bool:
        return any(text.startswith("Converting") for text in steps)

    with pytest.raises(InterruptedByUser, match="Stopped while converting"):
        store.ensure(str(source), CPU, lambda phase, fraction, text: steps.append(text), cancelled)
    assert visible(store) == []
    assert store.ensure(str(source), CPU, silent).is_dir()


def test_a_full_disk_is_told_and_leaves_nothing(
    store: ModelStore, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import safetensors.torch

    def full(*_args: object, **_options: object) -> None:
        raise OSError(28, "No space left on device")

    from transformers import modeling_utils

    monkeypatch.setattr(modeling_utils, "safe_save_file", full)
    monkeypatch.setattr(safetensors.torch, "save_file", full)
    with pytest.raises(StorageError, match="disk is full"):
        store.ensure(str(source), CPU, silent)
    assert visible(store) == []


def test_space_is_checked_before_work_begins(store: ModelStore, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda _path: usage(10**9, 10**9, 1000))
    for wanted in ("default", str(source)):
        with pytest.raises(StorageError, match=r"needs about .* MiB in .*models, and 0 MiB are free"):
            store.ensure(wanted, CPU, silent)


def test_space_for_the_download_is_counted_too(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = store.resolve("default").entry
    assert entry is not None
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda _path: usage(10**9, 10**9, entry.space_bytes - 1))
    with pytest.raises(StorageError, match="needs about 689 MiB"):
        store.ensure("default", CPU, silent)


def test_two_processes_do_not_convert_at_once(store: ModelStore, source: Path) -> None:
    locks = store.folder / ".locks"
    locks.mkdir(parents=True)
    slug = store.resolve(str(source)).slug
    waiting, texts = threading.Event(), []

    def progress(phase: str, fraction: float | None, text: str) -> None:
        texts.append(text)
        waiting.set()

    with FileLock(locks / f"{slug}.lock"):
        with pytest.raises(InterruptedByUser, match="waiting for another process"):
            store.ensure(str(source), CPU, silent, lambda: True)
        (store.folder / slug).mkdir()
        with pytest.raises(BusyError, match="being prepared by another process"):
            store.remove(str(source))
        thread = threading.Thread(target=store.ensure, args=(str(source), CPU, progress))
        thread.start()
        assert waiting.wait(10)
        assert texts[0].startswith("Waiting: another process")
        assert read_record(store.folder / slug) is None
    thread.join(60)
    assert store.is_ready(str(source))


# --- bad input -------------------------------------------------------------------------------------


def test_truncated_weights_are_refused(store: ModelStore, source: Path) -> None:
    weights = source / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(IncompatibleError, match=r"My Model cannot be loaded as a causal language model .*complete"):
        store.ensure(str(source), CPU, silent)
    assert visible(store) == []


def test_folders_that_are_no_model(store: ModelStore, source: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(BadInputError, match=r"holds no model: there is no config.json"):
        store.ensure(str(empty), CPU, silent)
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**config, "architectures": ["BertModel"], "model_type": "bert"}))
    with pytest.raises(IncompatibleError, match="is a BertModel, not a causal language model"):
        store.ensure(str(source), CPU, silent)
    (source / "config.json").write_text("not json")
    with pytest.raises(IncompatibleError, match="cannot be loaded as a causal language model"):
        store.ensure(str(source), CPU, silent)
    (source / "model.safetensors").rename(source / "pytorch_model.bin")
    with pytest.raises(BadInputError, match=r"no \.safetensors weights; pickled weights are not loaded"):
        store.ensure(str(source), CPU, silent)


def test_code_that_comes_with_a_model_is_not_run(store: ModelStore, source: Path, tmp_path: Path) -> None:
    config = json.loads((source / "config.json").read_text())
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}}
    (source / "config.json").write_text(json.dumps(config))
    (source / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Config: pass\nclass Model: pass\n")
    with pytest.raises(IncompatibleError):
        store.ensure(str(source), CPU, silent)
    assert not (tmp_path / "ran").exists()


def test_gguf_files_that_are_none(store: ModelStore, tmp_path: Path) -> None:
    wrong = tmp_path / "notes.gguf"
    wrong.write_text("just text")
    with pytest.raises(BadInputError, match=r"notes.gguf is not a GGUF file"):
        store.ensure(str(wrong), CPU, silent)
    text = tmp_path / "model.txt"
    text.write_text("x")
    with pytest.raises(BadInputError, match=r"model.txt is a file, but no \.gguf file"):
        store.resolve(str(text))
    with pytest.raises(NotFoundError, match="There is no model at"):
        store.resolve(str(tmp_path / "missing.gguf"))


@pytest.mark.parametrize("keep", [4, 100, 3000])
def test_a_truncated_gguf_is_refused(store: ModelStore, tmp_path: Path, keep: int) -> None:
    import gguf

    path = tmp_path / "cut.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(2)
    writer.add_context_length(64)
    writer.add_token_list([f"token {i}" for i in range(400)])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    assert path.stat().st_size > keep
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(IncompatibleError, match=r"cut.gguf cannot be loaded .* Check that the download is complete"):
        store.ensure(str(path), CPU, silent)
    assert visible(store) == []


# --- names -----------------------------------------------------------------------------------------


def test_names(store: ModelStore, source: Path) -> None:
    default = store.resolve("default")
    assert (default.id, default.kind) == (DEFAULT_ID, "wheel")
    assert store.resolve("SmolLM2-135M-Instruct") == default
    assert store.resolve("gemma-3-270m").kind == "wheel"
    listed = store.resolve("qwen2.5-0.5b-instruct")
    assert (listed.id, listed.kind) == ("Qwen/Qwen2.5-0.5B-Instruct", "hub")
    other = store.resolve("someone/Some-Model_1.5")
    assert (other.kind, other.slug, other.entry) == ("hub", "someone--some-model_1.5", None)
    local = store.resolve(str(source))
    assert (local.kind, local.path) == ("folder", source)


@pytest.mark.parametrize(
    ("wanted", "hint"),
    [
        ("smollm2-135m-instuct", "Did you mean 'smollm2-135m-instruct'?"),
        ("qwen2.5-05b-instruct", "Did you mean 'Qwen2.5-"),
        ("defalt", "Did you mean 'default'?"),
        ("", "No model is called ''"),
    ],
)
def test_unknown_names_get_a_hint(store: ModelStore, wanted: str, hint: str) -> None:
    with pytest.raises(NotFoundError, match="tokmem-desk model list") as caught:
        store.resolve(wanted)
    assert hint in str(caught.value)


def test_a_converted_model_is_found_by_its_folder_name_when_its_source_is_gone(store: ModelStore, source: Path) -> None:
    folder = store.ensure(str(source), CPU, silent)
    shutil.rmtree(source)
    assert store.resolve(folder.name).kind == "stored"
    assert store.ensure(folder.name, CPU, silent) == folder
    (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(IncompatibleError, match="its source is gone"):
        store.ensure(folder.name, CPU, silent)
    assert store.remove(folder.name) > 0


def test_the_catalogue_is_sound() -> None:
    assert find_entry("default") is find_entry(DEFAULT_ID)
    assert len({entry.id.lower() for entry in CATALOGUE}) == len(CATALOGUE)
    for entry in CATALOGUE:
        assert entry.licence
        assert entry.licence_url.startswith("https://")
        assert 0 < entry.parameters < 10**10
        assert min(entry.download_bytes, entry.disk_bytes, entry.memory_bytes) > 50 * 2**20
        assert entry.download_bytes >= sum(part.size for part in entry.wheels)
        hashes = [part.sha256 for part in entry.wheels] + [entry.file_sha256] * bool(entry.wheels)
        assert all(len(value) == 64 and int(value, 16) for value in hashes)
        assert bool(entry.wheels) != ("/" in entry.id)


# --- offline, damage, removal ----------------------------------------------------------------------


def test_offline_names_the_command_that_fetches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    store = ModelStore(tmp_path / "models", offline=True)
    for wanted, named in (("default", DEFAULT_ID), ("Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B"), ("no/one", "no/one")):
        assert not store.is_ready(wanted)
        with pytest.raises(OfflineError, match=f"tokmem-desk model pull {named} --yes"):
            store.ensure(wanted, CPU, silent)


def test_offline_uses_what_is_converted(store: ModelStore, source: Path) -> None:
    folder = store.ensure(str(source), CPU, silent)
    assert ModelStore(store.folder, offline=True).ensure(str(source), CPU, silent) == folder


def test_damage_is_seen_and_repaired(store: ModelStore, source: Path) -> None:
    wanted = str(source)
    weights = store.ensure(wanted, CPU, silent) / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-100])
    assert not store.is_ready(wanted)
    with pytest.raises(IncompatibleError, match=r"model.safetensors has [\d,]+ bytes, not [\d,]+"):
        store.verify(wanted)
    store.ensure(wanted, CPU, silent)
    assert store.is_ready(wanted)

    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert store.is_ready(wanted)
    with pytest.raises(IncompatibleError, match="model.safetensors has changed"):
        store.verify(wanted)

    (weights.parent / "tokenizer.json").unlink()
    assert not store.is_ready(wanted)
    (weights.parent / "backbone.json").write_text("{")
    assert store.list() == []
    with pytest.raises(NotFoundError, match="record is damaged"):
        store.verify(wanted)
    store.ensure(wanted, CPU, silent)
    store.verify(wanted)


def test_a_record_of_another_model_is_named_not_the_files_it_speaks_of(
    store: ModelStore, tiny_folder: Callable[..., Path]
) -> None:
    one, other = (store.ensure(str(tiny_folder(family)), CPU, silent) for family in ("llama", "qwen2"))
    shutil.copyfile(other / "backbone.json", one / "backbone.json")
    assert store.damage(str(tiny_folder("llama"))) == "backbone.json has changed"
    store.ensure(str(tiny_folder("llama")), CPU, silent)
    assert store.damage(str(tiny_folder("llama"))) == ""


def test_a_record_of_a_newer_version_is_not_read(store: ModelStore, source: Path) -> None:
    path = store.ensure(str(source), CPU, silent) / "backbone.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    assert read_record(path.parent) is None
    assert not store.is_ready(str(source))


def test_removing(store: ModelStore, source: Path) -> None:
    with pytest.raises(NotFoundError, match="is not in the cache"):
        store.remove("default")
    folder = store.ensure(str(source), CPU, silent)
    leftover = store.folder / ".work" / folder.name / "wheels"
    leftover.mkdir(parents=True)
    (leftover / "part.whl").write_bytes(b"x" * 1000)
    size = sum(path.stat().st_size for path in folder.iterdir())
    keep_traits(folder, "key", Traits("rows"))
    assert read_traits(folder) is not None
    assert store.remove(str(source)) == size + 1000
    assert read_traits(folder) is None, "what was found about it goes with it"
    assert not folder.exists()
    assert not leftover.exists()
    assert store.list() == []
    assert source.exists()


@pytest.mark.real_model
def test_the_default_is_ready_offline_once_fetched(real_model_store: ModelStore) -> None:
    store = ModelStore(real_model_store.folder, offline=True)
    info = store.info("default")
    assert info.record is not None
    assert info.record.licence == "Apache-2.0"
    assert info.record.size < 130 * 2**20
    assert store.ensure("default", CPU, silent).name == DEFAULT_ID
    store.verify("default")
