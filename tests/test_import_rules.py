"""Our rule for import-linter: rooms that nobody has listed are held apart."""

from __future__ import annotations

import grimp
import pytest

from tests.import_rules import LayersAndRooms


@pytest.mark.parametrize(
    ("importer", "imported", "kept"),
    [
        ("app.shell", "app.garden.screen", True),
        ("app.garden.screen", "app.kit", True),
        ("app.garden.screen", "app.kitchen", False),
        ("app.kitchen", "app.shell", False),
        ("app.kit", "app.garden.screen", False),
    ],
)
def test_rooms_know_what_is_below_them_and_not_each_other(importer: str, imported: str, kept: bool) -> None:
    graph = grimp.ImportGraph()
    for module in ("app", "app.shell", "app.kit", "app.garden", "app.garden.screen", "app.kitchen", "app.__main__"):
        graph.add_module(module)
    graph.add_import(importer=importer, imported=imported, line_number=1, line_contents="")
    options = {
        "name": "rooms",
        "type": "layers_and_rooms",
        "containers": ["app"],
        "layers": ["shell", "*", "kit"],
        "exhaustive": "true",
        "exhaustive_ignores": ["__main__"],
    }
    contract = LayersAndRooms("rooms", {"root_packages": ["app"]}, options)
    assert contract.check(graph, verbose=False).kept is kept
