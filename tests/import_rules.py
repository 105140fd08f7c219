"""A rule for import-linter: layers, one of which holds every module that the others do not name."""

from __future__ import annotations

from grimp import ImportGraph
from importlinter.contracts.layers import Layer, LayersContract, ModuleTail
from importlinter.domain.contract import ContractCheck

REST = "*"


class LayersAndRooms(LayersContract):
    """As ``layers``, with one layer ``*``: all other modules of the containers, which must not import each other.

    So a new room needs no line in ``pyproject.toml``, and is held apart from the first day.
    """

    type_name = "layers_and_rooms"

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Put the rooms in the place of ``*``."""
        named = {tail.name for layer in self.layers for tail in layer.module_tails} | set(self.exhaustive_ignores or ())
        children = {child for container in self.containers for child in graph.find_children(str(container.expression))}
        rooms = {child.rpartition(".")[2] for child in children} - named
        rest = Layer({ModuleTail(room) for room in rooms}, is_independent=True)
        self.layers = [rest if layer.module_tails == {ModuleTail(REST)} else layer for layer in self.layers]
        return super().check(graph, verbose)
