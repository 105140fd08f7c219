"""The engine's server in this process: what goes wrong is said in words, and what was computed of texts is let go."""

from __future__ import annotations

import io
import os
import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import tui.engine.server
from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from tests import tiny_loaded
from tests.warm import warmed
from tokmem_desk.errors import OutOfMemoryError
from tokmem_desk.procedures import ExamplePair, Procedure
from tui.engine import operations
from tui.engine.engine import Engine
from tui.engine.operation import ModelFields, Operation
from tui.engine.request import Request
from tui.engine.server import Server
from tui.engine_client.client import engine_command
from tui.engine_client.protocol import decode, encode

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone


def failed(own_home: Path, model: tiny_loaded.TinyModel, error: Exception) -> dict[str, Any]:
    """What a client hears of a request that ends in an error."""

    def fail(engine: Engine, request: Request) -> Iterator[None]:
        yield
        raise error

    sink = io.BytesIO()
    # The client closes the pipe only after it was answered.
    source = io.BytesIO(encode({"id": 1, "op": "fail"}) + encode({"id": 2, "op": "shutdown"}))
    failing = {"fail": Operation("fail", ModelFields, dict, "first", fail)}
    server = Server(source, sink, failing, Engine(AppPaths.resolve(own_home), model.as_loaded()))
    server._read()
    server._receive(block=True)
    while line := server._lines["first"]:
        server._turn(line)
    events = [decode(line) for line in sink.getvalue().splitlines()]
    return dict(next(event["error"] for event in events if event["event"] == "error"))


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (MemoryError(), 3, "is used up"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 3, "is used up"),
        (RuntimeError("shape mismatch"), 1, "unforeseen"),
    ],
)
def test_an_error_that_nobody_caught_is_said_in_words(
    own_home: Path, tiny_backbone: Callable[..., Backbone], error: Exception, code: int, said: str
) -> None:
    told = failed(own_home, tiny_loaded.load(tiny_backbone("llama")), error)
    assert said in told["message"]
    assert (told["kind"] == "OutOfMemoryError") is (code == 3)


def test_a_query_that_does_not_fit_is_said_in_words(
    tiny_backbone: Callable[..., Backbone], monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = tiny_backbone("llama")

    def fail(*given: object, **options: object) -> None:
        raise RuntimeError(text)

    monkeypatch.setattr(backbone, "run_ids", fail)
    text = "DefaultCPUAllocator: can't allocate memory"
    with pytest.raises(OutOfMemoryError, match="did not fit into the memory"):
        backbone.prefill([backbone.format.query("hello")])
    text = "shape mismatch"
    with pytest.raises(RuntimeError, match="shape mismatch"):
        backbone.prefill([backbone.format.query("hello")])


def test_forgetting_a_profile_forgets_beginnings_that_its_prompts_shared(
    own_home: Path, tiny_backbone: Callable[..., Backbone]
) -> None:
    paths = AppPaths.resolve(own_home)
    with ProfileRegistry(paths) as registry, registry.open():
        pass
    model = tiny_loaded.load(tiny_backbone("llama"))
    secret = [model.backbone.format.query(f"my secret pin is 4401 and then {n}") for n in range(3)]
    model.backbone.prefill(secret, keep_states=False)

    def remembered() -> str:
        kept = model.backbone._queries._prefixes
        return " ".join(model.backbone.format.decode(list(ids)) for ids in kept)

    assert "4401" in remembered()
    engine = Engine(paths, model.as_loaded())
    forget(engine, "default")
    assert "4401" not in remembered()


def run(engine: Engine, op: str, **fields: Any) -> None:
    """Run one request to its end."""
    list(operations.discover()[op].begin(engine, Request(1, op, fields, lambda message: None)))


def forget(engine: Engine, profile: str) -> None:
    run(engine, "forget", profile=profile)


def where_kept(engine: Engine, mark: str) -> list[str]:
    """Where a text, or a folder's name, can still be found in what the engine keeps."""
    places = {"vectors": engine.vectors._kept, "bank cache of the vectors": vars(engine.vectors._bank_cache)}
    places |= vars(engine.bank_cache) | {"conversations": vars(engine.conversations._cache or object)}
    return [name for name, kept in places.items() if mark in repr(kept)]


def test_forgetting_clears_vectors_and_what_is_kept_of_profiles_that_are_gone(
    own_home: Path, tiny_backbone: Callable[..., Backbone]
) -> None:
    paths = AppPaths.resolve(own_home)
    engine = Engine(paths, tiny_loaded.load(tiny_backbone("llama")).as_loaded())
    folders = {}
    with ProfileRegistry(paths) as registry:
        for name in ("ann", "bob", "cay"):
            registry.create(name)
            with registry.open(name) as store:
                store.procedures.add(Procedure("one", (ExamplePair(f"{name}'s pin is 4401", "ok"),)))
                engine.model.add(store, "one", 1)  # type: ignore[attr-defined]
                store.corrections.add(f"{name}'s other pin is 4402", "one", "none")
                folders[name] = store.folder.name
    for name in folders:
        run(engine, "effect", profile=name, name="one")
    assert where_kept(engine, "ann's pin") and where_kept(engine, folders["ann"])
    forget(engine, "ann")
    assert where_kept(engine, "ann's") == [] and where_kept(engine, folders["ann"]) == []
    assert where_kept(engine, folders["bob"]), "who stays is not forgotten"
    with ProfileRegistry(paths) as registry:
        registry.delete("bob")
        registry.create("bob")  # another person's, by chance of the same name
        registry.rename("cay", "dan")
    forget(engine, "bob")
    assert where_kept(engine, folders["bob"]) == [] and where_kept(engine, "bob's") == []
    assert where_kept(engine, folders["cay"])
    forget(engine, "dan")
    assert where_kept(engine, folders["cay"]) == [] and where_kept(engine, "cay's") == []


# --- whatever arrives --------------------------------------------------------------------------------

ODD_LINES = [
    b"not json",
    b"[1, 2]",
    b"7",
    b"null",
    b'"text"',
    b"{}",
    b'{"id": null, "op": "status"}',
    b'{"id": "x", "op": "status"}',
    b'{"id": [1], "op": "status"}',
    b'{"id": 1e400, "op": "status"}',
    b'{"id": NaN, "op": "status"}',
    b'{"id": true, "op": "status"}',
    b'{"id": 9' + b"9" * 5000 + b', "op": "status"}',
    b'{"id": 901}',
    b'{"id": 902, "op": null}',
    b'{"id": 903, "op": {"op": "status"}}',
    b'{"id": 904, "op": "cancel"}',
    b'{"id": 905, "op": "cancel", "target": null}',
    b'{"id": 906, "op": "cancel", "target": {}}',
    b'{"id": 907, "op": "cancel", "target": 12345, "how": []}',
    b'{"id": null, "op": "cancel", "target": null}',
    b'{"id": 908, "op": "ask", "profile": 5, "text": ["a"]}',
    b'{"id": 909, "op": "draft", "profile": null}',
    b'{"id": 910, "op": "no such thing"}',
    b'{"id": 911, "op": "route", "texts": 3}',
    b"\xff\xfe\x00{",
    b'{"id": 912, "op": "\xc3\x28"}',
    b"[" * 200_000,
    b'{"id":' * 100_000,
    b"   ",
    b'{"id": 913, "op": "forget", "profile": "' + b"x" * 3_000_000 + b'"}',
]


def engine_process(home: Path, *, warm: bool = True) -> subprocess.Popen[bytes]:
    """A real engine with a model that is nowhere: nothing here needs one."""
    command = engine_command(home=home, model="no-such-model", offline=True, device="cpu")
    if warm:
        command = warmed(command)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )


def test_no_line_ends_the_reader(own_home: Path) -> None:
    drawn = random.Random(7)
    sound = encode({"id": 1, "op": "status", "profile": "default"}).strip()
    lines = list(ODD_LINES)
    for _ in range(200):  # a sound request with a few bytes changed, a few times over
        broken = bytearray(sound)
        for _ in range(drawn.randint(1, 4)):
            broken[drawn.randrange(len(broken))] = drawn.choice(b'\x00"{}[]:,0-\\\xff')
        lines.append(bytes(broken))
    drawn.shuffle(lines)
    lines = [line for line in lines if b"shutdown" not in line]
    process = engine_process(own_home)
    end = encode({"id": 5_000_000, "op": "status"})
    said, _ = process.communicate(b"\n".join(lines) + b"\n" + end, timeout=300)
    assert process.returncode == 0
    events = [decode(line) for line in said.splitlines()]
    found = [event for event in events if event["id"] == 907 and event["event"] == "done"]
    assert [event["result"]["found"] for event in found] == [False]
    refused = [event for event in events if event["event"] == "error"]
    assert len(refused) >= 25 and all(event["error"]["message"] for event in refused)


def test_after_odd_lines_a_request_is_answered(own_home: Path) -> None:
    process = engine_process(own_home, warm=False)
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(b"\n".join(ODD_LINES) + b"\n" + encode({"id": 77, "op": "status"}))
    process.stdin.flush()
    event: dict[str, Any] = {}
    while event.get("id") != 77:
        event = decode(process.stdout.readline())
    assert (event["event"], event["result"]["loaded"]) == ("done", False)
    process.stdin.close()
    assert process.wait(timeout=300) == 0


@pytest.mark.parametrize("last", [{"id": 3, "op": "cancel", "target": 1}, {"id": None, "op": "cancel"}, {"id": None}])
def test_a_client_that_dies_takes_the_engine_along(own_home: Path, last: dict[str, Any]) -> None:
    process = engine_process(own_home)
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(encode({"id": 1, "op": "status"}))
    process.stdin.flush()
    assert decode(process.stdout.readline())["event"] == "done"
    process.stdout.close()
    process.stdin.write(encode(last))
    process.stdin.close()
    assert process.wait(timeout=300) == 0


def test_a_client_that_reads_no_more_ends_the_engine_though_it_could_still_write(own_home: Path) -> None:
    process = engine_process(own_home)
    assert process.stdin is not None and process.stdout is not None
    process.stdout.close()
    process.stdin.write(encode({"id": 1, "op": "status"}))
    process.stdin.flush()
    assert process.wait(timeout=300) == 0
    process.stdin.close()


def test_a_number_that_is_in_use_leaves_its_request_alone(
    own_home: Path, tiny_backbone: Callable[..., Backbone], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_loaded.load(tiny_backbone("llama"))
    sink = io.BytesIO()
    monkeypatch.setattr(tui.engine.server, "LINE_LIMIT", 1000)
    requests = [encode({"id": 4, "op": "train"}), encode({"id": 4, "op": "status"}), b"x" * 5000 + b"\n"]
    requests.append(encode({"id": 5, "op": "cancel", "target": 4, "how": "drop"}))
    engine = Engine(AppPaths.resolve(own_home), model.as_loaded())
    server = Server(io.BytesIO(b"".join(requests)), sink, operations.discover(), engine)
    server._read()
    first = server._inbox.get()
    assert first is not None and (first.op, first.cancelled.is_set()) == ("train", True)
    assert server._inbox.get() is None
    events = [decode(line) for line in sink.getvalue().splitlines()]
    assert [(event["id"], event["event"]) for event in events] == [(0, "error"), (0, "error"), (5, "done")]
    assert "number 4 is still open" in events[0]["error"]["message"]
    assert "shorter than" in events[1]["error"]["message"] and events[2]["result"] == {"found": True}
