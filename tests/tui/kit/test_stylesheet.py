"""Styles are parsed once for each set of colours, and are the ones that Textual would have parsed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from textual.css import stylesheet as textual_stylesheet
from textual.css.errors import StylesheetError
from textual.css.stylesheet import Stylesheet

from tests.tui.driving import ready
from tui.kit.stylesheet import KeptStylesheet
from tui.shell.app import TokmemApp
from tui.shell.screens import SCREENS


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[object, ...]]:
    """How often each part was parsed, by its place, its rank among default styles, and its colours."""
    counts: Counter[tuple[object, ...]] = Counter()
    parse = textual_stylesheet.parse

    def counted(scope: str, css: str, read_from: object, **options: object) -> Iterator[object]:
        counts[read_from, options["tie_breaker"], str(options["variable_tokens"])] += 1
        return parse(scope, css, read_from, **options)

    monkeypatch.setattr(textual_stylesheet, "parse", counted)
    monkeypatch.setattr(KeptStylesheet, "_by_variables", type(KeptStylesheet._by_variables)(4))
    return counts


def rules(sheet: Stylesheet) -> list[str]:
    return [
        str((rule.selectors, rule.is_default_rules, rule.tie_breaker, rule.styles.get_rules())) for rule in sheet.rules
    ]


async def test_each_part_is_parsed_once(
    make_app: Callable[..., TokmemApp], parsed: Counter[tuple[object, ...]]
) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await ready(pilot)
        for entry in SCREENS:
            await app.switch_mode(entry.mode)
            await pilot.pause()
        app.theme = "tokmem-light"
        await pilot.pause()
        seen = set(parsed)
        app.theme = "tokmem-dark"
        await pilot.pause()
        assert set(parsed) == seen, "the colours were there before"
        assert len(parsed) > 50 and set(parsed.values()) == {1}, parsed.most_common(3)
        plain = Stylesheet(variables=app.get_css_variables())
        plain.source = app.stylesheet.source
        plain.parse()
        assert rules(app.stylesheet) == rules(plain)


def test_other_colours_leave_what_was_kept(parsed: Counter[tuple[object, ...]]) -> None:
    one, other = KeptStylesheet(variables={"c": "red"}), KeptStylesheet(variables={"c": "red"})
    for sheet in (one, other):
        sheet.add_source("Label { color: $c; }", read_from=("here", ""))
        sheet.parse()
    red = one.css
    one.set_variables({"c": "blue"})
    one.reparse()
    assert one.css != red
    other.reparse()
    assert other.css == red and sum(parsed.values()) == 2


def test_what_cannot_be_parsed_changes_nothing() -> None:
    sheet = KeptStylesheet()
    sheet.add_source("Label { color: red; }", read_from=("here", ""))
    sheet.parse()
    rules = sheet.css
    sheet.add_source("Label { colour: red; }", read_from=("there", ""))
    with pytest.raises(StylesheetError):
        sheet.reparse()
    del sheet.source[("there", "")]
    sheet.reparse()
    assert sheet.css == rules
