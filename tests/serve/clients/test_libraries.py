"""Each library asks the real engine in each of its ways, and gets what plain HTTP gets."""

from __future__ import annotations

import importlib.util
import shutil
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from tests.serve.clients.conftest import RealServed
from tests.serve.clients.libraries import AISDK, KINDS, LIBRARIES, Library, LLMPlugin, Paint

pytestmark = pytest.mark.slow

MESSAGE = "What is the weather today?"


def is_installed(library: type[Library]) -> bool:
    """Whether it can be tried here."""
    if library is AISDK:
        return shutil.which("node") is not None and (AISDK.script.parent / "node_modules").is_dir()
    if library is LLMPlugin and not entry_points(group="llm", name="tokmem-desk"):
        return False  # installed before the plugin was there
    try:
        return importlib.util.find_spec(library.needs) is not None
    except ModuleNotFoundError:  # not even the package that its module is in
        return False


def asks() -> list[object]:
    """Each library with each of its ways to ask."""
    return [
        pytest.param(
            library,
            kind,
            id=f"{library.__name__}-{kind}",
            marks=pytest.mark.skipif(not is_installed(library), reason=f"{library.__name__} is not installed"),
        )
        for library in LIBRARIES
        for kind in KINDS
        if hasattr(library, kind)
    ]


@pytest.fixture(autouse=True)
def nothing_from_outside(monkeypatch: pytest.MonkeyPatch, own_home: Path) -> None:
    """Some libraries look things up when they are imported, and tell their makers what is done with them."""
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    monkeypatch.setenv("HAYSTACK_TELEMETRY_ENABLED", "False")
    monkeypatch.setenv("DSPY_CACHEDIR", str(own_home / "dspy"))
    monkeypatch.setenv("AISUITE_HOME", str(own_home / "aisuite"))


@pytest.mark.parametrize(("library", "kind"), asks())
def test_a_library(really_served: RealServed, library: type[Library], kind: str, tmp_path: Path) -> None:
    client = library(really_served, tmp_path)
    found = getattr(client, kind)(MESSAGE)
    match kind:
        case "text":
            assert found.rstrip() == really_served.said(MESSAGE).rstrip() != ""
        case "stream":
            pieces = list(found)
            assert "".join(pieces).rstrip() == really_served.said(MESSAGE).rstrip()
        case "tool":
            name, arguments = found
            assert name == "paint" and Paint(**arguments)
        case "schema":
            assert isinstance(found, Paint)
