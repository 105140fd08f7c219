"""A fitted router says what it was fitted with: other numbers or texts ask for another fit, and for nothing more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, cast

import pytest
import torch
from safetensors.torch import load, save

from profiles.files.paths import AppPaths
from tokmem_desk import background
from tokmem_desk.errors import BadInputError
from tokmem_desk.memory import router_statistics as spread
from tokmem_desk.memory.file import read_metadata
from tokmem_desk.routing import features
from tokmem_desk.routing import none_calibration as calibration
from tokmem_desk.routing.features import FeatureLayers, OldCalibrationError, RouterBasis, recipe_of
from tokmem_desk.routing.none_calibration import Calibration
from tui.engine.models import ROUTER_FILE, LoadedModel, _calibrated_anew

if TYPE_CHECKING:
    from tests.tiny_loaded import TinyModel

_SPACE_NUMBERS = ("_CLIP", "_CHAT_FOR_COVARIANCE", "COMMON_SHARE", "_DEPTHS", "_LAST_DEPTHS", "_SHRINKAGE")
NOT_OF_THE_FIT = {"_AT_ONCE", "TYPE_CHECKING", "_PRIOR_NATS", "_PRIOR_FALLS", "_PRIOR_RISES"}
"""``_AT_ONCE``: nothing that comes out depends on how many are looked at together. ``_PRIOR_…`` are of
``none_log_prior``, which is added to probabilities when a message is routed and stored nowhere."""


def numbers_of(module: ModuleType) -> list[str]:
    """The names of a module's constants that are numbers."""
    return [
        name
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, (int, float, tuple)) and name not in NOT_OF_THE_FIT
    ]


def whole(tiny: TinyModel) -> RouterBasis:
    """A space as it was fitted before: to all texts, and with the state after the last layer."""
    d, basis = tiny.backbone.hidden_size, tiny.basis
    layers = replace(basis.layers, final=True, plain=False)
    rest = (layers.blocks - 1) * d

    def as_before(of_blocks: torch.Tensor) -> torch.Tensor:
        return torch.cat([of_blocks[:d], of_blocks[:rest]])

    tensors = {name: as_before(getattr(basis, name)) for name in ("centre", "std", "offset", "projection")}
    return replace(basis, layers=layers, **tensors)


def older(tiny: TinyModel) -> bytes:
    """The file as it was written before it said what it was fitted with."""
    data = whole(tiny).to_bytes()
    later = ("space_settings", "calibration_settings", "final", "plain")
    return save(load(data), {key: value for key, value in read_metadata(data).items() if key not in later})


def files_of(tiny: TinyModel) -> list[bytes]:
    """Of a fit of today, of one to all texts, and of one from before files said so."""
    return [tiny.basis.to_bytes(), whole(tiny).to_bytes(), older(tiny)]


def test_a_fit_of_today_and_one_of_before_are_read(tiny: TinyModel) -> None:
    for data, expected in zip(files_of(tiny), (tiny.basis, whole(tiny), whole(tiny)), strict=True):
        found = RouterBasis.from_bytes(data, tiny.backbone)
        assert found.digest == expected.digest and found.calibration == expected.calibration
        assert found.layers == expected.layers


def test_a_recipe_from_before_stays_what_it_was(tiny: TinyModel) -> None:
    """Banks and stored fits say it."""
    before = FeatureLayers((1, 4), (2,), final=True)
    assert recipe_of(before, "print") == "3f272cbaad50d3d528520c7ed6a54189df4b49ae3053ca733d3d1bcc1c91fe3d"
    assert recipe_of(before, "print", "taught") == "dd47758477c906fcf8d7ad0a934a8290cf02b66ee29bc277fa9b048aa8ba6806"
    assert whole(tiny).recipe != tiny.basis.recipe


def test_the_numbers_of_a_calibration_ask_for_no_new_fit_today(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "_EPISODES", 240)  # as the program has it; tests fit to fewer
    assert features.calibration_settings() == features._FITTED_WITH_BEFORE[1]


@pytest.mark.parametrize(
    ("module", "name"), [(module, name) for module in (calibration, spread) for name in numbers_of(module)]
)
def test_no_number_of_a_calibration_changes_unseen(
    tiny: TinyModel, monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str
) -> None:
    files = files_of(tiny)
    value = getattr(module, name)
    # What is imported elsewhere is looked up there, so change the module that says the settings.
    monkeypatch.setattr(module, name, (*value, 99) if isinstance(value, tuple) else value + 1)
    for file in files:
        with pytest.raises(OldCalibrationError) as caught:
            RouterBasis.from_bytes(file, tiny.backbone)
        assert caught.value.basis.digest in (tiny.basis.digest, whole(tiny).digest)


@pytest.mark.parametrize("name", _SPACE_NUMBERS)
def test_no_number_of_a_space_changes_unseen(tiny: TinyModel, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    files, value = files_of(tiny), getattr(features, name)
    monkeypatch.setattr(features, name, (*value, 0.9) if isinstance(value, tuple) else value * 2)
    # Spaces of before know no weights of tokens.
    for file in files[:1] if name == "COMMON_SHARE" else files:
        with pytest.raises(BadInputError) as caught:
            RouterBasis.from_bytes(file, tiny.backbone)
        assert not isinstance(caught.value, OldCalibrationError)


@pytest.mark.parametrize("what", ["groups", "chat_for_fitting"])
def test_no_shipped_text_changes_unseen(tiny: TinyModel, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    files = files_of(tiny)
    texts = getattr(background, what)()
    changed = {n: [*some, "a text"] for n, some in texts.items()} if isinstance(texts, dict) else [*texts, "a text"]
    monkeypatch.setattr(background, what, lambda: changed)
    for file in files:
        with pytest.raises(BadInputError, match="other texts"):
            RouterBasis.from_bytes(file, tiny.backbone)


def test_messages_that_only_measure_may_change(tiny: TinyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tiny.basis.to_bytes()
    monkeypatch.setattr(background, "chat_for_measuring", lambda: ["other"])
    assert RouterBasis.from_bytes(data, tiny.backbone).digest == tiny.basis.digest


def test_a_calibration_is_fitted_anew_in_the_space_that_is_there(
    tiny: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = Calibration(5.0, (1.0,) * 8)
    turned = replace(tiny.basis, projection=-tiny.basis.projection, calibration=new)

    def fit(_: object, *, folder: object) -> Iterator[float | RouterBasis]:
        yield 0.5
        yield turned

    monkeypatch.setattr(features, "fit_basis", fit)
    stale = tiny.basis.to_bytes()
    monkeypatch.setattr(calibration, "_EPISODES", 7)
    read, fit_again = _calibrated_anew()
    with pytest.raises(OldCalibrationError):
        read(stale, tiny.backbone)
    with pytest.raises(BadInputError, match="another fit"):
        read(turned.to_bytes(), tiny.backbone)
    *_, made = fit_again(tiny.backbone)
    assert isinstance(made, RouterBasis) and made.calibration == new
    assert made.digest == tiny.basis.digest and torch.equal(made.projection, tiny.basis.projection)
    assert read(made.to_bytes(), tiny.backbone).calibration == new
    read, fit_again = _calibrated_anew()
    *_, fresh = fit_again(tiny.backbone)
    assert fresh is turned, "nothing was there: the fit as it is"


def test_the_engine_keeps_the_space_and_stores_the_new_calibration(
    tiny: TinyModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    paths = AppPaths.resolve(tmp_path)
    model = LoadedModel(paths, "tiny", "cpu", offline=True)
    model._backbone, model._folder = tiny.backbone, tmp_path / "model"
    new = Calibration(5.0, (1.0,) * 8)
    turned = replace(tiny.basis, projection=-tiny.basis.projection, calibration=new)
    monkeypatch.setattr(features, "fit_basis", lambda _, folder: iter([0.5, turned]))
    stored = paths.fitted / f"{tiny.backbone.fingerprint.digest[:16]}-{ROUTER_FILE}"
    stored.parent.mkdir(parents=True)
    stored.write_bytes(tiny.basis.to_bytes())
    monkeypatch.setattr(calibration, "_EPISODES", 7)
    said: list[str] = []

    def load() -> RouterBasis:
        steps = model._fitted(
            ROUTER_FILE, *_calibrated_anew(), "Measuring", lambda phase, share, text: said.append(text)
        )
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return cast(RouterBasis, end.value)

    made = load()
    assert made.digest == tiny.basis.digest and made.calibration == new and said[-1].startswith("Measuring")
    said.clear()
    assert load().calibration == new and said == [], "read, not fitted a second time"
