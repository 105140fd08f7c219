"""What was fitted to a model on the computer that asks, on its way to workers.

A fit of their own would do the same job in a space turned otherwise, and memories are of use in one space only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tokmem_desk.references.finder import ReferenceFinder
from tokmem_desk.routing.features import RouterBasis
from tokmem_desk.routing.segment_tagger import SegmentTagger
from trainer.memory_start import Prior, shipped_prior

if TYPE_CHECKING:
    from tui.engine.models import LoadedModel


def fits_of(model: LoadedModel) -> dict[str, bytes | None]:
    """Of a loaded and fitted model; ``prior`` is None where the shipped one is used, or none."""
    prior = model.prior
    shipped = shipped_prior(model.backbone)
    own = prior is not None and (shipped is None or shipped.digest != prior.digest)
    return {
        "router": model.basis.to_bytes(),
        "segment_tagger": model.segment_tagger.to_bytes(),
        "references": model.references.to_bytes(),
        "prior": model.prior_file.read_bytes() if own else None,
    }


def take_fits(model: LoadedModel, fits: Mapping[str, bytes | None]) -> None:
    """Have a loaded model use what ``fits_of`` gave elsewhere.

    Raises:
        BadInputError: it belongs to another model.
    """
    backbone, prior = model.backbone, fits["prior"]
    model.take_fitted(
        RouterBasis.from_bytes(fits["router"] or b"", backbone),
        SegmentTagger.from_bytes(fits["segment_tagger"] or b"", backbone),
        ReferenceFinder.from_bytes(fits["references"] or b"", backbone),
        shipped_prior(backbone) if prior is None else Prior.from_bytes(prior, backbone),
    )
