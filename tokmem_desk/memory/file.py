"""A memory as a safetensors file: write, read, check.

One file holds one memory. Tensors: those of its kinds of steering, each of which says its own
(``SteeringPart.stored_tensors``); ``address`` [d]; and where the router has measured it, ``router.mean`` [f],
``router.count`` [1], ``router.sketch`` [r x f] and ``router.scatter`` [1]. The metadata names the format, the
backbone's fingerprint and how the memory was trained. Nothing is trusted: version, names, shapes, dtypes, finiteness
and fingerprint are checked before a memory is made. Where the file lies, and that it is replaced atomically, is the
caller's business: reading and writing is from and to bytes.

Letters: d hidden size, f dimensions of the router's space, r rows of the low-rank scatter.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from tokmem_desk.errors import BadInputError, IncompatibleError
from tokmem_desk.memory.file_bytes import CONTENT, FORMAT, newest_version, version_of, with_digest
from tokmem_desk.memory.memory import Memory
from tokmem_desk.memory.router_statistics import RouterStatistics
from tokmem_desk.memory.statistics_rules import statistics_fault
from tokmem_desk.memory.steering import Steering, kinds
from tokmem_desk.memory.stored_tensors import StoredTensors
from tokmem_desk.system.file_limits import FREE_BYTES, json_cost

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.backbone.fingerprint import Fingerprint

LONGEST_ADDRESS = 30
"""How many times as long as the model's longest row an address may be: trained ones are about as long as those rows."""


def memory_to_bytes(memory: Memory, fingerprint: Fingerprint) -> bytes:
    """Serialise a memory trained on the backbone with that fingerprint."""
    tensors = {"address": memory.address}
    for part in memory.steering.parts:
        tensors |= part.stored()
    metadata = {
        "format": FORMAT,
        "version": str(version_of(tensors)),
        "name": memory.name,
        "tied": "true" if memory.tied else "false",
        "settings": json.dumps(memory.settings),
        "fingerprint": json.dumps(fingerprint.as_dict()),
    }
    if memory.statistics is not None:
        tensors["router.mean"] = memory.statistics.mean
        tensors["router.count"] = torch.tensor([memory.statistics.count], dtype=torch.int32)
        tensors["router.sketch"] = memory.statistics.low_rank_scatter
        tensors["router.scatter"] = torch.tensor([memory.statistics.scatter])
        metadata["router.digest"] = memory.statistics.digest
    plain = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    _, metadata[CONTENT] = with_digest(save(plain, metadata))
    return save(plain, metadata)


def memory_from_bytes(data: bytes, backbone: Backbone, source: str) -> Memory:
    """Check and rebuild a memory for ``backbone``; tensors arrive on its device.

    Args:
        source: what to call the file in an error.

    Raises:
        BadInputError: not such a file, or damaged.
        IncompatibleError: trained for another backbone, or written by a newer version.
    """
    try:
        metadata = read_metadata(data)
        tensors = load(data)
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError, RuntimeError) as error:
        raise BadInputError(
            f"{source} is not a memory file, or it is damaged ({error}).", next_step="Train the procedure again."
        ) from error
    if metadata.get("format") != FORMAT:
        raise BadInputError(f"{source} is not a memory file.", next_step="Train the procedure again.")
    if not re.fullmatch(r"\d{1,6}", metadata.get("version", "")) or int(metadata["version"]) > newest_version():
        raise IncompatibleError(
            f"{source} was written by a newer version (format {metadata.get('version')}).",
            next_step="Update tokmem-desk.",
        )
    try:
        fingerprint = json.loads(metadata["fingerprint"])
        settings = json.loads(metadata["settings"])
        name, tied = metadata["name"], metadata["tied"] == "true"
        digest = str(fingerprint["digest"])
    except (KeyError, TypeError, ValueError) as error:
        raise BadInputError(f"The description inside {source} is damaged.", next_step="Train it again.") from error
    if digest != backbone.fingerprint.digest:
        raise IncompatibleError(
            f"{source} was trained for {fingerprint.get('model_id')!r} "
            f"({digest[:12]}), not for {backbone.model_id!r} ({backbone.fingerprint.digest[:12]}).",
            next_step="Switch to that model, or train the procedure again on this one.",
        )
    stored = StoredTensors(tensors, settings if isinstance(settings, dict) else {}, backbone, source)
    steering = Steering(part for kind in kinds() if (part := kind.read(stored)) is not None)
    address = stored.checked("address", backbone.hidden_size)
    if float(address.double().norm()) > LONGEST_ADDRESS * backbone.longest_row:
        raise BadInputError(
            f"The address in {source} is more than {LONGEST_ADDRESS} times as long as any row of the model.",
            next_step="Train the procedure again.",
        )
    statistics = _checked_statistics(tensors, metadata.get("router.digest", ""), source)
    device = backbone.torch_device
    if CONTENT in metadata:
        try:
            said, found = with_digest(data)
        except ValueError as error:
            raise BadInputError(f"{source} is damaged ({error}).", next_step="Train the procedure again.") from error
        if said != found:
            raise BadInputError(
                f"{source} is damaged: it is not what was written.", next_step="Train the procedure again."
            )
    return Memory(name, steering.to(device), address.to(device), tied, statistics, settings)


def read_metadata(data: bytes) -> dict[str, str]:
    """The strings in a safetensors header.

    Raises:
        ValueError: no such header.
    """
    if len(data) < 8:
        raise ValueError("too short")
    size = int.from_bytes(data[:8], "little")
    if size > len(data) - 8 or json_cost(data[8 : 8 + size]) > FREE_BYTES:
        raise ValueError("header length does not fit the file")
    try:
        header = json.loads(data[8 : 8 + size])
    except RecursionError:
        raise ValueError("its header is nested too deeply") from None
    metadata = header.get("__metadata__", {}) if isinstance(header, dict) else {}
    if not isinstance(metadata, dict):
        raise ValueError("no metadata")
    return {str(k): str(v) for k, v in metadata.items()}


def _checked_statistics(tensors: dict[str, Tensor], digest: str, source: str) -> RouterStatistics | None:
    if "router.mean" not in tensors or "router.sketch" not in tensors:
        return None  # never measured, or before low-rank scatters were kept: measured anew from the pairs
    mean = tensors["router.mean"]
    parts = {name: tensors.get(f"router.{name}") for name in ("count", "sketch", "scatter")}
    count, low_rank, scatter = parts.values()
    if (
        count is None
        or low_rank is None
        or scatter is None
        or (mean.dim(), count.numel(), scatter.numel(), low_rank.dim()) != (1, 1, 1, 2)
        or low_rank.shape[1] != mean.shape[0]
    ):
        raise BadInputError(f"The router statistics in {source} are damaged.", next_step="Train it again.")
    fault = statistics_fault(
        float(mean.double().norm()), int(count), float(scatter), float(low_rank.double().pow(2).sum())
    )
    if fault is not None:
        raise BadInputError(f"The router statistics in {source} {fault}.", next_step="Train it again.")
    return RouterStatistics(mean.float(), int(count), low_rank.float(), float(scatter), digest)
