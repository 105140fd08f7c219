"""What a request tells the connector, in ``kv_transfer_params`` under ``tokmem``, and how it is checked.

Two requests make an answer. The first *reads* a message: an ordinary prompt of its token ids, one token long, with

    {"tokmem": {"person": P, "read": M}}

The second *answers* it under a memory. Its prompt is made of embeddings: one for each token of the message and each
position of the memory that vLLM is handed and never computes (their numbers do not matter), then the memory's rows.

    {"tokmem": {"person": P, "message": M, "memory": D, "rows": r}}      cache_salt: salt(P, D, M)

vLLM returns ``kv_transfer_params`` with the answer to the first, ``read_by``: so it is seen that the connector is
there, and on which model.

P is a person's name to the server, D the digest of the memory's file, M what ``message_key`` gives. Blocks of edited
keys and values go into vLLM's prefix cache under that salt, so that nobody else's request, and no other memory of the
same person, ever finds them. A request without ``tokmem`` is an ordinary one.

The connector believes the person, and vLLM whatever salt a request brings: who knows a salt can go on from what stands
under it. It has the digest of a memory in it, which is told to nobody; people are let in through a server that sets
person and salt itself.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tokmem_desk.errors import BadInputError

FIELD = "tokmem"
MOST_ROWS = 4096
_PERSON = re.compile(r"[A-Za-z0-9_-]{1,64}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Wish:
    """What one request wants.

    Attributes:
        person: whose memories it may use.
        message: key of the message that is read, or has been.
        memory: digest of the memory's file; empty for a request that reads.
        rows: rows at the end of the prompt, which vLLM computes; 0 for a request that reads.
    """

    person: str
    message: str
    memory: str = ""
    rows: int = 0

    @property
    def reads(self) -> bool:
        return not self.memory

    @property
    def salt(self) -> str:
        """What ``cache_salt`` has to be; empty for a request that reads, whose blocks are plain."""
        return "" if self.reads else salt(self.person, self.memory, self.message)

    def as_params(self) -> dict[str, Any]:
        """The request's ``kv_transfer_params``."""
        if self.reads:
            return {FIELD: {"person": self.person, "read": self.message}}
        return {FIELD: {"person": self.person, "message": self.message, "memory": self.memory, "rows": self.rows}}


def message_key(person: str, ids: Sequence[int]) -> str:
    """By which a message that was read is found again, by that person alone."""
    return hashlib.sha256(f"{person}\n{' '.join(map(str, ids))}".encode()).hexdigest()


def salt(person: str, memory: str, message: str) -> str:
    """The ``cache_salt`` of an answer."""
    return hashlib.sha256("\n".join((person, memory, message)).encode()).hexdigest()


def read_by(fingerprint: str) -> dict[str, Any]:
    """What is returned to who had a message read.

    Args:
        fingerprint: the digest of the model's.
    """
    return {FIELD: {"fingerprint": fingerprint}}


def reader_of(params: object) -> str | None:
    """The digest in what ``read_by`` gave; None where no connector has answered."""
    given = params.get(FIELD) if isinstance(params, Mapping) else None
    found = given.get("fingerprint") if isinstance(given, Mapping) else None
    return found if isinstance(found, str) else None


def read_wish(params: Mapping[str, Any] | None) -> Wish | None:
    """The wish of a request; None of an ordinary one.

    Args:
        params: its ``kv_transfer_params``, from anybody.

    Raises:
        BadInputError: it is not as the head of this module says.
    """
    if not params or FIELD not in params:
        return None
    given = params[FIELD]
    if not isinstance(given, Mapping):
        raise _unfit("it is no object")
    person = _text(given, "person", _PERSON)
    if "read" in given:
        _nothing_else(given, {"person", "read"})
        return Wish(person, _text(given, "read", _DIGEST))
    _nothing_else(given, {"person", "message", "memory", "rows"})
    rows = given.get("rows")
    if not isinstance(rows, int) or isinstance(rows, bool) or not 1 <= rows <= MOST_ROWS:
        raise _unfit(f"'rows' is a number from 1 to {MOST_ROWS}")
    return Wish(person, _text(given, "message", _DIGEST), _text(given, "memory", _DIGEST), rows)


def check_wish(wish: Wish, prompt_tokens: int, cache_salt: str | None) -> None:
    """Refuse what would share edited blocks, or leaves nothing to compute.

    Args:
        prompt_tokens: of the request.

    Raises:
        BadInputError: it does not fit.
    """
    if wish.reads:
        return
    if cache_salt != wish.salt:
        raise _unfit("its cache_salt is not that of this person, memory and message")
    if prompt_tokens <= wish.rows:
        raise _unfit(f"its prompt of {prompt_tokens} has no place for a message before {wish.rows} rows")


def _text(given: Mapping[str, Any], name: str, shape: re.Pattern[str]) -> str:
    value = given.get(name)
    if not isinstance(value, str) or not shape.fullmatch(value):
        raise _unfit(f"{name!r} is missing or no such name")
    return value


def _nothing_else(given: Mapping[str, Any], known: set[str]) -> None:
    if unknown := sorted(set(map(str, given)) - known):
        raise _unfit(f"there is no field {unknown[0]!r}")


def _unfit(why: str) -> BadInputError:
    return BadInputError(
        f"What this request says of a memory cannot be: {why}.", next_step="See tokmem_vllm/wishes.py for its fields."
    )
