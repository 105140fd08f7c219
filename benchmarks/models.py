"""Load what is measured: backbone and router basis, from the app's cache; fetched there unasked when missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.options import Options, say
from profiles.files.paths import AppPaths
from tui.engine.models import LoadedModel

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.references.finder import ReferenceFinder
    from tokmem_desk.routing.features import RouterBasis
    from tokmem_desk.routing.segment_tagger import SegmentTagger
    from trainer.memory_start import Prior


@dataclass(frozen=True, slots=True)
class Loaded:
    """A backbone ready to be measured.

    Attributes:
        facts: what the result says about it.
        cache: where the benchmarks keep what they fetch.
    """

    backbone: Backbone
    basis: RouterBasis
    segment_tagger: SegmentTagger
    references: ReferenceFinder
    prior: Prior | None
    facts: dict[str, Any]
    cache: Path


def load(options: Options) -> Loaded:
    """Fetch, convert and load the asked model, and fit its router basis and segment tagger, as the app would.

    Raises:
        TokmemError: no such model, no network, no memory.
    """
    model = _model(options)
    for _ in model.load(_saying(), lambda: False):
        pass
    return Loaded(
        model.backbone,
        model.basis,
        model.segment_tagger,
        model.references,
        model.prior,
        _facts(model),
        AppPaths.resolve(options.home).cache / "benchmarks",
    )


def load_to_chat(options: Options) -> tuple[Backbone, dict[str, Any]]:
    """The same without what procedures need of a model: its backbone, and what the result says about it.

    Raises:
        TokmemError: no such model, no network, no memory.
    """
    model = _model(options)
    for _ in model.load_to_chat(_saying(), lambda: False):
        pass
    return model.backbone, _facts(model)


def _model(options: Options) -> LoadedModel:
    return LoadedModel(AppPaths.resolve(options.home), options.model, options.device, offline=False)


def _facts(model: LoadedModel) -> dict[str, Any]:
    import torch

    facts = model.describe()
    # Where memories start concerns one method; its settings name it.
    del facts["pid"], facts["memory_mb"], facts["prior"]
    facts["threads"] = torch.get_num_threads()
    return facts


def _saying() -> Callable[[str, float | None, str], None]:
    """Says each sentence of progress once."""
    said = ""

    def report(phase: str, share: float | None, text: str) -> None:
        nonlocal said
        if text != said:
            say(text)
        said = text

    return report
