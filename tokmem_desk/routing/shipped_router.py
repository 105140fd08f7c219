"""The router's feature space of the default backbone, which comes with the program, so nobody waits for a fit of it.

It is the same on every computer. Whoever changes what a space is fitted with makes it anew:
``python -m benchmarks.ship_router``, which also says what to enter in ``tokmem_desk.models.shipped``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tokmem_desk.memory.file import read_metadata
from tokmem_desk.models.shipped import read_whole, shipped_file

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.routing.features import RouterBasis


def shipped_router_bytes(backbone: Backbone) -> bytes | None:
    """The file of this backbone, or None where none was made; whether it fits is for ``RouterBasis.from_bytes`` to say.

    Raises:
        DamagedError: it is not what was shipped.
    """
    try:
        return read_whole(shipped_file("router", backbone.model_id))
    except FileNotFoundError:
        return None


def shipped_recipe(backbone: Backbone) -> str | None:
    """The recipe of the space that ships for this backbone, by the beginning of its file; None where none does."""
    try:
        with shipped_file("router", backbone.model_id).open("rb") as file:
            metadata = read_metadata(file.read(_HEADER_BYTES))
    except (OSError, ValueError):
        return None
    return metadata.get("digest") if metadata.get("fingerprint") == backbone.fingerprint.digest else None


_HEADER_BYTES = 2**16
"""More than the header of such a file has."""


def halved(basis: RouterBasis) -> RouterBasis:
    """The basis with its large tensors rounded to float16, which are half the bytes; they stay float32 in memory."""
    return replace(basis, projection=basis.projection.half().float(), chat=basis.chat.half().float())
