"""Keep known, useless messages of libraries out of the engine's log. Imports no library.

The log is read after a crash, as a rule by someone who has never heard of kernels; what stands there last must be
about the crash. Only what is listed here is left out: a message that nobody has seen yet is worth reading.
"""

from __future__ import annotations

import logging
import os
import re
import warnings

QUIET = {
    "TRANSFORMERS_VERBOSITY": "error",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "BITSANDBYTES_NOWELCOME": "1",
}
"""Variables by which libraries are asked for less; the environment's own values win."""

KNOWN_RECORDS = (
    r"Failed to load CPU \w+ from kernels-community",
    r"gemm_4bit_forward",
    r"No module named 'kernels'",
    r"The fast path is not available",
    r"The following generation flags are not valid",
    r"`torch_dtype` is deprecated",
    r"Redirects are currently not supported",  # torch.distributed, on Windows and macOS
)
"""Regular expressions of log messages below the level of an error."""

KNOWN_WARNINGS = (
    r".*`?past_key_values`? is deprecated",
    r".*`torch_dtype` is deprecated",
    r".*is deprecated and will be removed in (a future )?version",
    r".*_check_is_size will be removed",
    r".*Can't initialize NVML",
    r".*CUDA initialization:",
    r".*The given NumPy array is not writable",
    r".*TypedStorage is deprecated",
    r".*MatMul8bitLt: inputs will be cast",
)
"""The same of what libraries hand to ``warnings``, matched from their beginning."""

_KNOWN = re.compile("|".join(KNOWN_RECORDS))
_LIBRARIES = ("transformers", "bitsandbytes", "torch", "huggingface_hub", "accelerate", "tokenizers", "safetensors")


def is_noise(record: logging.LogRecord) -> bool:
    """Whether a log record is one of the known messages of a library. No error is."""
    if record.levelno >= logging.ERROR or record.name.split(".")[0] not in _LIBRARIES:
        return False
    return _KNOWN.search(record.getMessage()) is not None


def silence() -> None:
    """Leave the known messages out of this process's log; to be called before the libraries are loaded."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    for message in KNOWN_WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    for handler in logging.getLogger().handlers:
        handler.addFilter(lambda record: not is_noise(record))
