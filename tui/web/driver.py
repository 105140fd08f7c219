"""Draws in a browser window, also after the app was started anew in the same process.

textual-serve expects one greeting from a process, and closes the window at its farewell. A process that starts anew
continues the same window. So it sends neither, and no packet may be half read when it starts.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from textual.drivers._input_reader import InputReader
from textual.drivers.web_driver import WebDriver
from textual.messages import ExitApp

if TYPE_CHECKING:
    from tui.shell.app import TokmemApp

_GREETING = b"__GANGLION__\n"
_HEAD_BYTES = 5
"""Of a packet: its kind, and the length of what follows."""


class WholePackets(InputReader):
    """Reads whole packets only, so that none is half read when the process starts anew."""

    def __iter__(self) -> Iterator[bytes]:
        """Whole packets, and nothing now and then."""
        selector = getattr(self, "_selector", None)
        if selector is None:  # Windows: its reader has a thread, and nothing starts anew there
            yield from super().__iter__()
            return
        while not self._exit_event.is_set():
            if selector.select(self.timeout):
                head = self._exactly(_HEAD_BYTES)
                body = self._exactly(int.from_bytes(head[1:], "big"))
                if len(head) < _HEAD_BYTES:
                    return
                yield head + body
            yield b""

    def _exactly(self, count: int) -> bytes:
        """That many bytes; fewer at the end of the input."""
        data = b""
        while len(data) < count and (piece := os.read(self._fileno, count - len(data))):
            data += piece
        return data


class WindowDriver(WebDriver):
    """See the module."""

    def __init__(self, *arguments: object, **named: object) -> None:
        super().__init__(*arguments, **named)  # type: ignore[arg-type]
        self._input_reader = WholePackets()

    @property
    def _tokmem(self) -> TokmemApp:
        return cast("TokmemApp", self._app)

    def start_application_mode(self) -> None:
        """Send the greeting, unless the process before this one did."""
        write = self._write
        if self._tokmem.is_restarted:
            self._write = lambda data: len(data) if data == _GREETING else write(data)  # type: ignore[assignment]
        super().start_application_mode()
        self._write = write

    def run_input_thread(self) -> None:
        """Take what the server sends; where that ends without a word the server was killed, and the app ends too."""
        super().run_input_thread()
        if not self.exit_event.is_set():
            self._app.post_message(ExitApp())

    def stop_application_mode(self) -> None:
        """Take leave, unless the app goes on in this window."""
        if self._tokmem.restarts.wish is None:
            super().stop_application_mode()
            return
        self.exit_event.set()
        self._input_reader.close()
        self._key_thread.join()
