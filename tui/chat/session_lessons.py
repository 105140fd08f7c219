"""What a person teaches by the answers of a conversation: routes, pairs, thumbs, values; and taking it back."""

from __future__ import annotations

import contextlib
from typing import Protocol

from profiles.store.feedback import CHAT_SOURCE
from profiles.store.messages import Rating
from profiles.store.store import ProfileStore
from tokmem_desk.errors import NotFoundError
from tokmem_desk.procedures import NONE_ROUTE, ExamplePair
from tui.chat.turns import Doubt, Turn, settle, unsettle


class Taught(Protocol):
    """A conversation, as far as lessons need it."""

    @property
    def temporary(self) -> bool:
        """Whether nothing of it is stored."""
        ...

    def keep(self, turn: Turn) -> None:
        """Write an answer to the store."""
        ...


class SessionLessons:
    """Keeps lessons of a conversation's turns.

    Args:
        session: the conversation.
        store: of the profile.
    """

    def __init__(self, session: Taught, store: ProfileStore) -> None:
        self._session, self._store = session, store

    def correct(self, turn: Turn, right_route: str) -> None:
        """Store the verdict that this turn's route was wrong. Of a temporary conversation nothing is stored.

        Raises:
            UsageError: ``right_route`` is the route it got.
            NotFoundError: a procedure was removed meanwhile.
        """
        wrong = turn.answer.route or NONE_ROUTE
        if not self._session.temporary:
            turn.answer.correction_id = self._store.corrections.add(
                turn.message, wrong, right_route, turn.answer.message_id
            )
        turn.answer.corrected_from = wrong
        turn.answer.between = None

    def confirm(self, turn: Turn) -> None:
        """Store the verdict that the route of this turn was right and the near one wrong. Of a temporary conversation
        nothing is stored.

        Raises:
            NotFoundError: a procedure was removed meanwhile.
        """
        answer = turn.answer
        if answer.between is None:
            return
        right, wrong = answer.between
        if not self._session.temporary:
            answer.correction_id = self._store.corrections.add(turn.message, wrong, right, answer.message_id)
        answer.corrected_from, answer.between = wrong, None

    def keep_pair(self, turn: Turn, procedure: str, pair: ExamplePair) -> bool:
        """Make an example pair of a turn; what the person changed in the answer stands in the conversation too.

        Returns:
            False when the procedure has this very pair already; nothing was added then.

        Raises:
            NotFoundError: the procedure was removed meanwhile.
            BadInputError: a text is empty or unusable.
        """
        known = any(
            (one.input, one.response) == (pair.input, pair.response) for one in self._store.pairs.list(procedure)
        )
        answer = turn.answer
        if not known:
            record = self._store.pairs.add(procedure, [pair], source=CHAT_SOURCE, message_id=answer.message_id)[0]
            answer.pair_id, answer.pair_procedure = record.id, procedure
        if pair.response != answer.text:
            answer.original = answer.text if answer.original is None else answer.original
            answer.text = pair.response
            self._session.keep(turn)
        return not known

    def settle(self, turn: Turn, doubt: Doubt, text: str) -> None:
        """Put a text in the place of a doubtful value, and keep the answer so."""
        settle(turn.answer, doubt, text)
        self._session.keep(turn)

    def keep_run(self, turn: Turn) -> None:
        """Store the outcome of running a call, which was put into the turn's segments."""
        self._session.keep(turn)

    def rate(self, turn: Turn, rating: Rating | None) -> None:
        """Store a thumb. An answer with a thumb down is not shown to the model any more."""
        turn.answer.rating = rating
        if turn.answer.message_id is not None:
            self._store.feedback.rate(turn.answer.message_id, rating)

    def take_back(self, turn: Turn) -> str | None:
        """Undo the last lesson of a turn: a pair before a thumb, a thumb before a verdict. Return what it was.

        Returns:
            None when there is nothing; ``"verdict"`` means that the route is open again.
        """
        answer = turn.answer
        if answer.pair_id is not None:
            with contextlib.suppress(NotFoundError):  # deleted on the procedure's own screen
                self._store.pairs.delete(answer.pair_id)
            name, answer.pair_id, answer.pair_procedure = answer.pair_procedure, None, None
            if answer.original is not None:
                answer.text, answer.original = answer.original, None
                self._session.keep(turn)
            self.rate(turn, None)
            return f"pair of {name}"
        if answer.rating is not None:
            self.rate(turn, None)
            return "thumb"
        if answer.corrected_from is not None:
            if answer.correction_id is not None:
                self._store.corrections.remove(answer.correction_id)
            confirmed = not answer.forced
            answer.correction_id = answer.corrected_from = None
            return "choice of the route" if confirmed else "verdict"
        if answer.chosen_from is not None:
            unsettle(answer)
            self._session.keep(turn)
            return "choice of values"
        if answer.filled:
            turn.fills_in = False
            return "values that were filled in"
        return None
