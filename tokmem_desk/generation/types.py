"""What recall takes and gives: a bank, and an answer with its segments, routes, pieces and timing. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from tokmem_desk.generation.answer_segment import AnswerSegment
from tokmem_desk.generation.token_log import LoggedToken
from tokmem_desk.references.filled import FilledIn
from tokmem_desk.routing.near import near_routes

if TYPE_CHECKING:
    from tokmem_desk.memory.memory import Memory
    from tokmem_desk.references.finder import ReferenceFinder
    from tokmem_desk.routing.routers import Candidate, Router
    from tokmem_desk.routing.segment_tagger import SegmentTagger
    from tokmem_desk.templates.json_schema import OutputSchema


@dataclass(frozen=True, slots=True)
class Bank:
    """A profile's memories that may answer now, with the router over them.

    Attributes:
        memories: the enabled ones; their names are the routes.
        schemas: JSON schemas that answers are held to, by name.
        conversation_aware: names of the procedures that read the conversation.
        guests: names of those that came with somebody else's bank and are not accepted yet.
        following: which procedure goes on with the answers of which, by name; an empty name stands for one that was
            removed.
        segment_tagger: proposes where further requests begin; without one every message is one request.
        references: finds what words refer to; without it every message is read as it stands.
        plans: the steps of each procedure that is a plan; empty where its answers are its steps.
        steps_grammar: what such an answer is held to, as llguidance reads it; empty: nothing.
    """

    memories: dict[str, Memory]
    router: Router
    schemas: Mapping[str, OutputSchema] = field(default_factory=dict)
    conversation_aware: frozenset[str] = frozenset()
    guests: frozenset[str] = frozenset()
    segment_tagger: SegmentTagger | None = None
    references: ReferenceFinder | None = None
    following: Mapping[str, str] = field(default_factory=dict)
    plans: Mapping[str, str] = field(default_factory=dict)
    steps_grammar: str = ""


@dataclass(frozen=True, slots=True)
class Routed:
    """The route of a segment; ``candidates`` best first, ``none`` among them.

    Attributes:
        segment: place in the answer, from 0.
        part: the part of the message that the segment answers; all of it when the answer has one segment. In a chain,
            the answer that it goes on with. What its words refer to is filled in.
        follows: in a chain, the procedure whose answer that is; else empty.
        typed: the part as it stands in the message, where something was filled in; else empty.
        filled: what was filled in.
    """

    route: str
    probability: float
    candidates: list[Candidate]
    forced: bool = False
    segment: int = 0
    part: str = ""
    follows: str = ""
    typed: str = ""
    filled: tuple[FilledIn, ...] = ()

    @property
    def ambiguous(self) -> tuple[str, str] | None:
        """The two routes that it lies between, the taken one first; None where it is clear or somebody chose it."""
        return None if self.forced else near_routes([(c.route, c.probability) for c in self.candidates])


@dataclass(frozen=True, slots=True)
class Read:
    """How far a long text has been read; a short one is read before anybody could be told.

    Attributes:
        what: ``message``, its ``requests`` (stretches that may be requests of their own), or the ``conversation``.
        done: tokens read so far, fewer than ``total``.
        total: tokens to read.
    """

    what: Literal["message", "requests", "conversation"]
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Piece:
    """Text that has just been generated."""

    text: str


@dataclass(slots=True)
class Timing:
    """Seconds since the start of recall; ``tokens`` counts generated ones."""

    prefill: float = 0.0
    route: float = 0.0
    first_token: float = 0.0
    total: float = 0.0
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """The end of a recall.

    Attributes:
        stopped: ``end``, ``length``, ``repeats`` (plain chat that went in circles) or ``cancelled``.
        routed: the route of the first segment.
        response: the responses of all segments, a line break between them.
        segments: in the order in which they were answered, at least one.
        turns_cut: how many of the oldest messages of plain chat did not fit the context.
        whole_cut: the same for procedures that read the conversation.
        context_tokens: positions of the context that the largest segment took, answer included.
        prompt_tokens: positions before the first token, of all segments together, those of memories included.
        without_history: plain chat was about to repeat an earlier answer, and was answered without the conversation.
        tokens: of the response, where they were asked for; None where a part of it was copied instead of generated.
    """

    routed: Routed
    response: str
    timing: Timing
    stopped: str
    segments: list[AnswerSegment]
    turns_cut: int = 0
    whole_cut: int = 0
    context_tokens: int = 0
    prompt_tokens: int = 0
    without_history: bool = False
    tokens: list[LoggedToken] | None = None
