"""What a person's corrections do: error on held-out messages against the number of corrections.

A user is replayed who starts with few pairs, types the other texts and ordinary chat in random order, and corrects
every wrong route. The verdict goes the app's own way: into the profile's store, and from there into the router that the
next message meets. Held-out messages are never corrected. Features of every text are computed once.

With ``--near-misses`` another user is replayed: see ``near_misses``.
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.correction_user import METHODS, Ranker, Replay, Said
from benchmarks.data import RoutingData, load_chat, load_routing
from benchmarks.measure import routing_metrics
from benchmarks.methods import Context
from benchmarks.models import Loaded, load
from benchmarks.near_misses import BANKS, Material, read_near_misses
from benchmarks.near_misses import measure as measure_near_misses
from benchmarks.options import Options, add_method_options, make_parser, numbers, run_program, say
from benchmarks.result import ResultFile, Run
from benchmarks.routing_features import Features, compute
from tokmem_desk.errors import BadInputError, NotFoundError
from tokmem_desk.procedures import NONE_ROUTE
from tokmem_desk.routing.features import RouterBasis

_DEFAULT_SHOTS = (5,)
_ORDER_SEED = 0
_POINTS = (0, 5, 10, 20, 40, 80, 160, 320, 640, 1280)
"""Numbers of corrections after which the held-out messages are routed."""
_NEAR_MISSES_CORRECTED = (1, 3)
"""Numbers of corrections after which the other near-misses are routed."""


@dataclass(frozen=True, slots=True)
class _Day:
    """One user's material.

    Attributes:
        known: the texts each procedure is made from.
        stream: what the user types, in order.
        held_out: what is measured on, by right route; ``none`` among them.
    """

    known: dict[str, list[str]]
    stream: list[Said]
    held_out: dict[str, list[str]]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = make_parser("correction", __doc__)
    add_method_options(parser, list(METHODS))
    parser.add_argument("--chat", type=Path, metavar="FILE", help="chat.json: further messages that belong to none")
    parser.add_argument(
        "--corrections", type=numbers, default=_POINTS[1:], metavar="N[,N]", help="measure after so many corrections"
    )
    parser.add_argument(
        "--near-misses", type=Path, metavar="FILE", help="correct some messages that only look like a procedure's"
    )
    given = vars(parser.parse_args(arguments))
    corrections, near_misses = given.pop("corrections"), given.pop("near_misses")
    if near_misses is not None:
        counts = _NEAR_MISSES_CORRECTED if corrections == _POINTS[1:] else corrections
        return run_program(lambda: run_near_misses(Options(**given), near_misses, counts))
    return run_program(lambda: run(Options(**given), (0, *sorted(corrections))))


def _head(options: Options, data: RoutingData, loaded: Loaded, **more: Any) -> dict[str, Any]:
    """What both results begin with; ``more`` is said of the data."""
    return {
        "benchmark": "correction",
        "backbone": loaded.facts,
        "data": {
            "name": options.data.name,
            "routes": len(data.train),
            **more,
            "held_out_none": len(data.none_messages),
        },
        "seeds": list(range(options.seeds)),
    }


def run(options: Options, points: Sequence[int]) -> None:
    """Replay every user and write the result.

    Raises:
        TokmemError: the data or the model cannot be used.
    """
    data = _narrowed(load_routing(options.data), options)
    all_shots = options.shots or _DEFAULT_SHOTS
    loaded = load(options)
    everything = [text for part in (data.train, data.test) for texts in part.values() for text in texts]
    unique = list(dict.fromkeys([*everything, *data.none_messages, *data.none_train]))
    features = compute(Context(loaded, {}), unique, with_retriever=False)
    held_out = sum(len(texts) for texts in data.test.values())
    head = _head(options, data, loaded, held_out=held_out, limit=options.limit)
    with ResultFile(options.out, head) as result:
        for shots in all_shots:
            found: dict[str, list[dict[int, Run]]] = {}
            for method in options.methods:
                for seed in range(options.seeds):
                    day = _day(data, shots, seed)
                    said = {"setting": {"shots": shots}, "method": method, "seed": seed}
                    measured, rows = _replay(method, loaded.backbone.hidden_size, features, loaded.basis, day, points)
                    result.predict({**said, **row} for row in rows)
                    found.setdefault(method, []).append(measured)
                    _keep(result, shots, found, points)
                    last = measured[max(measured)].metrics
                    say(
                        f"{method}, {shots} shots, seed {seed}: error {measured[0].metrics['error']:.4f} at first, "
                        f"{last['error']:.4f} after {last['corrections']:.0f} corrections "
                        f"in {len(day.stream)} messages"
                    )


def run_near_misses(options: Options, path: Path, corrections: Sequence[int]) -> None:
    """Have near-misses corrected, and write what that does to others and to what was right.

    Raises:
        TokmemError: the data or the model cannot be used.
        BadInputError: no procedure of the data has near-misses.
    """
    data = _narrowed(load_routing(options.data), options)
    near_misses = {
        half: {name: texts for name, texts in found.items() if name in data.train}
        for half, found in read_near_misses(path).items()
    }
    if not any(near_misses.values()):
        raise BadInputError(f"No procedure of the data has near-misses in {path.name}.")
    loaded = load(options)
    held_out = {**data.test, NONE_ROUTE: data.none_messages}
    parts = (data.train, held_out, *near_misses.values())
    texts = [text for part in parts for found in part.values() for text in found]
    features = compute(Context(loaded, {}), list(dict.fromkeys(texts)), with_retriever=False)
    counts = {half: {name: len(texts) for name, texts in one.items()} for half, one in near_misses.items()}
    head = _head(options, data, loaded, near_misses=counts)
    shots = options.shots[0] if options.shots else None
    sent_wrong: dict[tuple[str, int, str], list[str]] = {}
    with ResultFile(options.out, head) as result:
        for bank in BANKS:
            for count in sorted(corrections):
                runs: dict[str, list[Run]] = {}
                for method in options.methods:
                    for seed in range(options.seeds):
                        known = {
                            name: random.Random(f"{seed}/{name}").sample(found, len(found))[:shots]
                            for name, found in data.train.items()
                        }
                        material = Material(known, held_out, near_misses)
                        hidden = loaded.backbone.hidden_size
                        run = measure_near_misses(
                            method, material, bank, count, seed, features, loaded.basis, hidden, sent_wrong
                        )
                        runs.setdefault(method, []).append(run)
                        say(
                            f"{bank}, {count} corrected, {method}, seed {seed}: {run.metrics['false_trigger_rate']:.3f}"
                            f" of the others still go wrong, recall {run.metrics['known_recall']:.3f}"
                        )
                result.add({"bank": bank, "shots": shots, "corrections": count}, runs)


def _keep(result: ResultFile, shots: int, found: dict[str, list[dict[int, Run]]], points: Sequence[int]) -> None:
    """Write all points up to the first that no user went beyond.

    A user who ran out of mistakes earlier stays where it ended: there was nothing left to correct.
    """
    most = max(max(measured) for users in found.values() for measured in users)
    beyond = next((place for place, point in enumerate(points) if point >= most), len(points))
    for point in points[: beyond + 1]:
        runs = {
            method: [measured[max(at for at in measured if at <= point)] for measured in users]
            for method, users in found.items()
        }
        result.add({"shots": shots, "corrections": point}, runs)


def _replay(
    method: str,
    hidden_size: int,
    features: Features,
    basis: RouterBasis,
    day: _Day,
    points: Sequence[int],
) -> tuple[dict[int, Run], list[dict[str, Any]]]:
    """One user from the first message to the last; figures by number of corrections, and what was said."""
    measured: dict[int, Run] = {}
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        replay = Replay(METHODS[method], Path(folder), features, basis, hidden_size, day.known)
        with replay:

            def measure(typed: int) -> None:
                measured[replay.corrections] = _measure(replay.rank, day, replay.corrections, typed)

            measure(0)
            for typed, said in enumerate(day.stream, start=1):
                route = replay.say(said)
                rows.append({"procedure": said.route, "input": said.text, "route": route})
                if route != said.route and replay.corrections in points:
                    measure(typed)
            measure(len(day.stream))
            again = [ranking[0][0] for ranking in replay.rank([said.text for said in replay.corrected])]
    wrong_again = sum(route != said.route for route, said in zip(again, replay.corrected, strict=True))
    last = measured[replay.corrections].metrics
    last["repeat_error"] = wrong_again / len(again) if again else None
    last["stream_error"] = sum(row["route"] != row["procedure"] for row in rows) / max(1, len(rows))
    late = rows[-max(1, len(rows) // 5) :]
    last["late_stream_error"] = sum(row["route"] != row["procedure"] for row in late) / max(1, len(late))
    return measured, rows


def _measure(rank: Ranker, day: _Day, corrections: int, typed: int) -> Run:
    rankings = {name: rank(texts) for name, texts in day.held_out.items() if texts}
    wrong = sum(ranking[0][0] != name for name, ranked in rankings.items() for ranking in ranked)
    count = sum(len(ranked) for ranked in rankings.values())
    none = rankings.pop(NONE_ROUTE, [])
    metrics = routing_metrics(list(day.known), rankings, none)
    return Run({"error": wrong / count, "corrections": float(corrections), "messages": float(typed), **metrics})


def _day(data: RoutingData, shots: int, seed: int) -> _Day:
    draw = random.Random(seed)
    known: dict[str, list[str]] = {}
    stream = [Said(text, NONE_ROUTE) for text in data.none_train]
    for name, texts in data.train.items():
        mixed = random.Random(f"{seed}/{name}").sample(texts, len(texts))
        known[name] = mixed[:shots]
        stream += [Said(text, name) for text in mixed[shots:]]
    draw.shuffle(stream)
    return _Day(known, stream, {**data.test, NONE_ROUTE: data.none_messages})


def _narrowed(data: RoutingData, options: Options) -> RoutingData:
    """The data that the options ask for, with the further messages of ``--chat``.

    Raises:
        NotFoundError: a named route is not there.
        BadInputError: nothing to measure on, or nothing to type.
    """
    names = list(options.names) or sorted(data.train)
    for name in names:
        if name not in data.train:
            raise NotFoundError(f"There is no route {name!r} in the data.")
    if options.procedures and options.procedures[0] < len(names):
        random.Random(_ORDER_SEED).shuffle(names)
        names = names[: options.procedures[0]]
    test = {name: data.test[name][: options.limit] for name in names}
    if not any(test.values()):
        raise BadInputError("The data has no test texts to measure on.")
    pool = {name: data.train[name][: options.pairs] for name in names}
    fewest = min(options.shots or _DEFAULT_SHOTS)
    if not any(len(texts) > fewest for texts in pool.values()):
        raise BadInputError(
            f"No route has more than {fewest} texts, so there is nothing left to type.", next_step="Use fewer --shots."
        )
    none, none_train = list(data.none_messages), list(data.none_train)
    if options.chat:
        none += load_chat(options.chat)
        none_train += load_chat(options.chat, "train")
    most_none = None if options.limit is None else options.limit * len(names)
    return RoutingData(pool, test, none[:most_none], none_train)


if __name__ == "__main__":
    sys.exit(main())
