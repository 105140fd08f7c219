"""Rows of a profile's database as frozen dataclasses.

Plain values only: no connection, no file is touched by reading one. Times are UTC in ISO 8601 with
milliseconds, so that they sort as text and print as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from tokmem_desk.procedures import ExamplePair

JsonObject = dict[str, Any]
"""A JSON object as it was stored; its keys belong to whoever wrote it."""

Part = Literal["train", "held_out"]
MemoryStatus = Literal["candidate", "active", "archived"]
Role = Literal["user", "assistant"]
MessageStatus = Literal["complete", "stopped", "failed"]
Rating = Literal["good", "bad"]
JobState = Literal["queued", "running", "paused", "undecided", "done", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class ProfileInfo:
    """One line of the list of profiles."""

    id: str
    name: str
    created: str
    last_used: str
    procedure_count: int | None
    """None when the profile is locked, or its database cannot be read."""
    bytes: int
    """Everything in the profile's folder."""
    active: bool
    locked: bool = False
    """True when everything in it is encrypted, and a passphrase opens it."""


@dataclass(frozen=True, slots=True)
class ProcedureRecord:
    """A procedure without its pairs."""

    id: int
    uuid: str
    """32 hexadecimal digits; stays the same through renaming and export."""
    name: str
    description: str
    pattern: str | None
    source: str
    enabled: bool
    threshold: float | None
    """Least probability (0 to 1) at which the procedure may answer; None leaves it to the router."""
    version: int
    """Grows with every change to the procedure or its pairs."""
    pair_count: int
    held_out_count: int
    created: str
    updated: str
    group: str = ""
    """A name that procedures of one kind share; empty: none."""
    output_schema: str | None = None
    """The JSON schema that answers are held to."""
    reads_conversation: bool = False
    """Whether it sees what was said before the message."""


@dataclass(frozen=True, slots=True)
class CommandRecord:
    """The program that a procedure's answers may be handed to."""

    procedure: str
    template: tuple[str, ...]
    """The program and its arguments, with slots (``tokmem_desk.templates.command_line``)."""
    allowed: str | None
    """Digest of what may run unasked, or None: ask each time."""
    created: str
    withheld: str | None = None
    """Why a consent that was given once does not hold, for the person to read; None where there is nothing to tell."""


@dataclass(frozen=True, slots=True)
class PairRecord:
    """One example pair of a procedure."""

    id: int
    procedure_id: int
    input: str
    response: str
    references: tuple[str, ...]
    part: Part
    source: str
    created: str

    @property
    def pair(self) -> ExamplePair:
        """The pair alone, as training takes it."""
        return ExamplePair(self.input, self.response, self.references)


IMPORTED_FROM = "imported_from"
"""The setting of a memory that names the bank it came with, until the person accepts it. One trained here has none."""


@dataclass(frozen=True, slots=True)
class MemoryRecord:
    """What one training left: a file of tensors and what it was made from."""

    id: str
    """32 hexadecimal digits, the stem of the file's name."""
    procedure_id: int
    procedure: str
    """The procedure's name now."""
    backbone_fingerprint: str
    file: str
    """Name inside ``Memories.folder``."""
    status: MemoryStatus
    version: int
    """1 for the first memory of this procedure, whatever the backbone."""
    pair_count: int
    pairs_digest: str
    settings: JsonObject
    scorecard: JsonObject
    created: str

    @property
    def imported_from(self) -> str:
        """The bank it came with, while nobody has accepted it; empty for the person's own."""
        found = self.settings.get(IMPORTED_FROM, "")
        return found if isinstance(found, str) else ""


@dataclass(frozen=True, slots=True)
class HeldOutChoice:
    """Of the pairs that a memory was made from: those that it learned, and those that were kept from it to measure it.

    A pair that is in neither came later. It was not learned, but was not held out either.
    """

    learned: tuple[ExamplePair, ...]
    held_out: tuple[ExamplePair, ...]


@dataclass(frozen=True, slots=True)
class PairsChanged:
    """How the train pairs differ from those the active memory was trained on; an edited pair counts in both."""

    added: int
    removed: int

    @property
    def total(self) -> int:
        """Pairs a person would call changed: an edit counts once."""
        return max(self.added, self.removed)

    def __bool__(self) -> bool:
        return self.total > 0


@dataclass(frozen=True, slots=True)
class ConversationRecord:
    """One line of the chat history."""

    id: int
    title: str
    created: str
    updated: str
    message_count: int
    snippet: str
    """The text around the first hit of a search, else an empty string."""


@dataclass(frozen=True, slots=True)
class MessageRecord:
    """One message of a conversation; the fields from ``route`` on belong to answers."""

    id: int
    conversation_id: int
    role: Role
    content: str
    status: MessageStatus
    created: str
    route: str | None
    probability: float | None
    candidates: tuple[JsonObject, ...] | None
    """``{"route", "probability"}``, best first."""
    timing: JsonObject | None
    """Seconds ``prefill, route, first_token, total`` and ``tokens``."""
    details: JsonObject | None = None
    """How the answer was made, as whoever wrote it put it."""
    rating: Rating | None = None


@dataclass(slots=True)
class AnswerFeedback:
    """What a person taught by way of one answer."""

    correction_id: int | None = None
    """The verdict on its route that holds."""
    wrong_route: str | None = None
    pair_id: int | None = None
    """The example pair that was made of it."""
    pair_procedure: str | None = None


@dataclass(frozen=True, slots=True)
class CorrectionRecord:
    """A person's verdict: this text belongs to ``right_route``, not to ``wrong_route``."""

    id: int
    text: str
    wrong_route: str
    right_route: str
    message_id: int | None
    active: bool
    created: str


@dataclass(frozen=True, slots=True)
class JobRecord:
    """The training of one procedure as it stands on disk."""

    id: int
    procedure_id: int
    procedure: str
    """The procedure's name now."""
    state: JobState
    position: int
    """Its place in the queue; smaller is earlier."""
    breaks: int
    """How often the program that worked on it died since somebody last asked for it."""
    request: JsonObject
    """How to train; all that is needed to start it again."""
    progress: JsonObject | None
    error: JsonObject | None
    memory_id: str | None
    """What came out: a candidate while it is undecided."""
    created: str
    updated: str


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """A token of ``serve``, without the token."""

    name: str
    profile: str
    created: str
    last_used: str | None
    """To the minute; None: never."""
