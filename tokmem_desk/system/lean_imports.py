"""Import heavy libraries without what the program never uses of them.

Torch's compiler and its tensors that are spread over several computers take longer to import than all else that the
engine needs of torch and transformers. Nothing here is compiled or spread. Both are still there for whoever asks for
them: they are loaded then.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_COMPILER = "torch._dynamo"
_MARKS = (
    "assume_constant_result",
    "disable",
    "allow_in_graph",
    "disallow_in_graph",
    "forbid_in_graph",
    "graph_break",
)
"""Functions of the compiler that only mark a function or a place for it, and do nothing where nothing is compiled."""


_READ_BY_TRANSFORMERS = f"{_COMPILER}._trace_wrapped_higher_order_op"
"""A part that transformers imports, and that needs nothing else of the compiler."""


class _CompilerUntilUsed(ModuleType):
    """Stands for torch's compiler until something of it is used, other than marks for functions.

    Libraries mark functions while they are imported, which alone would load all of it.
    """

    def __getattr__(self, name: str) -> Any:
        if name in _MARKS:
            return _mark
        if name.startswith("__"):  # asked by Python's own machinery, which must not load it
            raise AttributeError(name)
        return getattr(load_compiler(), name)


class _CompilerParts(MetaPathFinder, Loader):
    """Has the compiler itself loaded before any other part of it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(f"{_COMPILER}."):
            return None
        load_compiler()
        return ModuleSpec(fullname, self) if fullname in sys.modules else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The part as the compiler has imported it."""
        self._spec = sys.modules[spec.name].__spec__
        return sys.modules[spec.name]

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec


def load_compiler() -> ModuleType:
    """Torch's compiler itself, which takes the place of what stands for it."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _CompilerParts)]
    if isinstance(sys.modules.get(_COMPILER), _CompilerUntilUsed):
        del sys.modules[_COMPILER]
    return importlib.import_module(_COMPILER)


def _mark(function: Any = None, *_: object, **__: object) -> Any:
    """The function as it is; or, called with options alone, a decorator that returns its function as it is."""
    return function if callable(function) else lambda marked: marked


def import_torch_leanly() -> None:
    """Import torch, and have transformers imported without torch's compiler and spread tensors. Before transformers.

    Raises:
        ImportError: a library that it needs is missing.
    """
    if "transformers" in sys.modules or _COMPILER in sys.modules:
        return
    import torch

    _without_spread_tensors(torch)
    spec = importlib.util.find_spec(_COMPILER)
    if spec is None or _COMPILER in sys.modules:
        return
    stand_in = _CompilerUntilUsed(_COMPILER)
    stand_in.__spec__, stand_in.__file__ = spec, spec.origin
    stand_in.__path__ = list(spec.submodule_search_locations or ())
    sys.modules[_COMPILER] = stand_in
    if importlib.util.find_spec(_READ_BY_TRANSFORMERS) is not None:
        importlib.import_module(_READ_BY_TRANSFORMERS)
    sys.meta_path.insert(0, _CompilerParts())


def _without_spread_tensors(torch: ModuleType) -> None:
    """Let transformers find a torch as it is built where there is nothing to spread tensors over."""
    from transformers.utils.import_utils import is_torch_distributed_available

    distributed = torch.distributed
    is_available = distributed.is_available
    distributed.is_available = lambda: False
    try:
        is_torch_distributed_available()  # it keeps the answer
    finally:
        distributed.is_available = is_available


def import_bitsandbytes() -> None:
    """Import bitsandbytes, where it is installed, without torch's compiler.

    Bitsandbytes hands some functions to ``torch.compile`` while it is imported. The program calls none of these
    functions where they could be compiled: processors and cards have kernels of their own for them. So they stay as
    they are.

    Raises:
        ImportError: a library that it needs is missing.
    """
    if "bitsandbytes" in sys.modules or importlib.util.find_spec("bitsandbytes") is None:
        return
    import torch

    library: Any = torch
    compile_function = library.compile
    library.compile = _mark
    try:
        import bitsandbytes  # noqa: F401
    finally:
        library.compile = compile_function
