"""Fit the router's space of the default model, taught by a sentence encoder, and write the files that ship.

``--texts`` is what ``benchmarks.lessons`` writes. ``--earlier`` is a router's file of the recipe before: what memories
without pairs know in that space is turned by the second file. Without it that is the space which version 0.1.0 fitted
on each computer. Enter the digests that are printed in ``tokmem_desk.models.shipped``.
"""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.lessons import read_lessons
from benchmarks.models import load
from benchmarks.options import Options, run_program, say
from benchmarks.taught import WEIGHT, Taught, all_alike, read, regression, shipped_texts, teach
from tokmem_desk.backbone.backbone import Backbone
from tokmem_desk.models.shipped import Kind, shipped_file
from tokmem_desk.routing.earlier_space import EarlierSpace
from tokmem_desk.routing.features import RouterBasis, basis_from_features, standardised
from tokmem_desk.routing.shipped_router import halved


def main() -> int:
    """Write the files, and say their digests."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ship_router",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--home", type=Path, help="the app's home; its model cache is used")
    parser.add_argument("--texts", type=Path, required=True, help="JSON list of texts that teach")
    parser.add_argument("--earlier", type=Path, help="a router's file of the recipe before")
    given = parser.parse_args()
    return run_program(lambda: ship(given.home, given.texts, given.earlier))


def ship(home: Path | None, texts: Path, earlier: Path | None = None) -> None:
    """Fit and write.

    Raises:
        TokmemError: the texts, the model or the file cannot be used.
    """
    loaded = load(Options(data=Path(), out=Path(), device="cpu", home=home))
    backbone = loaded.backbone
    lessons = read_lessons(texts)
    taught = teach(loaded, lessons)
    basis = halved(taught.basis(WEIGHT, backbone.hidden_size))
    hidden, read_before = backbone.hidden_size, torch.cat([taught.pooled, taught.pooled_lessons])
    if earlier is None:
        read_before = all_alike(read_before, hidden)
        before = _of_version_0_1_0(taught, read_before, backbone)
    else:
        before = RouterBasis.from_bytes(earlier.read_bytes(), backbone)
        texts_read = shipped_texts() + [text for text, _ in lessons]
        read_before = read(loaded, texts_read, before.token_weights)
    turn = _turn(
        before.project(read_before, hidden),
        torch.cat([standardised(taught.raw, basis, hidden), taught.lessons]) @ basis.projection,
    )
    _write("router", backbone.model_id, basis.to_bytes(torch.float16))
    _write(
        "earlier-router", backbone.model_id, EarlierSpace(before.recipe, before.digest, before.chat, turn).to_bytes()
    )


def _of_version_0_1_0(taught: Taught, read_before: Tensor, backbone: Backbone) -> RouterBasis:
    """The space that version 0.1.0 fitted: with the state behind the last layer, and all tokens alike.

    Args:
        read_before: [n x any] see ``all_alike``; the texts that ship stand in front.
    """
    layers = replace(taught.plain.layers, final=True, plain=False)
    raw = layers.select(read_before[: len(taught.pooled)], backbone.hidden_size)
    return basis_from_features(raw, taught.owner, layers, backbone.hidden_size, backbone.fingerprint.digest)


def _turn(before: Tensor, after: Tensor) -> Tensor:
    """[k x k] from unit vectors of the space before to those of the new one, by [n x k] texts as both see them."""
    return regression(torch.nn.functional.normalize(before, dim=1), torch.nn.functional.normalize(after, dim=1))


def _write(kind: Kind, model_id: str, data: bytes) -> None:
    file = Path(str(shipped_file(kind, model_id)))
    file.write_bytes(data)
    say(f'"{file.name}": "{hashlib.sha256(data).hexdigest()}"')


if __name__ == "__main__":
    raise SystemExit(main())
