"""What is learned about a model once before procedures can be used with it: seconds of the processor for each part.

The router's space is also read as it was before (all shipped texts, every layer), in the same run, so that the ratio
tells what the present way saves on this model.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.options import say
from tokmem_desk import background
from tokmem_desk.references.fitting import fit_reference_finder
from tokmem_desk.routing.features import FeatureLayers, fit_basis
from tokmem_desk.routing.segment_tagger import fit_segment_tagger

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone

_AT_ONCE = 64


def measure_fits(backbone: Backbone) -> dict[str, Any]:
    """Processor seconds of each fit, the threads that they had, and the ratio of the router's two ways."""
    fits: dict[str, Callable[[Backbone], Iterator[Any]]] = {
        "router": fit_basis,
        "segment_tagger": fit_segment_tagger,
        "references": fit_reference_finder,
    }
    # What is tried once per model and depth is no part of a fit's time.
    backbone.least_depth(FeatureLayers.of(backbone.layer_count).pooled)
    seconds = {name: _processor_seconds(name, fit(backbone)) for name, fit in fits.items()}
    before = _processor_seconds("the router as before", _read_all(backbone))
    return {
        "threads": torch.get_num_threads(),
        "processor_seconds": {name: round(value, 2) for name, value in seconds.items()},
        "router_read_as_before": round(before, 2),
        "router_ratio": round(seconds["router"] / before, 3),
    }


def _processor_seconds(name: str, steps: Iterator[Any]) -> float:
    say(f"Timing {name}")
    began = time.process_time()
    for _ in steps:
        pass
    return time.process_time() - began


def _read_all(backbone: Backbone) -> Iterator[None]:
    """All shipped texts through every layer; what was made of them then took little time beside that."""
    layers = FeatureLayers.of(backbone.layer_count).pooled
    texts = [text for members in background.groups().values() for text in members] + background.chat_for_fitting()
    queries = sorted((backbone.format.query(text) for text in texts), key=len)
    for start in range(0, len(queries), _AT_ONCE):
        backbone.prefill(queries[start : start + _AT_ONCE], keep_states=False, feature_layers=layers)
        yield
