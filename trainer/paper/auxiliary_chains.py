"""Auxiliary procedures of the project's own, on which a backbone is adapted to chains.

All text is put together here from lists of words: a seed gives the same examples everywhere. Each procedure turns a
request into a short structured answer; composed requests join several. They teach the layout (choose a memory,
answer, end the procedure, go on), not the procedures, whose memories are thrown away.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from trainer.paper.chain import ChainExample

_WORDS: dict[str, Sequence[str]] = {
    "name": ("Mira", "Tom Baker", "Aunt Rosa", "Jonas", "Priya Nair", "Old Ben", "Ines", "Dr. Falk", "Yuki", "Sam"),
    "thing": ("oat milk", "two candles", "printer paper", "red paint", "a bike lock", "olives", "soap", "dog food"),
    "place": ("Ghent", "the north garden", "Lake Orla", "Bergen", "room 14", "the old mill", "Porto", "platform 3"),
    "time": ("at noon", "on Friday", "next week", "tonight", "at 7:30", "in two hours", "on 3 May", "before lunch"),
    "sum": ("12 euro", "4.50", "230 kroner", "eight dollars", "17.99", "60 cents", "1,200 yen", "35 pounds"),
    "title": ("Glass Harbour", "The Ninth Crow", "Salt and Paper", "Morning Engine", "A Field of Clocks", "Umbra"),
    "count": ("2", "three", "12", "a dozen", "five", "40"),
}

_PROCEDURES: tuple[tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]], ...] = (
    (("add {thing} to the list", "we are out of {thing}", "put {thing} on the shopping list"), ("item",), ("thing",)),
    (
        ("remind {name} to call {time}", "tell {name} to ring me {time}", "{name} should call {time}"),
        ("who", "when"),
        ("name", "time"),
    ),
    (("paid {sum} for {thing}", "{thing} cost me {sum}", "log {sum}, {thing}"), ("amount", "for"), ("sum", "thing")),
    (
        ("how do I get to {place} {time}", "route to {place} {time}", "I have to be at {place} {time}"),
        ("to", "when"),
        ("place", "time"),
    ),
    (("borrow {title} from the library", "is {title} on the shelf", "reserve {title}"), ("book",), ("title",)),
    (
        ("send {count} copies of {title} to {name}", "{name} gets {count} of {title}"),
        ("count", "title", "to"),
        ("count", "title", "name"),
    ),
    (("water the plants in {place} {time}", "{place} needs water {time}"), ("where", "when"), ("place", "time")),
    (("{name} moved to {place}", "new address of {name}: {place}"), ("who", "where"), ("name", "place")),
    (("hand {sum} to {name}", "I owe {name} {sum}"), ("sum", "to"), ("sum", "name")),
    (("read {title} to me {time}", "start {title} {time}"), ("title", "when"), ("title", "time")),
)
"""Wordings, keys of the answer, and the kinds of word behind them."""

_JOINTS = (". Then ", ", and ", "; also, ", ". ", ", then ", " and ", ". After that, ", ", and also ")

NAMES = tuple(f"auxiliary{i}" for i in range(len(_PROCEDURES)))
_COUNTS = (1, 2, 3, 4)
_SHARES = (0.4, 0.3, 0.2, 0.1)


def auxiliary_examples(count: int, seed: int = 0) -> list[ChainExample]:
    """Requests to one to four auxiliary procedures, and their chains."""
    rng = random.Random(f"auxiliary/{seed}")
    examples = []
    for _ in range(count):
        owners = rng.sample(range(len(_PROCEDURES)), rng.choices(_COUNTS, _SHARES)[0])
        made = [_request(owner, rng) for owner in owners]
        query = made[0][0]
        for text, _ in made[1:]:
            query += rng.choice(_JOINTS) + text
        examples.append(ChainExample(query, tuple((o, answer) for o, (_, answer) in zip(owners, made, strict=True))))
    return examples


def _request(owner: int, rng: random.Random) -> tuple[str, str]:
    """A request to one procedure and its answer."""
    wordings, keys, kinds = _PROCEDURES[owner]
    words = {kind: rng.choice(_WORDS[kind]) for kind in kinds}
    answer = "; ".join(f"{key}: {words[kind]}" for key, kind in zip(keys, kinds, strict=True))
    return rng.choice(wordings).format(**words), answer
