"""Beyond one computer, measured: procedures trained on one and on two workers of a local cluster, beside no cluster.

``--sections cluster``: N procedures with ten pairs each on a tiny random model, preset ``quick``. Every way starts with
the model loaded and ends with all memories stored; a cluster's start and its workers' loading count. Ways take turns,
``--repeats`` times, and the fastest of each is compared: other work on the computer only ever adds. What it teaches is
of no use to anybody; how the work is spread is the same for every model, and a real one makes the start count less.

``--sections serve``: eight people ask at the same time, each under a memory of their own, and answers take turns as in
the engine; beside it the same with the steps of all answers computed together. Messages are read one by one in both.
Seconds until a person has the whole answer; memories are untrained, since what they teach costs nothing else.

``--sections http``: the same over HTTP, each person with a profile and a token (``scale_http``).

``--sections adding``: one procedure more in a router of 20,000, beside a router made anew (``scale_adding``).

``--sections banks``: memories of ``--people`` people, loaded when needed, from a local disk (``scale_banks``).

Run it where two cores are free. The home keeps the tiny model and what is fitted to it, for minutes, once.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.options import positive, run_program, say
from benchmarks.scale_adding import measure_adding
from benchmarks.scale_banks import measure_banks
from benchmarks.scale_http import HttpSection
from profiles.files.atomic import write_text
from profiles.files.paths import AppPaths, private_folder
from profiles.registry.registry import ProfileRegistry
from tokmem_desk.backbone.backbone import Backbone
from tokmem_desk.errors import TokmemError
from tokmem_desk.generation.recall import Answer, Bank, recall
from tokmem_desk.generation.steps_together import StepPool
from tokmem_desk.memory.input_rows import initial_rows
from tokmem_desk.memory.kv_positions import initial_keys_values
from tokmem_desk.memory.memory import Memory
from tokmem_desk.memory.steering import Steering
from tokmem_desk.procedures import ExamplePair, Procedure
from tokmem_desk.routing.routers import EmptyRouter
from tui.engine.models import LoadedModel
from tui.engine_client.client import EngineClient, engine_command, run_blocking

SECTIONS = ("cluster", "serve", "http", "adding", "banks")
_PEOPLE = 8
_WORDS = ("milk", "bread", "tea", "lunch", "note", "table", "fox", "dog", "card", "blue")


def _tiny_model(home: Path) -> Path:
    folder = home / "tiny-model"
    if not folder.exists():
        from tests.tiny_models import save_tiny_model

        save_tiny_model(folder, "llama")
    return folder


def _procedures(count: int) -> list[Procedure]:
    return [
        Procedure(
            f"task-{k}",
            tuple(ExamplePair(f"say {word} {k} {i}", f"{word.upper()} {k}") for i, word in enumerate(_WORDS)),
        )
        for k in range(count)
    ]


def _events(client: EngineClient, op: str, **fields: Any) -> list[dict[str, Any]]:
    return list(run_blocking(client.submit(op, **fields)))


class ClusterSection:
    """Seconds that N procedures take, each way in a profile of its own.

    Args:
        home: with the tiny model.
        count: of procedures.
    """

    def __init__(self, home: Path, count: int) -> None:
        self._home, self._count = home, count
        self._model = _tiny_model(home)
        self._made = 0

    def _client(self) -> EngineClient:
        log = private_folder(AppPaths.resolve(self._home).logs) / "engine.log"
        return EngineClient(engine_command(home=self._home, model=str(self._model), device="cpu", offline=True), log)

    def _profile(self) -> tuple[str, list[int]]:
        self._made += 1
        name = f"scale-{os.getpid()}-{self._made}"
        with ProfileRegistry(AppPaths.resolve(self._home)) as registry:
            registry.create(name)
            with registry.open(name) as store:
                for procedure in _procedures(self._count):
                    store.procedures.add(procedure)
                names = [procedure.name for procedure in store.procedures.list()]
                return name, [job.id for job in store.jobs.queue(names, {"preset": "quick"})]

    def here(self) -> float:
        """One after another in the engine, as ``train`` without a cluster does."""
        name, jobs = self._profile()
        with self._client() as client:
            _events(client, "load", profile=name)
            began = time.monotonic()
            for job in jobs:
                with ProfileRegistry(AppPaths.resolve(self._home)) as registry, registry.open(name) as store:
                    store.jobs.update(job, "running")
                *_, last = _events(client, "train", profile=name, job=job, preset="quick")
                assert len(last["result"]["trained"]) == 1
            return time.monotonic() - began

    def workers(self, count: int) -> dict[str, float]:
        """On so many workers of a local cluster; seconds of all, and until the first procedure began."""
        name, jobs = self._profile()
        with self._client() as client:
            _events(client, "load", profile=name)
            began, first = time.monotonic(), 0.0
            request = {"profile": name, "address": "local", "workers": count, "jobs": jobs}
            for event in run_blocking(client.submit("train_cluster", **request)):
                if event["event"] == "job" and not first:
                    first = time.monotonic() - began
                last = event
            assert len(last["result"]["trained"]) == self._count
            return {"seconds": time.monotonic() - began, "start_seconds": first}

    def measure(self, repeats: int) -> dict[str, Any]:
        here: list[float] = []
        spread: dict[int, list[dict[str, float]]] = {1: [], 2: []}
        for _ in range(repeats):
            for count, found in spread.items():
                found.append(self.workers(count))
                say(f"{count} worker{'s' if count > 1 else ''}: {found[-1]['seconds']:.1f} s")
            here.append(self.here())
            say(f"no cluster: {here[-1]:.1f} s")
        best = {count: min(found, key=lambda one: one["seconds"]) for count, found in spread.items()}
        at_work = {count: one["seconds"] - one["start_seconds"] for count, one in best.items()}
        return {
            "procedures": self._count,
            "repeats": repeats,
            "model": "tiny random Llama",
            "preset": "quick",
            "no_cluster_seconds": [round(one, 2) for one in here],
            "one_worker": [{k: round(v, 2) for k, v in one.items()} for one in spread[1]],
            "two_workers": [{k: round(v, 2) for k, v in one.items()} for one in spread[2]],
            "two_of_one": round(best[2]["seconds"] / best[1]["seconds"], 3),
            "two_of_one_without_start": round(at_work[2] / at_work[1], 3),
            "two_of_no_cluster": round(best[2]["seconds"] / min(here), 3),
        }


class ServeSection:
    """Answers of eight people at once, in turns and with common steps.

    Args:
        backbone: that answers.
        tokens: of each answer, at most.
    """

    def __init__(self, backbone: Backbone, tokens: int) -> None:
        self._backbone, self._tokens = backbone, tokens
        self._banks = [Bank({"own": self._memory(seed)}, EmptyRouter()) for seed in range(_PEOPLE)]

    def _memory(self, seed: int) -> Memory:
        backbone = self._backbone
        text = backbone.format.encode_text(" ".join(_WORDS) * 4)
        free = initial_keys_values(backbone, 15, text[seed : seed + 30])
        steering = Steering.of(initial_rows(backbone, 1, seed=seed), free.keys, free.values)
        return Memory("own", steering, torch.zeros(backbone.hidden_size), False)

    def ask(self, pool: StepPool | None) -> tuple[list[float], list[str]]:
        """Seconds of each person, and their answers."""
        line: deque[tuple[int, Any]] = deque()
        for person, bank in enumerate(self._banks):
            message = f"Person {person} asks: " + " ".join(_WORDS[: 2 + person])
            steps = recall(self._backbone, bank, message, route="own", max_tokens=self._tokens, pool=pool)
            line.append((person, steps))
        began, seconds, answers = time.monotonic(), [0.0] * _PEOPLE, [""] * _PEOPLE
        while line:
            person, steps = line[0]
            found = next(steps, None)
            if isinstance(found, Answer):
                seconds[person], answers[person] = time.monotonic() - began, found.response
            line.rotate(-1)
            if found is None:
                line.remove((person, steps))
        return seconds, answers

    def measure(self, repeats: int) -> dict[str, Any]:
        pool = StepPool(self._backbone)
        self.ask(pool)  # tries whether steps may go together
        turns: list[float] = []
        common: list[float] = []
        same = 0
        for _ in range(repeats):
            own, answers = self.ask(None)
            turns += own
            shared, theirs = self.ask(pool)
            common += shared
            same += sum(a == b for a, b in zip(answers, theirs, strict=True))
        p95 = [sorted(found)[math.ceil(0.95 * len(found)) - 1] for found in (turns, common)]
        say(f"p95 in turns {p95[0]:.2f} s, together {p95[1]:.2f} s; answers alike: {same} of {repeats * _PEOPLE}")
        return {
            "model": self._backbone.model_id.rpartition("/")[2],
            "device": self._backbone.device.reason,
            "people": _PEOPLE,
            "answer_tokens": self._tokens,
            "repeats": repeats,
            "p95_in_turns": round(p95[0], 3),
            "p95_together": round(p95[1], 3),
            "times_better": round(p95[0] / p95[1], 2),
            "answers_alike": same,
            "steps_together": pool.together,
        }


def _backbone(home: Path, model: str) -> Backbone:
    loaded = LoadedModel(AppPaths.resolve(home), model, "cpu", offline=True)
    for _ in loaded.load_to_chat(lambda _phase, _share, _text: None, lambda: False):
        pass
    return loaded.backbone


def _main(arguments: Sequence[str] | None) -> Callable[[], None]:
    parser = argparse.ArgumentParser(prog="benchmarks.scale", description=__doc__.split("\n")[0])
    parser.add_argument("--sections", default="cluster", metavar="A,B", help=f"of {', '.join(SECTIONS)}")
    parser.add_argument("--procedures", type=positive, default=40, metavar="N", help="to train (default: 40)")
    parser.add_argument("--crowd", type=positive, default=20_000, metavar="N", help="of 'adding' (default: 20000)")
    parser.add_argument("--people", type=positive, default=10_000, metavar="N", help="of 'banks' (default: 10000)")
    parser.add_argument("--repeats", type=positive, default=2, metavar="N", help="of each way (default: 2)")
    parser.add_argument(
        "--models", nargs="*", default=["default"], metavar="MODEL", help="of 'serve' and 'http', beside the tiny one"
    )
    parser.add_argument("--tokens", type=positive, default=40, metavar="N", help="of an answer (default: 40)")
    parser.add_argument("--home", type=Path, metavar="FOLDER", help="kept between runs (default: a temporary one)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.json", help="the result")
    given = parser.parse_args(arguments)

    def write(home: Path) -> None:
        unknown = sorted(set(given.sections.split(",")) - set(SECTIONS))
        if unknown:
            raise TokmemError(f"There is no section {unknown[0]!r}.", next_step=f"Take of {', '.join(SECTIONS)}.")
        machine = {
            "cores": os.cpu_count(),
            "machine": platform.machine(),
            "load": [round(x, 2) for x in os.getloadavg()],
        }
        document: dict[str, Any] = {"benchmark": "scale", **machine}
        if "cluster" in given.sections.split(","):
            document["cluster"] = ClusterSection(home, given.procedures).measure(given.repeats)
        if "http" in given.sections.split(","):
            models = (str(_tiny_model(home)), *given.models)
            document["http"] = [
                HttpSection(home, one, _backbone(home, one), given.tokens).measure(given.repeats) for one in models
            ]
        if "adding" in given.sections.split(","):
            document["adding"] = measure_adding(given.crowd, given.repeats)
        if "banks" in given.sections.split(","):
            document["banks"] = measure_banks(given.people)
        if "serve" in given.sections.split(","):
            models = (str(_tiny_model(home)), *given.models)
            document["serve"] = [
                ServeSection(_backbone(home, one), given.tokens).measure(given.repeats) for one in models
            ]
        write_text(given.out, json.dumps(document, indent=1) + "\n")

    def run() -> None:
        if given.home is not None:
            write(given.home)
            return
        with tempfile.TemporaryDirectory(prefix="scale-") as folder:
            write(Path(folder))

    return run


def main(arguments: Sequence[str] | None = None) -> int:
    return run_program(_main(arguments))


if __name__ == "__main__":
    sys.exit(main())
