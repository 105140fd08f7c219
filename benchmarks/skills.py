"""A hundred skills, twenty prompts each, of which a fifth belongs to none: is the right skill taken, and only then?

The skills are the first hundred intents of a routing file. Each is learned from its training texts and asked with
sixteen of its test texts; for each there are four texts out of scope. Told is what the router does by itself, and what
it does where ``none`` is preferred so far that at most two in a hundred texts out of scope go to a skill (``strict``):
that border is chosen on every second prompt and looked at on the others.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.data import RoutingData, load_routing
from benchmarks.methods import Context
from benchmarks.models import load
from benchmarks.options import Options, run_methods, say
from benchmarks.result import Metrics, ResultFile, Run
from benchmarks.routers import Ranking
from benchmarks.routing_features import compute
from benchmarks.routing_methods import ROUTERS, Material
from tokmem_desk import background
from tokmem_desk.errors import BadInputError
from tokmem_desk.procedures import NONE_ROUTE

METHODS = ["ours", "discriminant", "tfidf"]
SKILLS = 100
PROMPTS, OF_NONE = 16, 4
FALSE_LIMIT = 0.02
_DEFAULT_SHOTS = (10, 20)


@dataclass(frozen=True, slots=True)
class Asked:
    """One prompt, the skill that is right, and how the router ranked them."""

    right: str
    ranking: Ranking

    @property
    def route(self) -> str:
        """What the router chose."""
        return self.ranking[0][0]

    def strict_route(self, border: float) -> str:
        """The best skill where ``none`` is at most so probable."""
        found = dict(self.ranking)
        best = max((name for name in found if name != NONE_ROUTE), key=lambda name: found[name])
        return best if found[NONE_ROUTE] <= border else NONE_ROUTE


def main(arguments: Sequence[str] | None = None) -> int:
    return run_methods("skills", __doc__, METHODS, run, arguments)


def run(options: Options) -> None:
    """Run all numbers of training texts and write the result.

    Raises:
        TokmemError: the data or the model cannot be used.
    """
    shots = options.shots or _DEFAULT_SHOTS
    data = prompts_of(load_routing(options.data), (options.procedures or (SKILLS,))[0], max(shots))
    loaded = load(options)
    context = Context(loaded, {})
    chat = background.chat_for_fitting()
    texts = [text for part in (data.train, data.test) for found in part.values() for text in found]
    unique = list(dict.fromkeys([*texts, *data.none_messages, *chat]))
    features = compute(context, unique, with_retriever=False)
    place = {text: row for row, text in enumerate(unique)}
    asked = [(name, text) for name, found in data.test.items() for text in found]
    asked += [(NONE_ROUTE, text) for text in data.none_messages]
    head = {
        "benchmark": "skills",
        "backbone": loaded.facts,
        "data": {
            "name": options.data.name,
            "skills": len(data.train),
            "prompts": len(asked),
            "of_none": len(data.none_messages),
        },
        "seeds": [0],
    }
    with ResultFile(options.out, head) as result:
        for count in shots:
            runs = {}
            for method in options.methods:
                rows = [(place[text], label) for label, of in enumerate(data.train.values()) for text in of[:count]]
                material = Material(
                    list(data.train),
                    [row for row, _ in rows],
                    [label for _, label in rows],
                    [place[t] for t in chat],
                    0,
                )
                ranked = ROUTERS[method](context, features, material).rank([place[text] for _, text in asked])
                found = [Asked(name, ranking) for (name, _), ranking in zip(asked, ranked, strict=True)]
                runs[method] = [Run(measured(found))]
                say(f"{count} pairs, {method}: {runs[method][0].metrics}")
                result.predict(
                    {"pairs": count, "method": method, "skill": name, "input": text, "route": one.route}
                    for (name, text), one in zip(asked, found, strict=True)
                )
            result.add({"pairs": count}, runs)


def prompts_of(data: RoutingData, skills: int, shots: int) -> RoutingData:
    """The texts that take part, drawn once.

    Raises:
        BadInputError: there are too few.
    """
    names = sorted(name for name, found in data.test.items() if len(found) >= PROMPTS)[:skills]
    if len(names) < skills or len(data.none_messages) < OF_NONE * skills:
        raise BadInputError(
            f"The data has {len(names)} skills with {PROMPTS} prompts and {len(data.none_messages)} of none.",
            next_step=f"Ask for fewer than {skills} with --procedures.",
        )
    chance = random.Random(0)
    return RoutingData(
        {name: chance.sample(data.train[name], min(shots, len(data.train[name]))) for name in names},
        {name: chance.sample(data.test[name], PROMPTS) for name in names},
        chance.sample(data.none_messages, OF_NONE * len(names)),
    )


def measured(asked: Sequence[Asked]) -> Metrics:
    """Recall of the right skill and share of none that goes to one; both also at the strict border."""
    chooses, looked_at = asked[::2], asked[1::2]
    border = strict_border(chooses)
    strict = _recall_and_false([(one.right, one.strict_route(border)) for one in looked_at])
    recall, wrong = _recall_and_false([(one.right, one.route) for one in asked])
    known: list[Any] = [one for one in asked if one.right != NONE_ROUTE]
    return {
        "known_recall": recall,
        "false_trigger_rate": wrong,
        "routing_accuracy": sum(one.strict_route(1.0) == one.right for one in known) / len(known),
        "strict_recall": strict[0],
        "strict_false_trigger_rate": strict[1],
        "strict_border": border,
    }


def strict_border(asked: Sequence[Asked]) -> float:
    """The highest probability of none at which so few of none go to a skill as are allowed."""
    of_none = sorted(dict(one.ranking)[NONE_ROUTE] for one in asked if one.right == NONE_ROUTE)
    allowed = int(FALSE_LIMIT * len(of_none))
    # The border lies between two of them, so it is not one of the looked-at prompts' chance.
    return of_none[allowed] * 0.999999 if of_none else 1.0


def _recall_and_false(routes: Sequence[tuple[str, str]]) -> tuple[float, float]:
    known = [right == route for right, route in routes if right != NONE_ROUTE]
    none = [route != NONE_ROUTE for right, route in routes if right == NONE_ROUTE]
    return sum(known) / len(known), sum(none) / max(1, len(none))


if __name__ == "__main__":
    sys.exit(main())
