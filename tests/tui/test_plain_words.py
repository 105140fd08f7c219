"""The app speaks plain words: no term of the trade stands in a text that it shows. Help (F1) may explain them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from profiles.settings.setting_keys import KEYS

ROOT = Path(__file__).parents[2]
ROOMS = ("shell", "chat", "procedures", "training", "models", "profiles", "banks", "kit", "shared", "engine")
EXEMPT = {"HELP_TEXT"}
"""Names of texts that explain terms."""

TERMS = re.compile(
    r"\brouge\b|\blog-?odds\b|\blogits?\b|\bdiscriminant\b|\bspans?\b|\bembeddings?\b|\bbanks?\b|\badapted to chains\b"
    r"|\bbackbones?\b|\bfingerprints?\b|\bquanti[sz]\w+|\bprobes?\b|\bprefill\w*|\bsteering\b|\bsoftmax\b|\bLoRA\b",
    re.IGNORECASE,
)


def shown_texts(source: str) -> Iterator[tuple[int, str]]:
    """Lines and texts of a module that people may read: those with a blank or a capital letter, without docstrings.

    Names of keys, ids and stylesheets have neither, or are told by their form.
    """
    tree = ast.parse(source)
    skipped: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            skipped.add(id(node.value))
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        names = {target.id for target in targets if isinstance(target, ast.Name)}
        if names & EXEMPT or any(name.endswith("_CSS") for name in names):
            skipped |= {id(part) for part in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            text = node.value
            if " " in text.strip() or any(letter.isupper() for letter in text):
                yield node.lineno, text


def test_what_is_found_in_a_module() -> None:
    lines = ('"""A bank."""', 'KEY = "span"', 'HELP_TEXT = "A bank is"', 'DEFAULT_CSS = "A bank {}"')
    source = "\n".join([*lines, 'show(f"{n} banks here", "ROUGE", "bank")'])
    assert sorted(text for _, text in shown_texts(source)) == [" banks here", "ROUGE"]


@pytest.mark.parametrize("room", ROOMS)
def test_no_term_of_the_trade_is_shown(room: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text!r}"
        for path in sorted((ROOT / "tui" / room).rglob("*.py"))
        for line, text in shown_texts(path.read_text("utf-8"))
        if TERMS.search(text)
    ]
    assert not found, "\n".join(found)


def test_no_term_of_the_trade_is_on_a_picture_of_the_app() -> None:
    found = []
    for picture in sorted((ROOT / "tests" / "tui").rglob("*.svg")):
        if "test_help" in picture.name:
            continue
        drawn = " ".join(re.findall(r"<text[^>]*>(.*?)</text>", picture.read_text("utf-8"))).replace("&#160;", " ")
        found += [f"{picture.name}: {term[0]}" for term in TERMS.finditer(drawn)]
    assert not found, "\n".join(found)


def test_settings_have_names_for_people() -> None:
    for key in KEYS.values():
        assert key.title and key.title[0].isupper() and "_" not in key.title, key.name
        assert len(key.title) <= 18, "as wide as its column"
        shown = " ".join([key.title, key.doc, key.unit, *(key.choice_words.get(one, one) for one in key.choices)])
        assert not TERMS.search(shown), shown
        assert set(key.choice_words) <= set(key.choices)
    assert len({key.title for key in KEYS.values()}) == len(KEYS)
