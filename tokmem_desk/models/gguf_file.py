"""A GGUF file as a configuration, a tokenizer and tensors that are read one at a time.

The names of tensors and what llama.cpp's converter did to them are taken from transformers, tensor by tensor; how
positions are stretched is set by ``gguf_rope``. What transformers would leave out or make up is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tokmem_desk.errors import IncompatibleError
from tokmem_desk.models.gguf_rope import ROPE_TENSORS, set_rope
from tokmem_desk.models.lazy_tensors import LazyTensor
from tokmem_desk.models.safetensors_file import UnreadableError

_ROWS_BYTES = 32 * 2**20
"""Rows of a large matrix are taken from float32 to bfloat16 in parts of about this size."""

_LARGE = ("token_embd.weight", "output.weight")
"""The largest matrices of most models, which no converter reorders."""

_EXTRA = re.compile(r"^(?:v|mm|a)\.|\.nextn\.|^mtp\.")
"""Tensors that a language model does without: images, sound, words ahead."""

_MERGED = re.compile(r"^(?P<layer>.*\.ffn_)(?P<part>gate|up)(?P<end>_exps\.weight)$")
_PLAIN_TYPES = {"F32": np.float32, "F16": np.float16, "F64": np.float64}

Header = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class GgufModel:
    """What ``open_gguf`` found.

    Attributes:
        tensors: by the names that the model has for them.
        whole: whether the tensors have been read at once, since the library knows no other way for this family.
    """

    config: Any
    tokenizer: Any
    tensors: dict[str, LazyTensor]
    whole: bool = False


def open_gguf(path: Path) -> GgufModel:
    """Read a file's header; its numbers are read later.

    Raises:
        IncompatibleError: the file is of an architecture, a rotation or a packing that cannot be read here, or holds
            more or less than its family has.
    """
    from gguf import GGUFReader
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    reader = GGUFReader(path)
    header = _header(reader)
    _check_header(path.name, header)
    options: dict[str, Any] = {"gguf_file": path.name, "local_files_only": True}
    config = AutoConfig.from_pretrained(path.parent, **options)
    _set_head_size(config, header)
    stored = {tensor.name: tensor for tensor in reader.tensors}
    factors = {name: _read(path, stored[name]) for name in ROPE_TENSORS & stored.keys()}
    set_rope(config, header, factors, path.name)
    tokenizer = AutoTokenizer.from_pretrained(path.parent, **options)
    if header["general.architecture"] not in _tensor_processors():
        return GgufModel(config, tokenizer, _read_whole(path, config), whole=True)
    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    return GgufModel(config, tokenizer, _lazily(path, header, stored, model))


def _set_head_size(config: Any, header: Header) -> None:
    """The numbers of a head, which the library leaves at the family's default in some families."""
    architecture = header["general.architecture"]
    size = header.get(f"{architecture}.attention.key_length")
    one_size = f"{architecture}.attention.key_length_swa" not in header
    if isinstance(size, int) and one_size and hasattr(config, "head_dim"):
        config.head_dim = size


def _header(reader: Any) -> dict[str, Any]:
    return {name: field.contents() for name, field in reader.fields.items() if not name.startswith("tokenizer.")}


def _tensor_processors() -> Mapping[str, Any]:
    """Architectures whose tensors transformers can be asked about one at a time, and how each is undone."""
    from transformers import modeling_gguf_pytorch_utils as library

    known = {name: library.TENSOR_PROCESSORS.get(name, library.TensorProcessor) for name in _readable()}
    newer = _readable_as_whole() - library.TENSOR_PROCESSORS.keys()
    return {name: processor for name, processor in known.items() if name not in newer}


def _readable() -> set[str]:
    from transformers import modeling_gguf_pytorch_utils as library

    # Written otherwise in files than in the library.
    files = {"qwen2moe", "qwen3moe", "gpt-oss", "minimax-m2"}
    return {*library.GGUF_SUPPORTED_ARCHITECTURES, *files} | _readable_as_whole()


def _readable_as_whole() -> set[str]:
    try:
        from transformers.integrations.gguf import GGUF_ARCHS
    except ImportError:  # an older transformers has one way for all
        return set()
    return set(GGUF_ARCHS)


def _check_header(name: str, header: Header) -> None:
    parts = header.get("split.count")
    if isinstance(parts, int) and parts > 1:
        raise IncompatibleError(
            f"{name} is one of {parts} parts of a GGUF file.",
            next_step="Join them first: llama-gguf-split --merge FIRST_PART WHOLE.gguf, and give the whole.",
        )
    architecture = str(header.get("general.architecture", ""))
    if architecture in _readable():
        return
    raise IncompatibleError(
        f"{name} is of the architecture {architecture!r}, which cannot be read from a GGUF file here.",
        next_step=f"Use the publisher's safetensors instead{_publisher(header)}: tokmem-desk model pull OWNER/NAME",
    )


def _publisher(header: Header) -> str:
    """Where the file says that its model comes from."""
    for key in ("general.base_model.0.repo_url", "general.source.repo_url", "general.repo_url", "general.url"):
        where = header.get(key)
        if isinstance(where, str) and where.strip():
            return f" ({where.strip()[:200]})"
    name = header.get("general.name")
    return f" (the file calls its model {name.strip()[:100]!r})" if isinstance(name, str) and name.strip() else ""


def _read_whole(path: Path, config: Any) -> dict[str, LazyTensor]:
    from transformers import AutoModelForCausalLM

    loaded: Any = AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, local_files_only=True, config=config, dtype=torch.bfloat16
    )
    tied = config.tie_word_embeddings
    return {
        name: _kept(tensor)
        for name, tensor in loaded.state_dict().items()
        if not (tied and name.startswith("lm_head."))
    }


def _kept(tensor: Tensor) -> LazyTensor:
    return LazyTensor(tuple(tensor.shape), tensor.nbytes, lambda: tensor)


def _lazily(path: Path, header: Header, stored: Mapping[str, Any], model: Any) -> dict[str, LazyTensor]:
    from transformers.modeling_gguf_pytorch_utils import get_gguf_hf_weights_map

    processor = _tensor_processors()[str(header["general.architecture"])](config=model.config.to_dict())
    # A family that shares another's architecture in files has that one's names for its tensors.
    names = get_gguf_hf_weights_map(model, processor, model_type=str(header["general.architecture"]))
    _check_names(path.name, stored, names, model)
    sizes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found: dict[str, LazyTensor] = {}
    for short, target in names.items():
        # Parameters that are no module's weight have no ending in the map, and one in the file.
        source = short if short in stored else f"{short}.weight"
        if source not in stored:
            continue
        tensor = stored[source]
        shape = _shape(tensor)
        merged = _MERGED.match(source)
        if merged is not None:
            if merged["part"] == "up":
                continue
            other = f"{merged['layer']}up{merged['end']}"
            shape = (shape[0], 2 * shape[1], *shape[2:])
            read = _merging(path, (tensor, stored[other]), processor, names)
        else:
            read = _single(path, tensor, processor, names)
        # A dimension of one, as a convolution has, is left out in some files.
        if torch.Size(shape).numel() != torch.Size(sizes[target]).numel():
            raise IncompatibleError(
                f"{path.name} cannot be used: its header makes {target} {_sizes(sizes[target])} numbers, but {source} "
                f"has {_sizes(shape)}.",
                next_step="Get the file again: it was damaged, or converted by a program that made a mistake.",
            )
        found[target] = LazyTensor(shape, int(tensor.n_bytes), read)
    return found


def _sizes(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _check_names(name: str, stored: Mapping[str, Any], names: Mapping[str, str], model: Any) -> None:
    """Refuse a file that holds what its family has no place for, or lacks what it has."""
    # Maps of merged experts have a second name for a tensor, without its ending.
    known = {*names, *(f"{source}.weight" for source in names)}
    odd = [one for one in stored if one not in known and one not in ROPE_TENSORS and not _EXTRA.search(one)]
    if odd:
        raise IncompatibleError(
            f"{name} cannot be used: it holds {odd[0]!r}{_and_more(odd)}, which its family has no place for.",
            next_step="Use the same model's safetensors files, or a GGUF file of a newer conversion.",
        )
    given = {target for source, target in names.items() if source in stored or f"{source}.weight" in stored}
    tied = model.config.tie_word_embeddings
    lacking = [one for one in model.state_dict() if one not in given and not (tied and one.startswith("lm_head."))]
    if lacking:
        raise IncompatibleError(
            f"{name} cannot be used: it lacks {lacking[0]!r}{_and_more(lacking)}, which its header promises.",
            next_step="Get the file again: it is not whole, or was converted by a program that left this out.",
        )


def _and_more(names: list[str]) -> str:
    return f" and {len(names) - 1} more tensors" if len(names) > 1 else ""


def _single(path: Path, tensor: Any, processor: Any, names: Mapping[str, str]) -> Callable[[], Tensor]:
    def read() -> Tensor:
        if tensor.name in _LARGE and tensor.tensor_type.name not in _PLAIN_TYPES:
            return _in_parts(path, tensor)
        scratch: dict[str, dict[str, Tensor]] = {"tensors": {}}
        done = processor.process(
            weights=_read(path, tensor), name=tensor.name, tensor_key_mapping=names, parsed_parameters=scratch
        )
        if done.name is None:
            return next(iter(scratch["tensors"].values()))
        return torch.from_numpy(np.ascontiguousarray(done.weights))

    return read


def _merging(path: Path, parts: tuple[Any, Any], processor: Any, names: Mapping[str, str]) -> Callable[[], Tensor]:
    def read() -> Tensor:
        scratch: dict[str, dict[str, Tensor]] = {"tensors": {}}
        for part in parts:
            processor.process(
                weights=_read(path, part), name=part.name, tensor_key_mapping=names, parsed_parameters=scratch
            )
        return next(iter(scratch["tensors"].values()))

    return read


def _raw(path: Path, tensor: Any, first: int, count: int) -> NDArray[np.uint8]:
    """Bytes of a stored tensor, from the place ``first``."""
    numbers = np.empty(count, dtype=np.uint8)
    with path.open("rb", buffering=0) as opened:
        opened.seek(int(tensor.data_offset) + first)
        done, buffer = 0, numbers.data
        while done < count:
            got = opened.readinto(buffer[done:])
            if not got:
                raise UnreadableError(f"{path.name} ends early")
            done += got
    return numbers


def _read(path: Path, tensor: Any) -> NDArray[np.float32]:
    """A stored tensor as float32, in the order of its dimensions in torch."""
    return _numbers(path, tensor, _raw(path, tensor, 0, int(tensor.n_bytes)), _shape(tensor))


def _shape(tensor: Any) -> tuple[int, ...]:
    return tuple(reversed([int(size) for size in tensor.shape]))


def _numbers(path: Path, tensor: Any, raw: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.float32]:
    from gguf import dequantize

    kind = tensor.tensor_type
    plain = _PLAIN_TYPES.get(kind.name)
    if plain is not None:
        return raw.view(plain).reshape(shape).astype(np.float32)
    try:
        rows = raw.reshape(*shape[:-1], -1)
        return np.asarray(dequantize(rows, kind), dtype=np.float32).reshape(shape)
    except (NotImplementedError, KeyError) as error:
        raise IncompatibleError(
            f"{path.name} packs its weights as {kind.name}, which cannot be read here.",
            next_step="Choose a file of the same model packed as Q4_K_M, Q5_K_M, Q6_K or Q8_0.",
        ) from error


def _in_parts(path: Path, tensor: Any) -> Tensor:
    """A large matrix in bfloat16, without a whole float32 copy of it."""
    rows, columns = _shape(tensor)
    done = torch.empty(rows, columns, dtype=torch.bfloat16)
    row_bytes = int(tensor.n_bytes) // rows
    step = max(1, _ROWS_BYTES // (4 * columns))
    for first in range(0, rows, step):
        count = min(step, rows - first)
        raw = _raw(path, tensor, first * row_bytes, count * row_bytes)
        done[first : first + count] = torch.from_numpy(_numbers(path, tensor, raw, (count, columns)))
    return done
