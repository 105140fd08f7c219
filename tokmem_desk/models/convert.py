"""From a publisher's files to the form that the app loads: NF4 safetensors in one folder.

Linear layers become bitsandbytes NF4 with double quantisation and bfloat16 compute; embeddings, norms and the
output head stay bfloat16. Reads a folder with safetensors or one GGUF file and writes a folder; fetching,
locking and where things lie are ``model_store``'s business. Pickled weights are never loaded, code that comes
with a model is never run.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
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
from tokmem_desk.models.config_checks import check_config, check_layers, check_loaded, explain
from tokmem_desk.models.fetch import Cancelled, Progress, disk_full
from tokmem_desk.system.device import DeviceChoice

if TYPE_CHECKING:
    import torch

_NF4_BLOCK = 64
"""Weights of one NF4 scale. On a CPU bitsandbytes 0.50 mixes up scales of rows that hold no whole number of blocks."""

_GGUF_MAGIC = b"GGUF"
_CAUSAL = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")


@dataclass(frozen=True, slots=True)
class Conversion:
    """What was done: ``quantisation`` is ``nf4-double``, ``bfloat16`` or ``as published``; ``reason`` says why."""

    quantisation: str
    reason: str


def check_source(path: Path) -> None:
    """Refuse what cannot be a model before any work is done.

    Raises:
        BadInputError: not a GGUF file, or a folder without a configuration or without safetensors.
        IncompatibleError: a model, but not a causal language model.
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
    with _loading(str(path), path):
        from transformers import AutoConfig

        architectures = AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False).architectures
    if architectures and not any(name.endswith(_CAUSAL) for name in architectures):
        raise IncompatibleError(
            f"{path} is a {architectures[0]}, not a causal language model.",
            next_step="Choose a model that generates text, such as a Llama, Qwen or Gemma.",
        )


def convert(
    source: Path, target: Path, work: Path, device: DeviceChoice, progress: Progress, cancelled: Cancelled
) -> Conversion:
    """Convert a folder or a GGUF file.

    Args:
        target: an existing empty folder; filled with model, tokenizer, chat template and generation config.
        work: a folder for what is needed in between; emptied again.
        device: where the model is quantised.

    Raises:
        BadInputError, IncompatibleError: not a model we can load, or a damaged one.
        OutOfMemoryError: it does not fit.
        StorageError: the disk is full.
        InterruptedByUser: cancelled between two stages.
    """
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    check_source(source)
    folder = source
    plain = work / "bfloat16"
    try:
        with _loading(source.name, source if source.is_dir() else plain):
            if source.is_file():
                progress("convert", 0.0, f"Reading {source.name}")
                _gguf_to_folder(source, plain)
                folder = plain
                check_config(plain, source.name)
            _check(cancelled)
            progress("convert", 0.5, "Converting to 4 bit; this is done once")
            done = _quantise(folder, target, device)
            _check(cancelled)
        return done
    finally:
        shutil.rmtree(plain, ignore_errors=True)


def _check(cancelled: Cancelled) -> None:
    if cancelled():
        raise InterruptedByUser("Stopped while converting the model.")


def _gguf_to_folder(source: Path, target: Path) -> None:
    """A GGUF model cannot be saved as loaded: its weights move to a model built from its configuration."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    name = {"gguf_file": source.name, "local_files_only": True}
    tokenizer = AutoTokenizer.from_pretrained(source.parent, **name)
    loaded, told = AutoModelForCausalLM.from_pretrained(
        source.parent, dtype=torch.bfloat16, output_loading_info=True, **name
    )
    check_loaded(source.name, told["missing_keys"], told["mismatched_keys"])
    config = loaded.config
    for noise in ("quantization_config", "_name_or_path", "_model_name_or_path"):
        if hasattr(config, noise):
            delattr(config, noise)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.load_state_dict(loaded.state_dict(), assign=True)
    model.tie_weights()
    model.generation_config = loaded.generation_config
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


def _quantise(folder: Path, target: Path, device: DeviceChoice) -> Conversion:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    options: dict[str, Any] = {"dtype": torch.bfloat16, "device_map": {"": device.device}}
    if getattr(config, "quantization_config", None) is not None:
        done = Conversion("as published", "the publisher quantised it")
    elif importlib.util.find_spec("bitsandbytes") is None:
        done = Conversion("bfloat16", "bitsandbytes is not installed on this platform, so nothing is quantised")
    else:
        skipped = _rows_without_whole_blocks(config)
        options["quantization_config"] = _nf4_config(skipped)
        kept = f"; {len(skipped)} linear layers of odd size stay in bfloat16" if skipped else ""
        done = Conversion("nf4-double", f"NF4 with double quantisation{kept}")
    model, told = AutoModelForCausalLM.from_pretrained(
        folder,
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
        output_loading_info=True,
        **options,
    )
    check_loaded(folder.name, told["missing_keys"], told["mismatched_keys"])
    check_layers(folder.name, model)
    if done.quantisation == "as published":
        # Loading has shown that the files are whole; quantised weights cannot always be saved as they were.
        for file in folder.glob("model*.safetensors*"):
            shutil.copyfile(file, target / file.name)
        model.config.save_pretrained(target)
        model.generation_config.save_pretrained(target)
    else:
        model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    return done


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


def _rows_without_whole_blocks(config: Any) -> list[str]:
    """Names of linear layers that NF4 cannot hold faithfully on every device."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model: torch.nn.Module = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module.in_features % _NF4_BLOCK and name != "lm_head"
    ]


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
