"""Settings: a flag wins over the environment, that over the profile's file, that over the user's file and default.

Both files are TOML. Changing a setting edits one line and leaves the person's comments alone. Which settings there are
is said in ``profiles.settings.setting_keys``.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from profiles.files.atomic import storage_error, write_text
from profiles.files.paths import HOME_VARIABLE, AppPaths, private_folder
from profiles.files.process_locks import SUFFIX, process_lock
from profiles.settings.setting_keys import KEYS, SettingValue, nearest, setting_key
from tokmem_desk.errors import BadInputError, BusyError

Scope = Literal["user", "profile"]

PROFILE_FILE_NAME = "config.toml"
_PREFIX = "TOKMEM_"
_BINDINGS = "keys"
"""The table of key bindings: binding id = key."""


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One line of ``config show``."""

    key: str
    value: SettingValue
    source: str
    """``flag``, an environment variable, a file, or ``default``."""
    default: SettingValue
    doc: str
    unit: str
    title: str = ""
    """What the app calls it."""


class Settings:
    """The settings in force. Make one with ``Settings.load``."""

    def __init__(
        self,
        layers: list[tuple[str, dict[str, SettingValue]]],
        files: dict[Scope, Path],
        key_bindings: dict[str, str],
    ) -> None:
        self._layers = layers
        self._files = files
        self.key_bindings = key_bindings
        """Binding id to key, from ``[keys]``; the profile's entries win."""

    @classmethod
    def load(
        cls,
        paths: AppPaths,
        flags: Mapping[str, object] | None = None,
        *,
        profile_folder: Path | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Settings:
        """Read all sources. A missing file is an empty one.

        Args:
            paths: says where the user's file is.
            flags: values from the command line; None stands for a flag that was not given.
            profile_folder: the folder of the profile in use (``ProfileStore.folder``).
            environ: replaces ``os.environ``.

        Raises:
            BadInputError: a file is no TOML, or holds an unknown key or a bad value; names file, key, nearest match.
            UsageError: a flag or a variable names no setting.
            StorageError: a file cannot be read.
        """
        given = {name: value for name, value in (flags or {}).items() if value is not None}
        layers = [
            ("flag", {name: setting_key(name).parse(value, "Flag") for name, value in given.items()}),
            *_from_environment(os.environ if environ is None else environ),
        ]
        return cls._over_files(layers, paths, profile_folder)

    def for_profile(self, paths: AppPaths, profile_folder: Path) -> Settings:
        """The same flags and variables over another profile's file, both files read anew. Errors as for ``load``."""
        own = {str(file) for file in self._files.values()}
        return self._over_files([layer for layer in self._layers if layer[0] not in own], paths, profile_folder)

    @classmethod
    def _over_files(
        cls, layers: list[tuple[str, dict[str, SettingValue]]], paths: AppPaths, profile_folder: Path | None
    ) -> Settings:
        """Settings whose ``layers`` win over both files."""
        files: dict[Scope, Path] = {"user": paths.config_file}
        if profile_folder is not None:
            files["profile"] = profile_folder / PROFILE_FILE_NAME
        layers = list(layers)
        bindings: dict[str, str] = {}
        for scope in ("profile", "user"):
            if scope in files:
                values, own_bindings = _read(files[scope])
                layers.append((str(files[scope]), values))
                bindings = own_bindings | bindings
        return cls(layers, files, bindings)

    def with_value(self, name: str, value: SettingValue) -> Settings:
        """The same settings with one value that wins over all sources; no file is written."""
        return Settings([("flag", {name: value}), *self._layers], self._files, self.key_bindings)

    def scope_of(self, source: str) -> Scope | None:
        """Which of the two files a row's ``source`` is; None for flags, variables and defaults."""
        return next((scope for scope, file in self._files.items() if str(file) == source), None)

    def get(self, name: str) -> SettingValue:
        """The value in force.

        Raises:
            UsageError: there is no such setting.
        """
        return self._look_up(name)[0]

    def text(self, name: str) -> str:
        """A setting that is text. Any other type is a bug of the caller."""
        value = self.get(name)
        if not isinstance(value, str):
            raise TypeError(f"{name} is not text")
        return value

    def flag(self, name: str) -> bool:
        """A setting that is true or false."""
        value = self.get(name)
        if not isinstance(value, bool):
            raise TypeError(f"{name} is not true or false")
        return value

    def whole(self, name: str) -> int:
        """A setting that is a whole number."""
        value = self.get(name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"{name} is not a whole number")
        return value

    def number(self, name: str) -> float:
        """A setting that is a number."""
        value = self.get(name)
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise TypeError(f"{name} is not a number")
        return float(value)

    def show(self) -> list[SettingRow]:
        """Every setting with its value and where that comes from."""
        rows = []
        for key in KEYS.values():
            value, source = self._look_up(key.name)
            rows.append(SettingRow(key.name, value, source, key.default, key.doc, key.unit, key.title))
        return rows

    def set(self, name: str, value: object, scope: Scope = "user") -> SettingRow:
        """Write a setting into a file and return what is in force then: a flag or a variable may still win.

        Args:
            name: the setting.
            value: of its type, or text that can be read as that.
            scope: which file; ``profile`` needs a ``profile_folder`` given to ``load``.

        Raises:
            UsageError: there is no such setting.
            BadInputError: a bad value, or the file as it stands is unusable; the file stays as it was.
            StorageError: the disk refused; the file stays as it was.
        """
        return self._write(name, setting_key(name).parse(value, "Setting"), scope)

    def set_where_it_counts(self, name: str, value: object) -> SettingRow:
        """Like ``set``, in the profile's file where that has the setting already and would win, else in the user's."""
        profile_file = self._files.get("profile")
        in_profile = any(source == str(profile_file) and name in values for source, values in self._layers)
        return self.set(name, value, "profile" if in_profile else "user")

    def reset(self, name: str, scope: Scope = "user") -> SettingRow:
        """Take a setting out of a file and return what is in force then. Errors as for ``set``."""
        setting_key(name)
        return self._write(name, None, scope)

    def _write(self, name: str, value: SettingValue | None, scope: Scope) -> SettingRow:
        if scope not in self._files:
            raise ValueError("these settings were loaded without a profile")
        with process_lock(
            private_folder(self._files[scope].parent) / f".{self._files[scope].name}{SUFFIX}",
            BusyError("Another tokmem-desk is changing the settings.", next_step="Try again."),
        ):
            return self._write_alone(name, value, self._files[scope])

    def _write_alone(self, name: str, value: SettingValue | None, file: Path) -> SettingRow:
        before, _ = _read(file)  # refuses to touch what it cannot read
        edited = _with_line(
            _text_of(file), name, None if value is None else f"{name} = {json.dumps(value, ensure_ascii=False)}"
        )
        values, _ = _parse(edited, file)
        expected = {key: old for key, old in before.items() if key != name} | ({} if value is None else {name: value})
        if values != expected:
            raise BadInputError(f"{file} has a form that cannot be edited here.", next_step=f"Edit {name} by hand.")
        write_text(file, edited)
        self._layers = [(source, values if source == str(file) else layer) for source, layer in self._layers]
        return next(row for row in self.show() if row.key == name)

    def _look_up(self, name: str) -> tuple[SettingValue, str]:
        key = setting_key(name)
        for source, values in self._layers:
            if name in values:
                return values[name], source
        return key.default, "default"


def _from_environment(environ: Mapping[str, str]) -> list[tuple[str, dict[str, SettingValue]]]:
    layers: list[tuple[str, dict[str, SettingValue]]] = []
    for variable in sorted(environ):
        if not variable.startswith(_PREFIX) or variable == HOME_VARIABLE or not environ[variable].strip():
            continue
        name = variable.removeprefix(_PREFIX).lower()
        if name in KEYS:
            layers.append((variable, {name: KEYS[name].parse(environ[variable].strip(), variable)}))
        elif hint := nearest(name, cutoff=0.8):
            # Only what looks like a slip: TOKMEM_OFLINE must not leave the network on in silence.
            raise BadInputError(f"The variable {variable} names no setting.{hint}", next_step="Correct or unset it.")
    return layers


def _read(file: Path) -> tuple[dict[str, SettingValue], dict[str, str]]:
    return _parse(_text_of(file), file)


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError as caught:
        raise BadInputError(f"{file} is not UTF-8 text.", next_step="Save it as UTF-8, or move it away.") from caught
    except OSError as caught:
        raise storage_error(f"{file} could not be read", caught) from caught


def _parse(text: str, file: Path) -> tuple[dict[str, SettingValue], dict[str, str]]:
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as caught:
        raise BadInputError(
            f"{file} cannot be read as TOML: {caught}.", next_step="Correct it or move it away."
        ) from caught
    bindings = table.pop(_BINDINGS, {})
    if not isinstance(bindings, dict) or not all(isinstance(key, str) for key in bindings.values()):
        raise BadInputError(f'{file}: [keys] must hold lines like  action = "key".', next_step="Correct it.")
    values: dict[str, SettingValue] = {}
    for name, value in table.items():
        if name not in KEYS:
            raise BadInputError(
                f"{file}: there is no setting {name!r}.{nearest(name)}",
                next_step="Correct or delete that line; 'tokmem-desk config show' lists all settings.",
            )
        values[name] = KEYS[name].parse(value, str(file))
    return values, dict(bindings)


def _with_line(text: str, name: str, line: str | None) -> str:
    """``text`` with the line that sets ``name`` replaced by ``line``, or without it when that is None."""
    lines = text.splitlines()
    # Settings are one-line values at the top level, that is, before the first table.
    top = next((at for at, content in enumerate(lines) if content.lstrip().startswith("[")), len(lines))
    setter = re.compile(rf"""\s*(["']?){re.escape(name)}\1\s*=""")
    found = next((at for at in range(top) if setter.match(lines[at])), None)
    if found is not None:
        lines[found : found + 1] = [] if line is None else [line + _comment(lines[found])]
    elif line is not None:
        while top > 0 and not lines[top - 1].strip():
            top -= 1
        lines.insert(top, line)
    return "\n".join(lines) + "\n" if lines else ""


def _comment(line: str) -> str:
    """The comment at the end of a line ``name = value  # comment``, with the space before it."""
    for at in (match.start() for match in re.finditer(r"\s*#", line)):
        try:
            tomllib.loads(line[:at])
        except tomllib.TOMLDecodeError:
            continue  # this sign is inside the value
        return line[at:]
    return ""
