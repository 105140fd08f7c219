"""Every setting the app knows: its type, unit, default, limits and what it is for. Reads and writes nothing."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

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
    title: str = ""
    """What the app calls it; its name is for files, variables and commands."""
    choice_words: Mapping[str, str] = field(default_factory=dict)
    """What the app calls the choices, where their names in files say little."""

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
            allowed = f"one of {', '.join(self.choices)}" if self.choices else _KIND_NAMES[type(self.default)]
            raise BadInputError(
                f"{where}: {self.name} is {value!r}, which is not {allowed}.",
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
    SettingKey("model", "default", "The language model: 'default', a Hub id, a folder or a GGUF file.", title="Model"),
    SettingKey(
        "device",
        "auto",
        "Where the model runs.",
        choices=("auto", "cpu", "cuda"),
        title="Runs on",
        choice_words={"auto": "the best there is", "cpu": "the processor", "cuda": "the graphics card"},
    ),
    SettingKey("offline", False, "Never use the network; models must be in the cache.", title="Offline"),
    SettingKey(
        "preset",
        "normal",
        "How long training takes its time.",
        choices=("quick", "normal", "thorough"),
        title="Training",
    ),
    SettingKey(
        "span",
        0,
        "Length of a memory, in places of the model's context; 0 leaves it to the preset.",
        unit="places",
        least=0,
        most=256,
        title="Memory length",
    ),
    SettingKey(
        "router",
        "discriminant",
        "How the procedure for a message is found.",
        choices=("discriminant", "token"),
        title="Finding procedures",
        choice_words={"discriminant": "by what all its pairs share", "token": "by one learned sign"},
    ),
    SettingKey(
        "none_bias",
        0.0,
        "Above 0, messages go to plain chat more often; below 0, to procedures. "
        "Each 1 makes plain chat 2.7 times as likely beside a procedure.",
        least=-20,
        most=20,
        title="Lean to plain chat",
    ),
    SettingKey(
        "keep_form", True, "Hold answers to the form that all pairs of a procedure share.", title="Keep the form"
    ),
    SettingKey(
        "temperature",
        0.7,
        "How freely plain chat is worded; 0 is always the likeliest word.",
        least=0,
        most=2,
        title="Freedom of words",
    ),
    SettingKey(
        "top_p",
        0.9,
        "Share of likely words that plain chat draws from.",
        unit="probability",
        least=0.01,
        most=1,
        title="Choice of words",
    ),
    SettingKey("max_answer_tokens", 512, "Longest answer.", unit="tokens", least=1, most=32768, title="Longest answer"),
    SettingKey(
        "memory_budget_mb",
        1024,
        "Memory that training may use to keep queries ready.",
        unit="MB",
        least=16,
        title="Memory to train in",
    ),
    SettingKey(
        "keep_alive_minutes",
        30,
        "How long an unused model stays loaded; 0 is for ever.",
        unit="minutes",
        least=0,
        title="Model stays loaded",
    ),
    SettingKey(
        "conversation_cache_mb",
        256,
        "Memory in which the engine keeps what it has read of conversations, so that their next turn starts sooner.",
        unit="MB",
        least=0,
        title="Memory for chats",
    ),
    SettingKey(
        "command_seconds",
        30,
        "Longest time that a procedure's local command may run.",
        unit="seconds",
        least=1,
        most=3600,
        title="Commands may run",
    ),
    SettingKey(
        "lock_after_minutes",
        15,
        "How long nobody may touch a key before a profile with a passphrase is locked; 0 is never.",
        unit="minutes",
        least=0,
        title="Lock when idle",
    ),
    SettingKey(
        "find_habits",
        False,
        "Look in your own chats, on this computer, for messages that you have answered alike again and again.",
        title="Find habits",
    ),
    SettingKey("theme", "tokmem-dark", "Colours of the app.", title="Colours"),
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
