"""The clipboard of the desktop, for commands. The terminal's own way (OSC 52) is the last resort: many terminals let no
program write to the clipboard so, hardly any lets one read it, and what was written may end with their window.
"""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Iterable, Iterator

from profiles.store.pair_rules import text_fault
from tokmem_desk.errors import BadInputError, TokmemError, UsageError
from tui.cli.console import Console
from tui.engine_client.protocol import Message

_PROGRAMS = "Install wl-clipboard (Wayland), or xclip or xsel (X11)."
_MOST_BYTES = 74_994
"""Of a text that terminals take over by OSC 52."""


class CopiedAnswer:
    """Keeps the answer out of the events of ``ask``, to copy it at the end."""

    def __init__(self) -> None:
        self._response: str | None = None

    def watching(self, events: Iterable[Message]) -> Iterator[Message]:
        """The events as they come."""
        for event in events:
            if event["event"] == "done" and event["result"]["stopped"] != "cancelled":
                self._response = event["result"]["response"]
            yield event

    def copy(self, console: Console) -> None:
        """Put the answer onto the clipboard, if there is one.

        Raises:
            TokmemError: no way to the clipboard was found.
        """
        if self._response is not None:
            copy_text(self._response.strip(), console)


def copy_text(text: str, console: Console) -> None:
    """Put a text onto the clipboard, and say so.

    Raises:
        TokmemError: no way to it was found.
    """
    import pyperclip

    try:
        pyperclip.copy(text)
    except (pyperclip.PyperclipException, OSError) as caught:
        if not _by_terminal(text):
            raise TokmemError("There is no way to the clipboard here.", next_step=_PROGRAMS) from caught
        console.say("(sent to the terminal's clipboard; some terminals take nothing)", style="dim")
        return
    console.say("(copied)", style="dim")


def pasted_text() -> str:
    """The text on the clipboard.

    Raises:
        TokmemError: no way to it was found.
        UsageError: there is no text.
        BadInputError: it cannot be used.
    """
    import pyperclip

    try:
        text = str(pyperclip.paste() or "").strip()
    except (pyperclip.PyperclipException, OSError) as caught:
        raise TokmemError("There is no way to the clipboard here.", next_step=_PROGRAMS) from caught
    if not text:
        raise UsageError("There is no text on the clipboard.", next_step="Copy some, and try again.")
    if fault := text_fault(text):
        raise BadInputError(f"The text on the clipboard {fault}.", next_step="Copy another one.")
    return text


def _by_terminal(text: str) -> bool:
    """Ask the terminal to take the text; False where there is none, or the text is too long."""
    data = base64.b64encode(text.encode("utf-8", "replace"))
    stream = sys.__stderr__
    if stream is None or not stream.isatty() or os.environ.get("TERM", "") in ("", "dumb") or len(data) > _MOST_BYTES:
        return False
    # Past what guards the terminal from everybody else's text: this is ours, and holds nothing but base64.
    os.write(stream.fileno(), b"\x1b]52;c;" + data + b"\x07")
    return True
