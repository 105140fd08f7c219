"""Memories of many people from a store: bounded, checked, each for its owner alone, errors for one request alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tokmem_vllm import small_model
from tokmem_desk.errors import BadInputError, DamagedError, IncompatibleError, NotFoundError, StorageError
from tokmem_desk.memory.file import memory_to_bytes
from tokmem_vllm.bank_service import SUFFIX, BankService, put_memory, share_memory


def _service(root: str | Path, **more: Any) -> BankService:
    return BankService(str(root), small_model.facts(), **more)


def _file(seed: int) -> bytes:
    return small_model.file_of(small_model.memory(seed))


def _path(root: Path, person: str, digest: str) -> Path:
    return root / person / f"{digest}{SUFFIX}"


def until(found: Callable[[], Any]) -> Any:
    """What it gives, once it gives something; a broken test ends by pytest's own limit."""
    while (value := found()) is None:
        time.sleep(0.005)
    return value


class Store:
    """A file system that does what a test wants."""

    protocol = "test"

    def __init__(self, answer: Callable[[str], bytes]) -> None:
        self.answer = answer
        self.asked: list[str] = []

    def cat_file(self, path: str, end: int | None = None) -> bytes:
        self.asked.append(path)
        return self.answer(path)[:end]


def _with_store(answer: Callable[[str], bytes], **more: Any) -> tuple[BankService, Store]:
    service, store = _service("memory://banks", **more), Store(answer)
    service._files = store
    return service, store


@pytest.mark.parametrize("scheme", ["", "memory://"])
def test_a_memory_is_loaded_when_it_is_asked_for(tmp_path, scheme) -> None:
    root = f"{scheme}{tmp_path}"
    digest = put_memory(root, "anna", _file(0))
    service = _service(root)
    assert service.loads == 0
    memory = until(lambda: service.ask("anna", digest))
    assert torch.equal(memory.steering.rows, small_model.memory(0).steering.rows)
    assert service.memory("anna", digest) is memory
    assert service.loads == 1


def test_knowing_a_digest_is_no_way_to_a_memory(tmp_path) -> None:
    digest = put_memory(str(tmp_path), "anna", _file(0))
    service = _service(tmp_path)
    service.memory("anna", digest)
    with pytest.raises(NotFoundError, match="no memory .* of this person"):
        service.memory("ben", digest)


@pytest.mark.parametrize(
    "change", [lambda data: data[:-1], lambda data: data + b"x", lambda data: b"", lambda _: _file(1)]
)
def test_what_is_not_what_was_written_is_refused_at_every_load(tmp_path, change) -> None:
    good = _file(0)
    digest = put_memory(str(tmp_path), "anna", good)
    service = _service(tmp_path, most_bytes=1)
    service.memory("anna", digest)
    service.memory("anna", put_memory(str(tmp_path), "anna", _file(2)))
    place = _path(tmp_path, "anna", digest)
    place.write_bytes(change(place.read_bytes()))
    with pytest.raises(DamagedError, match="is not what was written"):
        service.memory("anna", digest)
    place.write_bytes(good)
    assert service.memory("anna", digest)


def test_a_store_that_mixes_people_up_is_found_out() -> None:
    files = [_file(0), _file(1)]
    digests = [put_memory("memory://mixed", person, file) for person, file in zip(("anna", "ben"), files, strict=True)]
    service, _ = _with_store(lambda path: files[1] if "anna" in path else files[0])
    for person, digest in zip(("anna", "ben"), digests, strict=True):
        with pytest.raises(DamagedError):
            service.memory(person, digest)


def test_a_memory_of_another_model_is_refused(tmp_path) -> None:
    other = memory_to_bytes(small_model.memory(0), replace(small_model.PRINT, weights_sha256="other"))
    with pytest.raises(IncompatibleError, match="was trained for"):
        _service(tmp_path).memory("anna", put_memory(str(tmp_path), "anna", other))


def test_bytes_are_bounded_and_those_used_longest_ago_go(tmp_path) -> None:
    digests = [put_memory(str(tmp_path), f"person{n}", _file(n)) for n in range(6)]
    size = len(_file(0))
    service = _service(tmp_path, most_bytes=3 * size + size // 2)
    for n, digest in enumerate(digests):
        service.memory(f"person{n}", digest)
        service.memory("person0", digests[0])
        assert service.bytes <= 3 * size + size // 2
    loads = service.loads
    service.memory("person0", digests[0])
    service.memory("person5", digests[5])
    assert service.loads == loads
    service.memory("person1", digests[1])
    assert service.loads == loads + 1


def test_one_memory_larger_than_the_bound_is_still_used(tmp_path) -> None:
    service = _service(tmp_path, most_bytes=10)
    assert service.memory("anna", put_memory(str(tmp_path), "anna", _file(0)))


def test_a_store_that_hangs_holds_nobody_else_up() -> None:
    go_on = threading.Event()
    file = _file(0)
    digest = put_memory("memory://any", "ben", file)

    def answer(path: str) -> bytes:
        if "anna" in path:
            go_on.wait()
        return file

    service, _ = _with_store(answer, seconds=0.2)
    try:
        assert service.ask("anna", digest) is None
        assert until(lambda: service.ask("ben", digest))
        with pytest.raises(StorageError, match="did not come within 0.2 seconds"):
            until(lambda: service.ask("anna", digest))
    finally:
        go_on.set()
    assert until(lambda: service.ask("anna", digest))


@pytest.mark.parametrize("error", [OSError("disk"), RuntimeError("bucket"), ConnectionError(), PermissionError()])
def test_whatever_a_store_raises_is_an_error_of_ours_and_the_next_request_tries_again(error) -> None:
    file, broken = _file(0), [error]
    digest = put_memory("memory://any", "anna", file)

    def answer(path: str) -> bytes:
        if broken:
            raise broken.pop()
        return file

    service, store = _with_store(answer)
    with pytest.raises(StorageError, match=f"cannot be read \\({type(error).__name__}\\)"):
        service.memory("anna", digest)
    assert service.memory("anna", digest)
    assert len(store.asked) == 2


def test_a_store_that_sends_no_end_is_cut(monkeypatch) -> None:
    monkeypatch.setattr("tokmem_vllm.bank_service.LARGEST_FILE", 1000)
    service, _ = _with_store(lambda path: b"x" * 10**6)
    with pytest.raises(DamagedError, match="larger than any"):
        service.memory("anna", "0" * 64)


@pytest.mark.parametrize(
    ("root", "why"), [("", "No place of memories is named"), ("nothing://x", "cannot be read from nothing://")]
)
def test_places_that_cannot_be(root, why) -> None:
    with pytest.raises(BadInputError, match=why):
        _service(root)


def test_a_bank_that_vanishes_fails_only_what_is_not_here(tmp_path) -> None:
    first, second = (put_memory(str(tmp_path), "anna", _file(n)) for n in range(2))
    service = _service(tmp_path)
    service.memory("anna", first)
    for digest in (first, second):
        _path(tmp_path, "anna", digest).unlink()
    assert service.memory("anna", first)
    with pytest.raises(NotFoundError):
        service.memory("anna", second)


def test_banks_in_a_store_that_speaks_s3() -> None:
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    server = pytest.importorskip("moto.server", reason="moto[server] is not installed")
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    running.start()
    try:
        host, port = running.get_host_and_port()
        options = {"key": "a", "secret": "b", "client_kwargs": {"endpoint_url": f"http://{host}:{port}"}}
        import s3fs

        s3fs.S3FileSystem(**options).mkdir("banks")
        digest = put_memory("s3://banks/all", "anna", _file(0), options)
        service = _service("s3://banks/all", options=options)
        found = service.memory("anna", digest)
        assert torch.equal(found.steering.rows, small_model.memory(0).steering.rows)
        with pytest.raises(NotFoundError):
            service.memory("ben", digest)
        s3fs.S3FileSystem(**options).pipe_file(f"banks/all/ben/{digest}{SUFFIX}", _file(1))
        with pytest.raises(DamagedError):
            service.memory("ben", digest)
    finally:
        running.stop()
    fresh = _service("s3://banks/all", seconds=20.0, options=options)
    with pytest.raises(StorageError):
        fresh.memory("anna", digest)


def test_a_memory_is_shared_once(tmp_path: Path) -> None:
    data = _file(0)
    digest = share_memory(str(tmp_path), "anna", data)
    file = _path(tmp_path, "anna", digest)
    written = file.stat().st_ino
    assert share_memory(str(tmp_path), "anna", data) == digest and file.stat().st_ino == written
    file.unlink()
    share_memory(str(tmp_path), "anna", data)
    assert _service(tmp_path).memory("anna", digest).name == "memory 0"


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "banks").write_text("a file")
    with pytest.raises(StorageError, match="cannot be put where vLLM reads it"):
        share_memory(str(tmp_path / "banks"), "anna", _file(0))
