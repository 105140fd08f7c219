"""What a person waits for who takes a model for the first time, and how much memory each step of it needs.

The steps are commands, as typed, in a new home: fetch and convert the model, ask it something in plain chat, teach a
procedure, ask under it. Each command is a process with an engine of its own, so that its time and its peak hold
everything: starting, loading, and what is learned about a model once.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.options import say
from tokmem_desk import samples
from tokmem_desk.errors import TokmemError

_CHAT = "What is the capital of Norway?"
_ANSWER_TOKENS = 16

_WATCHED = """
import json, resource, subprocess, sys, time
began = time.perf_counter()
code = subprocess.run(sys.argv[1:]).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([time.perf_counter() - began, used.ru_utime + used.ru_stime, used.ru_maxrss]))
sys.exit(code)
"""
"""Runs a command; prints its seconds, those of the processor, and the largest peak among it and its children in KiB.

A process of its own, because the kernel counts what the starting process holds as the started one's first peak.
"""


def measure_first_use(
    model: str, folder: Path | None = None, names: tuple[str, ...] = ("todo_line",)
) -> dict[str, Any]:
    """Seconds, seconds of the processor and peak memory of each step of a first use.

    Args:
        model: an id of the catalogue, a folder or a GGUF file.
        folder: where the new home goes; the system's place for short-lived files when None.
        names: sample procedures that are taught, one after the other: the first waits for what is learned once.

    Raises:
        TokmemError: a step failed; the end of what it printed is in the message.
    """
    steps: list[dict[str, Any]] = []
    sample = {one.name: one for one in samples.sample_procedures()}
    with tempfile.TemporaryDirectory(dir=folder) as home:
        said = {"home": home, "model": model}
        steps.append(measured_step("fetch and convert", said, "model", "pull", model))
        steps.append(measured_step("first plain answer", said, "ask", _CHAT, "--route", "none", *_tokens()))
        steps.append(measured_step("second plain answer", said, "ask", _CHAT, "--route", "none", *_tokens()))
        for name in names:
            pairs = Path(home, f"{name}.json")
            pairs.write_text(
                json.dumps([{"input": pair.input, "response": pair.response} for pair in sample[name].pairs]), "utf-8"
            )
            measured_step("define", said, "proc", "add", name, "--pairs", str(pairs))
            if name == names[0]:
                # A route needs what is learned about a model once, and nothing that is learned of a procedure.
                steps.append(measured_step("learn what procedures need", said, "route", _CHAT))
            steps.append(measured_step(f"teach {name}", said, "train", name))
        message = sample[names[0]].pairs[0].input
        steps.append(measured_step("answer by route", said, "ask", message, *_tokens()))
        checked = _answered(said, message)
    return {
        "model": Path(model).name,
        "threads": int(os.environ.get("OMP_NUM_THREADS", 0)) or os.cpu_count(),
        "how": "Commands in a new home, one process each, which load the model anew.",
        "steps": steps,
        "routed_to": checked,
    }


def _tokens() -> tuple[str, ...]:
    return ("--max-tokens", str(_ANSWER_TOKENS))


def measured_step(name: str, said: dict[str, str], *command: str) -> dict[str, Any]:
    """Run one command and measure it with all its children.

    Args:
        said: ``home`` and ``model``, which every command is told.

    Raises:
        TokmemError: it failed.
    """
    say(name)
    done = subprocess.run([sys.executable, "-c", _WATCHED, *_typed(said, *command)], capture_output=True, text=True)
    if done.returncode:
        raise TokmemError(f"The step '{name}' failed: {done.stderr[-600:]}", next_step="Try the command by hand.")
    seconds, processor_seconds, kib = json.loads(done.stdout.splitlines()[-1])
    return {
        "step": name,
        "seconds": round(seconds, 2),
        "processor_seconds": round(processor_seconds, 2),
        "peak_mb": round(kib / 1024),
    }


def _answered(said: dict[str, str], message: str) -> str:
    """Which procedure a message is routed to: a first use that routes nowhere would be no first use."""
    done = subprocess.run(_typed(said, "route", message, "--json"), check=True, capture_output=True, text=True)
    return str(json.loads(done.stdout)["route"])


def _typed(said: dict[str, str], *command: str) -> list[str]:
    options = ["--home", said["home"], "--model", said["model"], "--yes", "--quiet"]
    return [sys.executable, "-m", "tui", *command, *options]
