"""The engine's server in this process: what goes wrong is said in words, and what was computed of texts is let go."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from profiles.paths import AppPaths
from profiles.registry import ProfileRegistry
from tests import tiny_loaded
from tokmem_desk.errors import OutOfMemoryError
from tui.engine.handlers import Handlers
from tui.engine.protocol import decode, encode
from tui.engine.server import Request, Server

if TYPE_CHECKING:
    from tokmem_desk.backbone import Backbone


def failed(own_home: Path, model: tiny_loaded.TinyModel, error: Exception) -> dict[str, Any]:
    """What a client hears of a request that ends in an error."""

    def fail(request: Request) -> Iterator[None]:
        yield
        raise error

    sink = io.BytesIO()
    # The client closes the pipe only after it was answered.
    source = io.BytesIO(encode({"id": 1, "op": "fail"}) + encode({"id": 2, "op": "shutdown"}))
    server = Server(source, sink, AppPaths.resolve(own_home), model.as_loaded())
    server._handlers["fail"] = fail
    server._receive(block=False)
    server._read()
    server._receive(block=True)
    while server._quick:
        server._turn(server._quick)
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

    def fail(*given: object) -> None:
        raise RuntimeError(text)

    monkeypatch.setattr(backbone._queries, "_run_part", fail)
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
    handlers = Handlers(paths, model.as_loaded())
    list(handlers.forget(Request(1, "forget", {"profile": "default"}, lambda message: None)))
    assert "4401" not in remembered()
