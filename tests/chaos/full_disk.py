"""A whole session on disks that are too small for it: every end is a sentence, what was acknowledged is there after.

The disk is a file system in memory, mounted where only this process and its children see it.
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.chaos import looking
from tests.chaos.kills import end_faults, filled_all
from tests.chaos.looking import Parts
from tests.chaos.operations import KNOWN, PASSPHRASE
from tests.chaos.warm import Engine, in_child, run, serving_engines

_NEWNS, _NEWUSER = 0x00020000, 0x10000000
_REMOUNT, _PRIVATE = 32, (1 << 18) | 16384
ENOUGH = 64 * 1024
"""KiB of a disk after space was freed."""

_ME = ("--profile", "me", "--yes")


@dataclass(frozen=True)
class Step:
    """One command of the session.

    Attributes:
        arguments: its command line.
        holds: whether what it acknowledged is there, from the parts of a home.
        engine: which one it needs.
        stdin: what it reads.
    """

    arguments: tuple[str, ...]
    holds: Callable[[Parts], bool]
    engine: Engine = "none"
    stdin: bytes = b""


def _pairs(parts: Parts, name: str) -> int:
    return len(parts.get(f"procedure me/{name}", {"pairs": ()})["pairs"])


def _asked(parts: Parts, *questions: str) -> bool:
    """Whether a chat has each of these questions, with a whole answer after it."""
    chats = [messages for name, messages in parts.items() if name.startswith("chat me/")]
    answered = {before[1] for chat in chats for before, after in itertools.pairwise(chat) if after[2] == "complete"}
    return answered >= set(questions)


SESSION = (
    Step(("profile", "create", "me"), lambda parts: "profile me" in parts),
    Step(("proc", "add", "todo", "--pairs", "{pairs}", *_ME), lambda parts: _pairs(parts, "todo") >= 10),
    Step(
        ("train", *_ME),
        lambda parts: ["active", 10] in parts["procedure me/todo"]["memories"],
        engine="scripted",
    ),
    Step(
        ("chat", "--plain", *_ME),
        lambda parts: _asked(parts, "good morning", "good night"),
        engine="scripted",
        stdin=b"good morning\ngood night\n",
    ),
    Step(("ask", "-c", KNOWN, *_ME), lambda parts: _asked(parts, KNOWN), engine="scripted"),
    Step(("proc", "import", "todo", "--pairs", "{more}", *_ME), lambda parts: _pairs(parts, "todo") >= 12),
    Step(("config", "set", "preset", "quick"), lambda parts: "quick" in parts["settings"]),
    Step(("chats", "export", "1", "{out}/chat.md", *_ME), lambda parts: "file chat.md" in parts),
    Step(
        ("bank", "export", "{out}/mine.tokmem", "--with-pairs", *_ME),
        lambda parts: "file mine.tokmem" in parts,
        engine="scripted",
    ),
    Step(
        ("bank", "import", "{bank}", "--on-conflict", "rename", *_ME),
        lambda parts: _pairs(parts, "foreign") == 10,
        engine="scripted",
    ),
    Step(("profile", "lock", "me"), lambda parts: bool(parts["profile me"]["locked"])),
    Step(("proc", "import", "todo", "--pairs", "{more}", *_ME), lambda parts: _pairs(parts, "todo") >= 12),
)


def reason_against(folder: Path) -> str:
    """Why no disk can be mounted here; empty where one can."""
    found = in_child(partial(_mount_and_say, folder))
    return "" if found == "mounted" else str(found["error"] if isinstance(found, dict) else found)


def session(folder: Path, files: dict[str, str], kib: int) -> dict[str, Any]:
    """The session on a disk of that size, in a child of its own.

    Args:
        folder: an empty one.
        files: what stands for the files that commands read.
        kib: the size.

    Returns:
        ``ended`` (the exit codes), ``faults``, ``whole``: whether every command succeeded.
    """
    result: dict[str, Any] = in_child(partial(_session, folder, files, kib))
    return result if "faults" in result else {"ended": [], "faults": [f"broke off: {result['error']}"], "whole": False}


def _session(folder: Path, files: dict[str, str], kib: int) -> dict[str, Any]:
    disk, work = folder / "disk", folder / "work"
    for made in (disk, work):
        made.mkdir(parents=True)
    _mount(disk, kib)
    home, out = disk / "home", disk / "out"
    for made in (home, out):
        made.mkdir()
    faults: list[str] = []
    with serving_engines(folder) as engines:

        def step(one: Step) -> int:
            ended = run(
                filled_all(one.arguments, files | {"out": str(out)}),
                home,
                work,
                engine=one.engine,
                engines=engines,
                stdin=one.stdin,
                environ={"TOKMEM_PASSPHRASE": PASSPHRASE},
            )
            name = " ".join(one.arguments[:2])
            faults.extend(f"{name}: {fault}" for fault in end_faults(ended))
            return ended.code

        codes = [step(one) for one in SESSION]
        _remount(disk, ENOUGH)
        found = in_child(partial(looking.look, home, out, (PASSPHRASE,)))
        if "error" in found:
            return {"ended": codes, "faults": [*faults, f"cannot be opened: {found['error']}"], "whole": False}
        faults += found["faults"]
        for one, code in zip(SESSION, codes, strict=True):
            if code == 0 and not one.holds(found["parts"]):
                faults.append(f"{' '.join(one.arguments[:2])} was acknowledged, and is not there")
        # With space, what failed can be done, in the same home.
        for one, code in zip(SESSION, codes, strict=True):
            if code != 0 and step(one) != 0:
                said = (work / "stderr").read_text("utf-8", "replace").strip()
                if not re.search(r"already|locked", said):  # it was done, and only its end could not be written
                    faults.append(f"{' '.join(one.arguments[:2])} fails with space, too: {said[-200:]}")
        last = in_child(partial(looking.look, home, out, (PASSPHRASE,)))
        faults += [str(fault) for fault in last.get("faults", [last.get("error")])]
        if not last.get("faults") and "parts" in last:
            faults += [
                f"{' '.join(one.arguments[:2])} is not there in the end"
                for one in SESSION
                if not one.holds(last["parts"])
            ]
    return {"ended": codes, "faults": faults, "whole": all(code == 0 for code in codes)}


def _mount_and_say(folder: Path) -> str:
    _mount(folder, 100)
    return "mounted"


def _mount(folder: Path, kib: int) -> None:
    """Mount a file system in memory that only this process and its children see."""
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.geteuid(), os.getegid()
    if libc.unshare(_NEWNS) != 0:
        _checked(libc.unshare(_NEWNS | _NEWUSER))
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    _checked(libc.mount(b"none", b"/", None, _PRIVATE, None))
    _checked(libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, f"size={kib}k".encode()))


def _remount(folder: Path, kib: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    _checked(libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", _REMOUNT, f"size={kib}k".encode()))


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno() or errno.EPERM
        raise OSError(number, os.strerror(number))
