"""Settings: which source wins, bad values, and editing a person's file."""

from __future__ import annotations

import dataclasses
import errno
import os
import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import profiles.files.atomic
from profiles.files.paths import AppPaths
from profiles.settings.setting_keys import KEYS
from profiles.settings.settings import Settings
from tokmem_desk.errors import BadInputError, StorageError, UsageError


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    folder = tmp_path / "profile"
    folder.mkdir()
    return folder


def user_file(paths: AppPaths, text: str) -> Path:
    paths.config_file.parent.mkdir(parents=True, exist_ok=True)
    paths.config_file.write_text(text, encoding="utf-8")
    return paths.config_file


def test_without_files_everything_is_default(paths: AppPaths) -> None:
    loaded = Settings.load(paths, environ={})
    rows = loaded.show()
    assert [row.key for row in rows] == list(KEYS)
    assert all(row.source == "default" and row.value == row.default and row.doc for row in rows)
    assert loaded.text("model") == "default" and loaded.flag("offline") is False
    assert loaded.whole("span") == 0 and loaded.number("none_bias") == 0.0 and loaded.number("span") == 0.0
    assert not paths.config_file.exists()


def test_each_source_wins_over_the_next(paths: AppPaths, profile: Path) -> None:
    file = user_file(paths, "span = 2\ntemperature = 0.2\npreset = 'quick'\ntheme = 'nord'\n")
    (profile / "config.toml").write_text("span = 3\ntemperature = 0.3\npreset = 'thorough'\n")
    environ = {"TOKMEM_SPAN": "4", "TOKMEM_TEMPERATURE": "0.4", "TOKMEM_HOME": "/x", "TOKMEM_DEVICE": "", "OTHER": "1"}
    loaded = Settings.load(paths, {"span": 5, "preset": None}, profile_folder=profile, environ=environ)
    rows = {row.key: (row.value, row.source) for row in loaded.show()}
    assert rows["span"] == (5, "flag")
    assert rows["temperature"] == (0.4, "TOKMEM_TEMPERATURE")
    assert rows["preset"] == ("thorough", str(profile / "config.toml"))
    assert rows["theme"] == ("nord", str(file))
    assert rows["device"] == ("auto", "default")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ofline = true", r"config\.toml: there is no setting 'ofline'. Did you mean 'offline'?"),
        ("Model = 'x'", "there is no setting 'Model'. Did you mean 'model'?"),
        ("[model]\nid = 1", "model is {'id': 1}, which is not text"),
        ("offline = 'maybe'", "offline is 'maybe', which is not true or false"),
        ("device = 'gpu'", "device is 'gpu', which is not one of auto, cpu, cuda. Its default is 'auto'"),
        ("span = 1.5", "span is 1.5, which is not a whole number"),
        ("span = true", "span is True, which is not a whole number"),
        ("span = 300", "span is 300, which is not from 0 to 256"),
        ("memory_budget_mb = 1", "memory_budget_mb is 1, which is not at least 16"),
        ("temperature = nan", "temperature is nan, which is not from 0 to 2"),
        ("top_p = 'high'", "top_p is 'high', which is not a number"),
        ("model = ''", "model is '', which is not text"),
        ("theme = 'x'\nspan = = 2", r"config\.toml cannot be read as TOML: .*line 2"),
        ("[keys]\nquit = 3", r"\[keys\] must hold lines like"),
        ("keys = 3", r"\[keys\] must hold lines like"),
    ],
)
def test_a_bad_file_is_named_with_key_and_reason(paths: AppPaths, text: str, reason: str) -> None:
    file = user_file(paths, text)
    with pytest.raises(BadInputError, match=reason) as caught:
        Settings.load(paths, environ={})
    assert str(file) in caught.value.message and caught.value.next_step


def test_a_file_that_is_not_text(paths: AppPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    user_file(paths, "").write_bytes("theme = 'grün'".encode("latin-1"))
    with pytest.raises(BadInputError, match=r"config\.toml is not UTF-8 text"):
        Settings.load(paths, environ={})

    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(StorageError, match="could not be read: there is no permission"):
        Settings.load(paths, environ={})


def test_flags_and_variables_are_checked_too(paths: AppPaths) -> None:
    with pytest.raises(UsageError, match="There is no setting 'modle'. Did you mean 'model'?"):
        Settings.load(paths, {"modle": "x"}, environ={})
    with pytest.raises(BadInputError, match="Flag: device is 'gpu'"):
        Settings.load(paths, {"device": "gpu"}, environ={})
    with pytest.raises(BadInputError, match="TOKMEM_SPAN: span is 'four', which is not a whole number"):
        Settings.load(paths, environ={"TOKMEM_SPAN": "four"})
    with pytest.raises(BadInputError, match="TOKMEM_OFLINE names no setting. Did you mean 'offline'?"):
        Settings.load(paths, environ={"TOKMEM_OFLINE": "1"})
    for word, value in (("1", True), ("Yes", True), ("on", True), ("0", False), ("FALSE", False), ("off", False)):
        assert Settings.load(paths, environ={"TOKMEM_OFFLINE": word}).flag("offline") is value
    assert Settings.load(paths, environ={"TOKMEM_SOMETHING_ELSE": "1"}).flag("offline") is False


def test_key_bindings_of_the_profile_win(paths: AppPaths, profile: Path) -> None:
    user_file(paths, "[keys]\nquit = 'ctrl+x'\nhelp = 'f1'\n")
    (profile / "config.toml").write_text("[keys]\nhelp = 'f6'\n")
    assert Settings.load(paths, profile_folder=profile, environ={}).key_bindings == {"quit": "ctrl+x", "help": "f6"}


def test_setting_keeps_comments_and_everything_else(paths: AppPaths) -> None:
    file = user_file(
        paths,
        "# mine\nspan = 2  # short = good\ntheme = 'a # b' # colours\n\n[keys]\nspan = 'f6'\n",
    )
    loaded = Settings.load(paths, environ={})
    assert loaded.set("span", "16").value == 16
    assert loaded.set("theme", "nord").source == str(file)
    loaded.set("model", "org/name")
    assert file.read_text() == (
        '# mine\nspan = 16  # short = good\ntheme = "nord" # colours\nmodel = "org/name"\n\n[keys]\nspan = \'f6\'\n'
    )
    assert loaded.reset("span").value == 0
    again = Settings.load(paths, environ={})
    assert again.whole("span") == 0 and again.text("model") == "org/name" and again.key_bindings == {"span": "f6"}


def test_setting_makes_private_files_and_says_what_wins(paths: AppPaths, profile: Path) -> None:
    loaded = Settings.load(paths, profile_folder=profile, environ={"TOKMEM_SPAN": "4"})
    row = loaded.set("span", 8)
    assert (row.value, row.source) == (4, "TOKMEM_SPAN")
    loaded.set("router", "token")
    row = loaded.set("router", "discriminant", "profile")
    assert row.source == str(profile / "config.toml")
    assert loaded.reset("router", "profile").value == "token"
    assert paths.config_file.stat().st_mode & 0o777 == 0o600
    assert paths.config_file.parent.stat().st_mode & 0o777 == 0o700


def test_a_bad_value_leaves_the_file_as_it_was(paths: AppPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    file = user_file(paths, "span = 2\n")
    loaded = Settings.load(paths, environ={})
    with pytest.raises(BadInputError, match="span is 'long'"):
        loaded.set("span", "long")
    with pytest.raises(UsageError, match="There is no setting 'spam'. Did you mean 'span'?"):
        loaded.set("spam", 1)
    with pytest.raises(UsageError, match="no setting 'spam'"):
        loaded.reset("spam")

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(profiles.files.atomic.os, "fsync", refuse)
        with pytest.raises(StorageError, match="the disk is full"):
            loaded.set("span", 4)
    assert file.read_text() == "span = 2\n" and loaded.whole("span") == 2


def test_what_cannot_be_edited_safely_is_left_alone(paths: AppPaths) -> None:
    text = 'theme = """\nspan = 2\n"""\n'
    file = user_file(paths, text)
    loaded = Settings.load(paths, environ={})
    with pytest.raises(BadInputError, match="has a form that cannot be edited here. Edit span by hand"):
        loaded.set("span", 4)
    assert file.read_text() == text
    file.write_text("broken = \n")
    with pytest.raises(BadInputError, match="cannot be read as TOML"):
        loaded.set("span", 4)
    assert file.read_text() == "broken = \n"


def test_asking_for_the_wrong_type_is_a_bug(paths: AppPaths) -> None:
    loaded = Settings.load(paths, environ={})
    for call in (lambda: loaded.text("span"), lambda: loaded.flag("span"), lambda: loaded.whole("offline")):
        with pytest.raises(TypeError):
            call()
    with pytest.raises(TypeError):
        loaded.number("model")
    with pytest.raises(ValueError, match="without a profile"):
        loaded.set("span", 1, "profile")


def test_every_default_passes_its_own_check() -> None:
    for key in KEYS.values():
        assert key.parse(key.default, "here") == key.default
        assert key.parse(str(key.default), "here") == key.default
        assert dataclasses.is_dataclass(key) and key.doc.endswith(".")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(str.strip))
def test_any_text_can_be_set_or_is_refused_whole(paths: AppPaths, value: str) -> None:
    file = user_file(paths, "# top\nspan = 3\n")
    loaded = Settings.load(paths, environ={})
    try:
        loaded.set("model", value)
    except BadInputError:
        assert file.read_text() == "# top\nspan = 3\n"
    else:
        assert tomllib.loads(file.read_text(encoding="utf-8")) == {"span": 3, "model": value}
        assert file.read_text(encoding="utf-8").startswith("# top\n")
