"""``watch``: answer the text files of a folder, those there and those that come, until Ctrl-C.

The answer to ``note.txt`` is ``note.txt.answer`` beside it, with the time of the text that it answers. A file that is
newer is answered again, so the command goes on where it was stopped, and a change while an answer is made is not lost.
The folder is looked at once a second: that works on every disk, also on those of other computers, which tell of no
change.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from pathlib import Path

from profiles.files.atomic import storage_error, write_text
from tokmem_desk.errors import BadInputError, ContextLengthError, GenerationError, InterruptedByUser, NotFoundError
from tokmem_desk.procedures import AUTO_ROUTE
from tui.chat.session import system_turns
from tui.chat.text_files import read_text_file
from tui.cli.ask import check_route, route_chip
from tui.cli.context import Context
from tui.cli.exit_codes import ExitCode
from tui.cli.parsing import Parser
from tui.cli.plan_answers import whole_answer

SUFFIX = ".answer"
LOOK_SECONDS = 1.0
State = tuple[int, int]
"""Size in bytes and time of the last change in nanoseconds."""


def arguments(parser: Parser) -> None:
    """What can be typed behind ``watch``."""
    parser.add_argument("folder", metavar="DIR", type=Path, help="the folder; folders in it are not looked at")
    parser.add_argument(
        "--proc", metavar="NAME", default=AUTO_ROUTE, help="the procedure; without it the router chooses"
    )
    parser.add_argument("--glob", metavar="PATTERN", default="*.txt", help="which files (*.txt)")
    parser.add_argument("--once", action="store_true", help="answer what is there, and end")


def run(context: Context, options: argparse.Namespace) -> int:
    """Answer the files of a folder."""
    folder: Path = options.folder
    if not folder.is_dir():
        raise NotFoundError(f"There is no folder {folder}.", next_step="Check the path.")
    check_route(context, options.proc)
    context.engine.load()
    context.console.say(f"Answering {options.glob} in {folder} (Ctrl-C ends).")
    refused: dict[Path, State] = {}
    before: dict[Path, State] = {}
    failed = False
    while True:
        present = dict(_waiting(folder, options.glob))
        for path, state in present.items():
            # A file that is still being written changes between two looks.
            settled = options.once or before.get(path) == state
            if not settled or refused.get(path) == state:
                continue
            if not _answer(context, path, state, options.proc):
                refused[path], failed = state, True
        if options.once:
            return ExitCode.FAILED if failed else ExitCode.OK
        before = present
        time.sleep(LOOK_SECONDS)


def _waiting(folder: Path, pattern: str) -> Iterator[tuple[Path, State]]:
    """The files that are newer than their answer, or have none, by name.

    Raises:
        StorageError: the folder cannot be read any more.
        BadInputError: the pattern is none.
    """
    try:
        paths = sorted(folder.glob(pattern))
    except (ValueError, NotImplementedError) as caught:
        raise BadInputError(f"{pattern!r} is no pattern of files ({caught}).", next_step="Try '*.md'.") from caught
    except OSError as caught:
        raise storage_error(f"{folder} could not be read", caught) from caught
    for path in paths:
        if path.name.startswith(".") or path.name.endswith(SUFFIX) or path.parent != folder:
            continue
        state, answered = _state(path), _state(_answer_of(path))
        if state is not None and (answered is None or answered[1] < state[1]):
            yield path, state


def _state(path: Path) -> State | None:
    """Size and time of a plain file; None where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (found.st_size, found.st_mtime_ns) if path.is_file() else None


def _answer_of(path: Path) -> Path:
    return path.with_name(f"{path.name}{SUFFIX}")


def _answer(context: Context, path: Path, state: State, route: str) -> bool:
    """Answer one file; False where it cannot be answered, which is said."""
    console = context.console
    try:
        text = read_text_file(path).text
        conversation = system_turns(context.store.chats.system_prompt)
        result = whole_answer(context, text, route, conversation=conversation, sample=False)
    except (BadInputError, NotFoundError, ContextLengthError, GenerationError) as caught:
        console.say(f"  {path.name}: {caught}")
        return False
    if result["stopped"] == "cancelled":
        raise InterruptedByUser("Stopped.")
    write_text(_answer_of(path), result["response"].rstrip("\n") + "\n")
    os.utime(_answer_of(path), ns=(state[1], state[1]))
    console.say(f"  {path.name}  {route_chip(result['route'], result['probability'], result['candidates'])}")
    if console.json_output:
        facts = {name: result[name] for name in ("response", "route", "probability")}
        console.json({"file": str(path), **facts})
    return True
