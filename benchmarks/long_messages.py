"""What a long message costs: seconds to read it and find its requests, and memory above the loaded model.

Each length is read in a process of its own, whose resident peak the kernel keeps. The messages are ordinary chat that
ships with the program, sentence behind sentence, so that there is much to cut. The bank holds the sample procedures
with untrained memories: what they say does not matter here, and a few tokens of it are enough. Each message is
answered in full, twice: by whatever it is routed to (reading, routing, cutting into requests, the answers), and by one
procedure, which is asked for by name. ``cpu_seconds`` is what all threads spent: it can be compared between runs on a
busy computer, where seconds on the clock cannot.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.options import Options, make_parser, numbers, run_program, say
from benchmarks.peaks import peak_memory
from profiles.files.atomic import write_text
from tokmem_desk import background
from tokmem_desk.errors import BadInputError
from tokmem_desk.procedures import AUTO_ROUTE
from tokmem_desk.system.device import memory_in_use_mb
from tokmem_desk.system.threads import wait_asleep

if TYPE_CHECKING:
    from benchmarks.models import Loaded
    from tokmem_desk.generation.recall import Bank

WORDS = (500, 1000, 2000, 4000)
_ANSWER_TOKENS = 8


def main(arguments: Sequence[str] | None = None) -> int:
    parser = make_parser("long_messages", __doc__)
    parser.add_argument("--words", type=numbers, default=WORDS, metavar="N,N", help="lengths of the messages")
    parser.add_argument("--child", type=int, metavar="WORDS", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.child:
        wait_asleep()  # as the engine does, before libraries are loaded
        sys.stdout.write(json.dumps(_read(_options(given), given.child)) + "\n")
        return 0
    return run_program(lambda: run(given))


def _options(given: argparse.Namespace) -> Options:
    return Options(Path(), given.out, given.model, given.device, given.home)


def run(given: argparse.Namespace) -> None:
    """Read a message of each length and write the result.

    Raises:
        BadInputError: one of the processes failed.
    """
    document: dict[str, Any] = {"benchmark": "long_messages", "messages": []}
    for words in given.words:
        say(f"Reading {words} words")
        found = _measured(given, words)
        document["backbone"] = found.pop("backbone")
        document["messages"].append(found)
        given.out.parent.mkdir(parents=True, exist_ok=True)
        write_text(given.out, json.dumps(document, indent=1) + "\n")


def _measured(given: argparse.Namespace, words: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.long_messages", "--out", "-", "--child", str(words)]
    command += ["--model", given.model, "--device", given.device]
    command += [] if given.home is None else ["--home", str(given.home)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise BadInputError(f"The message of {words} words could not be read: {last}")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def _read(options: Options, words: int) -> dict[str, Any]:
    """Read one message in this process; seconds, tokens, and MiB above the loaded model."""
    from benchmarks.models import load
    from tokmem_desk.generation.recall import Answer, recall

    loaded = load(options)
    backbone, bank = loaded.backbone, _bank(loaded)
    message = message_of(words)
    # Weights are packed, grammars and libraries ready, before what is measured.
    procedure = next(iter(bank.memories))
    for route in (AUTO_ROUTE, procedure):
        for _ in recall(backbone, bank, message_of(20), route=route, max_tokens=2):
            pass
    tokens = len(backbone.format.query(message))
    found: dict[str, Any] = {
        "backbone": {name: fact for name, fact in loaded.facts.items() if name != "identity"},
        "words": words,
        "tokens": tokens,
    }
    for kind, route in (("routed", AUTO_ROUTE), ("procedure", procedure)):
        answer: Answer | None = None
        device = str(backbone.torch_device)
        with peak_memory(device) as peak:
            before, began = memory_in_use_mb(device), time.process_time()
            for event in recall(backbone, bank, message, route=route, max_tokens=_ANSWER_TOKENS):
                if isinstance(event, Answer):
                    answer = event
        spent = time.process_time() - began
        assert answer is not None
        timing = answer.timing
        found[kind] = {
            "loaded_mb": before,
            "peak_above_mb": None if peak.mb is None else peak.mb - before,
            "read_seconds": timing.prefill,
            "route_seconds": timing.route,
            "total_seconds": timing.total,
            "cpu_seconds": spent,
            "seconds_per_1000_tokens": 1000 * (timing.prefill + timing.route) / tokens,
            "segments": len(answer.segments),
        }
    return found


def message_of(words: int) -> str:
    """So many words of chat that ships with the program."""
    texts = background.chat_for_fitting()
    found: list[str] = []
    place = 0
    while len(found) < words:
        text = texts[place % len(texts)]
        found += (text if text[-1] in ".?!" else f"{text}.").split()
        place += 1
    return " ".join(found[:words])


def _bank(loaded: Loaded) -> Bank:
    from benchmarks.methods import Context
    from benchmarks.methods.memories import our_config
    from tokmem_desk import samples
    from tokmem_desk.generation.recall import Bank
    from tokmem_desk.memory.router_statistics import RouterStatistics
    from tokmem_desk.routing.routers import DiscriminantRouter
    from trainer.loop import Training

    backbone, basis = loaded.backbone, loaded.basis
    context = Context(loaded, {})
    memories, statistics = {}, {}
    for procedure in samples.sample_procedures():
        memories[procedure.name] = Training(backbone, [procedure], our_config(context, 0)).snapshot()[0]
        queries = [backbone.format.query(pair.input) for pair in procedure.pairs]
        pooled = backbone.prefill(queries, keep_states=False, feature_layers=basis.layers.pooled).pooled
        assert pooled is not None
        statistics[procedure.name] = RouterStatistics.of(basis.project(pooled, backbone.hidden_size), basis.digest)
    router = DiscriminantRouter(basis, backbone.hidden_size, statistics)
    return Bank(memories, router, segment_tagger=loaded.segment_tagger)


if __name__ == "__main__":
    sys.exit(main())
