"""Logs say where something went wrong and never what somebody wrote."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from tui.cli.crash_log import write_crash_log
from tui.process.log_redaction import QuietFormatter, trace

SECRET = "quetzal feathers"


def failure() -> BaseException:
    try:
        try:
            int(SECRET)
        except ValueError as caught:
            raise KeyError(SECRET) from caught
    except KeyError as caught:
        return caught


def test_a_trace_has_places_and_kinds_and_no_text() -> None:
    text = trace(failure())
    assert SECRET not in text and "builtins.ValueError" in text and "builtins.KeyError" in text
    assert text.index("ValueError") < text.index("KeyError") and "test_quiet_logs.py" in text
    assert "builtins.FileNotFoundError 2" in trace(FileNotFoundError(2, "No such file", SECRET))


def test_an_error_that_leads_to_itself_ends() -> None:
    error = ValueError(SECRET)
    error.__context__ = KeyError()
    error.__context__.__context__ = error
    assert trace(error).count("ValueError") == 1


def test_records_with_an_error_stay_quiet(caplog: pytest.LogCaptureFixture) -> None:
    error = failure()
    record = logging.LogRecord("x", logging.ERROR, "", 0, "request %s failed", ("ask",), (type(error), error, None))
    text = QuietFormatter("%(message)s").format(record)
    assert text.startswith("request ask failed") and "KeyError" in text and SECRET not in text


def test_the_crash_log_is_quiet(own_home: Path) -> None:
    file = write_crash_log(failure(), str(own_home))
    assert SECRET not in file.read_text() and "KeyError" in file.read_text()


def test_a_process_that_fails_says_nothing_private() -> None:
    code = f"from tui.process.log_redaction import log_quietly; log_quietly(); raise ValueError({SECRET!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    # The line of the program itself is shown, which for -c is not to be had.
    assert done.returncode == 1 and "builtins.ValueError" in done.stderr and SECRET not in done.stderr
