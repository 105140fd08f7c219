"""Files that were made for one model and come with the program: what they are called and where they lie; no torch."""

from __future__ import annotations

import hashlib
import re
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Literal

from tokmem_desk.errors import DamagedError

Kind = Literal["prior", "adapter", "router", "earlier-router"]
"""Where memories start (``trainer.memory_start``); the adapted backbone's layers (``tokmem_desk.paper.adapter``); the
router's feature space (``tokmem_desk.routing.shipped_router``), and what turns memories of the one before into it
(``tokmem_desk.routing.earlier_space``)."""

SHIPPED_SHA256 = {
    "adapter-smollm2-135m-instruct.safetensors": "a158f76ef525ca8e23d44f36a0ec49c54730ef92d1eeea517c6c6aed8f23589b",
    "earlier-router-smollm2-135m-instruct.safetensors": (
        "4a0bb6ed338ed87b3566213cb2b9bf755a363d6e59e6d4fbc85ddb8ababd8712"
    ),
    "prior-smollm2-135m-instruct.safetensors": "9ebf7e5b9bd26a76de6a021263bef2a73508283a30bb5b8c3f3be0270f7d7c6a",
    "references.safetensors": "efbb169eb10ad0251a5eedbf0fbc80dad61e727ce6918f1ea3521fd191ddac4f",
    "router-smollm2-135m-instruct.safetensors": "dd9263a5faf5367025bbb8c371ab4baa73b1cdb0375dd5854b7c53ea9d340a47",
    "splitter.safetensors": "ecf09223d68f89210ff71a29965bbdb21dd301fadaa2bb43206dc9326102e049",
}
"""Of every file in ``fitted/``; whoever makes one anew puts its digest here (``sha256sum tokmem_desk/fitted/*``)."""


def shipped_name(kind: Kind, model_id: str) -> str:
    """The name of a shipped file."""
    return f"{kind}-{re.sub(r'[^a-z0-9.]+', '-', model_id.lower())}.safetensors"


def shipped_file(kind: Kind, model_id: str) -> Traversable:
    """Where the file that comes with the program for this model lies, or would."""
    return resources.files("tokmem_desk").joinpath("fitted", shipped_name(kind, model_id))


def require_whole(name: str, data: bytes) -> bytes:
    """The bytes of a file in ``fitted/``, if they are what was shipped; a name that is not known is let through.

    Raises:
        DamagedError: they are not.
    """
    known = SHIPPED_SHA256.get(name)
    if known is not None and hashlib.sha256(data).hexdigest() != known:
        raise DamagedError(f"{name}, which comes with the program, is damaged.", next_step="Install tokmem-desk again.")
    return data


def read_whole(file: Traversable) -> bytes:
    """The bytes of a file in ``fitted/``, see ``require_whole``.

    Raises:
        FileNotFoundError: it does not ship.
        DamagedError: it is not what was shipped.
    """
    return require_whole(file.name, file.read_bytes())


def shipped_bytes(name: str) -> bytes:
    """A file in ``fitted/`` that every installation has.

    Raises:
        DamagedError: it is missing, or not what was shipped.
    """
    try:
        return read_whole(resources.files("tokmem_desk").joinpath("fitted", name))
    except OSError as error:
        raise DamagedError(
            f"{name}, which comes with the program, cannot be read ({error.strerror or error}).",
            next_step="Install tokmem-desk again.",
        ) from error


def damaged_shipped() -> list[str]:
    """The names of shipped files that are missing or not what was shipped."""
    found = []
    for name in SHIPPED_SHA256:
        try:
            shipped_bytes(name)
        except DamagedError:
            found.append(name)
    return found
