"""How a message becomes token ids: the model's own chat template, or a plain layout where it has none.

*Query* is everything up to and including the header that opens the assistant's turn. The text of a person
is always encoded with special tokens split, so that it can neither forge a turn nor name a memory.
Dates are pinned, thinking is off, no system text of ours is added: what the template does by itself is
part of the layout and therefore of the fingerprint.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tokmem_desk.errors import IncompatibleError

_PINNED_DATE = "26 Jul 2024"
"""Templates such as Llama 3.2's print today's date; a memory must see the same text every day."""

_PINNED_CLOCK = f"{{% macro strftime_now(format) %}}{_PINNED_DATE}{{% endmacro %}}\n"
"""Stands in front of templates that read the clock. A macro, because functions cannot be passed to a template."""

_LEAD = "\n"
"""Stands in front of a text that must not begin with a tokenizer's own space, and is taken away again."""
_MARK = "\u2402user\u2403"
_ANSWER_MARK = "\u2402answer\u2403"
_SECOND_MARK = "\u2402second\u2403"
_SYSTEM_MARK = "\u2402system\u2403"

PLAIN_USER = "### Message\n"
PLAIN_ASSISTANT = "\n### Answer\n"
PLAIN_END = "\n\n"
"""The plain layout, for base models: ``[bos]### Message\\n{message}\\n### Answer\\n{answer}[eos]\\n\\n``."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a conversation; ``role`` is ``user`` or ``assistant``, and the first may be ``system``."""

    role: str
    content: str


class ChatFormat:
    """Token layout of one backbone's conversations.

    Attributes:
        end_id: the token that ends an assistant's turn; the last label of every response.
        stop_ids: every token that ends generation (``end_id`` and the model's own end-of-sequence ids).
        stop_text: a text that ends an answer of a model without a chat template, or None.
    """

    def __init__(self, tokenizer: Any, eos_ids: Sequence[int] = ()) -> None:
        """Read the layout off the template.

        Args:
            tokenizer: a transformers tokenizer.
            eos_ids: further end-of-sequence ids from the generation config.

        Raises:
            IncompatibleError: the template cannot be taken apart, or there is no end token.
        """
        self._tokenizer = tokenizer
        self.has_template = bool(getattr(tokenizer, "chat_template", None))
        if self.has_template:
            template = tokenizer.get_chat_template()
            self._template = _PINNED_CLOCK + template if "strftime_now" in template else template
            head, tail, after_answer, between = self._split_template()
            self.stop_text = None
        else:
            bos = tokenizer.bos_token or ""
            eos = tokenizer.eos_token or ""
            head, tail = bos + PLAIN_USER, PLAIN_ASSISTANT
            after_answer, between = eos + PLAIN_END, eos + PLAIN_END + PLAIN_USER
            self.stop_text = PLAIN_END + PLAIN_USER.rstrip()
        self._texts = (head, tail, after_answer, between)
        self.head_ids = self._encode_layout(head)
        self.tail_ids = self._encode_layout(tail)
        self._between_ids = self._encode_layout(between)
        self._system_ids = self._split_system(tail)
        after_ids = self._encode_layout(after_answer)
        added = getattr(tokenizer, "added_tokens_decoder", {})
        marks = {*tokenizer.all_special_ids, *(i for i, token in added.items() if not token.content.isspace())}
        self.end_id = next((i for i in after_ids[:1] if i in marks), tokenizer.eos_token_id)
        if self.end_id is None:
            raise IncompatibleError(
                "The model's tokenizer has no token that ends a turn.",
                next_step="Choose an instruction-tuned model, or one with an end-of-sequence token.",
            )
        self.stop_ids = frozenset({self.end_id, *eos_ids, tokenizer.eos_token_id} - {None})
        markers = [token.content for token in added.values() if not token.special]
        self._lead_ids = self._leading_ids()
        self._breaks = _breaks_inside(text for text in markers if any(text in layout for layout in self._texts))

    # --- reading the layout off a template ---------------------------------------------------------

    def _render(self, messages: list[dict[str, str]], *, generation: bool) -> str:
        text = self._tokenizer.apply_chat_template(
            messages,
            tokenize=False,
            add_generation_prompt=generation,
            enable_thinking=False,
            date_string=_PINNED_DATE,
            chat_template=self._template,
        )
        return str(text)

    def _split_template(self) -> tuple[str, str, str, str]:
        first = [{"role": "user", "content": _MARK}]
        both = [*first, {"role": "assistant", "content": _ANSWER_MARK}]
        three = [*both, {"role": "user", "content": _SECOND_MARK}]
        try:
            head, tail = self._render(first, generation=True).split(_MARK)
            after_answer = self._render(both, generation=False).split(_ANSWER_MARK)[1]
            rest = self._render(three, generation=True).split(_ANSWER_MARK)[1]
            between = rest.split(_SECOND_MARK)[0]
        except Exception as error:
            raise IncompatibleError(
                f"The model's chat template cannot be used for user and assistant turns ({error}).",
                next_step="Choose a model made for chat, or one without a chat template.",
            ) from error
        return head, tail, after_answer, between

    def _split_system(self, tail: str) -> tuple[list[int], list[int]] | None:
        """What stands before a client's system text and between it and the first message; None: no place for it.

        Not part of the digest: queries of procedures never hold a system text.
        """
        if not self.has_template:
            return None
        messages = [{"role": "system", "content": _SYSTEM_MARK}, {"role": "user", "content": _MARK}]
        try:
            before, rest = self._render(messages, generation=True).split(_SYSTEM_MARK)
            between, end = rest.split(_MARK)
        except Exception:  # noqa: BLE001 - templates refuse or drop the role, each in its own way
            return None
        return (self._encode_layout(before), self._encode_layout(between)) if end == tail else None

    def _encode_layout(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False).input_ids) if text else []

    # --- encoding ----------------------------------------------------------------------------------

    def encode_text(self, text: str) -> list[int]:
        """Ids of a person's text: special tokens, and added ones that the layout uses, become ordinary text."""
        return [token for token, _ in self._tokens(text)]

    def places(self, message: str) -> list[tuple[int, int]]:
        """[start, end) in the characters of the stripped message of each of its tokens in ``query``."""
        return [place for _, place in self._tokens(message.strip())]

    def _tokens(self, text: str, *, spaced: bool = True) -> list[tuple[int, tuple[int, int]]]:
        """Ids of a text, each with its [start, end) in it.

        Args:
            spaced: a tokenizer that puts a space in front of texts may do so.
        """
        found: list[tuple[int, tuple[int, int]]] = []
        start = 0
        for piece in self._breaks.split(text) if self._breaks else [text]:
            lead = "" if spaced or not piece else _LEAD
            skipped = len(self._lead_ids) if lead else 0
            ids, places = self._encoded(lead + piece if skipped else piece)
            if ids[:skipped] != self._lead_ids[:skipped]:  # it ran into the text: then with a space after all
                skipped = 0
                ids, places = self._encoded(piece)
            shift = start - len(lead) if skipped else start
            found += [
                (token, (shift + first, shift + after))
                for token, (first, after) in zip(ids[skipped:], places[skipped:], strict=True)
            ]
            start += len(piece)
            spaced = False
        return found

    def _encoded(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        encoded = self._tokenizer(
            text, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True
        )
        return list(encoded.input_ids), list(encoded.offset_mapping)

    def _leading_ids(self) -> list[int]:
        """The tokens of ``_LEAD`` in front of a text, where the tokenizer would put a space instead; else none.

        SentencePiece tokenizers (Llama 2, Mistral) encode a text as if a space came before it.
        """
        alone, behind, lead = (
            self._tokenizer(text, add_special_tokens=False).input_ids for text in ("a", f"{_LEAD}a", _LEAD)
        )
        return list(lead) if behind[: len(lead)] == lead and behind[len(lead) :] != alone else []

    def query(self, message: str) -> list[int]:
        """Ids of ``head + message + tail``: the query of a single message."""
        return [*self.head_ids, *self.encode_text(message.strip()), *self.tail_ids]

    def conversation(self, turns: Sequence[Turn]) -> list[int]:
        """Ids of a conversation that ends with a user's turn, up to the header of the answer.

        A system text stands where the template has a place for it, else in front of the first message.

        Raises:
            ValueError: the turns do not alternate, or the last is not the user's.
        """
        system = ""
        if turns and turns[0].role == "system":
            system, turns = turns[0].content.strip(), turns[1:]
        roles = [turn.role for turn in turns]
        if roles != ["user" if i % 2 == 0 else "assistant" for i in range(len(turns))] or len(turns) % 2 == 0:
            raise ValueError(f"a conversation alternates and ends with the user, not {roles}")
        if system and self._system_ids is not None:
            before, behind = self._system_ids
            ids = [*before, *self.encode_text(system), *behind]
        else:
            ids = list(self.head_ids)
            if system:
                turns = [Turn("user", f"{system}\n\n{turns[0].content.strip()}"), *turns[1:]]
        for turn in turns:
            if turn.role == "assistant":
                ids += [*self.tail_ids, *self.encode_text(turn.content), *self._between_ids]
            else:
                ids += self.encode_text(turn.content.strip())
        return [*ids, *self.tail_ids]

    def response(self, text: str) -> list[int]:
        """Ids of a response as it is learned: the text and the end of the turn.

        It begins without the space that some tokenizers put in front, since forms and schemas hold answers to the text.
        """
        return [*(token for token, _ in self._tokens(text, spaced=False)), self.end_id]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of generated ids, special tokens left out."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))

    def digest(self) -> str:
        """SHA-256 of the rendered layout; part of the backbone's fingerprint."""
        return hashlib.sha256("\x00".join((*self._texts, str(self.end_id))).encode()).hexdigest()


def _breaks_inside(markers: Iterable[str]) -> re.Pattern[str] | None:
    """A pattern that matches after the first character of each marker; whitespace is no marker.

    A tokenizer splits only tokens that are flagged as special; a template may use others as well.
    """
    places = [f"(?<={re.escape(m[0])})(?={re.escape(m[1:])})" for m in markers if len(m) > 1 and not m.isspace()]
    return re.compile("|".join(places)) if places else None
