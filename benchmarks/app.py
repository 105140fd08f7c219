"""How light the app is: what it uses while nobody touches it, and how long one key takes in large data.

    python -m benchmarks.app [--out benchmarks/results/app.json]

Needs no model. *Idle*: the real program in a terminal of its own, share of one core over some seconds. *Actions*: the
app without a terminal, seconds from a key to a drawn screen, for a chat of 5,000 messages and a table of 20,000 pairs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from benchmarks.options import say
from benchmarks.speed_start import in_terminal
from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from profiles.settings.settings import Settings
from profiles.store.store import ProfileStore
from tokmem_desk.models.hardware_fit import look_at_machine
from tokmem_desk.procedures import ExamplePair, Procedure
from tui.engine_client.client import EngineClient, engine_command
from tui.shell.app import TokmemApp

MESSAGES = 5_000
PAIRS = 20_000
SETTLE_SECONDS = 8.0
IDLE_SECONDS = 30.0
SIZE = (120, 40)
KEYS = 16
"""Presses of each kind."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--messages", type=int, default=MESSAGES)
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--idle-seconds", type=float, default=IDLE_SECONDS)
    options = parser.parse_args(arguments)
    machine = look_at_machine()
    result: dict[str, Any] = {
        "benchmark": "app",
        "machine": {"processor": machine.processor, "cores": machine.cores, "python": platform.python_version()},
        "load_average": round(os.getloadavg()[0], 2),
    }
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        say("app: writing a long chat and a large procedure")
        _fill(home, options.messages, options.pairs)
        if sys.platform == "linux":
            say("app: idle")
            result["idle"] = _idle(home, options.idle_seconds)
        result["actions"] = asyncio.run(_actions(home))
        result["messages"], result["pairs"] = options.messages, options.pairs
    text = json.dumps(result, indent=1)
    print(text)
    if options.out is not None:
        options.out.write_text(text + "\n", encoding="utf-8")


def _fill(home: Path, messages: int, pairs: int) -> None:
    """A profile with one long chat and one large procedure."""
    paths = AppPaths.resolve(home)
    paths.state.mkdir(parents=True)
    (paths.state / "welcomed").touch()
    with ProfileRegistry(paths) as registry:
        store = registry.open()
    with store:
        rows = tuple(ExamplePair(f"what I type number {n}", f"what I get | {n}") for n in range(pairs))
        store.procedures.add(Procedure("large", rows, description="Many pairs"))
        _chat(store, messages)


def _chat(store: ProfileStore, messages: int) -> None:
    conversation = store.chats.create("A long chat")
    for number in range(messages // 2):
        store.messages.add(conversation, "user", f"Question {number}: what comes after {number}?")
        answer = f"After **{number}** comes *{number + 1}*.\n\n- it is a number\n- it is larger\n"
        store.messages.add(
            conversation, "assistant", answer, route="none", probability=0.98, candidates=[], timing=None
        )


def _idle(home: Path, seconds: float) -> dict[str, Any]:
    """Share of one core that the program and its children use while nobody touches it."""
    import psutil

    environment = {**os.environ, "TOKMEM_HOME": str(home), "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    with in_terminal(["--offline"], environment) as (pid, drain):
        drain(SETTLE_SECONDS)
        before = _cpu_seconds(psutil.Process(pid))
        began = time.perf_counter()
        written = drain(seconds)
        used = _cpu_seconds(psutil.Process(pid)) - before
        took = time.perf_counter() - began
        memory = psutil.Process(pid).memory_info().rss
    return {
        "seconds": round(took, 1),
        "share_of_one_core": round(used / took, 5),
        "bytes_written": written,
        "memory_mb": round(memory / 2**20, 1),
    }


def _cpu_seconds(process: Any) -> float:
    """Of a process and its children, user and system."""
    family = [process, *process.children(recursive=True)]
    return float(sum(one.cpu_times().user + one.cpu_times().system for one in family))


async def _actions(home: Path) -> dict[str, Any]:
    paths = AppPaths.resolve(home)

    def engine(log: Path, settings: Settings) -> EngineClient:
        return EngineClient(engine_command(home=home, model="default", offline=True), log)

    app = TokmemApp(paths, Settings.load(paths, {"offline": True}), engine)
    found: dict[str, Any] = {}
    began = time.perf_counter()
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        while not app.screen.query("TurnView"):
            await pilot.pause(0.01)
        found["open_chat_seconds"] = round(time.perf_counter() - began, 4)
        await _leave_dialogs(pilot)
        await pilot.pause(1)
        found["chat_page_up"] = await _timed(pilot, ["pageup"] * KEYS)
        found["chat_page_down"] = await _timed(pilot, ["pagedown"] * KEYS)
        found["chat_type"] = await _timed(pilot, list("typing goes on as ever"))
        found["open_table"] = await _timed(pilot, ["f3"])
        await pilot.press("right")
        found["table_down"] = await _timed(pilot, ["down"] * KEYS)
        found["table_page_down"] = await _timed(pilot, ["pagedown"] * KEYS)
        found["table_end_and_home"] = await _timed(pilot, ["ctrl+end", "ctrl+home"] * (KEYS // 4))
        found["table_save_cell"] = await _timed(pilot, ["enter"] * KEYS, before=("enter", "x"))
        found["table_hold_out"] = await _timed(pilot, ["space"] * KEYS)
        found["table_delete"] = await _timed(pilot, ["d"] * KEYS)
        await pilot.press("slash")
        found["table_filter"] = await _timed(pilot, list("number 199"))
        await pilot.press("escape")
        for key in ("f4", "f5", "f8", "f9", "f2"):
            await pilot.press(key)
            await pilot.pause(0.5)
        found["switch_screens"] = await _timed(pilot, ["f3", "f4", "f5", "f8", "f9", "f2"] * 2)
    return found


async def _leave_dialogs(pilot: Pilot[None]) -> None:
    """The missing model is told of; that is not what is measured."""
    for _ in range(40):
        await pilot.pause(0.25)
        if len(pilot.app.screen_stack) > 1:
            await pilot.press("escape")
            return


async def _timed(pilot: Pilot[None], keys: Sequence[str], before: Sequence[str] = ()) -> dict[str, float]:
    """Seconds from each key to the end of its drawing: by the clock, and of computing alone.

    Args:
        pilot: of the running app.
        keys: to press.
        before: pressed before each of them, and not timed.
    """
    say(f"app: {len(keys)} keys, {keys[0]} …")
    seconds, computing = [], []
    for key in keys:
        await pilot.press(*before)
        began, used = time.perf_counter(), time.process_time()
        await pilot.press(key)
        await pilot.pause()
        seconds.append(time.perf_counter() - began)
        computing.append(time.process_time() - used)
    ordered = sorted(seconds)
    return {
        "median_computing_seconds": round(statistics.median(computing), 4),
        "max_computing_seconds": round(max(computing), 4),
        "median_seconds": round(statistics.median(ordered), 4),
        "p95_seconds": round(ordered[int(0.95 * (len(ordered) - 1))], 4),
        "max_seconds": round(ordered[-1], 4),
        "keys": len(ordered),
    }


if __name__ == "__main__":
    main()
