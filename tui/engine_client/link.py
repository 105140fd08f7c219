"""The app's view of the engine: one client, and a state that the header and the screens can show.

Every request of the app goes through here, so that loading progress and crashes are noticed wherever they happen.
Knows no widget.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

from profiles.encryption.file_encryption import ProfileKey
from tokmem_desk.errors import EngineError, TokmemError
from tui.engine_client.client import EngineClient, RequestHandle
from tui.engine_client.protocol import BackboneInfo, Message

FITTING = "calibrate"
"""The step in which the engine learns what procedures need of a model. Plain chat works meanwhile."""

LOAD_PHASES = {
    "fetch": "downloading the model",
    "convert": "preparing the model",
    "load": "loading the model",
    FITTING: "learning what ordinary chat looks like",
}


@dataclass(frozen=True, slots=True)
class EngineState:
    """What the engine is doing, as far as its answers tell."""

    phase: Literal["off", "loading", "ready", "failed"] = "off"
    step: str = ""
    """Of loading: a key of ``LOAD_PHASES``. It is ``FITTING`` where that is done beside plain chat, which is ready."""
    fraction: float | None = None
    """Of that step, 0 to 1; None when it cannot be told."""
    detail: str = ""
    backbone: BackboneInfo | None = None
    error: TokmemError | None = None
    since: float = field(default=0.0, compare=False)
    """When loading began, by the monotonic clock; 0 where it does not load."""

    @property
    def seconds(self) -> float:
        """How long it has been loading; 0 where it does not load."""
        return time.monotonic() - self.since if self.since else 0.0

    @property
    def is_fitting(self) -> bool:
        """Whether the engine learns what procedures need of the model, while plain chat is ready."""
        return self.phase == "ready" and self.step == FITTING

    @property
    def text(self) -> str:
        """The state in a few words."""
        if self.phase == "loading" or self.is_fitting:
            words = LOAD_PHASES.get(self.step, "starting the engine")
            return words if self.fraction is None else f"{words} {self.fraction:.0%}"
        return {"off": "not loaded", "ready": "ready", "failed": "stopped"}[self.phase]


class EngineLink:
    """Requests to the engine, with the state kept up to date on the way.

    Args:
        client: the engine's client; this object closes it.
        changed: called after each change of ``state``.
    """

    def __init__(self, client: EngineClient, changed: Callable[[EngineState], None]) -> None:
        self.client = client
        self.may_fetch = True
        """Whether requests may download a model; an app that asks first sets it to False."""
        self.state = EngineState()
        self.training = False
        """True while the queue of some profile is being worked off: one engine trains one memory at a time."""
        self._changed = changed
        self._keys: dict[str, ProfileKey] = {}
        self._open_requests = 0
        self._open_idle = 0
        """Of these, the ones of idle time."""
        self._begun = 0
        """Number of requests begun so far; shows whether one began during an await."""
        self._idle: RequestHandle | None = None
        self._cancelling: asyncio.Task[None] | None = None
        self._fitting: asyncio.Task[None] | None = None
        self._last_use = time.monotonic()

    @property
    def busy(self) -> bool:
        """True while a request is on its way."""
        return self._open_requests > 0

    @property
    def awaited(self) -> bool:
        """True while a request is on its way that somebody waits for; those of idle time may be cut off."""
        return self._open_requests > self._open_idle

    @property
    def idle_seconds(self) -> float:
        """How long ago the last request ended; 0 while one is on its way."""
        return 0.0 if self.busy else time.monotonic() - self._last_use

    def submit(self, op: str, **fields: Any) -> RequestHandle:
        """Prepare a request, see ``EngineClient.submit``; pass the handle to ``events``.

        A request for an unlocked profile carries its key, so that an engine that was started anew needs no telling.
        """
        self._end_idle()
        key = self._keys.get(str(fields.get("profile")))
        opened = {} if key is None else {"key": key.text()}
        return self.client.submit(op, **{"fetch": self.may_fetch, **opened, **fields})

    def submit_idle(self, op: str, **fields: Any) -> RequestHandle:
        """Prepare a request for idle time: the next request of any kind cancels it."""
        self._end_idle()
        self._idle = self.client.submit(op, fetch=False, **fields)
        return self._idle

    def _end_idle(self) -> None:
        idle, self._idle = self._idle, None
        if idle is not None and self.client.running:
            self._cancelling = asyncio.get_running_loop().create_task(idle.cancel())  # kept, or it may be collected

    def unlock(self, profile: str, key: ProfileKey) -> None:
        """Let requests for a locked profile open it from now on."""
        self._keys[profile] = key

    def share_keys(self, other: EngineLink) -> None:
        """Let another link's requests open what this one's can."""
        other._keys.update(self._keys)

    def forget_key(self, profile: str) -> None:
        """Forget a profile's key here; what the engine knows of the profile goes with its process (``unload``)."""
        key = self._keys.pop(profile, None)
        if key is not None:
            key.forget()

    async def forget(self, profile: str) -> None:
        """Forget a profile's key here, and have the engine forget whatever it remembers of the profile.

        Raises:
            TokmemError: the engine could not be told; end its process then.
        """
        self.forget_key(profile)
        # A shared engine remembers whether or not this app's connection to it is open.
        if self.client.running or self.client.shared:
            await self.client.submit("forget", profile=profile).result()

    async def events(self, handle: RequestHandle) -> AsyncGenerator[Message, None]:
        """The events of a request without those that only tell of loading.

        Raises:
            TokmemError: what the engine reported, or EngineError when it died.
        """
        if not self.client.running:
            self._set(EngineState("loading", backbone=self.state.backbone))
        idle = int(handle is self._idle)
        self._open_requests += 1
        self._open_idle += idle
        self._begun += 1
        try:
            async for event in handle:
                if event["event"] == "progress" and event.get("phase") in LOAD_PHASES:
                    self._note_loading(event)
                    continue
                if self.state.phase == "loading" or (self.state.is_fitting and not self._fits):
                    self._set(EngineState("ready", backbone=self.state.backbone))
                yield event
        except EngineError as caught:
            self._set(replace(self.state, phase="failed", error=caught, since=0.0))
            raise
        except TokmemError as caught:
            if self.state.phase == "loading":
                self._set(replace(self.state, phase="failed", error=caught, since=0.0))
            raise
        finally:
            self._open_requests -= 1
            self._open_idle -= idle
            self._last_use = time.monotonic()

    async def unload(self, *, idle_seconds: float = 0.0) -> bool:
        """End the engine's process, which is the sure way to free its memory; the next request starts it again.

        Args:
            idle_seconds: of a shared engine, end it only where nobody has used it for so long.

        Returns:
            False where others have used a shared engine within ``idle_seconds``; it goes on then.

        Raises:
            BusyError: others are using a shared engine, and no ``idle_seconds`` were given.
        """
        begun = self._begun
        if self.client.shared:
            result = await self.client.submit("unload", idle_seconds=idle_seconds).result()
            if not result.get("unloaded", True):
                self._last_use = time.monotonic()  # ask again another time
                return False
        await self.client.close()
        if self._begun == begun:  # else a request has started it again by now
            self._set(EngineState())
        return True

    async def replace_client(self, client: EngineClient) -> None:
        """Go on with another engine: another model, device or network setting."""
        begun, before = self._begun, self.client
        self.client = client  # first: a request that comes meanwhile is for the new one
        await before.close()
        if self._begun == begun:
            self._set(EngineState())

    async def load(self, profile: str) -> None:
        """Load the backbone.

        Args:
            profile: whose bank to prepare.

        Raises:
            OfflineError: a download is needed and ``may_fetch`` is False, or there is no network.
            TokmemError: anything else that went wrong.
        """
        self._set(EngineState("loading", backbone=self.state.backbone))
        async for event in self.events(self.submit("load", profile=profile, fit=False)):
            if event["event"] == "done":
                self._set(EngineState("ready", backbone=cast(BackboneInfo, event["result"])))
        self._fitting = asyncio.get_running_loop().create_task(self._fit())

    @property
    def _fits(self) -> bool:
        """Whether a request of its own goes on for what procedures need of the model."""
        return self._fitting is not None and not self._fitting.done()

    async def _fit(self) -> None:
        """Have the engine learn what procedures need of the model; answers go before it.

        An error is not shown here: the request that needs it meets it again.
        """
        client = self.client
        with contextlib.suppress(TokmemError):
            async for event in client.submit("fit", fetch=False):
                if client is self.client and event["event"] == "progress" and event.get("phase") == FITTING:
                    self._note_loading(event)
        if client is self.client and self.state.is_fitting:
            self._set(EngineState("ready", backbone=self.state.backbone))

    def _note_loading(self, event: Message) -> None:
        fraction, step = event.get("fraction"), str(event["phase"])
        self._set(
            EngineState(
                "ready" if step == FITTING and self.state.phase == "ready" else "loading",
                step=step,
                fraction=None if fraction is None else float(fraction),
                detail=str(event.get("text") or ""),
                backbone=self.state.backbone,
            )
        )

    def _set(self, state: EngineState) -> None:
        if state != self.state:
            if state.phase == "loading":
                state = replace(state, since=self.state.since or time.monotonic())
            self.state = state
            self._changed(state)
