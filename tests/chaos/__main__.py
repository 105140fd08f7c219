"""Kill, damage, fill and disturb the program, as often as wanted; see that nothing is lost and nothing ends in silence.

    python -m tests.chaos [--kills 1000] [--mutations 200] [--environments N] [--seed 0] [--share 1.0] [--out FILE]

Prints a line for each kind and ends with 1 where anything failed. ``make chaos`` keeps the report in
``benchmarks/results/chaos.json``. ``--only OPERATION NUMBER`` repeats one kill.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.chaos import environments, full_disk, warm
from tests.chaos.kills import Kill, Killing
from tests.chaos.mutations import mutations

ROOT = Path(__file__).parents[2]
BANK = ROOT / "docs" / "examples" / "bank.tokmem"
FROM_KIB, STEP_KIB, MOST_KIB = 20, 20, 20_000
OF_THE_TINY_MODEL = 0.04
"""The share of kills that go to the real engine."""

OTHER_COPIES = ("beside", "fitted", "ledger")
"""Groups of files that can be had again without the model's source; nothing is refused for them."""

_FAULTS_SHOWN = 20


@dataclass
class Report:
    """What was done, and what failed; the same on every machine but for what a machine cannot do."""

    seed: int
    kinds: dict[str, dict[str, Any]] = field(default_factory=dict)
    failures: list[dict[str, Any]] = field(default_factory=list)

    def add(self, kind: str, facts: dict[str, Any], failures: list[dict[str, Any]]) -> None:
        """Keep one kind and say it in a line."""
        self.kinds[kind] = {**facts, "failed": len(failures)}
        self.failures += [{"kind": kind, **one} for one in failures]
        counts = ", ".join(f"{value} {name}" for name, value in facts.items() if isinstance(value, int | str))
        print(f"{kind}: {counts}, {len(failures)} failed", flush=True)
        for one in failures[:_FAULTS_SHOWN]:
            print(f"  {json.dumps(one, ensure_ascii=False)}"[:1500], flush=True)

    def as_dict(self) -> dict[str, Any]:
        """As it is written."""
        return {"seed": self.seed, **self.kinds, "failures": self.failures}


def main() -> int:
    """Do what was asked for."""
    options = _options()
    report = Report(options.seed)
    warm.import_everything()
    # In memory where possible: thousands of small files are made to last, and a kill is no power cut.
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="chaos-", dir=memory if os.access(memory, os.W_OK) else None))
    try:
        if options.only:
            return _only(folder, options)
        _all(report, folder, options)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(report.as_dict(), indent=1, ensure_ascii=False) + "\n")
    return 1 if report.failures else 0


def _all(report: Report, folder: Path, options: argparse.Namespace) -> None:
    """Every kind, side by side; the kills in as many processes as asked for."""
    tasks: list[Callable[[], Any]] = [
        partial(_kills, folder / f"kills-{job}", options, job, options.jobs) for job in range(options.jobs)
    ]
    others = {"full_disks": _disks, "mutations": _mutations, "environments": _environments}
    tasks += [partial(do, folder / name, options) for name, do in others.items()]
    results = warm.in_children(tasks)
    done: list[Kill] = []
    for job, found in enumerate(results[: options.jobs]):
        if isinstance(found, dict):
            report.failures.append({"kind": "kills", "job": job, "faults": [found["error"]]})
        else:
            done += [Kill(**{**one, "moment": warm.Moment(**one["moment"])}) for one in found]
    if done:
        _add_kills(report, done)
    for name, found in zip(others, results[options.jobs :], strict=True):
        if found is None:
            continue
        if "error" in found:
            report.add(name, {}, [{"faults": _without(folder, [found["error"]])}])
        else:
            report.add(name, found["facts"], found["failures"])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.chaos")
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--mutations", type=int, default=200)
    parser.add_argument("--environments", type=int, default=len(environments.ENVIRONMENTS))
    parser.add_argument("--step-kib", type=int, default=STEP_KIB, help="from one size to the next; 0: none")
    parser.add_argument("--tiny-model", type=float, default=OF_THE_TINY_MODEL, help="share of kills of the real engine")
    parser.add_argument("--minutes", type=float, default=0.0, help="begin nothing more after that; 0: no end")
    parser.add_argument("--jobs", type=int, default=2, help="processes that kill")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--share", type=float, default=1.0, help="of all these counts")
    parser.add_argument("--only", nargs=2, metavar=("OPERATION", "NUMBER"), help="repeat one kill")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def _share(options: argparse.Namespace, count: int) -> int:
    return max(1, round(count * options.share)) if count else 0


def _tiny(folder: Path) -> tuple[Path, Path]:
    """A home with the tiny model and procedures, and the model's source; torch is loaded in a child only."""

    def make() -> str:
        from profiles.files.paths import AppPaths
        from profiles.registry.registry import ProfileRegistry
        from tests.chaos.damage import make_whole
        from tests.tiny_models import save_tiny_model
        from tokmem_desk.procedures import ExamplePair, Procedure

        sources = [save_tiny_model(folder / f"tiny-{family}", family) for family in ("llama", "qwen3")]
        (folder / "home").mkdir()
        make_whole(folder / "home", sources[0], sources[1], folder / "others")
        words = ("milk", "bread", "tea", "lunch", "note", "table", "fox", "dog", "card", "blue")
        with ProfileRegistry(AppPaths.resolve(folder / "home")) as registry, registry.open() as store:
            pairs = tuple(ExamplePair(f"say {word} {place}", word.upper()) for place, word in enumerate(words))
            store.procedures.add(Procedure("shout", pairs))
            store.messages.add(store.chats.create("kept"), "user", "kept for ever")
        return "made"

    folder.mkdir()
    made = warm.in_child(make)
    if made != "made":
        raise RuntimeError(f"the tiny model could not be made: {made}")
    return folder / "home", folder / "tiny-llama"


def _kills(folder: Path, options: argparse.Namespace, job: int, jobs: int) -> list[dict[str, Any]]:
    count = _share(options, options.kills)
    if not count:
        return []
    folder.mkdir()
    of_the_model = round(count * options.tiny_model)
    with warm.serving_engines(folder) as engines:
        killing = Killing(folder, engines, _tiny(folder / "tiny") if of_the_model else None)
        plan = list(killing.schedule(count, of_the_model, options.seed))
        random.Random(options.seed).shuffle(plan)
        plan = plan[job::jobs]
        done = []
        for operation, number in plan:
            if _late(options):
                break
            kill = _safely(partial(killing.kill, operation, number), operation.name, number)
            kill.faults = _without(folder, kill.faults)
            done.append(kill.as_dict())
            _progress("kills", len(done), len(plan))
    return done


def _add_kills(report: Report, done: list[Kill]) -> None:
    by_operation = {
        name: dict(sorted(Counter(kill.found for kill in done if kill.operation == name).items()))
        for name in sorted({kill.operation for kill in done})
    }
    facts = {
        "kills": len(done),
        "operations": len(by_operation),
        "acknowledged": sum(kill.acknowledged for kill in done),
        "found": dict(sorted(Counter(kill.found for kill in done).items())),
        "at_a_change": sum(kill.moment.event > 0 for kill in done),
        "at_a_change_of_the_engine": sum(kill.moment.engine_event > 0 for kill in done),
        "after_a_time": sum(kill.moment.seconds > 0 for kill in done),
        "by_operation": by_operation,
    }
    report.add("kills", facts, [_kill_as_dict(kill) for kill in done if kill.faults])


def _safely(do: Callable[[], Kill], name: str, number: int) -> Kill:
    try:
        return do()
    except (AssertionError, OSError, TimeoutError) as caught:
        return Kill(name, number, warm.NEVER, [f"{type(caught).__name__}: {caught}"], "unknown")


def _kill_as_dict(kill: Kill) -> dict[str, Any]:
    repeat = f"python -m tests.chaos --only {kill.operation!r} {kill.number}"
    return {**kill.as_dict(), "repeat": repeat}


def _without(folder: Path, faults: list[str]) -> list[str]:
    """Without this machine's paths."""
    return [fault.replace(str(folder), "…").replace(str(ROOT), "…") for fault in faults]


def _only(folder: Path, options: argparse.Namespace) -> int:
    name, number = options.only[0], int(options.only[1])
    with warm.serving_engines(folder) as engines:
        model = _tiny(folder / "tiny") if "tiny" in name or name == "model pull" else None
        killing = Killing(folder, engines, model)
        [operation] = [one for one in killing.operations() if one.name == name]
        kill = killing.kill(operation, number)
    print(json.dumps(kill.as_dict(), indent=1, ensure_ascii=False))
    return 1 if kill.faults else 0


def _disks(folder: Path, options: argparse.Namespace) -> dict[str, Any] | None:
    if not options.step_kib:
        return None
    (folder / "mount").mkdir(parents=True)
    if reason := full_disk.reason_against(folder / "mount"):
        return {"facts": {"left_out": f"no disk of a limited size can be mounted here: {reason}"}, "failures": []}
    (folder / "prepared").mkdir()
    with warm.serving_engines(folder / "prepared") as engines:
        files = Killing(folder / "prepared", engines).files
    step = round(options.step_kib / min(1.0, options.share)) if options.share else options.step_kib
    sizes, failures, commands, failed = 0, [], 0, 0
    for kib in range(FROM_KIB, MOST_KIB, step):
        if _late(options):
            break
        place = folder / f"{kib}"
        place.mkdir()
        found = full_disk.session(place, files, kib)
        shutil.rmtree(place, ignore_errors=True)
        sizes, commands = sizes + 1, commands + len(found["ended"])
        failed += sum(code != 0 for code in found["ended"])
        if found["faults"]:
            failures.append({"kib": kib, "ended": found["ended"], "faults": _without(folder, found["faults"])})
        _progress("full disks", kib, kib)
        if found["whole"]:
            break
    facts = {"sizes": sizes, "commands": commands, "refused": failed, "from_kib": FROM_KIB, "step_kib": step}
    return {"facts": facts | {"largest_kib": kib}, "failures": failures}


def _mutations(folder: Path, options: argparse.Namespace) -> dict[str, Any] | None:
    count = _share(options, options.mutations)
    if not count:
        return None
    folder.mkdir()

    from tests.chaos.damage import Damaging  # loads torch, so only here, in a process of its own

    damaging = Damaging(folder)
    failures, groups = [], Counter[str]()
    for place, mutation in enumerate(mutations(count, options.seed)):
        source = mutation.group in OTHER_COPIES or bool(random.Random(mutation.seed).getrandbits(1))
        if _late(options):
            break
        groups[mutation.group] += 1
        if faults := damaging.faults(mutation, source=source):
            failures.append({"mutation": mutation.name, "source": source, "faults": _without(folder, faults)})
        _progress("mutations", place + 1, count)
    return {"facts": {"mutations": groups.total(), "by_group": dict(sorted(groups.items()))}, "failures": failures}


def _environments(folder: Path, options: argparse.Namespace) -> dict[str, Any] | None:
    count = _share(options, options.environments)
    if not count:
        return None
    folder.mkdir()
    chosen = random.Random(options.seed).sample(environments.ENVIRONMENTS, min(count, len(environments.ENVIRONMENTS)))
    home, pairs = folder / "start", folder / "todo.csv"
    known = "I need to call mum on Monday"
    rows = ("input,response", f"{known},( ) call mum due:mon", "I need to buy milk on Friday,( ) buy milk due:fri")
    pairs.write_text("\n".join(rows) + "\n")
    home.mkdir()
    with warm.serving_engines(folder) as engines:
        for arguments in (["proc", "add", "todo", "--pairs", str(pairs), "--yes"], ["train", "--yes"]):
            ended = warm.run(arguments, home, folder, engine="scripted", engines=engines)
            if ended.code:
                raise RuntimeError(f"{arguments} does not work: {ended.err}")
    model = _tiny(folder / "tiny")[1] if any(one.real for one in chosen) else None
    failures, left_out = [], {}
    made = 0
    for place, one in enumerate(chosen):
        if _late(options):
            break
        if reason := environments.missing_for(one):
            left_out[one.name] = reason
            continue
        made += 1
        own = folder / "own"
        shutil.copytree(home, own / "home")
        (own / "work").mkdir()
        faults = environments.faults(
            one, outcome := environments.run(one, own / "home", own / "work", BANK, pairs, model if one.real else None)
        )
        if faults:
            failures.append({"environment": one.name, "faults": _without(folder, [*faults, outcome.err[-300:]])})
        shutil.rmtree(own)
        _progress("environments", place + 1, len(chosen))
    facts: dict[str, Any] = {"environments": made}
    return {"facts": facts | ({"left_out": left_out} if left_out else {}), "failures": failures}


_begun = time.monotonic()


def _late(options: argparse.Namespace) -> bool:
    return bool(options.minutes) and time.monotonic() - _begun > options.minutes * 60


def _progress(kind: str, done: int, of: int) -> None:
    if sys.stderr.isatty() or done % 50 == 0:
        print(f"\r{kind} {done}/{of}, {time.monotonic() - _begun:.0f} s", end="", file=sys.stderr, flush=True)
        if not sys.stderr.isatty():
            print(file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
