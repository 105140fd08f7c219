"""One download of a model. It runs in an engine of its own, and can be paused and resumed.

Owned by the app and not by a screen, so that it survives switching. What has arrived stays on the disk, also when the
app ends; the next download of the same model goes on from there. Draws nothing.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Literal

from tokmem_desk.errors import InterruptedByUser, TokmemError
from tui.engine_client.client import EngineClient, RequestHandle
from tui.engine_client.protocol import Message
from tui.kit.words import duration, size

SPEED_SECONDS = 8.0
"""How many seconds the shown speed is measured over."""

STEPS = {"fetch": "downloading", "convert": "preparing it, only this once"}


class ModelPull:
    """A download that runs, is paused, or has ended.

    Args:
        model: as the settings would name it.
        title: for people.
        download_bytes: what will cross the network; None where nobody knows before.
        make_client: makes an engine for this model that is not started yet.
        changed: called after each change.
        clock: replaces the clock, in seconds.
    """

    def __init__(
        self,
        model: str,
        title: str,
        download_bytes: int | None,
        make_client: Callable[[], EngineClient],
        changed: Callable[[ModelPull], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.model, self.title, self.download_bytes = model, title, download_bytes
        self.state: Literal["running", "pausing", "paused", "done", "failed"] = "paused"
        self.step = ""
        """``fetch`` or ``convert``; empty before the engine has said anything."""
        self.fraction: float | None = None
        """Share of the step that is done, 0 to 1."""
        self.detail = ""
        self.error: TokmemError | None = None
        self._make_client, self._changed, self._clock = make_client, changed, clock
        self._client: EngineClient | None = None
        self._handle: RequestHandle | None = None
        self._seen: deque[tuple[float, float]] = deque()

    @property
    def running(self) -> bool:
        """True while it works, also while it is about to pause."""
        return self.state in ("running", "pausing")

    @property
    def bytes_per_second(self) -> float | None:
        """Share of the download that is done; None where the size is not known or nothing has come yet."""
        share = self._shares_per_second
        if share is None or self.download_bytes is None or self.step != "fetch":
            return None
        return share * self.download_bytes

    @property
    def eta_seconds(self) -> float | None:
        """Seconds until the end of the present step."""
        share = self._shares_per_second
        return None if not share or self.fraction is None else (1 - self.fraction) / share

    @property
    def words(self) -> str:
        """The state in a line: what, how much, how fast, how long."""
        if self.state == "done":
            return "ready"
        if self.state == "failed":
            return "failed"
        # Preparing has few and long steps: their share would stand still and look stuck.
        done = "" if self.fraction is None or self.step == "convert" else f" {self.fraction:.0%}"
        if self.state == "paused":
            return f"paused{done and ' at' + done}"
        parts = [f"{STEPS.get(self.step, 'starting')}{done}"]
        if self.fraction is not None and self.download_bytes is not None and self.step == "fetch":
            parts.append(f"{size(round(self.fraction * self.download_bytes))} of {size(self.download_bytes)}")
        if self.bytes_per_second:
            parts.append(f"{size(round(self.bytes_per_second))}/s")
        if self.eta_seconds is not None and self.step != "convert":
            parts.append(f"{duration(self.eta_seconds)} left")
        return " · ".join(parts)

    async def run(self) -> None:
        """Download and prepare until it is done, paused or failed; ``state`` tells which."""
        self.state, self.error = "running", None
        self._seen.clear()
        self._client = self._make_client()
        self._handle = self._client.submit("fetch", fetch=True)
        self._changed(self)
        try:
            async for event in self._handle:
                self._take(event)
                self._changed(self)
        except InterruptedByUser:
            self.state = "paused"
        except TokmemError as caught:
            self.state, self.error = "failed", caught
        finally:
            self._handle = None
            await self._client.close()
        self._changed(self)

    async def pause(self) -> None:
        """Stop; what has arrived is kept."""
        if self._handle is not None and self.state == "running":
            self.state = "pausing"
            self._changed(self)
            await self._handle.cancel()

    async def close(self) -> None:
        """End its engine, whatever it does."""
        if self._client is not None:
            await self._client.close()

    @property
    def _shares_per_second(self) -> float | None:
        if len(self._seen) < 2:
            return None
        (first, share), (last, newest) = self._seen[0], self._seen[-1]
        return (newest - share) / (last - first) if last > first and newest > share else None

    def _take(self, event: Message) -> None:
        if event["event"] == "done":
            self.state, self.fraction = "done", 1.0
            return
        if event["event"] != "progress":
            return
        step = str(event.get("phase") or "")
        if step != self.step:
            self._seen.clear()
        self.step, self.detail = step, str(event.get("text") or "")
        fraction = event.get("fraction")
        self.fraction = None if fraction is None else float(fraction)
        if self.fraction is not None:
            now = self._clock()
            self._seen.append((now, self.fraction))
            while len(self._seen) > 2 and now - self._seen[0][0] > SPEED_SECONDS:
                self._seen.popleft()
