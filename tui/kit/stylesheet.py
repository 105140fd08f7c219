"""The app's stylesheet, which parses each part once.

Textual's parses everything again when a screen brings styles of its own, when a widget of a new class comes, and when
the theme is set: a third of the time in which a screen opens. What comes out depends on the text and on the colours
alone, so it is kept for as long as the process runs.
"""

from __future__ import annotations

from typing import ClassVar

from textual.cache import LRUCache
from textual.css.model import RuleSet
from textual.css.stylesheet import Stylesheet

Parsed = LRUCache[tuple[object, ...], list[RuleSet]]

THEMES_KEPT = 4
PARTS_KEPT = 1024
"""Of each theme. An app has one for each class of widget and for each screen."""


class KeptStylesheet(Stylesheet):
    """See the module.

    Args:
        variables: values of the CSS variables, by their names.
    """

    _by_variables: ClassVar[LRUCache[frozenset[tuple[str, str]], Parsed]] = LRUCache(THEMES_KEPT)

    def __init__(self, *, variables: dict[str, str] | None = None) -> None:
        super().__init__(variables=variables)
        self._parse_cache = self._kept()

    def set_variables(self, variables: dict[str, str]) -> None:
        """Use other values from the next parse on."""
        if variables == self._variables:
            return
        # Textual empties the cache that it finds, which others may use.
        self._parse_cache = LRUCache(PARTS_KEPT)
        super().set_variables(variables)
        self._parse_cache = self._kept()

    def reparse(self) -> None:
        """Parse what is new under these variables. Rules change only if all of it can be parsed."""
        self.parse()

    def _kept(self) -> Parsed:
        variables = frozenset(self._variables.items())
        if variables not in self._by_variables:
            self._by_variables[variables] = LRUCache(PARTS_KEPT)
        return self._by_variables[variables]
