"""``doctor``: check the installation, the profile and the model, and say what the model runs on and why."""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from tokmem_desk.errors import DamagedError, TokmemError
from tokmem_desk.models.catalogue import MIB
from tokmem_desk.models.hardware_fit import look_at_machine
from tokmem_desk.models.record import ledger_of
from tokmem_desk.models.shipped import damaged_shipped
from tokmem_desk.models.speed_fit import MachineSpeed, estimate, in_words, most_pleasant
from tokmem_desk.system.file_checks import Ledger, fitted_ledger, health
from tui.cli.console import table
from tui.cli.context import Context
from tui.cli.exit_codes import ExitCode
from tui.cli.passphrase import can_ask_or_read
from tui.kit.words import count, size

PACKAGES = ("torch", "transformers", "accelerate", "bitsandbytes", "safetensors", "gguf", "textual", "pip")
LOW_SPACE_BYTES = 1024 * MIB


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    state: Literal["ok", "note", "bad"]
    """``note``: nothing is broken, but worth knowing."""
    text: str
    next_step: str = ""


def run(context: Context, options: argparse.Namespace) -> int:
    """Look at everything; the exit code tells whether something is broken."""
    findings: list[Finding] = []
    for name, check in (
        ("python", _python),
        ("packages", _packages),
        ("disk", _disk),
        ("settings", _settings),
        ("profile", _profile),
        ("files", _files),
        ("model", _model),
        ("engine", _engine),
        ("speed", _speed),
    ):
        context.console.progress(f"Looking at: {name}")
        findings += _guarded(name, context, check)
    context.console.end_progress()
    good = all(one.state != "bad" for one in findings)
    text = table(("", "what", "found"), [(one.state, one.name, one.text) for one in findings])
    context.console.result({"ok": good, "findings": [asdict(one) for one in findings]}, text)
    for one in findings:
        if one.next_step:
            context.console.say(f"{one.name}: {one.next_step}")
    return ExitCode.OK if good else ExitCode.FAILED


def _guarded(name: str, context: Context, check: Callable[[Context], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from check(context)
    except TokmemError as caught:
        yield Finding(name, "bad", caught.message.splitlines()[0], caught.next_step)


def _python(context: Context) -> Iterator[Finding]:
    yield Finding("python", "ok", f"{platform.python_version()} at {sys.executable}")
    yield Finding("system", "ok", f"{platform.system()} {platform.release()} {platform.machine()}")


def _packages(context: Context) -> Iterator[Finding]:
    found, missing = [], []
    for name in PACKAGES:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    yield Finding("packages", "ok", ", ".join(found))
    if missing:
        yield Finding("packages", "bad", f"not installed: {', '.join(missing)}", "Install tokmem-desk again.")


def _disk(context: Context) -> Iterator[Finding]:
    for name, folder in (("data", context.paths.data), ("models", context.paths.models)):
        there = _existing(folder)
        free = shutil.disk_usage(there).free
        if not os.access(there, os.W_OK):
            step = "What is there can be read; to change something, choose another place with --home."
            yield Finding(name, "note", f"{folder}, read-only", step)
            continue
        low = free < LOW_SPACE_BYTES
        step = "Free some space, or choose another place with --home." if low else ""
        yield Finding(name, "note" if low else "ok", f"{folder}, {size(free)} free", step)


def _existing(folder: Path) -> Path:
    return next(step for step in (folder, *folder.parents) if step.exists())


def _settings(context: Context) -> Iterator[Finding]:
    changed = [f"{row.key} = {row.value}" for row in context.settings.show() if row.source != "default"]
    yield Finding("settings", "ok", ", ".join(changed) or "all at their defaults")


def _profile(context: Context) -> Iterator[Finding]:
    if context.profile.locked and not can_ask_or_read(context.console, context.options.passphrase_file):
        step = "To look inside as well, give --passphrase-file FILE."
        yield Finding("profile", "note", f"{context.profile.name} is locked; its database was not looked at", step)
        return
    damage = context.store.damage()
    if damage:
        step = f"Copies from before an upgrade are in {context.store.folder / 'backups'}."
        yield Finding("profile", "bad", f"{context.store.database_file}: {damage[0]}", step)
        return
    number = len(context.store.procedures.list())
    yield Finding("profile", "ok", f"{context.profile.name}: {number} procedures, database in order")


def _model(context: Context) -> Iterator[Finding]:
    source = context.models.resolve(context.model)
    damage = context.models.damage(context.model)
    if damage:
        yield Finding("model", "bad", f"{source.id} is damaged: {damage}", _again(context.model))
    elif context.models.is_ready(context.model):
        yield Finding("model", "ok", f"{source.id} is in the cache")
    else:
        step = f"Fetch it: tokmem-desk model pull {context.model} --yes"
        yield Finding("model", "note", f"{source.id} is not in the cache yet", step)


def _files(context: Context) -> Iterator[Finding]:
    """Every file that conversion and fitting wrote, read and compared with what was written."""
    for model in context.models.list():
        context.console.progress(f"Looking at: the files of {model.id}")
        assert model.folder is not None and model.record is not None
        try:
            context.models.verify_stored(model)
        except DamagedError as caught:
            yield Finding("files", "bad", caught.message, _again(model.id))
            continue
        yield Finding("files", "ok", f"{model.id}: whole, {count(len(model.record.files) + 1, 'file')}")
        own = sorted(model.folder.glob("*.safetensors"))
        beside = [file for file in own if file.name not in model.record.files]
        yield from _made(f"of {model.id}", beside, ledger_of(model.folder))
    fitted = context.paths.fitted
    yield from _made("fitted here", sorted(fitted.glob("*.safetensors")), fitted_ledger(fitted))
    damaged = damaged_shipped()
    if damaged:
        text = f"{damaged[0]}, which comes with the program, is damaged"
        yield Finding("files", "bad", text, "Install tokmem-desk again.")


def _made(whose: str, files: Sequence[Path], ledger: Ledger) -> Iterator[Finding]:
    """Routers, segment taggers, adapters and priors in one folder."""
    whole, unknown = 0, []
    for file in files:
        try:
            found = health(file, ledger)
        except OSError as caught:
            yield Finding("files", "bad", f"{file} cannot be read: {caught.strerror}", _MADE_AGAIN)
            continue
        if found == "damaged":
            yield Finding("files", "bad", f"{file} is damaged: it is not what was written", _MADE_AGAIN)
        elif found == "new":
            unknown.append(file.name)
        else:
            whole += 1
    if whole:
        yield Finding("files", "ok", f"{whose}: whole, {count(whole, 'fitted file')}")
    if unknown:
        step = "The next time the model loads, what they are now is taken down, and later changes show."
        yield Finding("files", "note", f"{whose}: not yet checked: {', '.join(unknown)}", step)


_MADE_AGAIN = (
    "A router or segment tagger is taken from its other copy, or fitted again, when the model loads next. A prior is "
    "learned again with 'tokmem-desk model prepare', an adapter is made again with 'tokmem-desk adapt'."
)


def _again(model: str) -> str:
    return f"Fetch or convert it again: tokmem-desk model pull {model} --yes"


def _engine(context: Context) -> Iterator[Finding]:
    """What the model runs on; loads it when that needs no download."""
    status = context.engine.result("status")
    device = f"{status['device']}, computes in {status['dtype']}: {status['reason']}"
    yield Finding("device", "ok", device)
    ready = False
    with contextlib.suppress(TokmemError):  # a model that nobody knows has been told of already
        ready = context.models.is_ready(context.model)
    if not ready:
        return
    backbone = context.engine.load(profile=False)
    about = f"{backbone['family']}, {backbone['parameters'] / 1e6:.0f} M parameters"
    memory = context.engine.result("status")["memory_mb"]
    yield Finding("backbone", "ok", f"{backbone['id']} loads: {about}, {memory:.0f} MiB in use")
    if memories := backbone.get("memories"):
        yield Finding("memories", "ok" if backbone.get("form") == "layers" else "note", memories)
    if backbone.get("recomputes"):
        text = "keeps nothing that can be gone on from: each message runs from its beginning in every training step"
        step = "For faster training and long conversations choose one with attention in every layer (model list)."
        yield Finding("layers", "note", f"{backbone['id']} {text}", step)


def _speed(context: Context) -> Iterator[Finding]:
    """What this computer reaches, what that makes of the model in use, and which would be the best to work with."""
    try:
        speed = MachineSpeed(**context.engine.result("measure"))
    except TokmemError as caught:
        yield Finding("speed", "note", f"not measured: {caught.message.splitlines()[0]}", caught.next_step)
        return
    reached = f"{speed.flops / 1e9:,.0f} billion operations and reads {size(round(speed.bytes_per_second))} a second"
    yield Finding("speed", "ok", f"{speed.device} reaches {reached}")
    with contextlib.suppress(TokmemError):
        entry = context.models.resolve(context.model).entry
        found = None if entry is None else estimate(entry, speed)
        if entry is not None and found is not None:
            yield Finding("speed", "ok" if found.pleasant else "note", f"{entry.id}: {in_words(found)}")
    machine = look_at_machine()
    free = machine.free_bytes if speed.device == "cpu" else machine.gpu_free_bytes
    best, why = most_pleasant(speed, free)
    yield Finding("recommended", "ok", f"{best.id}, {why}")
