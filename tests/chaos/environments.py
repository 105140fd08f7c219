"""Odd environments, one entry each: how each is made, which commands run in it, and what must hold.

A table for tests and for ``make chaos``. Each entry is a piece of bash in which ``T`` runs the program quietly,
``$WORK`` is an empty folder of its own, ``$TOKMEM_HOME`` holds a profile with a trained procedure ``todo``, ``$BANK``
is a bank file, and ``$PAIRS`` a file of pairs. ``run`` makes one, ``faults`` says what does not hold.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SECONDS = 300
"""Longest time for one entry, however busy the machine."""

_CODES = 7
"""The file descriptor on which bash says what each command ended with."""

_NAMES = re.compile(r"\b[A-Z][A-Za-z]*(?:Error|Exception|Interrupt)\b|Errno|Traceback|Exception ignored")
READ_ONLY = "mount --bind $TOKMEM_HOME $TOKMEM_HOME && mount -o remount,bind,ro $TOKMEM_HOME"
NO_RIGHTS = "setpriv --bounding-set=-dac_override,-dac_read_search,-fowner bash -c"


@dataclass(frozen=True)
class Environment:
    """One odd environment."""

    name: str
    script: str
    codes: tuple[int, ...] = (1,)
    """What each command may end with."""
    says: str = ""
    """A part of what must stand on stderr."""
    shows: str = ""
    """A part of what must stand on stdout."""
    silent: bool = False
    """True where stderr cannot be written, or nothing need be said."""
    real: bool = False
    """True where the real engine is needed, on a tiny model."""
    needs: tuple[str, ...] = ()
    """Programs without which it cannot be made."""


@dataclass(frozen=True)
class Outcome:
    """What an entry's commands left."""

    codes: tuple[int, ...]
    out: str
    err: str


def _full(name: str, command: str) -> Environment:
    return Environment(f"stdout is full: {name}", f"T {command} > /dev/full", says="could not be written")


def _read_only(name: str, command: str, **more: object) -> Environment:
    script = f"unshare -rm bash -c '{READ_ONLY} && {command}'"
    return Environment(f"read-only home: {name}", script, needs=("unshare",), **more)  # type: ignore[arg-type]


def _without_rights(name: str, command: str, **more: object) -> Environment:
    script = f"chmod -R a-w $TOKMEM_HOME; {NO_RIGHTS} '{command}'; chmod -R u+w $TOKMEM_HOME"
    return Environment(f"no right to write: {name}", script, needs=("setpriv",), **more)  # type: ignore[arg-type]


def _missing(package: str, command: str = "T ask hi", **more: object) -> Environment:
    broken = f'raise ImportError(\\"no {package}\\", name=\\"{package}\\")'
    script = f'echo "{broken}" > $WORK/{package}.py; export PYTHONPATH=$WORK:$PYTHONPATH; {command}'
    return Environment(f"missing package: {package}", script, **{"says": package, **more})  # type: ignore[arg-type]


def _clock(year: str, seconds: int) -> Environment:
    script = (
        f"echo 'import time; time.time = lambda: {seconds}.0' > $WORK/sitecustomize.py; "
        "export PYTHONPATH=$WORK:$PYTHONPATH; T proc list; T chats list; T ask hi"
    )
    return Environment(f"the clock says {year}", script, codes=(0,))


ENVIRONMENTS = (
    # stdout takes nothing
    _full("help", "--help"),
    _full("help of a command", "proc add --help"),
    _full("version", "--version"),
    _full("completion", "completion bash"),
    _full("profile list", "profile list"),
    _full("proc list", "proc list --json"),
    _full("proc show", "proc show todo"),
    _full("config", "config show"),
    _full("model list", "model list"),
    _full("bank inspect", "bank inspect $BANK"),
    _full("ask", "ask 'I need to call mum on Monday'"),
    _full("ask as JSON", "ask --json hi"),
    _full("route", "route hi"),
    _full("chat", "chat --plain --temporary <<< hello"),
    _full("doctor", "doctor"),
    _full("token", "token create editor"),
    # Streams that are closed, or whose reader goes
    Environment("stderr is full: a slip", "T trian 2> /dev/full", codes=(2,), silent=True),
    Environment("stderr is full: an answer", "T ask hi 2> /dev/full", codes=(0,), silent=True, shows="You said"),
    Environment("both are full", "T proc list --json > /dev/full 2>&1", silent=True),
    Environment("stdout is closed", "T proc list --json >&-; T --help >&-; T ask hi >&-", codes=(0,), silent=True),
    Environment("stderr is closed", "T ask hi 2>&-", codes=(0,), silent=True, shows="You said"),
    Environment("stderr is closed: a slip", "T trian 2>&-", codes=(2,), silent=True),
    Environment("all streams are closed", "T ask hi <&- >&- 2>&-", codes=(0,), silent=True),
    Environment("stdin is closed", "T ask - <&-", codes=(2,), says="empty"),
    Environment("the reader has gone: help", "T --help | true", codes=(0,), silent=True),
    Environment("the reader has gone: a list", "T proc show todo | true", codes=(0,), silent=True),
    Environment("the reader goes in the middle", "T ask '!slow' | head -c 5", codes=(0,), shows="word0"),
    Environment("completion has nowhere to write", "_ARGCOMPLETE=1 COMP_LINE='tokmem-desk pro' COMP_POINT=15 T 8> /dev/full", silent=True),
    # Homes
    Environment("a home of 620 characters", "mkdir -p $WORK/$LONG; T --home $WORK/$LONG profile list; T --home $WORK/$LONG ask hi", says="too long"),
    Environment("a home of 5,000 characters", "T --home /tmp/$LONG/$LONG/$LONG/$LONG/$LONG/$LONG/$LONG/$LONG profile list", codes=(1, 2)),
    Environment("a name of 300 characters in the home", "T --home $WORK/${LONG:0:20}${LONG//\\//x} profile list", codes=(1, 2)),
    Environment("the home is a file", "touch $WORK/file; T --home $WORK/file profile list", says="file"),
    Environment("the home is below a file", "touch $WORK/file; T --home $WORK/file/home ask hi", says="file"),
    Environment("the home is a link to nowhere", "ln -s /nowhere/at/all $WORK/link; T --home $WORK/link proc list", codes=(0, 1)),
    Environment("HOME is not set", "unset HOME; T proc list; T doctor", codes=(0,), shows="todo"),
    Environment("HOME is a place that is not there", "HOME=/nowhere T proc list", codes=(0,), shows="todo"),
    Environment("an odd name of a home", "T --home \"$WORK/a b'c;\"$'\\n'\"😀\" profile create x", codes=(0,)),
    Environment("a home that is not UTF-8", "T --home $WORK/$'\\xff\\xfe' profile list; T --home $WORK/$'\\xff\\xfe' ask hi", codes=(0, 1, 2)),
    Environment("the database is a folder", "rm $TOKMEM_HOME/data/registry.sqlite; mkdir $TOKMEM_HOME/data/registry.sqlite; T profile list", says="folder"),
    Environment("the database is another file", "echo nonsense > $TOKMEM_HOME/data/registry.sqlite; T profile list", says="damaged"),
    # Temporary folders
    Environment("TMPDIR is not there", "export TMPDIR=/nowhere; T ask hi; T train --json; T bank inspect $BANK", codes=(0,)),
    Environment("TMPDIR has 620 characters", "mkdir -p $WORK/$LONG; export TMPDIR=$WORK/$LONG; T ask hi; T proc list", codes=(0,)),
    # Read-only
    _read_only("lists", "T proc list; T chats list; T profile list; T model list; T token list", codes=(0,), shows="todo"),
    _read_only("what is there", "T proc show todo; T config show; T proc history todo; T bank inspect $BANK", codes=(0,), shows="call mum"),
    _read_only("an answer", "T ask I need to call mum on Monday", codes=(0,), shows="call mum due:mon"),
    _read_only("doctor", "T doctor", codes=(0,), shows="read-only"),
    _read_only("a change", "T proc remove todo --yes", says="read-only"),
    _read_only("a new profile", "T profile create x", says="read-only"),
    _read_only("a training", "T train todo", codes=(0, 1)),
    _read_only("a setting", "T config set theme tokmem-light", says="read-only"),
    Environment("read-only home that is empty", f"rm -r $TOKMEM_HOME/*; unshare -rm bash -c '{READ_ONLY} && T profile list'", says="read-only", needs=("unshare",)),
    _without_rights("lists", "T proc list; T chats list; T profile list; T doctor", codes=(0,), shows="todo"),
    _without_rights("a change", "T proc remove todo --yes", says="read-only"),
    Environment("no right to read", f"chmod 0 $TOKMEM_HOME/data/registry.sqlite; {NO_RIGHTS} 'T proc list'", needs=("setpriv",), says="registry.sqlite"),
    Environment("settings without the right to read", f"echo > $TOKMEM_HOME/config.toml; chmod 0 $TOKMEM_HOME/config.toml; {NO_RIGHTS} 'T config show'", needs=("setpriv",), says="config.toml"),
    # Limits
    Environment("12 file handles", "ulimit -n 12; T ask hi", says="ulimit -n", codes=(1,)),
    Environment("20 file handles", "ulimit -n 20; T ask hi", codes=(0, 1)),
    Environment("8 file handles", "ulimit -n 8; T proc list", codes=(0, 1)),
    Environment("files of no size", "ulimit -f 0; T proc add other --pairs $PAIRS", codes=(1,)),
    Environment("a small stack", "ulimit -s 256; T proc list", codes=(0,)),
    Environment("60 MB of memory", "ulimit -v 60000; T ask hi", codes=(0, 3)),
    Environment("16 file handles, the real engine", "ulimit -n 16; T ask hi --max-tokens 2", codes=(0, 1), real=True),
    Environment("150 MB of memory, the real engine", "ulimit -v 150000; T ask hi --max-tokens 2", codes=(3,), says="ulimit -v", real=True),
    # Packages
    _missing("torch", real=True),
    _missing("transformers", real=True),
    _missing("platformdirs", "T proc list", real=True),
    _missing("filelock"),
    _missing("sqlcipher3", "T profile lock default --yes --passphrase-file <(echo a long passphrase)"),
    # Languages and terminals
    Environment("LC_ALL=C", "LC_ALL=C T ask 'größer 😀'", codes=(0,), shows="größer 😀"),
    Environment("LANG is not set", "unset LANG LC_ALL LC_CTYPE; T ask 'größer'", codes=(0,), shows="größer"),
    Environment("a locale that is not there", "LC_ALL=xx_XX.odd T ask 'größer'", codes=(0,), shows="größer"),
    Environment("ASCII for output", "PYTHONIOENCODING=ascii T ask 'größer'", codes=(0,), shows="größer"),
    Environment("no UTF-8 mode", "PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 LC_ALL=C T proc list", codes=(0,), shows="todo"),
    Environment("TERM=dumb", "TERM=dumb T proc list; TERM= T proc list; TERM=nonsense T --help", codes=(0,)),
    Environment("a terminal of one column", "COLUMNS=1 LINES=1 T --help; COLUMNS=0 T proc --help; COLUMNS=odd T ask --help", codes=(0,)),
    # Names and words
    Environment("a file name that is not UTF-8", "cp $PAIRS $WORK/$'\\xff.csv'; T proc add other --pairs $WORK/$'\\xff.csv'; T proc show other", codes=(0,)),
    Environment("a message that is not UTF-8", "T ask $'\\xff\\xfe'", codes=(0, 1, 2)),
    Environment("stdin that is not UTF-8", "printf '\\xff\\xfe' | T ask -", codes=(1, 2)),
    Environment("a folder for a file", "T proc add other --pairs $WORK; T bank inspect $WORK; T route --batch $WORK", codes=(1,)),
    Environment("an empty device for a file", "T bank inspect /dev/null; T proc add other --pairs /dev/null", codes=(1,)),
    Environment("a variable with nonsense", "TOKMEM_TEMPERATURE=nan T config show; TOKMEM_OFLINE=1 T config show", codes=(1,), says="TOKMEM_"),
    Environment("the working folder is gone", "mkdir $WORK/gone; cd $WORK/gone; rmdir $WORK/gone; T proc list; T ask hi", codes=(0,)),
    Environment("PATH is empty", "PATH= T proc list; PATH= T ask hi", codes=(0,)),
    _clock("1970", 0),
    _clock("2100", 4_102_444_800),
)  # fmt: skip


def missing_for(environment: Environment) -> str:
    """Why an entry cannot be made here; an empty text where it can."""
    for program in environment.needs:
        if shutil.which(program) is None:
            return f"{program} is not here"
    if (
        "unshare" in environment.needs
        and subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode
    ):
        return "this system lets nobody make a mount namespace"
    if (
        "setpriv" in environment.needs
        and os.geteuid() == 0
        and subprocess.run(
            ["setpriv", "--bounding-set=-dac_override", "true"], capture_output=True, check=False
        ).returncode
    ):
        return "rights cannot be given up here"
    return ""


def run(
    environment: Environment, home: Path, work: Path, bank: Path, pairs: Path, model: Path | None = None
) -> Outcome:
    """Make an environment and run its commands.

    Args:
        environment: an entry.
        home: a copy of its own, with a trained procedure ``todo``.
        work: an empty folder of its own.
        bank: a bank file.
        pairs: a file of pairs.
        model: a folder with a tiny model, for entries that need the real engine.
    """
    program = [sys.executable, "-m", "tui", "--model", str(model), "--device", "cpu"] if environment.real else [
        sys.executable, "-m", "tests.cli.scripted_cli"
    ]  # fmt: skip
    reading, writing = os.pipe()  # not a file: some entries allow no more of them, or none that grows
    start = shlex.join([*program, "--quiet", "--yes"])
    define = f'T() {{ {start} "$@"; local code=$?; echo $code >&{_CODES}; return $code; }}; export -f T'
    done = subprocess.run(
        ["bash", "-c", f"exec {_CODES}>&{writing}; {define}; {environment.script}"],
        pass_fds=(writing,),
        capture_output=True,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        timeout=SECONDS,
        check=False,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("TOKMEM_")},
            "TOKMEM_HOME": str(home),
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "ignore",
            "WORK": str(work),
            "BANK": str(bank),
            "PAIRS": str(pairs),
            "LONG": "/".join(["a" * 30] * 20),
        },
    )
    os.close(writing)
    os.set_blocking(reading, False)  # an engine that still ends may hold the other side
    ended = tuple(int(line) for line in os.read(reading, 4096).split())
    os.close(reading)
    return Outcome(ended, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"))


def faults(environment: Environment, outcome: Outcome) -> list[str]:
    """What does not hold; an empty list is good."""
    found = []
    if not outcome.codes:
        found.append("no command ran to its end")
    found += [f"ended with {code}" for code in outcome.codes if code not in environment.codes]
    if named := _NAMES.search(outcome.err + outcome.out):
        found.append(f"shows {named[0]!r}")
    failed = sum(code != 0 for code in outcome.codes)
    lines = [line for line in outcome.err.splitlines() if line.strip() and not line.startswith("bash: ")]
    if not environment.silent and len(lines) != failed:
        found.append(f"{failed} commands failed, and {len(lines)} lines were said")
    if failed and environment.says not in outcome.err:
        found.append(f"does not say {environment.says!r}")
    if environment.shows not in outcome.out:
        found.append(f"does not show {environment.shows!r}")
    return found
