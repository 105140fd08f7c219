"""A router's space whose directions a sentence encoder has chosen: what it would bring, before it is shipped.

Fits as ``ship_router`` does (``benchmarks.taught``), at several weights; weight 0 is the space that nobody has taught.
``--texts`` is what ``benchmarks.lessons`` writes, or a JSON list of texts or of pairs of a text and what the encoder
reads in its place. The intents of the data are parted: the first, third, … of their names are the half that chooses.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.data import RoutingData, load_routing
from benchmarks.lessons import read_lessons
from benchmarks.measure import routing_metrics
from benchmarks.methods import Context
from benchmarks.models import load
from benchmarks.options import Options, add_method_options, make_parser, run_program, say
from benchmarks.result import ResultFile, Run
from benchmarks.routing_features import Features
from benchmarks.routing_methods import ROUTERS, Material
from benchmarks.taught import read, teach
from tokmem_desk.routing.features import RouterBasis, standardised

WEIGHTS = (0, 2, 3, 4)
"""Lengths of the predicted block; the backbone's own have length 1 each."""
_DEFAULT_SHOTS = (5, 20)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = make_parser("routing_taught", __doc__)
    add_method_options(parser, ["ours"])
    parser.add_argument("--texts", type=Path, required=True, help="JSON list of texts, or of pairs")
    given = vars(parser.parse_args(arguments))
    texts = given.pop("texts")
    options = Options(**given)
    return run_program(lambda: run(options, texts))


def run(options: Options, texts: Path) -> None:
    """Learn from the texts, fit a space of each weight, and measure it on both halves.

    Raises:
        TokmemError: the data or the model cannot be used.
    """
    lessons = read_lessons(texts)
    data = load_routing(options.data)
    loaded = load(options)
    taught = teach(loaded, lessons)
    hidden = loaded.backbone.hidden_size
    halves = _halves(data)
    asked = [text for half in halves.values() for text in half.none_messages]
    asked += [text for part in (data.train, data.test) for texts in part.values() for text in texts]
    asked = list(dict.fromkeys(asked))
    asked_raw = taught.plain.layers.select(read(loaded, asked, taught.token_weights), hidden)
    asked_raw = standardised(asked_raw, taught.plain, hidden)
    head = {
        "benchmark": "routing_taught",
        "backbone": loaded.facts,
        "data": {"name": options.data.name, "routes": len(data.train), "texts": len(lessons)},
        "seeds": list(range(options.seeds)),
    }
    with ResultFile(options.out, head) as result:
        for weight in WEIGHTS:
            basis = taught.basis(weight, hidden)
            features = _features(asked, asked_raw, basis)
            space = Context(replace(loaded, basis=basis), {})
            for half, part in halves.items():
                for shots in options.shots or _DEFAULT_SHOTS:
                    runs = [_measured(space, features, part, shots, seed) for seed in range(options.seeds)]
                    result.add({"weight": weight, "half": half, "shots": shots}, {"ours": runs})
                    say(f"weight {weight}, {half}, {shots} shots: {runs[0].metrics}")


def _features(texts: list[str], blocks: Tensor, basis: RouterBasis) -> Features:
    projected = torch.nn.functional.normalize(blocks @ basis.projection, dim=1)
    nothing = torch.zeros(len(texts), 1)
    return Features(texts, nothing, nothing[:, 0], projected, np.empty((0, 0), dtype=np.float32), {})


def _halves(data: RoutingData) -> dict[str, RoutingData]:
    names = sorted(data.train)
    return {
        half: replace(data, train={n: data.train[n] for n in part}, test={n: data.test[n] for n in part})
        for half, part in (("chose", names[::2]), ("looked at", names[1::2]))
    }


def _measured(context: Context, features: Features, data: RoutingData, shots: int, seed: int) -> Run:
    place = {text: row for row, text in enumerate(features.texts)}
    names = list(data.train)
    drawn = {
        name: random.Random(f"{seed}/{name}").sample(texts, min(shots, len(texts)))
        for name, texts in data.train.items()
    }
    rows = [place[text] for name in names for text in drawn[name]]
    labels = [label for label, name in enumerate(names) for _ in drawn[name]]
    router = ROUTERS["ours"](context, features, Material(names, rows, labels, [], seed))
    ranked = {name: router.rank([place[text] for text in texts]) for name, texts in data.test.items()}
    outside = router.rank([place[text] for text in data.none_messages]) if data.none_messages else []
    return Run(routing_metrics(names, ranked, outside))


if __name__ == "__main__":
    sys.exit(main())
