"""Messages that ask for several things at once, composed of the shipped ones: what a segment tagger learns from.

The joints are material to learn from, not a list to match against: what is learned reads hidden states, and finds
other joints, and other languages, by their likeness to these.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from tokmem_desk import background

_JOINTS = (
    (" and ", 5),
    (". ", 5),
    (", and ", 4),
    (" and then ", 2),
    (", then ", 2),
    (". Then ", 2),
    (", ", 1),
    ("; ", 2),
    ("\n", 1),
    ("! ", 1),
    ("? ", 1),
    (" - ", 1),
    (" & ", 1),
    (" then ", 1),
    (". Also, ", 1),
    (", also ", 1),
    ("; also, ", 1),
    (" and also ", 1),
    (", and also ", 1),
    (", and then ", 1),
    (". And then ", 1),
    (". And ", 1),
    (". After that, ", 1),
    (", after that ", 1),
    ("; after that ", 1),
    (" and after that ", 1),
    (", and after that ", 1),
    (". Next, ", 1),
    (", next ", 1),
    (", plus ", 1),
    (". Plus, ", 1),
    (". Afterwards ", 1),
    (", and afterwards ", 1),
    (", and finally ", 1),
    (". Finally, ", 1),
    (". Oh and ", 1),
    (", oh and ", 1),
    (", as well as ", 1),
    (". By the way, ", 1),
    (". Once that's done, ", 1),
    (", and when you're done ", 1),
    (", while you're at it ", 1),
    (". Second, ", 1),
    (" und ", 1),
    (", und dann ", 1),
    (" et ", 1),
    (", puis ", 1),
    (" y ", 1),
    (", y luego ", 1),
)
"""What stands between two requests, and how often relative to the others."""

_PARTS = (1, 2, 3, 4)
_SHARES = (0.35, 0.35, 0.2, 0.1)
_CHAT_POOLS = 20
_ENDINGS = ".!?"


@dataclass(frozen=True, slots=True)
class Joined:
    """A message, and where in it each request stands: [start, end) in characters, joints left out."""

    text: str
    requests: tuple[tuple[int, int], ...]


def joined_messages(count: int, seed: int = 0) -> list[Joined]:
    """Messages of one to four requests, each request from another group."""
    rng = random.Random(seed)
    chat = background.chat_for_fitting()
    pools = [*background.groups().values(), *(chat[i::_CHAT_POOLS] for i in range(_CHAT_POOLS))]
    messages = []
    for _ in range(count):
        parts = rng.choices(_PARTS, _SHARES)[0]
        messages.append(join([rng.choice(pool).strip() for pool in rng.sample(pools, parts)], rng))
    return messages


def join(requests: list[str], rng: random.Random) -> Joined:
    """Requests with joints drawn between them; a full stop gives way to a joint, and the next letter may be small."""
    text = ""
    places: list[tuple[int, int]] = []
    joints, weights = zip(*_JOINTS, strict=True)
    for request in requests:
        if places:
            joint = rng.choices(joints, weights)[0]
            if text[-1] in _ENDINGS and joint[0] in ",;.!?":
                if text[-1] == "." or rng.random() < 0.3:
                    text = text[:-1]
                    places[-1] = (places[-1][0], len(text))
                else:
                    joint = joint.lstrip(",;.!?")
            if joint.rstrip()[-1:] not in (".", "!", "?", "") and rng.random() < 0.7:
                request = request[:1].lower() + request[1:]
            text += joint
        places.append((len(text), len(text) + len(request)))
        text += request
    return Joined(text, tuple(places))
