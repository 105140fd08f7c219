"""Figures as people read them: sizes, times and moments; and errors in a line. Knows no widget and no terminal."""

from __future__ import annotations

from datetime import UTC, datetime

from tokmem_desk.errors import TokmemError


def shortened(text: str, length: int) -> str:
    """One line of at most ``length`` characters; ``…`` stands for what was cut."""
    line = " ".join(text.split())
    return line if len(line) <= length else f"{line[: length - 1]}…"


def size(value: int | None) -> str:
    """Bytes as ``88.6 MiB``, or ``-`` where they are not known."""
    if value is None:
        return "-"
    amount, units = float(value), ["B", "KiB", "MiB", "GiB", "TiB"]
    while amount >= 1024 and len(units) > 1:
        amount, units = amount / 1024, units[1:]
    return f"{amount:.0f} {units[0]}" if units[0] == "B" or amount >= 100 else f"{amount:.1f} {units[0]}"


def count(number: int, thing: str, things: str = "") -> str:
    """``1 pair``, ``3 pairs``, ``2 memories``.

    Args:
        number: how many.
        thing: one of them.
        things: several of them, where an ``s`` is not enough.
    """
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"


def part_of(rate: float | None, total: int) -> str:
    """A rate over ``total`` things as ``2 of 4``: a bare 50 % hides how few were looked at."""
    return "-" if rate is None else f"{round(rate * total):,} of {total:,}"


def parameters(number: int | None) -> str:
    """``135 M``, ``1.5 B``, or ``-`` where that is not known."""
    if number is None:
        return "-"
    return f"{number / 1e9:.1f} B" if number >= 1e9 else f"{number / 1e6:.0f} M"


def ago(moment: str, now: datetime | None = None) -> str:
    """A stored UTC time as ``just now``, ``5 minutes ago``, ``yesterday`` or a date.

    Args:
        moment: ISO 8601, as the store writes it.
        now: replaces the clock.
    """
    try:
        then = datetime.fromisoformat(moment)
    except ValueError:
        return moment
    then = then if then.tzinfo is not None else then.replace(tzinfo=UTC)
    seconds = ((now or datetime.now(UTC)) - then).total_seconds()
    if seconds < 60:
        return "just now"
    if seconds < 3600:
        return f"{count(int(seconds // 60), 'minute')} ago"
    if seconds < 86_400:
        return f"{count(int(seconds // 3600), 'hour')} ago"
    if seconds < 2 * 86_400:
        return "yesterday"
    return f"{then.day} {then:%B %Y}" if seconds > 30 * 86_400 else f"{int(seconds // 86_400)} days ago"


def duration(seconds: float) -> str:
    """``42 s``, ``3 min 20 s`` or ``1 h 05 min``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


ELAPSED_FROM = 3.0
"""Seconds from which it is worth saying how long something has taken so far."""


def elapsed(seconds: float) -> str:
    """``, 12 s`` behind what is going on; nothing while that has just begun."""
    return f", {duration(seconds)}" if seconds >= ELAPSED_FROM else ""


def error_text(error: TokmemError) -> str:
    """An error as one line for a place beside the input."""
    return f"{error.message.splitlines()[0]} {error.next_step}".strip()


def percent(probability: float) -> str:
    """A probability as a person reads it; 100% and 0% are kept for the exact values."""
    if 0.995 <= probability < 1:
        return ">99%"
    if 0 < probability < 0.005:
        return "<1%"
    return f"{probability:.0%}"
