"""The text files that will go with the next message."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from textual.content import Content

from tokmem_desk.errors import TokmemError
from tui.chat.host import ChatHost
from tui.chat.text_files import TextFile, paths_in, read_text_file, with_files
from tui.kit.ask_line import LineDialog
from tui.kit.words import error_text

NOTE = (
    "Its text goes behind what you type, as if you had typed it: the route is chosen by both, and a procedure reads "
    "both, as plain chat does. Several paths are taken, too; a file dropped on the prompt is attached at once."
)


class Attachments:
    """Reads files, has their tokens counted, and puts their text behind the message that is sent.

    Args:
        host: the screen.
    """

    def __init__(self, host: ChatHost) -> None:
        self._host = host
        self._files: list[TextFile] = []
        self._counts: dict[Path, int] = {}
        """Tokens of each file, as far as they were counted."""
        self._context_length = 0
        """Of the model, in tokens; 0 before it is known."""

    def __bool__(self) -> bool:
        """Whether any file goes with the next message."""
        return bool(self._files)

    async def choose(self) -> None:
        """Let the person name files."""
        typed = await self._host.ask(LineDialog("Attach text files", NOTE, "", "Attach", _fault_of_paths))
        if typed is not None:
            self.add(paths_in(typed))

    def add(self, paths: Iterable[Path]) -> None:
        """Attach files; one that is attached already is read again.

        Raises:
            TokmemError: one cannot be attached; none is, then.
        """
        read = [read_text_file(path) for path in paths]
        again = {file.path for file in read}
        self._files = [*(file for file in self._files if file.path not in again), *read]
        for file in read:
            self._counts.pop(file.path, None)
        self.show()
        self._host.prompt.focus()
        self._host.in_background(self._count, group="tokens", exclusive=True)

    def with_message(self, typed: str) -> str:
        """The whole message, as it is sent."""
        return with_files(typed, self._files)

    def clear(self) -> None:
        """Attach nothing any more."""
        self._files = []
        self.show()

    def show(self) -> None:
        """Draw the line."""
        line = self._host.attachment_line
        line.display = bool(self._files)
        self._host.prompt.may_be_empty = bool(self._files)
        if not self._files:
            return
        rows = [
            Content.assemble("▤ ", Content.styled(file.path.name, "bold"), f"  {self._length(file)}")
            for file in self._files
        ]
        rows[-1] = Content.assemble(rows[-1], Content.styled("   Esc takes it away", "$muted"))
        tokens = sum(self._counts.get(file.path, 0) for file in self._files)
        if self._context_length and tokens >= self._context_length:
            words = f"! Too long: this model reads {self._context_length:,} tokens at most, the answer among them."
            rows.append(Content.styled(words, "$text-error"))
        line.update(Content("\n").join(rows[-4:]))

    def _length(self, file: TextFile) -> str:
        tokens = self._counts.get(file.path)
        return f"{len(file.text):,} characters" if tokens is None else f"{tokens:,} tokens"

    async def _count(self) -> None:
        """Have the files counted that were not; where the model cannot be had, characters stay."""
        files = [file for file in self._files if file.path not in self._counts]
        link = self._host.tokmem.link
        # Sending says what is wrong with the model; here it would be told twice.
        with contextlib.suppress(TokmemError):
            async for event in link.events(link.submit("tokens", texts=[file.text for file in files])):
                if event["event"] == "done":
                    self._context_length = event["result"]["length"]
                    for file, tokens in zip(files, event["result"]["counts"], strict=True):
                        self._counts[file.path] = tokens
        self.show()


def _fault_of_paths(typed: str) -> str | None:
    """Why these files cannot be attached, or None."""
    try:
        for path in paths_in(typed):
            read_text_file(path)
    except TokmemError as caught:
        return error_text(caught)
    return None
