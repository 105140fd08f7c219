"""Plain chat needs the model alone; what procedures need of it is learned once, beside that."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
import torch

from profiles.files.paths import AppPaths
from tests import tiny_loaded
from tests.engine.conftest import result_of
from tokmem_desk.errors import InterruptedByUser
from tokmem_desk.routing import segment_tagger, shipped_router
from tokmem_desk.routing.shipped_router import halved
from tui.engine import models
from tui.engine.models import LoadedModel
from tui.engine_client.client import EngineClient, run_blocking

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.references.finder import ReferenceFinder
    from tokmem_desk.routing.segment_tagger import SegmentTagger


def fitted_files(home: Path) -> list[Path]:
    paths = AppPaths.resolve(home)
    return [*paths.fitted.glob("*.safetensors"), *paths.models.glob("*/router.safetensors")]


def forget_fits(home: Path) -> None:
    """As after ``model pull``: converted, and nothing learned about it."""
    paths = AppPaths.resolve(home)
    shutil.rmtree(paths.fitted)
    for name in (models.ROUTER_FILE, models.SEGMENT_TAGGER_FILE, models.REFERENCES_FILE):
        for file in paths.models.glob(f"*/{name}"):
            file.unlink()


def phases(client: EngineClient, op: str, **fields: Any) -> set[str]:
    events = run_blocking(client.submit(op, profile="default", **fields))
    return {event["phase"] for event in events if event["event"] == "progress"}


def test_a_first_message_waits_for_no_fit(client: EngineClient, home: Path) -> None:
    forget_fits(home)
    assert "calibrate" not in phases(client, "load", fit=False)
    answer = result_of(client, "ask", text="hello", max_tokens=3)
    assert (answer["route"], answer["probability"]) == ("none", 1.0)
    assert not fitted_files(home), "nothing was fitted for it"
    status = result_of(client, "status")
    assert status["loaded"] and status["backbone"]["router"]
    assert "calibrate" in phases(client, "fit")
    assert fitted_files(home)
    assert phases(client, "fit") == set(), "once"
    assert result_of(client, "load")["router"] == status["backbone"]["router"], "the recipe is known beforehand"


def test_an_answer_goes_before_a_fit_that_has_begun(client: EngineClient, home: Path) -> None:
    forget_fits(home)
    result_of(client, "load", fit=False)
    fitting, asking = client.submit("fit"), None
    ended: list[str] = []
    for event in run_blocking(fitting):
        if asking is None and event.get("phase") == "calibrate":
            asking = client.submit("ask", profile="default", text="hello", max_tokens=2)
            assert [e["event"] for e in run_blocking(asking)][-1] == "done"
            ended.append("ask")
        if event["event"] == "done":
            ended.append("fit")
    assert ended == ["ask", "fit"]


def test_a_fit_that_was_stopped_goes_on_with_the_next_request(
    tiny_backbone: Callable[..., Backbone], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_model = tiny_loaded.load(tiny_backbone())
    model = LoadedModel(AppPaths.resolve(tmp_path), "tiny", "cpu", offline=True)
    model._backbone, model._folder = tiny_model.backbone, tmp_path / "model"
    tagger = cast("SegmentTagger", object())
    begun: list[str] = []

    def fit() -> Iterator[None]:
        begun.append("fit")
        for step in range(4):
            model._report("calibrate", step / 4, "")
            yield
        model._basis, model._segment_tagger = tiny_model.basis, tagger
        model._references = cast("ReferenceFinder", object())

    monkeypatch.setattr(model, "_fit", fit)
    first: list[float | None] = []
    stop = iter([False, False, True])
    with pytest.raises(InterruptedByUser):
        list(model.fit(lambda phase, share, text: first.append(share), lambda: next(stop)))
    second: list[float | None] = []
    list(model.fit(lambda phase, share, text: second.append(share), lambda: False))
    assert (first, second, begun) == ([0, 0.25], [0.5, 0.75], ["fit"])


def test_a_space_that_ships_is_taken_instead_of_a_fit(
    tiny_backbone: Callable[..., Backbone], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_model = tiny_loaded.load(tiny_backbone())
    shipped = halved(tiny_model.basis)
    data = shipped.to_bytes(torch.float16)
    assert len(data) < 0.6 * len(tiny_model.basis.to_bytes())

    def fit_of(home: Path, ships: bytes) -> tuple[LoadedModel, int]:
        """The model after a fit, and how many steps that took."""
        monkeypatch.setattr(shipped_router, "shipped_router_bytes", lambda backbone: ships)
        model = LoadedModel(AppPaths.resolve(home), "tiny", "cpu", offline=True)
        model._backbone, model._folder = tiny_model.backbone, home / "model"
        model._report = lambda phase, share, text: None
        steps = 0
        for _ in model._fit():
            steps += 1
            if model._basis is not None or ships != data:
                break
        return model, steps

    monkeypatch.setattr(segment_tagger, "fit_segment_tagger", lambda *_, **__: iter([0.5, 1.0]))
    model, steps = fit_of(tmp_path / "new", data)
    assert model.basis.digest == shipped.digest and steps == 1, "the one step is the segment tagger's"
    kept = next(AppPaths.resolve(tmp_path / "new").fitted.glob("*-router.safetensors"))
    assert kept.read_bytes() == data

    other = data.replace(shipped.fingerprint.encode(), b"0" * len(shipped.fingerprint))
    model, steps = fit_of(tmp_path / "other", other)
    assert model._basis is None and steps == 1, "what ships for another model is not taken: it is fitted"
