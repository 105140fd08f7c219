"""Keys wait for the dialog that was asked for, instead of falling through to what is still in sight.

An action that will ask something says so (``asks``). From then on keys are kept, in their order and pastes with them,
until its dialog is drawn and has the focus; then they go there one after the other. They go nowhere else: another
dialog that comes up meanwhile does not get them. They are dropped where the action fails, and after
``PATIENCE_SECONDS``; where it ends well without having asked, they go on as if they had not waited. Esc does not wait:
it forgets the keys before it and leaves the dialog as soon as that is there.

When the dialog has closed, the action may ask something else or open a field to write into. So keys wait a moment
for its end, ``MOMENT_SECONDS`` at most, and go on then. Esc does not wait for that either: the action may be a long
one, which Esc stops.

Keys are handed on one at a time, each when the one before has been dealt with. So the action of a key has said whether
it asks something before the next key is looked at.
"""

from __future__ import annotations

import functools
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, ParamSpec, Protocol, cast

from textual import events
from textual.app import App
from textual.dom import DOMNode
from textual.message import Message
from textual.screen import ModalScreen, Screen
from textual.timer import Timer
from textual.worker import Worker, WorkerState

PATIENCE_SECONDS = 5.0
"""Longest time that keys wait for a dialog."""

MOMENT_SECONDS = 2.0
"""Longest time that keys wait for an action whose dialog has closed."""

LOOK_SECONDS = 0.02
"""How often to look whether a dialog is drawn, while keys wait."""

HANDED_SECONDS = 3.0
"""Longest time that a key waits for the one before it to be dealt with."""

ROUNDS = 2
"""How often a mark follows a key up to the app: behind the key, and behind a message that the key has caused."""

AT_ONCE = frozenset({"ctrl+q"})
"""Keys that never wait."""

Given = ParamSpec("Given")


class Leaving(Protocol):
    """A dialog that can be left without an answer."""

    def action_leave(self) -> None:
        """Close it."""
        ...


class HasKeyGate(Protocol):
    """The app, as far as this module uses it."""

    @property
    def key_gate(self) -> KeyGate:
        """The one gate of the app."""
        ...


class KeyDone(Message, verbose=True):
    """Follows a key on its way up, so that the app hears when that has been dealt with."""

    def __init__(self, number: int, rounds: int) -> None:
        super().__init__()
        self.number, self.rounds = number, rounds


class Question:
    """A dialog that keys wait for.

    Args:
        dialog: where it is known already.
    """

    def __init__(self, dialog: Screen[Any] | None = None) -> None:
        self.dialog = dialog
        self.worker: Worker[Any] | None = None
        """What asks it; None where the dialog was opened without one."""
        self.patience = PATIENCE_SECONDS
        self.is_over = False
        """Whether its worker was seen ended."""
        self.left = False
        """Whether the person wants none any more."""
        self.since = time.monotonic()
        self.focused: object = None
        """What had the focus when it was looked at last."""


_ASKING: ContextVar[Question | None] = ContextVar("asking", default=None)
"""The question that the present worker asks."""


class KeyGate:
    """See the module.

    Args:
        app: whose keys these are.
        hand_on: has the app deal with a key or a paste as it would without the gate.
    """

    def __init__(self, app: App[Any], hand_on: Callable[[events.Key | events.Paste], Awaitable[None]]) -> None:
        self._app, self._hand_on = app, hand_on
        self._kept: deque[events.Key | events.Paste] = deque()
        self._question: Question | None = None
        self._last: Question | None = None
        """The question whose dialog came last; what asked it may not have ended."""
        self._drawn: Screen[Any] | None = None
        """The dialog on top that was seen drawn."""
        self._number = 0
        """Of the key that was handed on last."""
        self._target: DOMNode | None = None
        """Where that went, while it is being dealt with."""
        self._handed_at = 0.0
        self._clock: Timer | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether keys wait for a dialog."""
        return self._question is not None

    # What asks

    def asking(self, start: Callable[[], Worker[Any]]) -> Worker[Any]:
        """Start a worker that will ask something; keys wait for its dialog from now on."""
        question = Question()
        token = _ASKING.set(question)
        try:
            question.worker = start()
        finally:
            _ASKING.reset(token)
        self._question = question
        self._look_often()
        return question.worker

    def note_screen(self, screen: Screen[Any]) -> None:
        """Note that a screen was put on top: it may be the one that is waited for."""
        question = _ASKING.get()
        if question is not None and isinstance(screen, ModalScreen):
            question.dialog, question.since, question.patience = screen, time.monotonic(), PATIENCE_SECONDS

    # Keys

    async def take(self, event: events.Key | events.Paste) -> None:
        """Hand a key on, or keep it until it is its turn."""
        if not self._app.screen_stack or (isinstance(event, events.Key) and event.key in AT_ONCE):
            await self._hand_on(event)
            return
        if self._question is None and not self._kept and self._target is None:
            self._question = self._coming_up()
        is_escape = isinstance(event, events.Key) and event.key == "escape"
        if is_escape and self._question is not None and self._question.patience == MOMENT_SECONDS:
            # The dialog is closed, and no other may come: what Esc means is up to the screen.
            self._kept.clear()
            self._question = None
        if is_escape and self._question is not None:
            self._kept.clear()
            self._question.left = True
        elif self._question is not None or self._kept or self._target is not None:
            self._kept.append(event)
        else:
            await self._hand(event)
            return
        self._look_often()

    def _coming_up(self) -> Question | None:
        """A dialog on top that nobody has seen yet, or an action that goes on although its dialog has closed."""
        top, last = self._app.screen, self._last
        if isinstance(top, ModalScreen):
            return None if top is self._drawn or self._is_ready(top) else Question(top)
        self._last = None
        if last is None or last.worker is None:
            return None
        last.dialog, last.since, last.patience = None, time.monotonic(), MOMENT_SECONDS
        return last

    def _is_ready(self, screen: Screen[Any]) -> bool:
        if screen.is_mounted and screen.focused is not None:
            self._drawn = screen
            return True
        return False

    async def _hand(self, event: events.Key | events.Paste) -> None:
        self._number += 1
        self._handed_at = time.monotonic()
        target = self._target = self._app.focused or self._app.screen
        await self._hand_on(event)
        if not event.is_forwarded or not target.post_message(KeyDone(self._number, ROUNDS)):
            self._target = None  # an action of the app itself has dealt with it, or its place is gone
            if self._kept:
                self._look_often()

    async def done(self, message: KeyDone) -> None:
        """A key has been dealt with: go on with the next, unless it has led to a question."""
        if message.number != self._number or self._target is None or not self._app.screen_stack:
            return
        if message.rounds > 1 and self._target.post_message(KeyDone(message.number, message.rounds - 1)):
            return
        self._target = None
        await self._hand_kept()

    async def _hand_kept(self) -> None:
        while self._kept and self._question is None and self._target is None:
            self._question = self._coming_up()
            if self._question is None:
                await self._hand(self._kept.popleft())
            else:
                self._look_often()

    # Looking whether the dialog is there

    def _look_often(self) -> None:
        if self._clock is None:
            self._clock = self._app.set_interval(LOOK_SECONDS, self._look)

    async def _look(self) -> None:
        if not self._app.screen_stack:  # the app is about to end
            return
        if self._question is not None:
            self._look_for(self._question)
        if self._target is not None:
            gone = not self._target.is_attached
            if gone or time.monotonic() - self._handed_at > HANDED_SECONDS:
                self._target = None
        await self._hand_kept()
        if self._question is None and not self._kept and self._clock is not None:
            self._clock.stop()
            self._clock = None

    def _look_for(self, question: Question) -> None:
        dialog, worker = question.dialog, question.worker
        if dialog is not None and dialog is self._app.screen:
            focused = question.focused
            question.focused = dialog.focused
            if not self._is_ready(dialog) or dialog.focused is not focused:  # the focus may move once while it is drawn
                self._drop_late(question)
            else:
                self._question, self._last = None, question
                if question.left:
                    question.left = False
                    _leave(dialog)
        elif worker is not None and worker.is_finished:
            if worker.state is WorkerState.ERROR:
                self._kept.clear()
            if question.is_over:
                self._question = None
            question.is_over = True  # once more: it may have moved the focus, which is done a little later
        elif dialog is not None and dialog not in self._app.screen_stack:
            self._question, self._last = None, question
        else:
            self._drop_late(question)

    def _drop_late(self, question: Question) -> None:
        if time.monotonic() - question.since > question.patience:
            self._drawn, self._question = question.dialog, None
            if question.patience == PATIENCE_SECONDS:
                self._kept.clear()


def _leave(dialog: Screen[Any]) -> None:
    """Close a dialog as Esc does; some refuse."""
    if hasattr(dialog, "action_leave"):
        cast(Leaving, dialog).action_leave()
    else:
        dialog.dismiss(None)


def asks(method: Callable[Given, Worker[Any]]) -> Callable[Given, Worker[Any]]:
    """Decorate a worker's method, outside of ``work``, that will open a dialog: keys wait for it."""

    @functools.wraps(method)
    def asking(*args: Given.args, **kwargs: Given.kwargs) -> Worker[Any]:
        gated = cast(HasKeyGate, cast(DOMNode, args[0]).app)
        return gated.key_gate.asking(lambda: method(*args, **kwargs))

    return asking
