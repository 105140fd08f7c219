"""Every setting the app knows: its type, unit, default, limits and what it is for. Reads and writes nothing."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from tokmem_desk.errors import BadInputError, UsageError

SettingValue = bool | int | float | str

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})
_KIND_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


@dataclass(frozen=True, slots=True)
class SettingKey:
    """One setting. The type of ``default`` is the type of the setting."""

    name: str
    default: SettingValue
    doc: str
    unit: str = ""
    choices: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None

    def parse(self, value: object, where: str) -> SettingValue:
        """Check a value from a file, the environment or a flag; text is read as the setting's type.

        Args:
            value: a TOML value, or text.
            where: the source, for the error's sentence.

        Raises:
            BadInputError: another type, not one of the choices, or outside the limits.
        """
        typed = self._typed(value)
        if typed is None:
            wanted = f"one of {', '.join(self.choices)}" if self.choices else _KIND_NAMES[type(self.default)]
            raise BadInputError(
                f"{where}: {self.name} is {value!r}, which is not {wanted}.",
                next_step=f"Its default is {self.default!r}.",
            )
        if isinstance(typed, (int, float)) and not isinstance(typed, bool) and not self._within(typed):
            raise BadInputError(
                f"{where}: {self.name} is {typed:g}, which is not {self.limits}.",
                next_step=f"Its default is {self.default!r}.",
            )
        return typed

    @property
    def limits(self) -> str:
        """The range in words, or an empty string."""
        if self.least is not None and self.most is not None:
            return f"from {self.least:g} to {self.most:g}"
        if self.least is not None:
            return f"at least {self.least:g}"
        return ""

    def _within(self, number: float) -> bool:
        # Written so that NaN fails.
        return (self.least is None or number >= self.least) and (self.most is None or number <= self.most)

    def _typed(self, value: object) -> SettingValue | None:
        kind = type(self.default)
        if kind is bool:
            word = str(value).strip().lower()
            return value if isinstance(value, bool) else True if word in _TRUE else False if word in _FALSE else None
        if isinstance(value, bool):
            return None
        if kind is str:
            known = isinstance(value, str) and (not self.choices or value in self.choices) and bool(value.strip())
            return str(value) if known else None
        try:
            if kind is int:
                return int(value) if isinstance(value, (int, str)) else None
            return float(value) if isinstance(value, (int, float, str)) else None
        except ValueError:
            return None


_KEYS = (
    SettingKey("model", "default", "The backbone: 'default', a Hub id, a folder or a GGUF file."),
    SettingKey("device", "auto", "Where the model runs.", choices=("auto", "cpu", "cuda")),
    SettingKey("offline", False, "Never use the network; models must be in the cache."),
    SettingKey("preset", "normal", "How long training takes its time.", choices=("quick", "normal", "thorough")),
    SettingKey("span", 0, "Length of a memory; 0 leaves it to the preset.", unit="embeddings", least=0, most=256),
    SettingKey("router", "discriminant", "How a memory is chosen.", choices=("discriminant", "token")),
    SettingKey(
        "none_bias",
        0.0,
        "Added to the score of 'no procedure': above 0 answers more often as plain chat.",
        unit="log-odds",
        least=-20,
        most=20,
    ),
    SettingKey("keep_form", True, "Hold answers to the form that all pairs of a procedure share."),
    SettingKey("temperature", 0.7, "How freely plain chat is worded; 0 is always the likeliest word.", least=0, most=2),
    SettingKey(
        "top_p", 0.9, "Share of likely words that plain chat draws from.", unit="probability", least=0.01, most=1
    ),
    SettingKey("max_answer_tokens", 512, "Longest answer.", unit="tokens", least=1, most=32768),
    SettingKey("memory_budget_mb", 1024, "Memory that training may use to keep queries ready.", unit="MB", least=16),
    SettingKey(
        "keep_alive_minutes", 30, "How long an unused model stays loaded; 0 is for ever.", unit="minutes", least=0
    ),
    SettingKey(
        "conversation_cache_mb",
        256,
        "Memory in which the engine keeps what it has read of conversations, so that their next turn starts sooner.",
        unit="MB",
        least=0,
    ),
    SettingKey(
        "command_seconds",
        30,
        "Longest time that a procedure's local command may run.",
        unit="seconds",
        least=1,
        most=3600,
    ),
    SettingKey(
        "lock_after_minutes",
        15,
        "How long nobody may touch a key before a profile with a passphrase is locked; 0 is never.",
        unit="minutes",
        least=0,
    ),
    SettingKey("theme", "tokmem-dark", "Colours of the app."),
)

KEYS: dict[str, SettingKey] = {key.name: key for key in _KEYS}
"""All settings, in the order in which they are shown."""


def setting_key(name: str) -> SettingKey:
    """The description of a setting.

    Raises:
        UsageError: there is none of that name; the nearest one is named.
    """
    key = KEYS.get(name)
    if key is None:
        raise UsageError(f"There is no setting {name!r}.{nearest(name)}", next_step="See: tokmem-desk config show")
    return key


def nearest(name: str, known: Iterable[str] = tuple(KEYS), cutoff: float = 0.5) -> str:
    """``" Did you mean 'x'?"`` for the nearest setting, or an empty string."""
    found = difflib.get_close_matches(name.lower().replace("-", "_"), list(known), n=1, cutoff=cutoff)
    return f" Did you mean {found[0]!r}?" if found else ""
