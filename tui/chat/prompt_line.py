"""The line below the prompt: the most important thing to know now."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.widgets import Static

from tui.engine_client.link import EngineState
from tui.engine_client.protocol import Context
from tui.kit.words import elapsed

IDLE_HINT = "Enter sends · ^j new line · @ picks a procedure"


class PromptLine(Static):
    """The line. It shows a problem until that is cleared."""

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
        system_prompt: bool = False,
        length: str = "",
        context: Context | None = None,
    ) -> None:
        """Draw.

        Args:
            state: of the engine.
            matches: names that fit what stands behind an ``@``.
            editing: whether the prompt replaces an earlier message.
            answering: whether an answer is on its way.
            waiting: messages behind that one.
            temporary: whether nothing of the chat is kept.
            system_prompt: whether plain chat is told something before the conversation.
            length: how long the text in the prompt is; empty where that need not be said.
            context: how full the model's context is; None before anything is known.
        """
        self.set_class(bool(self.problem), "-problem")
        if self.problem:
            words = f"! {self.problem}"
        elif matches:
            words = "Tab completes: " + "  ".join(f"@{name}" for name in matches)
        elif editing:
            words = "Editing: Enter replaces this message and what follows, Esc leaves it as it is"
        elif state.phase == "loading":
            words = f"{state.text[0].upper()}{state.text[1:]}{elapsed(state.seconds)}; type on, messages wait"
        elif state.is_fitting and not answering:
            words = f"{state.text[0].upper()}{state.text[1:]}; plain chat works meanwhile"
        elif answering:
            words = "Esc stops the answer"
            if waiting:
                words += f" · {waiting} waiting: ↑, then e edits one, d withdraws it"
        elif state.phase == "failed":
            words = "The engine stopped; it starts again with the next message"
        else:
            words = "Temporary: nothing of this chat is kept · " if temporary else ""
            words += ("System prompt (F10) · " if system_prompt else "") + IDLE_HINT
        if length and not self.problem and not matches:
            words = f"{length} · {words}"
        meter = "" if self.problem or matches or context is None else context_meter(context)
        # The meter keeps its place at the right; words give way to it.
        room = self.size.width - len(meter) - 2
        if meter and room > 10:
            cut = words if len(words) <= room else f"{words[: room - 1]}…"
            content = Content.assemble(f"{cut:<{room}}  ", Content.styled(meter, _meter_style(context)))
        else:
            content = Content(words)
        if content != self.content:  # drawn at every key, and a new text would lay the whole screen out
            self.update(content)


METER_CELLS = 8


def context_meter(context: Context) -> str:
    """``context ▰▰▱▱▱▱▱▱ 27%``, with a word when the oldest messages no longer fit."""
    share = min(1.0, context["tokens"] / max(1, context["length"]))
    filled = min(METER_CELLS, max(1, round(share * METER_CELLS)))
    words = f"context {'▰' * filled}{'▱' * (METER_CELLS - filled)} {share:.0%}"
    return f"{words}, oldest cut" if context["messages_cut"] else words


def _meter_style(context: Context | None) -> str:
    return "$text-warning" if context is not None and context["messages_cut"] else "$muted"
