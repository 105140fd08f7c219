"""From a publisher's files to the form that the app loads: NF4 safetensors in one folder.

Linear layers become bitsandbytes NF4 with double quantisation and bfloat16 compute; embeddings, norms and the
output head stay bfloat16. Reads a folder with safetensors or one GGUF file and writes a folder; fetching,
locking and where things lie are ``model_store``'s business. Pickled weights are never loaded, code that comes
with a model is never run.
"""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokmem_desk.errors import (
    BadInputError,
    IncompatibleError,
    InterruptedByUser,
    OutOfMemoryError,
    TokmemError,
    first_line,
)
from tokmem_desk.models.config_checks import (
    check_config,
    check_layers,
    check_loaded,
    check_shapes,
    explain,
    read_fields,
)
from tokmem_desk.models.expert_weights import PackedExperts, expert_stacks, packing_experts, parameter_count
from tokmem_desk.models.fetch import Cancelled, Progress, disk_full
from tokmem_desk.models.gguf_file import open_gguf
from tokmem_desk.models.lazy_tensors import LazyTensors, folder_tensors
from tokmem_desk.models.suitability import Candidate, check_candidate
from tokmem_desk.models.text_part import text_config, text_model_type, text_tensors
from tokmem_desk.system.device import DeviceChoice
from tokmem_desk.system.lean_imports import import_bitsandbytes

if TYPE_CHECKING:
    import torch

_NF4_BLOCK = 64
"""Weights of one NF4 scale. On a CPU bitsandbytes 0.50 mixes up scales of rows that hold no whole number of blocks."""

_GGUF_MAGIC = b"GGUF"
_OPENED, _READ = 0.05, 0.85
"""Shares of a conversion that are done once the source is open, and once it is read."""

_SHARD_BYTES = 2**29
"""A model is written in files of at most this size, where it has no larger tensor."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """What was done.

    Attributes:
        quantisation: ``nf4-double``, ``bfloat16`` or ``as published``.
        reason: why, for people.
        quantised_share: of the parameters, those in 4 bit.
    """

    quantisation: str
    reason: str
    quantised_share: float = 0.0


def check_source(path: Path) -> None:
    """Refuse what cannot be a model before any work is done.

    Raises:
        BadInputError: not a GGUF file, or a folder without a configuration or without safetensors.
        IncompatibleError: a model, but none that can be used.
    """
    if path.is_file():
        with path.open("rb") as file:
            magic = file.read(4)
        if magic != _GGUF_MAGIC:
            raise BadInputError(f"{path} is not a GGUF file.", next_step="Give a .gguf file or a folder with a model.")
        return
    config = path / "config.json"
    if not config.is_file():
        raise BadInputError(
            f"{path} holds no model: there is no config.json.",
            next_step="Give the folder that holds config.json and the .safetensors files.",
        )
    if not any(path.glob("*.safetensors")):
        raise BadInputError(
            f"{path} holds no .safetensors weights; pickled weights are not loaded.",
            next_step="Save the model as safetensors first, or give a GGUF file.",
        )
    check_config(path, str(path))
    check_candidate(Candidate(str(path), read_fields(path)))


def convert(source: Path, target: Path, device: DeviceChoice, progress: Progress, cancelled: Cancelled) -> Conversion:
    """Convert a folder or a GGUF file, tensor by tensor: each is read, quantised and forgotten.

    Args:
        target: an existing empty folder; filled with model, tokenizer, chat template and generation config.
        device: where the model is quantised.

    Raises:
        BadInputError, IncompatibleError: not a model we can load, or a damaged one.
        OutOfMemoryError: it does not fit.
        StorageError: the disk is full.
        InterruptedByUser: cancelled between two tensors.
    """
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    check_source(source)
    with _loading(source.name, source):
        progress("convert", 0.0, f"Reading {source.name}")
        checkpoint = _open(source)
        _check(cancelled)
        progress("convert", _OPENED, "Converting to 4 bit; this is done once")
        done = _quantise(checkpoint, target, device, progress, cancelled)
        _check(cancelled)
    return done


def _check(cancelled: Cancelled) -> None:
    if cancelled():
        raise InterruptedByUser("Stopped while converting the model.")


@dataclass(slots=True)
class _Checkpoint:
    """What a conversion needs of a source.

    Attributes:
        folder: of a source that is one; a GGUF file has none.
        tensors: by the names that the model has for them; None where the library reads the folder by itself.
        generation: the publisher's words about decoding, or None.
    """

    name: str
    folder: Path | None
    config: Any
    tokenizer: Any
    tensors: LazyTensors | None
    generation: Any = None


def _open(source: Path) -> _Checkpoint:
    if source.is_file():
        found = open_gguf(source)
        # What the file was called there is not a fact about the model.
        for noise in ("quantization_config", "_name_or_path", "_model_name_or_path"):
            if hasattr(found.config, noise):
                delattr(found.config, noise)
        checkpoint = _Checkpoint(source.name, None, found.config, found.tokenizer, found.tensors)
        check_shapes(found.config.to_dict(), {n: t.shape for n, t in found.tensors.items()}, source.name)
        return checkpoint
    return _open_folder(source)


def _open_folder(folder: Path) -> _Checkpoint:
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    config = AutoConfig.from_pretrained(folder, **options)
    tokenizer = AutoTokenizer.from_pretrained(folder, **options)
    checkpoint = _Checkpoint(folder.name, folder, config, tokenizer, None)
    if (folder / "generation_config.json").is_file():
        checkpoint.generation = GenerationConfig.from_pretrained(folder, local_files_only=True)
    if getattr(config, "quantization_config", None) is not None:
        return checkpoint
    tensors: LazyTensors = folder_tensors(folder)
    if text_model_type(config.to_dict()) is not None:
        tensors = text_tensors(tensors)
        checkpoint.config = text_config(config, has_head="lm_head.weight" in tensors)
    checkpoint.tensors = tensors
    return checkpoint


def _quantise(
    checkpoint: _Checkpoint, target: Path, device: DeviceChoice, progress: Progress, cancelled: Cancelled
) -> Conversion:
    import torch

    import_bitsandbytes()
    config = checkpoint.config
    options: dict[str, Any] = {"dtype": torch.bfloat16, "device_map": {"": device.device}}
    skipped: list[str] = []
    stacks: list[str] = []
    quantises = checkpoint.tensors is not None and importlib.util.find_spec("bitsandbytes") is not None
    if quantises:
        skipped, stacks = _of_odd_size(config)
        options["quantization_config"] = _nf4_config(skipped)
    reading = _Reading(checkpoint.tensors or {}, progress, cancelled)
    with packing_experts() if quantises else contextlib.nullcontext():
        model = _load(checkpoint, reading, options)
    check_layers(checkpoint.name, model)
    if checkpoint.generation is not None:
        model.generation_config = checkpoint.generation
    share = _quantised_share(model)
    if checkpoint.tensors is None:
        assert checkpoint.folder is not None
        done = Conversion("as published", "the publisher quantised it", share)
        # Loading has shown that the files are whole; quantised weights cannot always be saved as they were.
        for file in checkpoint.folder.glob("model*.safetensors*"):
            shutil.copyfile(file, target / file.name)
        model.config.save_pretrained(target)
        model.generation_config.save_pretrained(target)
    else:
        done = Conversion("nf4-double", _words(share, skipped, stacks), share)
        if not quantises:
            reason = "bitsandbytes is not installed on this platform, so nothing is quantised"
            done = Conversion("bfloat16", reason)
        # A file is put together in memory before it is written, so it must not be the whole model. Packed experts
        # have names that the library's way back to a publisher's names does not know.
        packed = any(isinstance(module, PackedExperts) for module in model.modules())
        model.save_pretrained(target, max_shard_size=_SHARD_BYTES, save_original_format=not packed)
    checkpoint.tokenizer.save_pretrained(target)
    return done


def _words(share: float, skipped: list[str], stacks: list[str]) -> str:
    kept = f"; {len(skipped)} linear layers of odd size stay in bfloat16" if skipped else ""
    kept += f"; {len(stacks)} stacks of experts of odd size stay in bfloat16" if stacks else ""
    return f"NF4 with double quantisation, {share:.0%} of the parameters{kept}"


def _quantised_share(model: Any) -> float:
    quantised, plain = parameter_count(model)
    return quantised / max(1, quantised + plain)


def _load(checkpoint: _Checkpoint, reading: _Reading, options: dict[str, Any]) -> Any:
    """The model, quantised while it is read."""
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoModelForCausalLM

    if checkpoint.tensors is None:
        model, told = AutoModelForCausalLM.from_pretrained(
            checkpoint.folder,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
            **options,
        )
    else:
        kind = MODEL_FOR_CAUSAL_LM_MAPPING[type(checkpoint.config)]
        if isinstance(kind, tuple):
            kind = kind[0]
        try:
            model, told = kind.from_pretrained(
                None, config=checkpoint.config, state_dict=reading.tensors, output_loading_info=True, **options
            )
        except Exception:
            # The library puts its own words around what came out of a tensor.
            reading.raise_what_stopped_it()
            raise
    reading.raise_what_stopped_it()
    check_loaded(checkpoint.name, told["missing_keys"], told["mismatched_keys"])
    return model


class _Reading:
    """Tensors on their way to the loader: counts their bytes, and can stop between two of them."""

    def __init__(self, tensors: LazyTensors, progress: Progress, cancelled: Cancelled) -> None:
        self.tensors = {name: tensor.followed_by(self._count(tensor.byte_count)) for name, tensor in tensors.items()}
        self._total = sum(tensor.byte_count for tensor in tensors.values())
        self._done = 0
        self._progress = progress
        self._cancelled = cancelled
        self._stopped_by: BaseException | None = None

    def _count(self, byte_count: int) -> Callable[[torch.Tensor], torch.Tensor]:
        def count(tensor: torch.Tensor) -> torch.Tensor:
            if self._cancelled():
                self._stopped_by = InterruptedByUser("Stopped while converting the model.")
                raise self._stopped_by
            self._done += byte_count
            share = _OPENED + (_READ - _OPENED) * self._done / max(1, self._total)
            self._progress("convert", share, "Converting to 4 bit; this is done once")
            return tensor

        return count

    def raise_what_stopped_it(self) -> None:
        """Raise what ended the reading, which the library does not pass on.

        Raises:
            InterruptedByUser: cancelled.
        """
        if self._stopped_by is not None:
            raise self._stopped_by


def _nf4_config(skipped: list[str]) -> Any:
    import torch
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
        # Naming any replaces the library's own choice, which is the output head.
        llm_int8_skip_modules=["lm_head", *skipped] if skipped else None,
    )


def _of_odd_size(config: Any) -> tuple[list[str], list[str]]:
    """Names of linear layers, and of stacks of experts, that NF4 cannot hold faithfully on every device."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model: torch.nn.Module = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    layers = [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module.in_features % _NF4_BLOCK and name != "lm_head"
    ]
    packable = {name for name, _ in expert_stacks(model)}
    stacks = [name for name, size in model.named_parameters() if size.dim() == 3 and name not in packable]
    return layers, [name for name in stacks if "expert" in name.lower()]


@contextmanager
def _loading(name: str, folder: Path) -> Iterator[None]:
    """Turn whatever the libraries raise over a model's files into one of our errors.

    Args:
        folder: with the files, for the reason where a field of the configuration is it.
    """
    import torch

    try:
        yield
    except IncompatibleError as error:
        # The field is more to the point than the layer that it shows in.
        if (folder / "config.json").is_file() and (known := explain(folder, name)) is not None:
            raise known from error
        raise
    except TokmemError:
        raise
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise OutOfMemoryError(
            f"{name} does not fit into memory while it is converted.",
            next_step="Close other programs, or choose a smaller model.",
        ) from error
    except Exception as error:
        if "No space left" in str(error) or "os error 28" in str(error):
            raise disk_full(f"Converting {name}") from error
        if (folder / "config.json").is_file() and (known := explain(folder, name)) is not None:
            raise known from error
        # transformers, safetensors and gguf raise anything from KeyError to AssertionError over a bad file.
        raise IncompatibleError(
            f"{name} cannot be loaded as a causal language model ({first_line(error)}).",
            next_step="Check that the download is complete, or choose another model.",
        ) from error
