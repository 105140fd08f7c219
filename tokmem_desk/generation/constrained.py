"""Hold an answer to a schema or a form while it is generated: which tokens may come next, and which must.

Wraps llguidance, which computes the set of allowed tokens from the tokenizer's own bytes, so that it works for
byte-level and SentencePiece vocabularies alike. Knows no memory and no route; ``recall`` asks it before each token.

Letters: v vocabulary.
"""

from __future__ import annotations

import copy
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from tokmem_desk.errors import GenerationError, IncompatibleError, TokmemError, first_line
from tokmem_desk.generation.choosing import Leaning, leaning_of
from tokmem_desk.generation.listing import listed
from tokmem_desk.generation.pointing import pointed
from tokmem_desk.templates.asked_form import AskedForm
from tokmem_desk.templates.json_schema import OutputSchema
from tokmem_desk.templates.patterns import PatternError
from tokmem_desk.templates.single_use import FormWalk

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.memory.memory import Memory
    from tokmem_desk.templates.template import AnswerTemplate

CLOSING_TOKENS = 128
"""Tokens that an answer at its greatest length may add, to close open brackets and strings."""


_REFUSES = 3.0
"""Nats by which the model must prefer a forbidden token before an answer that may end is ended."""

_CLOSERS = '}],:"0123456789-[{ntf'
"""Characters that bring JSON to its end, the quickest first; used outside strings."""


class Vocabulary:
    """A backbone's tokens as llguidance sees them: made once per backbone (a second, eight for 262,144 tokens)."""

    def __init__(self, backbone: Backbone) -> None:
        from llguidance.hf import from_tokenizer

        tokenizer = backbone.tokenizer
        self._columns = backbone.vocabulary_size
        try:
            # The model's head may be padded beyond the tokenizer, or lack its last added tokens.
            size = max(self._columns, len(tokenizer))
            self.tokens: Any = from_tokenizer(tokenizer, n_vocab=size, eos_token=sorted(backbone.format.stop_ids))
        except (ValueError, RuntimeError) as error:
            raise IncompatibleError(
                f"The tokenizer of {backbone.model_id} cannot be held to a schema ({error}).",
                next_step="Choose another model, or take the schema away: tokmem-desk proc schema NAME --none",
            ) from error

        self._one_character: dict[str, int | None] = {}

    def allowed(self, mask: bytes) -> Tensor:
        """[v] bool from llguidance's one byte per token."""
        return torch.frombuffer(bytearray(mask), dtype=torch.uint8)[: self._columns] > 0

    def id_of(self, character: str) -> int | None:
        """The token that is exactly this ASCII character, if there is one."""
        if character not in self._one_character:
            ids = self.tokens.greedy_tokenize(character)
            self._one_character[character] = int(ids[0]) if len(ids) == 1 and ids[0] < self._columns else None
        return self._one_character[character]


_VOCABULARIES: WeakKeyDictionary[Backbone, Vocabulary | IncompatibleError] = WeakKeyDictionary()
"""Vocabulary of each loaded backbone, or the refusal; finding out takes a second or more."""


def vocabulary_of(backbone: Backbone) -> Vocabulary:
    """The vocabulary of a backbone, for answers held to a schema; made on the first call.

    Raises:
        IncompatibleError: constrained decoding does not work with its tokenizer.
    """
    found = _VOCABULARIES.get(backbone)
    if found is None:
        try:
            found = Vocabulary(backbone)
        except IncompatibleError as error:
            found = error
        _VOCABULARIES[backbone] = found
    if isinstance(found, IncompatibleError):
        raise found.with_traceback(None)
    return found


def vocabulary_for_forms(backbone: Backbone) -> Vocabulary | None:
    """The same, but None where the tokenizer does not work: nobody declared a template, so answers may be free."""
    with suppress(IncompatibleError):
        return vocabulary_of(backbone)
    return None


class Constraint:
    """State of one answer in a grammar. Call ``take`` with every token of the answer, in order."""

    def __init__(self, vocabulary: Vocabulary, grammar: str) -> None:
        """Begin an answer.

        Args:
            grammar: as llguidance reads it.

        Raises:
            GenerationError: it cannot be followed.
        """
        from llguidance import LLMatcher

        self._vocabulary = vocabulary
        self._matcher: Any = LLMatcher(vocabulary.tokens, grammar, log_level=0)
        self._taken: list[int] = []
        self._check()

    def mask(self, logits: Tensor) -> Tensor:
        """[v] logits in which every token that must not come next is minus infinity.

        Raises:
            GenerationError: nothing may come next.
        """
        allowed = self.allowed()
        if allowed is None:
            return logits
        return self._preferred(logits.masked_fill(~allowed.to(logits.device), float("-inf")), allowed)

    def allowed(self) -> Tensor | None:
        """[v] bool, the tokens that may come next; None when everything may.

        Raises:
            GenerationError: nothing may come next.
        """
        allowed = self._vocabulary.allowed(self._matcher.compute_logit_bias())
        self._check()
        if not bool(allowed.any()):
            raise GenerationError("No answer can fit the schema.", next_step="Look at the schema.")
        return allowed

    def _preferred(self, masked: Tensor, allowed: Tensor) -> Tensor:
        """Hook: subclasses may narrow the mask."""
        del allowed
        return masked

    def take(self, token: int, *, ahead: bool = True) -> list[int]:
        """Advance by one token; with ``ahead`` also by those that must follow, which are returned."""
        self._matcher.consume_token(token)
        self._check()
        self._taken.append(token)
        return self._forced() if ahead else []

    def _forced(self) -> list[int]:
        """Advance by the tokens that must follow, and return them."""
        if self._matcher.is_stopped():
            return []
        forced: list[int] = [int(token) for token in self._matcher.compute_ff_tokens()]
        if forced:
            self._matcher.consume_tokens(forced)
            self._check()
            self._taken += forced
        return forced

    @property
    def complete(self) -> bool:
        """True when nothing may be added."""
        return bool(self._matcher.is_stopped())

    def copy(self) -> Self:
        """A copy that advances on its own."""
        other = copy.copy(self)
        other._matcher, other._taken = self._matcher.deep_copy(), list(self._taken)
        return other

    def decode(self, ids: list[int]) -> str:
        """The text of an answer's tokens, exactly: no cleaning up, no space taken from its beginning."""
        stops = set(self._vocabulary.tokens.eos_tokens)
        data: bytes = self._vocabulary.tokens.decode_bytes([token for token in ids if token not in stops])
        return data.decode("utf-8", "replace")

    def _check(self) -> None:
        if self._matcher.is_error():
            raise GenerationError(
                f"The schema cannot be followed ({first_line(ValueError(self._matcher.get_error()))}).",
                next_step="Make the schema simpler.",
            )


class ClosingConstraint(Constraint):
    """State of one answer that must be whole: a call, an object. Too long a one can be brought to its end."""

    def __init__(self, vocabulary: Vocabulary, grammar: str) -> None:
        self._closing = False
        super().__init__(vocabulary, grammar)

    def close(self) -> None:
        """From now on prefer tokens that bring the answer to its end."""
        self._closing = True

    def _preferred(self, masked: Tensor, allowed: Tensor) -> Tensor:
        """While closing: a token that closes a bracket or completes a value; the model's choice where there is none."""
        if not self._closing:
            return masked
        stops = [token for token in self._vocabulary.tokens.eos_tokens if token < len(allowed) and allowed[token]]
        inside = _inside_string(self.decode(self._taken))
        ids = stops or [self._vocabulary.id_of(character) for character in ('"' if inside else _CLOSERS)]
        for token in ids:
            if token is not None and allowed[token]:
                alone = torch.full_like(masked, float("-inf"))
                alone[token] = 0.0
                return alone
        return masked


class SchemaConstraint(ClosingConstraint):
    """State of one answer in a procedure's schema."""

    def __init__(self, vocabulary: Vocabulary, schema: OutputSchema) -> None:
        self._schema = schema
        super().__init__(vocabulary, schema.grammar)

    def arguments(self, text: str) -> dict[str, Any]:
        """The object that a finished answer is.

        Raises:
            GenerationError: it does not fit: it was cut short, or the schema has a rule that no grammar can express.
        """
        try:
            return self._schema.read(text)
        except TokmemError as caught:
            raise GenerationError(
                f"The answer does not fit the procedure's schema: {caught.message}.",
                next_step="Allow a longer answer, or look at the schema.",
            ) from caught


class FormConstraint(Constraint):
    """One answer's way through the form that a procedure's pairs share.

    Nobody has declared that form, so it never stops an answer: where it cannot be followed, the rest is free.
    """

    def __init__(
        self, vocabulary: Vocabulary, form: AnswerTemplate, message: str, leaning: Leaning | None = None
    ) -> None:
        """Begin an answer.

        Args:
            leaning: what the message says about the closed sets of the form.
        """
        from llguidance import LLMatcher

        self._leaning = leaning
        self.followed = True
        """False from where the form cannot be followed: the rest is free."""
        self._wanted = torch.zeros(())
        self._walk = FormWalk(form, message) if form.once else None
        try:
            pattern = self._walk.begin() if self._walk is not None else None
            if pattern is None:
                self._walk, pattern = None, form.pattern(message)
            super().__init__(vocabulary, LLMatcher.grammar_from_regex(pattern))
        except (GenerationError, ValueError):
            self.followed = False

    def _preferred(self, masked: Tensor, allowed: Tensor) -> Tensor:
        """Where the model would rather leave the form than stay in it and the answer may end here, it ends."""
        ends = [token for token in self._vocabulary.tokens.eos_tokens if token < len(allowed) and allowed[token]]
        if not ends or float(self._wanted - masked.max()) < _REFUSES:
            return masked
        alone = torch.full_like(masked, float("-inf"))
        alone[ends[0]] = 0.0
        return alone

    def mask(self, logits: Tensor) -> Tensor:
        """[v] logits in which every token that must not come next is minus infinity."""
        self._wanted = logits.max()
        masked = super().mask(logits)
        if self._leaning is None or not self.followed:
            return masked
        return self._leaning.applied(masked, self.decode(self._taken), self.decode)

    def allowed(self) -> Tensor | None:
        """[v] bool, the tokens that may come next; None when the form cannot be followed any more."""
        if self.followed:
            try:
                return super().allowed()
            except GenerationError:
                self.followed = False
        return None

    def take(self, token: int, *, ahead: bool = True) -> list[int]:
        """Note a token; with ``ahead`` returns those that must follow it."""
        followed: list[int] = []
        if self.followed:
            try:
                followed = super().take(token, ahead=ahead)
                while self._narrow() and ahead and (forced := self._forced()):
                    followed += forced
            except GenerationError:
                self.followed = False
        return followed

    def copy(self) -> Self:
        """A copy that advances on its own."""
        other = super().copy()
        # What a walk keeps of the message and the form is the same for all.
        other._walk = copy.copy(self._walk)
        return other

    def _narrow(self) -> bool:
        """Leave out of the grammar what has been taken from the message by now; True when it changed."""
        from llguidance import LLMatcher

        if self._walk is None or self._matcher.is_stopped():
            return False
        try:
            pattern = self._walk.narrow(self.decode(self._taken))
        except PatternError:  # the wider one stays
            return False
        if pattern is None:
            return False
        matcher = LLMatcher(self._vocabulary.tokens, LLMatcher.grammar_from_regex(pattern), log_level=0)
        # Tokens may reach past what the grammar now knows: where they do not fit it, the wider one stays.
        if matcher.is_error() or not matcher.consume_tokens(self._taken) or matcher.is_error():
            return False
        self._matcher = matcher
        return True

    @property
    def complete(self) -> bool:
        return self.followed and super().complete


def constraint_of(
    backbone: Backbone,
    memory: Memory | None,
    schema: OutputSchema | None,
    message: str | None,
    asked: AskedForm | None = None,
    tokens: Tensor | None = None,
) -> Constraint | None:
    """What holds an answer: the form that was asked for, else the procedure's schema, else the form of its pairs.

    Args:
        message: None where values may also come from elsewhere, such as the conversation.
        asked: what the request wants; None where it says nothing.
        tokens: [t x k] float32 tokens of the message in the backbone's token space, which say where its values stand;
            None where they were not read.
    """
    if asked is not None:
        return ClosingConstraint(vocabulary_of(backbone), asked.grammar)
    if schema is not None:
        return SchemaConstraint(vocabulary_of(backbone), schema)
    form = None if memory is None or message is None else memory.answer_template
    if form is None or message is None:
        return None
    form = listed(backbone, pointed(backbone, form, message, tokens), message, tokens)
    return held_to(form, backbone, message, leaning_of(backbone, form, message, tokens))


def held_to(
    form: AnswerTemplate, backbone: Backbone, message: str, leaning: Leaning | None = None
) -> FormConstraint | None:
    """The beginning of an answer in that form; None where the tokenizer lets nothing be held, and answers are free."""
    vocabulary = vocabulary_for_forms(backbone)
    return None if vocabulary is None else FormConstraint(vocabulary, form, message, leaning)


def _inside_string(text: str) -> bool:
    """Whether JSON that is cut off here is cut inside a string."""
    inside = escaped = False
    for character in text:
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = inside
        elif character == '"':
            inside = not inside
    return inside


def reads_tokens(memory: Memory | None) -> bool:
    """Whether ``constraint_of`` can use the tokens of a message."""
    form = None if memory is None else memory.answer_template
    return form is not None and bool(form.pointers or form.choosers or form.row_chooser)
