"""Fit the router's space of the default model, taught by a sentence encoder, and write the files that ship.

``--texts`` is what ``benchmarks.lessons`` writes. ``--earlier`` is the router's file that shipped before with another
recipe: what memories without pairs know in that space is turned by the second file. Enter the digests that are printed
in ``tokmem_desk.models.shipped``.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.lessons import read_lessons
from benchmarks.models import load
from benchmarks.options import Options, run_program, say
from benchmarks.taught import WEIGHT, raw_features, regression, shipped_texts, teach
from tokmem_desk.models.shipped import Kind, shipped_file
from tokmem_desk.routing.earlier_space import EarlierSpace
from tokmem_desk.routing.features import RouterBasis, standardised
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
    parser.add_argument("--earlier", type=Path, required=True, help="the router's file before, of another recipe")
    given = parser.parse_args()
    return run_program(lambda: ship(given.home, given.texts, given.earlier))


def ship(home: Path | None, texts: Path, earlier: Path) -> None:
    """Fit and write.

    Raises:
        TokmemError: the texts, the model or the file cannot be used.
    """
    loaded = load(Options(data=Path(), out=Path(), device="cpu", home=home))
    backbone = loaded.backbone
    lessons = read_lessons(texts)
    taught = teach(loaded, lessons)
    basis = halved(taught.basis(WEIGHT, backbone.hidden_size))
    before = RouterBasis.from_bytes(earlier.read_bytes(), backbone)
    hidden, read = backbone.hidden_size, (shipped_texts(), [text for text, _ in lessons])
    raw = torch.cat([raw_features(loaded, some, before.token_weights) for some in read])
    turn = _turn(
        standardised(raw, before, hidden) @ before.projection,
        torch.cat([standardised(taught.raw, basis, hidden), taught.lessons]) @ basis.projection,
    )
    _write("router", backbone.model_id, basis.to_bytes(torch.float16))
    _write(
        "earlier-router", backbone.model_id, EarlierSpace(before.recipe, before.digest, before.chat, turn).to_bytes()
    )


def _turn(before: Tensor, after: Tensor) -> Tensor:
    """[k x k] from unit vectors of the space before to those of the new one, by [n x k] texts as both see them."""
    return regression(torch.nn.functional.normalize(before, dim=1), torch.nn.functional.normalize(after, dim=1))


def _write(kind: Kind, model_id: str, data: bytes) -> None:
    file = Path(str(shipped_file(kind, model_id)))
    file.write_bytes(data)
    say(f'"{file.name}": "{hashlib.sha256(data).hexdigest()}"')


if __name__ == "__main__":
    raise SystemExit(main())
