"""The line below the prompt: the most pressing thing to know."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.widgets import Static

from tui.engine_link import EngineState

IDLE_HINT = "Enter sends · ^j new line · @ picks a procedure"


class PromptLine(Static):
    """See the module. Keeps a problem until it is cleared."""

    DEFAULT_CSS = """
    PromptLine {
        height: 1; padding: 0 3; color: $muted; text-overflow: ellipsis; text-wrap: nowrap;
        &.-problem { color: $text-error; text-wrap: wrap; text-overflow: fold; height: auto; max-height: 3; }
    }
    """

    problem = ""
    """Why the last message was not sent."""

    problem_text = ""
    """The text in the prompt that the problem is about."""

    def show(
        self,
        state: EngineState,
        *,
        matches: Sequence[str],
        editing: bool,
        answering: bool,
        waiting: int,
        temporary: bool,
    ) -> None:
        """Draw.

        Args:
            state: of the engine.
            matches: names that fit what stands behind an ``@``.
            editing: whether the prompt replaces an earlier message.
            answering: whether an answer is on its way.
            waiting: messages behind that one.
            temporary: whether nothing of the chat is kept.
        """
        self.set_class(bool(self.problem), "-problem")
        if self.problem:
            words = f"! {self.problem}"
        elif matches:
            words = "Tab completes: " + "  ".join(f"@{name}" for name in matches)
        elif editing:
            words = "Editing: Enter replaces this message and what follows, Esc leaves it as it is"
        elif state.phase == "loading":
            words = f"{state.text[0].upper()}{state.text[1:]}; type on, messages wait"
        elif answering:
            words = "Esc stops the answer" + (f" · {waiting} waiting" if waiting else "")
        elif state.phase == "failed":
            words = "The engine stopped; it starts again with the next message"
        else:
            words = ("Temporary: nothing of this chat is kept · " if temporary else "") + IDLE_HINT
        self.update(Content(words))
