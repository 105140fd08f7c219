"""Bank files under a passphrase: AES-256-GCM in chunks, the key from scrypt, readable at any place.

A protected file is one line of JSON behind a magic word, then chunks of cipher text. Each chunk has a nonce of its own
(a random prefix, the chunk's number, and whether it is the last), and the header is authenticated with each, so that
chunks cannot be changed, swapped, dropped or added. Nothing is written anywhere in the clear. docs/bank-format.md
describes it for other programs.
"""

from __future__ import annotations

import base64
import io
import json
import os
from collections import OrderedDict
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from tokmem_desk.errors import BadInputError, IncompatibleError, UsageError

MAGIC = b"TOKMEM-PROTECTED\n"
_VERSION = 1
_CHUNK = 256 * 1024
_TAG = 16
_COST = 2**16  # scrypt's N; with r = 8 it takes 64 MiB and a fraction of a second
_MAX_COST = 2**16
"""More would take more memory than a small file may, see ``bank_limits``."""
_KEPT_CHUNKS = 16
_LONGEST_HEADER = 4096


def is_protected(beginning: bytes) -> bool:
    """Whether a file that begins so asks for a passphrase."""
    return beginning.startswith(MAGIC)


def _key(passphrase: str, salt: bytes, cost: int) -> bytes:
    return Scrypt(salt=salt, length=32, n=cost, r=8, p=1).derive(passphrase.encode("utf-8"))


def _nonce(prefix: bytes, chunk: int, last: bool) -> bytes:
    return prefix + chunk.to_bytes(4, "big") + bytes([last])


class ProtectedWriter(io.RawIOBase):
    """Encrypts what is written to it. ``close`` writes the last chunk and leaves ``target`` open.

    Args:
        target: where cipher text goes.
        passphrase: of at least one character.

    Raises:
        UsageError: the passphrase is empty.
    """

    def __init__(self, target: BinaryIO, passphrase: str) -> None:
        super().__init__()
        if not passphrase:
            raise UsageError("An empty passphrase protects nothing.", next_step="Type one, or export without.")
        salt, self._prefix = os.urandom(16), os.urandom(7)
        fields = {
            "version": _VERSION,
            "cipher": "AES-256-GCM",
            "kdf": "scrypt",
            "n": _COST,
            "r": 8,
            "p": 1,
            "salt": base64.b64encode(salt).decode(),
            "nonce": base64.b64encode(self._prefix).decode(),
            "chunk": _CHUNK,
        }
        self._header = MAGIC + json.dumps(fields).encode() + b"\n"
        self._cipher = AESGCM(_key(passphrase, salt, _COST))
        self._target = target
        self._waiting = bytearray()
        self._chunk = 0
        target.write(self._header)

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        """Take bytes; whole chunks go out at once."""
        view = memoryview(data).cast("B")  # type: ignore[arg-type]
        self._waiting += view
        # One byte always waits: only ``close`` knows which chunk is the last.
        while len(self._waiting) > _CHUNK:
            self._put(bytes(self._waiting[:_CHUNK]), last=False)
            del self._waiting[:_CHUNK]
        return len(view)

    def close(self) -> None:
        """Write the last chunk."""
        if not self.closed:
            self._put(bytes(self._waiting), last=True)
            self._waiting.clear()
        super().close()

    def _put(self, plain: bytes, *, last: bool) -> None:
        nonce = _nonce(self._prefix, self._chunk, last)
        self._target.write(self._cipher.encrypt(nonce, plain, self._header))
        self._chunk += 1


class ProtectedReader(io.RawIOBase):
    """The plain bytes of a protected file; any place can be read without the ones before it.

    Args:
        source: the file, at any position; seekable. The caller closes it.
        passphrase: as it was given when the file was written.
        name: what to call the file in an error.

    Raises:
        BadInputError: the passphrase is wrong, or the file is damaged or cut.
        IncompatibleError: protected in a way this program does not know.
    """

    def __init__(self, source: BinaryIO, passphrase: str, name: str) -> None:
        super().__init__()
        self._source, self._name = source, name
        source.seek(0)
        beginning = source.read(_LONGEST_HEADER)
        line, end, _ = beginning.removeprefix(MAGIC).partition(b"\n")
        if not is_protected(beginning) or not end:
            raise self._damaged()
        try:
            fields = json.loads(line)
            if fields["version"] != _VERSION or (fields["cipher"], fields["kdf"]) != ("AES-256-GCM", "scrypt"):
                raise IncompatibleError(f"{name} is protected in a newer way.", next_step="Update tokmem-desk.")
            cost, self._size = int(fields["n"]), int(fields["chunk"])
            salt, self._prefix = (base64.b64decode(fields[key], validate=True) for key in ("salt", "nonce"))
            # A header must not be able to ask for all memory or for hours.
            bearable = 2 <= cost <= _MAX_COST and cost & (cost - 1) == 0 and (fields["r"], fields["p"]) == (8, 1)
            if not bearable or not 1024 <= self._size <= 2**24 or (len(salt), len(self._prefix)) != (16, 7):
                raise ValueError
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            raise self._damaged() from None
        self._header = MAGIC + line + b"\n"
        stored = source.seek(0, io.SEEK_END) - len(self._header)
        whole, rest = divmod(stored, self._size + _TAG)
        if stored < _TAG or 0 < rest < _TAG or whole >= 2**32 - 1:
            raise self._damaged()
        self._chunks = whole + (rest > 0)
        self._length = stored - self._chunks * _TAG
        self._cipher = AESGCM(_key(passphrase, salt, cost))
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._place = 0
        try:
            self._plain(0)
        except BadInputError:
            raise BadInputError(
                f"The passphrase does not open {name}.", next_step="Try again; small and capital letters differ."
            ) from None
        self._plain(self._chunks - 1)  # shows at once whether the end is missing

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place; beyond the end, reads give nothing."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._length}[whence]
        self._place = max(0, base + offset)
        return self._place

    def read(self, size: int | None = -1) -> bytes:
        """Up to ``size`` plain bytes, fewer only at the end.

        Raises:
            BadInputError: the file is damaged at this place.
        """
        stop = self._length if size is None or size < 0 else min(self._length, self._place + size)
        parts = []
        while self._place < stop:
            chunk, within = divmod(self._place, self._size)
            part = self._plain(chunk)[within : within + stop - self._place]
            if not part:
                raise self._damaged()
            parts.append(part)
            self._place += len(part)
        return b"".join(parts)

    def _plain(self, chunk: int) -> bytes:
        kept = self._kept.get(chunk)
        if kept is not None:
            self._kept.move_to_end(chunk)
            return kept
        self._source.seek(len(self._header) + chunk * (self._size + _TAG))
        nonce = _nonce(self._prefix, chunk, chunk == self._chunks - 1)
        try:
            plain = self._cipher.decrypt(nonce, self._source.read(self._size + _TAG), self._header)
        except InvalidTag:
            raise self._damaged() from None
        self._kept[chunk] = plain
        if len(self._kept) > _KEPT_CHUNKS:
            self._kept.popitem(last=False)
        return plain

    def _damaged(self) -> BadInputError:
        return BadInputError(f"{self._name} is damaged or was cut.", next_step="Ask for the file again.")
