"""What a command shows while it works: one line that is rewritten on a terminal, and gone once the work is over."""

from __future__ import annotations

import io

from tui.cli.console import Console


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def shown(self) -> list[str]:
        """The lines as a terminal has them in the end."""
        return [line.rsplit("\r\x1b[K", 1)[-1] for line in self.getvalue().split("\n")]


def test_a_line_of_progress_leaves_nothing_behind() -> None:
    err = Terminal()
    console = Console(err=err, environ={"TERM": "xterm"})
    console.progress("loading")
    console.end_progress()
    assert err.shown() == [""]
    console.say("on cpu")
    console.progress("step 1")
    console.say("a note")
    console.progress("step 2", done=True)
    assert err.shown() == ["on cpu", "a note", "step 2", ""]
    before = err.getvalue()
    console.end_progress()
    assert err.getvalue() == before, "there is nothing to take away"
