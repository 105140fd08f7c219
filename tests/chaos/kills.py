"""Kill commands in the middle and look at what is left: all of it as before or as after, and nothing lost.

Most kills come before the n-th change to a file or a database, n drawn from a seed; the others after a drawn time.
"""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.chaos import looking
from tests.chaos.looking import Parts
from tests.chaos.operations import (
    NEW_PASSPHRASE,
    OF_THE_TINY_MODEL,
    OPERATIONS,
    PASSPHRASE,
    Operation,
    filled,
    prepare,
    write_files,
)
from tests.chaos.warm import NEVER, Ended, Engine, Moment, in_child, run

CODES = (0, 1, 2, 3, 4)
ROOT = Path(__file__).parents[2]
TIMED = 0.2
"""The share of kills that come after a time."""

_NAMES = re.compile(r"\b[A-Z][A-Za-z]*(?:Error|Exception|Interrupt)\b|Errno|Traceback|Exception ignored")


@dataclass
class Course:
    """What an operation does when nobody disturbs it."""

    operation: Operation
    before: Parts
    after: Parts
    ended: Ended


@dataclass
class Kill:
    """One kill and what was found; enough to do it again."""

    operation: str
    number: int
    moment: Moment
    faults: list[str] = field(default_factory=list)
    found: str = ""
    """before, between, after."""
    acknowledged: bool = False

    def as_dict(self) -> dict[str, Any]:
        """For the report."""
        return asdict(self)


class Killing:
    """Prepared homes, and operations to kill in copies of them.

    Args:
        folder: an empty one for all of it.
        engines: the socket of the engines.
        model: a tiny model with what is fitted to it, as a home; None where it is left out.
    """

    def __init__(self, folder: Path, engines: Path, model: tuple[Path, Path] | None = None) -> None:
        self.folder, self.engines = folder, engines
        self.files = write_files(folder)
        self._number = 0
        self._courses: dict[str, Course] = {}
        self.starts = {"plain": folder / "start-plain", "locked": folder / "start-locked"}
        bank = folder / "start-bank"
        for home in (bank, self.starts["plain"]):
            home.mkdir()
        self._prepare("plain", prepare)
        self._make_bank(bank)
        shutil.copytree(self.starts["plain"], self.starts["locked"])
        self._cli(self.starts["locked"], "profile", "lock", "default", environ={"TOKMEM_PASSPHRASE": PASSPHRASE})
        found = in_child(partial(looking.look, self.starts["locked"], folder / "none", (PASSPHRASE,)))
        self._recovery = {found["parts"]["profile default"]["recovery"]}
        if model is not None:
            home, source = model
            self.files["model"] = str(source)
            self.starts |= {"tiny": home, "bare": folder / "start-bare"}
            self.starts["bare"].mkdir()
            self._cli(self.starts["bare"], "profile", "list")

    def operations(self) -> list[Operation]:
        """Those that have a home to begin with."""
        return [one for one in (*OPERATIONS, *OF_THE_TINY_MODEL) if one.start in self.starts]

    def schedule(self, count: int, of_the_model: int, seed: int) -> Iterator[tuple[Operation, int]]:
        """That many kills, spread by weight over the operations, and more of those with the tiny model."""
        of_model = [one for one in OF_THE_TINY_MODEL if one.start in self.starts] if of_the_model else []
        total = sum(one.weight for one in OPERATIONS)
        plan = [(one, one.weight / total * (count - of_the_model * bool(of_model))) for one in OPERATIONS]
        plan += [(one, of_the_model * one.weight / sum(other.weight for other in of_model)) for one in of_model]
        # Whole numbers that add up: each gets the rounded difference of the running sum.
        running = 0.0
        for one, share in plan:
            times = round(running + share) - round(running)
            running += share
            yield from ((one, number + seed * 100_000) for number in range(times))

    def kill(self, operation: Operation, number: int) -> Kill:
        """Kill an operation once; the same number chooses the same moment."""
        course = self.course(operation)
        chance = random.Random(f"{operation.name} {number}")
        work = self._work(operation)
        try:
            for _ in range(20):
                moment = self._moment(course.ended, chance)
                ended = self._run(operation, work, moment)
                if ended.killed or (moment.engine_event and not moment.both):
                    break
                work = self._again(operation, work)  # it came to its end before; another moment
            else:
                return Kill(operation.name, number, moment, ["never killed: it always came to its end before"])
            kill = Kill(operation.name, number, moment)
            self._judge(kill, course, work, ended)
            return kill
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def course(self, operation: Operation) -> Course:
        """The undisturbed course of an operation, computed once."""
        if operation.name not in self._courses:
            work = self._work(operation)
            before = self._look(operation, work)
            shutil.rmtree(work)
            work = self._work(operation)
            ended = self._run(operation, work, NEVER)
            if ended.code != 0:
                raise AssertionError(f"{operation.name} does not work undisturbed: {ended.err or ended.out}")
            after = self._look(operation, work)
            left = looking.files_with(operation.deletes, work / "home") if operation.deletes else []
            shutil.rmtree(work)
            if left:
                raise AssertionError(f"{operation.name}, undisturbed, leaves deleted text in {left}")
            for one in (before, after):
                if one["faults"]:
                    raise AssertionError(f"{operation.name}, undisturbed: {one['faults']}")
            self._courses[operation.name] = Course(operation, before["parts"], after["parts"], ended)
        return self._courses[operation.name]

    # The way of one kill

    def _moment(self, ended: Ended, chance: random.Random) -> Moment:
        both = chance.random() < 0.5
        if chance.random() < TIMED:
            return Moment(seconds=max(0.0005, chance.uniform(0.0, ended.seconds)), both=both)
        last = ended.events + ended.engine_events
        # Every fifth among the last ones: there it may have said that it is done.
        at = chance.randint(max(1, last - 4) if chance.random() < 0.2 else 1, last)
        if at > ended.events:
            return Moment(engine_event=at - ended.events, both=both)
        return Moment(event=at, both=both)

    def _judge(self, kill: Kill, course: Course, work: Path, ended: Ended) -> None:
        operation, faults = course.operation, kill.faults
        kill.acknowledged = ended.code == 0 or (ended.killed and 0 < course.ended.lines <= ended.lines)
        if not ended.killed:
            faults += end_faults(ended)
        if operation.deletes and kill.acknowledged:
            faults += [f"deleted text in {name}" for name in looking.files_with(operation.deletes, work / "home")]
        looking.let_time_pass(work)
        found = self._look(operation, work)
        faults += found["faults"]
        kill.found = _verdict(course, found["parts"])
        if kill.found == "neither":
            faults.append(f"neither as before nor as after: {_differences(course, found['parts'])}")
        elif kill.acknowledged and kill.found != "after":
            faults.append("it was acknowledged, and is not there")
        if operation.deletes and kill.found == "after":
            faults += [f"deleted text in {name}" for name in looking.files_with(operation.deletes, work / "home")]
        again = self._run(operation, work, NEVER)
        if again.code not in ((0,) if kill.found == "before" else CODES):
            faults.append(f"run again, it ends with {again.code}: {again.err.strip()[-300:]}")
        if again.code != 0:
            faults += end_faults(again)
        last = self._look(operation, work)
        faults += [f"run again: {one}" for one in last["faults"]]
        if kill.found == "before" and _verdict(course, last["parts"]) != "after":
            faults.append(f"run again, it is not as after: {_differences(course, last['parts'])}")
        faults += [f"left for ever: {name}" for name in looking.leftovers(work / "home", work / "out")]

    def _look(self, operation: Operation, work: Path) -> dict[str, Any]:
        models = operation.start in ("tiny", "bare")
        do = partial(looking.look, work / "home", work / "out", (NEW_PASSPHRASE, PASSPHRASE), models=models)
        result: dict[str, Any] = in_child(do)
        if "error" in result:
            return {"parts": {}, "faults": [f"cannot be opened: {result['error']}"]}
        for name, part in result["parts"].items():
            if name.startswith("profile ") and part["recovery"] and part["recovery"] not in self._recovery:
                part["recovery"] = "another"  # drawn anew each time
        return result

    def _run(self, operation: Operation, work: Path, moment: Moment) -> Ended:
        model = ("--model", self.files["model"], "--device", "cpu") if operation.engine == "real" else ()
        given = filled_all((*model, *operation.arguments), self.files | {"out": str(work / "out")})
        return run(
            given,
            work / "home",
            work,
            engine=operation.engine,
            engines=self.engines,
            moment=moment,
            stdin=operation.stdin,
            environ=dict(operation.environ),
        )

    def _work(self, operation: Operation) -> Path:
        self._number += 1
        work = self.folder / f"work-{self._number}"
        (work / "out").mkdir(parents=True)
        shutil.copytree(self.starts[operation.start], work / "home", symlinks=True)
        return work

    def _again(self, operation: Operation, work: Path) -> Path:
        shutil.rmtree(work)
        return self._work(operation)

    # Preparing

    def _prepare(self, start: str, do: Any) -> None:
        do(partial(self._cli, self.starts[start]))

    def _cli(
        self,
        home: Path,
        *arguments: str,
        engine: Engine = "none",
        stdin: bytes = b"",
        environ: dict[str, str] | None = None,
    ) -> None:
        work = self.folder / "preparing"
        work.mkdir(exist_ok=True)
        given = filled_all(arguments, self.files)
        ended = run(given, home, work, engine=engine, engines=self.engines, stdin=stdin, environ=environ)
        if ended.code != 0:
            raise AssertionError(f"{arguments} does not work: {ended.err or ended.out}")

    def _make_bank(self, home: Path) -> None:
        """A bank with a procedure that is new to the others' homes, and one whose name they have."""
        self.files["bank"] = str(self.folder / "bank.tokmem")
        for name in ("todo", "foreign"):
            self._cli(home, "proc", "add", name, "--pairs", "{pairs}")
        self._cli(home, "train", "--yes", engine="scripted")
        self._cli(home, "bank", "export", "{bank}", "--with-pairs", "--yes", engine="scripted")


def filled_all(words: Sequence[str], files: dict[str, str]) -> list[str]:
    """A command line with the files' names in it."""
    return [filled(word, files) for word in words]


def _verdict(course: Course, parts: Parts) -> str:
    """before, after, between (each part is one or the other, where that may be), neither."""
    if parts == course.before:
        return "before"
    if parts == course.after:
        return "after"
    if not course.operation.between:
        return "neither"
    absent = object()
    for name in {*parts, *course.before, *course.after}:
        found, old, new = (side.get(name, absent) for side in (parts, course.before, course.after))
        if found in (old, new):
            continue
        if name.startswith("chat ") and isinstance(found, list) and _is_on_the_way(found, old, new):
            continue
        # A memory that was made and waits for a decision, or was made and is not yet the one that answers.
        if name.startswith("procedure ") and _but_for_memories(found) == _but_for_memories(new) is not None:
            continue
        if name.startswith("undo "):
            continue
        return "neither"
    return "between"


def _but_for_memories(procedure: Any) -> Any:
    return {**procedure, "memories": 0, "versions": 0} if isinstance(procedure, dict) else None


def _is_on_the_way(found: list[Any], old: Any, new: Any) -> bool:
    """Whether a chat has all that was there, and of the rest only questions and the beginnings of answers."""
    begun = old if isinstance(old, list) else []
    if not isinstance(new, list) or found[: len(begun)] != begun or len(found) > len(new):
        return False
    return all(
        mine[0] == whole[0] and (mine[1] == whole[1] or (mine[0] == "assistant" and whole[1].startswith(mine[1])))
        for mine, whole in zip(found, new, strict=False)
    )


def _differences(course: Course, parts: Parts) -> str:
    names = [
        name
        for name in sorted({*parts, *course.before, *course.after})
        if parts.get(name) != course.before.get(name) and parts.get(name) != course.after.get(name)
    ]
    if not names:
        return "a mixture of " + ", ".join(
            f"{name} ({'before' if parts.get(name) == course.before.get(name) else 'after'})"
            for name in sorted({*course.before, *course.after})
            if course.before.get(name) != course.after.get(name)
        )
    return "; ".join(
        f"{name}: {str(parts.get(name))[:300]} (before: {str(course.before.get(name))[:300]}, "
        f"after: {str(course.after.get(name))[:300]})"
        for name in names
    )


def end_faults(ended: Ended) -> list[str]:
    """What is wrong with the end of a command that was not killed itself."""
    found = []
    if ended.code not in CODES:
        found.append(f"ended with {ended.code}")
    if named := _NAMES.search(ended.err + ended.out):
        found.append(f"shows {named[0]!r}: {ended.err.strip()[-300:]}")
    if ended.code and not ended.err.strip():
        found.append("ended without a word")
    return found
