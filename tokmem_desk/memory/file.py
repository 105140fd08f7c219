"""A memory as a safetensors file: write, read, check.

One file holds one memory. Tensors: ``steering`` [r x d], ``address`` [d], ``keys.G`` and ``values.G``
[l x k x m x e] for each layer group G, ``router.mean`` [f], ``router.count`` [1], ``router.sketch`` [r x f]
and ``router.scatter`` [1]; with a KV adapter its numbers in one row, ``lens`` [w]; with an extractor also its network's
weights in one row, ``reader`` [w], while its form stands among the settings. The metadata names the
format, the backbone's fingerprint and how the memory was trained. Nothing is trusted: version, names,
shapes, dtypes, finiteness and fingerprint are checked before a memory is made. Where the file lies, and
that it is replaced atomically, is the caller's business: reading and writing is from and to bytes.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from tokmem_desk.errors import BadInputError, IncompatibleError
from tokmem_desk.memory.extractor import Extractor
from tokmem_desk.memory.file_bytes import CONTENT, FORMAT, VERSION, with_digest
from tokmem_desk.memory.kv_adapter import KVAdapter
from tokmem_desk.memory.memory import Memory, Steering
from tokmem_desk.memory.router_statistics import RouterStatistics
from tokmem_desk.memory.statistics_rules import statistics_fault
from tokmem_desk.system.file_limits import FREE_BYTES, json_cost

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.backbone.fingerprint import Fingerprint

_LARGEST_SPAN = 4096
LONGEST_ADDRESS = 30
"""How many times as long as the model's longest row an address may be: trained ones are about as long as those rows."""


def memory_to_bytes(memory: Memory, fingerprint: Fingerprint) -> bytes:
    """Serialise a memory trained on the backbone with that fingerprint."""
    tensors = {"steering": memory.steering.rows, "address": memory.address}
    for g, (keys, values) in enumerate(zip(memory.steering.keys, memory.steering.values, strict=True)):
        tensors[f"keys.{g}"] = keys
        tensors[f"values.{g}"] = values
    metadata = {
        "format": FORMAT,
        "version": str(VERSION),
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
    if memory.steering.kv_adapter is not None:
        tensors["lens"] = memory.steering.kv_adapter.numbers()
    if memory.steering.extractor is not None:
        tensors["reader"] = memory.steering.extractor.weights()
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
    if not re.fullmatch(r"\d{1,6}", metadata.get("version", "")) or int(metadata["version"]) > VERSION:
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
            f"(fingerprint {digest[:12]}), not for {backbone.model_id!r} ({backbone.fingerprint.digest[:12]}).",
            next_step="Switch to that model, or train the procedure again on this one.",
        )
    steering = _checked_steering(tensors, backbone, source)
    address = _checked(tensors, "address", (backbone.hidden_size,), source)
    if float(address.double().norm()) > LONGEST_ADDRESS * backbone.longest_row:
        raise BadInputError(
            f"The address in {source} is more than {LONGEST_ADDRESS} times as long as any row of the model.",
            next_step="Train the procedure again.",
        )
    statistics = _checked_statistics(tensors, metadata.get("router.digest", ""), source)
    device = backbone.torch_device
    steering = replace(
        steering,
        kv_adapter=_checked_kv_adapter(tensors, backbone, source),
        extractor=_checked_extractor(settings, tensors, source),
    )
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


def _checked_kv_adapter(tensors: dict[str, Tensor], backbone: Backbone, source: str) -> KVAdapter | None:
    if "lens" not in tensors:
        return None
    numbers = _checked(tensors, "lens", (tensors["lens"].numel(),), source)
    try:
        return KVAdapter.rebuild(numbers, backbone.key_shapes)
    except ValueError as error:
        raise BadInputError(f"The KV adapter in {source} is damaged ({error}).", next_step="Train it again.") from error


def _checked_extractor(settings: object, tensors: dict[str, Tensor], source: str) -> Extractor | None:
    if "reader" not in tensors and "reader" not in (settings if isinstance(settings, dict) else {}):
        return None
    try:
        assert isinstance(settings, dict)
        return Extractor.rebuild(settings["reader"], tensors["reader"].float())
    except (AssertionError, KeyError, TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise BadInputError(
            f"The extractor in {source} is damaged ({error}).", next_step="Train the procedure again."
        ) from error


def _checked_steering(tensors: dict[str, Tensor], backbone: Backbone, source: str) -> Steering:
    rows = _checked(tensors, "steering", (None, backbone.hidden_size), source)
    if not any(name.startswith("keys.") for name in tensors):
        return Steering(rows)
    keys, values = [], []
    span: int | None = None
    shapes = backbone.key_shapes
    for g, (layers, heads, size, value_size) in enumerate(shapes):
        k = _checked(tensors, f"keys.{g}", (layers, heads, span, size), source)
        span = k.shape[2]
        keys.append(k)
        values.append(_checked(tensors, f"values.{g}", (layers, heads, span, value_size), source))
    return Steering(rows, tuple(keys), tuple(values))


def _checked(tensors: dict[str, Tensor], name: str, shape: tuple[int | None, ...], source: str) -> Tensor:
    tensor = tensors.get(name)
    wanted = " x ".join("any" if size is None else str(size) for size in shape)
    if tensor is None:
        raise BadInputError(f"{source} has no tensor {name!r}.", next_step="Train the procedure again.")
    fits = tensor.dim() == len(shape) and all(
        w is None or w == have for w, have in zip(shape, tensor.shape, strict=True)
    )
    if not fits or max(tensor.shape, default=0) == 0 or (None in shape and max(tensor.shape) > _LARGEST_SPAN * 64):
        raise BadInputError(
            f"Tensor {name!r} in {source} has shape {list(tensor.shape)}, not [{wanted}].",
            next_step="Train the procedure again.",
        )
    if tensor.dtype not in (torch.float32, torch.bfloat16):
        raise BadInputError(
            f"Tensor {name!r} in {source} has dtype {tensor.dtype}, not float32 or bfloat16.",
            next_step="Train the procedure again.",
        )
    if not bool(torch.isfinite(tensor).all()):
        raise BadInputError(
            f"Tensor {name!r} in {source} holds values that are not finite.", next_step="Train the procedure again."
        )
    return tensor.float()
