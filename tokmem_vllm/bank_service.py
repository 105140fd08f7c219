"""Memories of many people, loaded when a request needs them and kept by use: what all have does not fit one worker.

They lie under one root, a folder or anything that fsspec knows (``s3://BUCKET/PREFIX``): one folder a person, in it
one file a memory, named by the SHA-256 of its bytes. Every load is checked against that name, so that what a store
makes up, mixes up or cuts short is found. A file is asked for by person *and* digest: another person's digest is no way
to their memory.

Stores are asked in threads, since they may be slow: a request waits for its own memory (``ask``), and fails alone.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillLoading
from typing import TYPE_CHECKING, Any

from tokmem_desk.errors import BadInputError, DamagedError, NotFoundError, StorageError, TokmemError
from tokmem_desk.memory.file import memory_from_bytes

if TYPE_CHECKING:
    from tokmem_desk.memory.memory import Memory
    from tokmem_vllm.model_facts import ModelFacts

SUFFIX = ".safetensors"
MIB = 1024 * 1024
LARGEST_FILE = 256 * MIB
"""Of a memory: a 70B model's is 20 MiB."""
_AT_ONCE = 8
_ENDINGS = {"s3": "tokmem-desk[s3]"}

log = logging.getLogger("vllm.tokmem")
Key = tuple[str, str]


class BankService:
    """Loads memories and keeps those used last.

    Args:
        root: folder or URL of all people.
        facts: the model that memories have to fit.
        most_bytes: of all files whose memories are kept; one is always kept.
        seconds: that a store may take for one memory.
        options: for fsspec, as its file system takes them.

    Raises:
        BadInputError: the URL is of a kind that is not installed here.
    """

    def __init__(
        self,
        root: str,
        facts: ModelFacts,
        most_bytes: int = 512 * MIB,
        seconds: float = 10.0,
        options: dict[str, Any] | None = None,
    ) -> None:
        self._files, self._root = _file_system(root, options or {})
        self._facts, self._most_bytes, self._seconds = facts, most_bytes, seconds
        self._kept: OrderedDict[Key, tuple[Memory, int]] = OrderedDict()
        self._loading: dict[Key, tuple[Future[tuple[Memory, int]], float]] = {}
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="tokmem-banks")
        self.bytes = 0
        self.loads = 0

    def ask(self, person: str, digest: str) -> Memory | None:
        """A person's memory, if it is here; None while it is being loaded. Both names have been checked (``wishes``).

        Raises:
            NotFoundError: this person has no such memory.
            StorageError: the store does not answer, or not in time.
            DamagedError: the file is not what its name says.
            TokmemError: it is damaged otherwise, or of another model.
        """
        return self._taken((person, digest), wait=False)

    def memory(self, person: str, digest: str) -> Memory:
        """The same, waiting for it.

        Raises:
            TokmemError: as in ``ask``.
        """
        found = self._taken((person, digest), wait=True)
        assert found is not None
        return found

    def _taken(self, key: Key, *, wait: bool) -> Memory | None:
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key][0]
        if key not in self._loading:
            self._loading[key] = (self._threads.submit(self._load, *key), time.monotonic())
        future, began = self._loading[key]
        left = began + self._seconds - time.monotonic()
        try:
            found, size = future.result(max(0.0, left) if wait or future.done() else 0.0)
        except StillLoading:
            if left > 0 and not wait:
                return None
            del self._loading[key]
            future.cancel()
            raise StorageError(
                f"The memory {key[1][:12]} did not come within {self._seconds:g} seconds.",
                next_step="Ask again, or see to the store of banks.",
            ) from None
        except TokmemError:
            del self._loading[key]
            raise
        del self._loading[key]
        self._keep(key, found, size)
        return found

    def _keep(self, key: Key, memory: Memory, size: int) -> None:
        self._kept[key] = (memory, size)
        self.bytes += size
        self.loads += 1
        while self.bytes > self._most_bytes and len(self._kept) > 1:
            _, (_, gone) = self._kept.popitem(last=False)
            self.bytes -= gone

    def _load(self, person: str, digest: str) -> tuple[Memory, int]:
        data = self._read(f"{self._root}/{person}/{digest}{SUFFIX}", digest)
        if hashlib.sha256(data).hexdigest() != digest:
            raise DamagedError(
                f"The memory {digest[:12]} is not what was written.", next_step="Put its file there again."
            )
        return memory_from_bytes(data, self._facts.as_backbone(), f"The memory {digest[:12]}"), len(data)

    def _read(self, path: str, digest: str) -> bytes:
        try:
            data = self._files.cat_file(path, end=LARGEST_FILE + 1)
        except FileNotFoundError:
            raise NotFoundError(
                f"There is no memory {digest[:12]} of this person here.", next_step="Put its file there, and ask again."
            ) from None
        except Exception as error:
            # Stores raise whatever their libraries do; this request fails for it, and no other.
            log.warning("tokmem: the store failed: %r", error)
            raise StorageError(
                f"The memory {digest[:12]} cannot be read ({type(error).__name__}).",
                next_step="Ask again, or see to the store of banks.",
            ) from error
        if not isinstance(data, bytes) or len(data) > LARGEST_FILE:
            raise DamagedError(f"The memory {digest[:12]} is larger than any.", next_step="Put its file there again.")
        return data

    def put(self, person: str, data: bytes) -> str:
        """Write a memory file; returns the digest that requests name it by.

        Args:
            data: see ``tokmem_desk.memory.file.memory_to_bytes``.
        """
        return _put(self._files, self._root, person, data)


def put_memory(root: str, person: str, data: bytes, options: dict[str, Any] | None = None) -> str:
    """Write a memory file where a service finds it; returns its digest."""
    return _put(*_file_system(root, options or {}), person, data)


def share_memory(root: str, person: str, data: bytes, options: dict[str, Any] | None = None) -> str:
    """The same, unless it lies there already.

    Raises:
        BadInputError: the URL is of a kind that is not installed here.
        StorageError: the store cannot be written.
    """
    files, folder = _file_system(root, options or {})
    digest = hashlib.sha256(data).hexdigest()
    try:
        if not files.exists(f"{folder}/{person}/{digest}{SUFFIX}"):
            _put(files, folder, person, data)
    except Exception as error:  # stores raise whatever their libraries do
        raise StorageError(
            f"A memory cannot be put where vLLM reads it ({type(error).__name__}).",
            next_step="See to the store of banks: --banks.",
        ) from error
    return digest


def _put(files: Any, root: str, person: str, data: bytes) -> str:
    digest = hashlib.sha256(data).hexdigest()
    place = f"{root}/{person}/{digest}{SUFFIX}"
    files.makedirs(f"{root}/{person}", exist_ok=True)
    # Whole or not at all: stores write objects so, and on a disk a file is moved to its name.
    if files.protocol == "file" or "file" in files.protocol:
        files.pipe_file(f"{place}.part", data)
        files.mv(f"{place}.part", place)
    else:
        files.pipe_file(place, data)
    return digest


def _file_system(root: str, options: dict[str, Any]) -> tuple[Any, str]:
    import fsspec

    if not root:
        raise BadInputError("No place of memories is named.", next_step='Set "banks" to a folder or URL.')
    try:
        files, path = fsspec.core.url_to_fs(root, **options)
    except (ImportError, ValueError) as error:
        kind = root.partition("://")[0]
        hint = f"pip install '{_ENDINGS[kind]}'" if kind in _ENDINGS else "Take a folder, or a URL that fsspec knows."
        raise BadInputError(f"Memories cannot be read from {kind}://… here ({error}).", next_step=hint) from error
    return files, str(path).rstrip("/")
