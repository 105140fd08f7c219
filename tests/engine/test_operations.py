"""Operations of the engine: one declaration each, found without a list, refused in words where fields are missing."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import pytest

from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from tests import tiny_loaded
from tokmem_desk.errors import UsageError
from tui.engine import operations
from tui.engine.engine import Engine
from tui.engine.models import LoadedModel
from tui.engine.request import Request
from tui.engine.server import Server
from tui.engine_client.client import EngineClient, run_blocking
from tui.engine_client.protocol import decode, encode

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone

SHOUT = '''
"""``shout``: a text in capitals."""

from collections.abc import Iterator
from typing import TypedDict

from tui.engine.engine import Engine
from tui.engine.models import LoadedModel
from tui.engine.operation import operation
from tui.engine.request import Request


class ShoutFields(TypedDict):
    """``text``: what is shouted."""

    text: str


class ShoutResult(TypedDict):
    """``loud``: the text in capitals."""

    loud: str


@operation("shout", fields=ShoutFields, result=ShoutResult, waits="aside")
def shout(engine: Engine, request: Request) -> Iterator[None]:
    """Shout."""
    yield
    request.emit("done", result={"loud": request.text("text").upper()})
'''

KNOWN = {
    "adapt", "ask", "bank_check", "bank_probes", "draft", "draft_from_text", "effect", "embed", "eval", "fetch",
    "fit", "forget", "load", "measure", "overlap", "prepare", "reach", "route", "status", "title", "tokens", "train",
    "train_cluster", "vllm_prompt",
}  # fmt: skip

PROCESS = (
    "import sys; from tui.engine import operations; operations.__path__.append({folder!r}); "
    "from tui.engine.__main__ import main; sys.argv[1:] = ['--home', {home!r}, '--offline']; sys.exit(main())"
)
"""The engine's process, with one more folder of operations."""


@pytest.fixture
def shout_folder(tmp_path: Path) -> Path:
    """A folder that holds one more operation, and nothing else."""
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "shout.py").write_text(SHOUT)
    return folder


@pytest.fixture
def with_shout(shout_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The operation, in this process."""
    monkeypatch.setattr(operations, "__path__", [*operations.__path__, str(shout_folder)])
    yield
    sys.modules.pop("tui.engine.operations.shout", None)


@pytest.fixture
def engine(own_home: Path, tiny_backbone: Callable[..., Backbone]) -> Engine:
    paths = AppPaths.resolve(own_home)
    with ProfileRegistry(paths) as registry, registry.open():
        pass
    return Engine(paths, tiny_loaded.load(tiny_backbone("llama")).as_loaded())


def served(engine: Engine, *requests: dict[str, Any]) -> list[dict[str, Any]]:
    """The events of a server that gets these requests, and then no more."""
    source = io.BytesIO(b"".join(encode(request) for request in [*requests, {"id": 99, "op": "shutdown"}]))
    sink = io.BytesIO()
    server = Server(source, sink, operations.discover(), engine)
    server._read()
    server._receive(block=True)
    while line := next((line for line in server._lines.values() if line), None):
        server._turn(line)
    return [decode(line) for line in sink.getvalue().splitlines()]


def result_of(engine: Engine, op: str, **fields: Any) -> dict[str, Any]:
    events: list[dict[str, Any]] = []
    for _ in operations.discover()[op].begin(engine, Request(1, op, fields, events.append)):
        pass
    return dict(events[-1]["result"])


def test_all_operations_are_found() -> None:
    assert set(operations.discover()) == KNOWN
    assert all(name == one.name for name, one in operations.discover().items())


def test_tokens_of_texts_are_counted_as_the_model_reads_them(engine: Engine) -> None:
    texts = ["Buy milk.", "Buy milk.\n\nBuy milk again, <|im_end|> and tea."]
    counted = result_of(engine, "tokens", texts=texts)
    backbone = engine.model.backbone
    assert counted["counts"] == [len(backbone.format.encode_text(text)) for text in texts]
    assert counted["length"] == backbone.context_length
    around = len(backbone.format.query(""))
    assert counted["counts"] == [len(backbone.format.query(text)) - around for text in texts]


def test_an_operation_in_one_new_file_is_served(engine: Engine, with_shout: None) -> None:
    events = served(engine, {"id": 1, "op": "shout", "text": "hello"}, {"id": 2, "op": "shout", "text": 7})
    answers = {event["id"]: event for event in events}
    assert answers[1]["result"] == {"loud": "HELLO"}
    assert answers[2]["error"]["message"] == "Request 'shout' needs the text field 'text'."


def test_an_operation_in_one_new_file_is_served_by_the_real_process(
    shout_folder: Path, own_home: Path, tmp_path: Path
) -> None:
    code = PROCESS.format(folder=str(shout_folder), home=str(own_home))
    with EngineClient([sys.executable, "-c", code], tmp_path / "engine.log") as client:
        *_, done = run_blocking(client.submit("shout", text="hello"))
    assert done["result"] == {"loud": "HELLO"}


def test_two_operations_of_one_name_are_refused(
    shout_folder: Path, with_shout: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shout_folder / "zz_twice.py").write_text(SHOUT)
    with pytest.raises(ValueError, match=r"two operations are called 'shout', one of them in .*zz_twice"):
        operations.discover()
    sys.modules.pop("tui.engine.operations.zz_twice", None)


@pytest.mark.parametrize(
    ("op", "fields", "said"),
    [
        ("ask", {"profile": "default"}, "'ask' needs the text field 'text'"),
        ("route", {"profile": "default", "texts": ["a", 1]}, "'route' needs the list of text field 'texts'"),
        ("route", {"profile": "default", "texts": "a"}, "'route' needs the list of text field 'texts'"),
        ("overlap", {"name": "note"}, "'overlap' needs the text field 'profile'"),
        ("bank_check", {"profile": "default", "folder": "x", "memories": [], "probes": [1]}, "list of object field"),
    ],
)
def test_a_request_without_what_it_needs_is_refused_before_anything_runs(
    engine: Engine, op: str, fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        result_of(engine, op, **fields)


@pytest.mark.parametrize(
    ("op", "fields"),
    [
        ("forget", {"profile": "default"}),
        ("title", {"question": "Which card?", "answer": "The blue one."}),
        ("route", {"profile": "default", "texts": ["hello"]}),
        ("reach", {"profile": "default", "text": "hello", "texts": ["hello", "and you"]}),
    ],
)
def test_a_result_has_the_keys_that_its_operation_declares(engine: Engine, op: str, fields: dict[str, Any]) -> None:
    assert set(result_of(engine, op, **fields)) == set(get_type_hints(operations.discover()[op].result))


def test_the_status_has_the_keys_that_its_operation_declares(own_home: Path) -> None:
    paths = AppPaths.resolve(own_home)
    engine = Engine(paths, LoadedModel(paths, "default", "cpu", offline=True))
    found = result_of(engine, "status")
    assert set(found) == set(get_type_hints(operations.discover()["status"].result))
    assert not found["loaded"] and found["jobs"] == []


def test_an_answer_has_the_keys_that_its_operation_declares(engine: Engine) -> None:
    declared = get_type_hints(operations.discover()["ask"].result)
    answered = result_of(engine, "ask", profile="default", text="hello", max_tokens=2, others=1)
    assert set(answered) | {"ambiguous", "without_history", "answer_probability"} == set(declared)
