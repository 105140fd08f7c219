"""Procedures taught in one language and found by messages in another: thirty intents in six languages.

Each language of ``five_languages.json`` (its ten messages an intent are translations of the English ones), three ways:
taught with the first five messages of that language and asked the others (``own``); taught with all ten English ones
and asked all ten of that language (``english``); taught with one of the first five in each of five languages, by turns,
and asked the others of that language (``mixed``). Only ``english`` asks translations of what was taught. ``none`` is
not measured: nothing in the data belongs to it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from benchmarks.data import load_languages
from benchmarks.measure import routing_metrics
from benchmarks.methods import Context
from benchmarks.models import load
from benchmarks.options import Options, run_methods, say
from benchmarks.result import Metrics, ResultFile, Run
from benchmarks.routing_features import compute
from benchmarks.routing_methods import ROUTERS, Material
from tokmem_desk import background

METHODS = ["tfidf", "minilm-discriminant", "ours"]
TAUGHT = 5
"""Messages of an intent that teach under ``own`` and ``mixed``."""

Languages = dict[str, dict[str, list[str]]]
"""Messages by intent and language."""


def main(arguments: Sequence[str] | None = None) -> int:
    return run_methods("languages", __doc__, METHODS, run, arguments)


def run(options: Options) -> None:
    """Run all ways and write the result.

    Raises:
        TokmemError: the data or the model cannot be used.
    """
    data = load_languages(options.data)
    loaded = load(options)
    context = Context(loaded, {})
    chat = background.chat_for_fitting()
    unique = list(dict.fromkeys([*(t for of in data.values() for texts in of.values() for t in texts), *chat]))
    features = compute(context, unique, with_retriever=any(m.startswith("minilm") for m in options.methods))
    place = {text: row for row, text in enumerate(unique)}
    languages = list(next(iter(data.values())))
    head = {
        "benchmark": "languages",
        "backbone": loaded.facts,
        "data": {"name": options.data.name, "routes": len(data), "languages": languages},
        "seeds": [0],
    }
    names = sorted(data)
    with ResultFile(options.out, head) as result:
        for way in ("own", "english", "mixed"):
            for language in languages:
                taught, asked = parted(data, language, way)
                runs: dict[str, list[Run]] = {}
                for method in options.methods:
                    material = Material(
                        names,
                        [place[text] for name in names for text in taught[name]],
                        [label for label, name in enumerate(names) for _ in taught[name]],
                        [place[text] for text in chat],
                        0,
                    )
                    router = ROUTERS[method](context, features, material)
                    ranked = {name: router.rank([place[text] for text in asked[name]]) for name in names}
                    metrics: Metrics = routing_metrics(names, ranked, [])
                    runs[method] = [Run(metrics, settings=router.settings)]
                    say(f"{way}, {language}, {method}: {metrics['routing_accuracy']}")
                result.add({"taught": way, "language": language}, runs)


def parted(data: Languages, language: str, way: str) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Per intent the messages that teach and those that are asked, see the top of this module."""
    if way == "english":
        return {name: of["en"] for name, of in data.items()}, {name: of[language] for name, of in data.items()}
    asked = {name: of[language][TAUGHT:] for name, of in data.items()}
    if way == "own":
        return {name: of[language][:TAUGHT] for name, of in data.items()}, asked
    # Each place of a message in another language: none is the translation of another.
    taught = {
        name: [texts[number] for number, texts in enumerate(list(of.values())[-TAUGHT:])] for name, of in data.items()
    }
    return taught, asked


if __name__ == "__main__":
    sys.exit(main())
