"""The options that all benchmarks share, and how a benchmark's program ends."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokmem_desk.errors import TokmemError

DEFAULT_SEEDS = 3


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for on the command line.

    Attributes:
        data: folder or file with the data.
        methods: names, in the order of the results.
        procedures: numbers of procedures to try, one run each; empty takes all there are.
        names: take these procedures only; empty takes any.
        pairs: example pairs per procedure at most; None takes all.
        shots: numbers of example pairs to try, one run each; empty is a single run.
        seeds: runs per setting, with seeds 0, 1, ….
        limit: test examples per procedure at most, for a quick look.
        descriptions: the description stands in the query, in training and test, for every method.
        tune: search the baselines' settings anew instead of taking the committed ones.
        chat: a further file of messages that no procedure should answer, for the routing benchmark.
        keep: folder of memories that earlier runs of the same training have left; None keeps none.
    """

    data: Path
    out: Path
    model: str = "default"
    device: str = "auto"
    home: Path | None = None
    methods: tuple[str, ...] = ()
    procedures: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    pairs: int | None = None
    shots: tuple[int, ...] = ()
    seeds: int = DEFAULT_SEEDS
    limit: int | None = None
    descriptions: bool = False
    tune: bool = False
    chat: Path | None = None
    keep: Path | None = None


def make_parser(benchmark: str, description: str | None) -> argparse.ArgumentParser:
    """A parser with what every benchmark needs: model and result."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{benchmark}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.json", help="where the result goes")
    parser.add_argument("--model", default="default", help="'default', an id, or a local folder (default: default)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    parser.add_argument("--home", type=Path, help="the app's home; its model cache is used")
    return parser


def add_method_options(parser: argparse.ArgumentParser, methods: Sequence[str]) -> None:
    """Options of benchmarks that run several methods over data."""
    parser.add_argument("--data", type=Path, required=True, help="folder (or file) in the data format")
    names = _names_of(methods)
    parser.add_argument(
        "--methods", type=names, default=tuple(methods), metavar="A,B", help=f"of {', '.join(methods)} (default: all)"
    )
    parser.add_argument("--procedures", type=numbers, default=(), metavar="N[,N]", help="how many procedures")
    parser.add_argument("--names", type=_any_names, default=(), metavar="A,B", help="only these procedures")
    parser.add_argument("--pairs", type=positive, metavar="N", help="example pairs per procedure at most")
    parser.add_argument("--shots", type=numbers, default=(), metavar="N[,N]", help="one run per number of pairs")
    parser.add_argument("--seeds", type=positive, default=DEFAULT_SEEDS, metavar="N", help="runs (default: 3)")
    parser.add_argument("--limit", type=positive, metavar="N", help="test examples per procedure at most")


def run_methods(
    benchmark: str,
    description: str | None,
    methods: Sequence[str],
    run: Callable[[Options], None],
    arguments: Sequence[str] | None,
) -> int:
    """The whole program of a benchmark that has the options of methods and no others.

    Args:
        run: measures and writes the result.
        arguments: of the command line; None takes those of the process.
    """
    parser = make_parser(benchmark, description)
    add_method_options(parser, methods)
    options = Options(**vars(parser.parse_args(arguments)))
    return run_program(lambda: run(options))


def positive(text: str) -> int:
    """A whole number from 1 on."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return value


def numbers(text: str) -> tuple[int, ...]:
    """Whole numbers with commas between."""
    return tuple(positive(part) for part in text.split(",") if part.strip())


def _any_names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _names_of(known: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    def parse(text: str) -> tuple[str, ...]:
        found = _any_names(text)
        unknown = [name for name in found if name not in known]
        if unknown or not found:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown) or 'nothing'} is none of {', '.join(known)}")
        return found

    return parse


def say(text: str) -> None:
    """Tell a person how far things are; results go to the file."""
    print(text, file=sys.stderr, flush=True)


def run_program(work: Callable[[], None]) -> int:
    """Run a benchmark; an error of ours becomes a sentence and its exit code."""
    try:
        work()
    except TokmemError as error:
        say(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        say("Interrupted.")
        return 130
    return 0
