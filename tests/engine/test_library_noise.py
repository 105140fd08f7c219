"""What libraries say while nothing is wrong stays out of the engine's log; everything else stays in it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SPEAKING = """
import logging, warnings
from tui.process.log_redaction import log_quietly
from tui.engine.library_noise import silence
log_quietly()
silence()
kernels = "Failed to load CPU gemm_4bit_forward from kernels-community: No module named 'kernels'. Please pip install"
logging.getLogger("bitsandbytes.backends.cpu.ops").warning(kernels)
logging.getLogger("bitsandbytes.backends.cpu.ops").warning("something new")
logging.getLogger("bitsandbytes").error(kernels + " [as an error]")
logging.getLogger("tui.engine").warning("`torch_dtype` is deprecated [ours]")
warnings.warn("`past_key_values` is deprecated and will be removed in version 5.40.0 for `X`.", FutureWarning)
warnings.warn("a new warning", UserWarning)
"""


def test_known_messages_are_left_out_and_others_are_not() -> None:
    root = Path(__file__).parents[2]
    said = subprocess.run(
        [sys.executable, "-c", SPEAKING],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    assert "something new" in said and "a new warning" in said
    assert "[as an error]" in said and "[ours]" in said
    assert "past_key_values" not in said
    assert said.count("kernels-community") == 1
