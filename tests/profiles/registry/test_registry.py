"""Profiles of this machine, where they live, and files that are never half written."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

import profiles.files.atomic
import profiles.files.erasing
from profiles.files.atomic import replacing, write_bytes, write_text
from profiles.files.paths import AppPaths, private_folder
from profiles.registry.registry import ProfileRegistry
from profiles.store.store import ProfileStore
from tokmem_desk.errors import BusyError, ConflictError, NotFoundError, StorageError, UsageError
from tokmem_desk.procedures import Procedure


def names(registry: ProfileRegistry) -> list[str]:
    return [info.name for info in registry.list()]


def test_a_default_profile_is_made_at_first_start(registry: ProfileRegistry, paths: AppPaths) -> None:
    (info,) = registry.list()
    assert (info.name, info.active, info.procedure_count) == ("default", True, 0)
    assert registry.active() == info
    with registry.open() as store:
        assert store.folder == paths.profile_folder(info.id) and store.name == "default"
    with ProfileRegistry(paths) as again:
        assert names(again) == ["default"]


def test_profiles_are_separate(registry: ProfileRegistry, ledger: Procedure) -> None:
    registry.create("ann")
    registry.create("bob")
    with registry.open("ann") as ann, registry.open("bob") as bob:
        ann.procedures.add(ledger)
        assert bob.procedures.list() == []
    by_name = {info.name: info for info in registry.list()}
    assert list(by_name) == ["ann", "bob", "default"]
    assert by_name["ann"].procedure_count == 1 and by_name["bob"].procedure_count == 0
    assert by_name["ann"].bytes > 4096 and by_name["default"].active


def test_switching_and_renaming(registry: ProfileRegistry) -> None:
    ann = registry.create("ann")
    assert registry.switch("ann").active and registry.active().id == ann.id
    assert sum(info.active for info in registry.list()) == 1
    assert registry.rename("ann", "anna").id == ann.id
    with registry.open() as store:
        assert store.name == "anna"
    assert registry.rename("anna", "anna").name == "anna"


def test_names_that_do_not_work(registry: ProfileRegistry) -> None:
    registry.create("ann")
    with pytest.raises(ConflictError, match="There is a profile 'ann' already"):
        registry.create("ann")
    with pytest.raises(ConflictError, match="There is a profile 'default' already"):
        registry.rename("ann", "default")
    with pytest.raises(UsageError, match="cannot name a profile"):
        registry.create("../ann")
    for call in (registry.open, registry.switch, registry.delete, registry.info):
        with pytest.raises(NotFoundError, match="There is no profile 'an'. Did you mean 'ann'?.*ann, default"):
            call("an")
    assert names(registry) == ["ann", "default"]


@pytest.mark.parametrize(
    "name", ["Jörg", "Anna Maria", "Ω 2026 (Büro)", "日本語", "a_b-c", "x" * 40, "O'Neil & Co.", "🦊"]
)
def test_people_name_profiles_as_they_like(registry: ProfileRegistry, name: str) -> None:
    made = registry.create(name)
    assert registry.info(name).id == made.id and made.name == name
    with registry.open(name) as store:
        assert store.name == name
        assert store.folder.name == made.id, "the folder has a name of its own"
    assert registry.rename(name, "ann").id == made.id
    assert registry.rename("ann", name).name == name
    registry.delete(name)


@pytest.mark.parametrize(
    "name",
    ["", " ", "a/b", "..\\a", "-x", ".hidden", "x" * 41, "a\nb", "a\x1b[31m", "a\u202eb", "a  b", "auto", "None"],
)
def test_names_that_mislead_are_refused(registry: ProfileRegistry, name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a profile"):
        registry.create(name)
    with pytest.raises(UsageError, match="cannot name a profile"):
        registry.rename("default", name)
    assert names(registry) == ["default"]


def test_names_that_would_be_taken_for_each_other_are_one(registry: ProfileRegistry) -> None:
    composed, parted = "J\u00f6rg", "Jo\u0308rg"
    registry.create(parted)
    assert names(registry) == [composed, "default"] and registry.info(parted) == registry.info(composed)
    for other in (parted, "JÖRG", "jörg", "Default"):
        with pytest.raises(ConflictError, match="already"):
            registry.create(other)
    assert registry.rename(composed, "JÖRG").name == "JÖRG", "its own name in other letters"


def test_deleting_erases_everything_and_leaves_a_profile(registry: ProfileRegistry, paths: AppPaths) -> None:
    registry.create("ann")
    registry.switch("ann")
    with registry.open("ann") as store:
        store.chats.create("secret")
        store.memories.new_file().write_bytes(b"x")
    registry.delete("ann")
    assert names(registry) == ["default"] and registry.active().name == "default"
    assert not store.folder.exists()
    default = registry.active()
    registry.delete("default")
    assert registry.active().name == "default" and registry.active().id != default.id
    assert not paths.profile_folder(default.id).exists()


def test_a_profile_in_use_is_not_deleted(
    registry: ProfileRegistry, paths: AppPaths, python: Callable[..., subprocess.Popen[str]]
) -> None:
    registry.create("ann")
    holder = python(
        "import sys\nfrom pathlib import Path\nfrom profiles.store.store import ProfileStore\n"
        "store = ProfileStore(Path(sys.argv[1]))\nprint('open', flush=True)\ninput()",
        paths.profile_folder(registry.info("ann").id),
    )
    assert holder.stdout is not None and holder.stdout.readline() == "open\n"
    with pytest.raises(BusyError, match="'ann' is open in another tokmem-desk"):
        registry.delete("ann")
    with registry.open("ann") as store:
        store.chats.create("still usable")
    registry.delete("ann", force=True)
    assert names(registry) == ["default"]


def test_a_damaged_profile_is_listed_and_can_be_deleted(registry: ProfileRegistry) -> None:
    registry.create("ann")
    with registry.open("ann") as store:
        pass
    store.database_file.write_bytes(b"rubbish" * 1000)
    assert registry.info("ann").procedure_count is None
    with pytest.raises(StorageError, match="is damaged"):
        registry.delete("ann")
    registry.delete("ann", force=True)
    assert names(registry) == ["default"]


def test_a_deletion_cut_short_is_finished_at_the_next_start(
    registry: ProfileRegistry, paths: AppPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = paths.profile_folder(registry.create("ann").id)

    def refuse(path: Path) -> None:
        raise OSError(errno.EACCES, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(profiles.files.erasing.shutil, "rmtree", refuse)
        with pytest.raises(StorageError, match="could not be erased: there is no permission"):
            registry.delete("ann")
        assert names(registry) == ["default"] and folder.exists()
        with pytest.raises(ConflictError, match="just being deleted"):
            registry.create("ann")
    with ProfileRegistry(paths) as again:
        assert not folder.exists()
        again.create("ann")


def test_a_lost_list_is_rebuilt_from_the_folders(registry: ProfileRegistry, paths: AppPaths, ledger: Procedure) -> None:
    registry.create("ann")
    with registry.open("ann") as store:
        store.procedures.add(ledger)
    with registry.open() as store:
        pass
    broken = paths.profiles / "0123"
    broken.mkdir()
    (broken / "profile.sqlite").write_bytes(b"rubbish" * 1000)
    registry.close()
    paths.registry_file.write_bytes(b"rubbish" * 1000)
    for leftover in paths.data.glob("registry.sqlite-*"):
        leftover.unlink()
    with pytest.raises(StorageError, match=r"registry\.sqlite is damaged"):
        ProfileRegistry(paths)
    paths.registry_file.unlink()
    with ProfileRegistry(paths) as rebuilt:
        assert names(rebuilt) == ["ann", "default", "recovered"]
        with rebuilt.open("ann") as store:
            assert store.procedures.with_pairs("ledger") == ledger


def test_two_processes_start_for_the_first_time(
    paths: AppPaths, python: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom profiles.files.paths import AppPaths\n"
        "from profiles.registry.registry import ProfileRegistry\ninput()\n"
        "with ProfileRegistry(AppPaths.resolve(Path(sys.argv[1]))) as registry:\n"
        "    registry.open().close()\n    registry.create(sys.argv[2])\n"
    )
    starters = [python(code, tmp_path / "home", name) for name in ("ann", "bob")]
    for starter in starters:
        assert starter.stdin is not None
        starter.stdin.write("go\n")
        starter.stdin.flush()
    for starter in starters:
        _, errors = starter.communicate(timeout=60)
        assert starter.returncode == 0, errors
    with ProfileRegistry(paths) as registry:
        assert names(registry) == ["ann", "bob", "default"]
        assert sum(info.active for info in registry.list()) == 1


def test_home_wins_over_the_variable_and_that_over_the_platform(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flagged = AppPaths.resolve(tmp_path / "flag", {"TOKMEM_HOME": str(tmp_path / "variable")})
    assert flagged.config_file == tmp_path / "flag" / "config.toml"
    moved = AppPaths.resolve(None, {"TOKMEM_HOME": str(tmp_path / "variable")})
    roots = (moved.config_file, moved.data, moved.state, moved.cache, moved.models, moved.logs, moved.checkpoints)
    assert all(path.is_relative_to(tmp_path / "variable") for path in (*roots, moved.registry_file, moved.profiles))
    platform = AppPaths.resolve(None, {"TOKMEM_HOME": " "})
    assert "tokmem-desk" in str(platform.data) and platform.data != platform.cache
    monkeypatch.chdir(tmp_path)
    assert AppPaths.resolve(Path("here")).data == tmp_path / "here" / "data"
    assert AppPaths.resolve(Path("~/x")).data.is_relative_to(Path.home())
    assert list(tmp_path.iterdir()) == []


def test_new_folders_are_private_and_old_ones_keep_their_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    private_folder(tmp_path / "a" / "b")
    assert [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path, tmp_path / "a", tmp_path / "a" / "b")] == [
        0o755,
        0o700,
        0o700,
    ]
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="could not be made: a file is where a folder should be"):
        private_folder(tmp_path / "file")
    with pytest.raises(StorageError, match="could not be made: a file is where a folder should be"):
        private_folder(tmp_path / "file" / "below")


def test_what_a_killed_writer_left_goes_with_the_next_one(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    old, fresh, other = (tmp_path / name for name in (".config.toml.a1.part", ".config.toml.b.part", ".x.toml.a.part"))
    for part in (old, fresh, other):
        part.write_text("half")
    for part in (old, other):
        os.utime(part, (1, 1))
    write_text(file, "whole")
    assert sorted(tmp_path.iterdir()) == sorted([file, fresh, other])


def test_a_file_is_replaced_whole_and_private(tmp_path: Path) -> None:
    target = tmp_path / "x.txt"
    write_text(target, "grüße")
    assert target.read_bytes() == "grüße".encode() and stat.S_IMODE(target.stat().st_mode) == 0o600
    with replacing(target) as temporary:
        assert temporary.parent == tmp_path and temporary.read_bytes() == b""
        temporary.unlink()  # a writer that makes its own file
        temporary.write_bytes(b"new")
        assert target.read_text(encoding="utf-8") == "grüße"
    assert target.read_bytes() == b"new" and stat.S_IMODE(target.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [ValueError("bug"), KeyboardInterrupt()])
def test_a_writer_that_fails_leaves_the_old_file(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / "x"
    write_bytes(target, b"old")
    with pytest.raises(type(error)), replacing(target) as temporary:
        temporary.write_bytes(b"half")
        raise error
    assert target.read_bytes() == b"old" and list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
        (errno.EIO, "Input/output error"),
    ],
)
@pytest.mark.parametrize("step", ["fsync", "replace", "chmod"])
def test_a_full_disk_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, reason: str, step: str
) -> None:
    target = tmp_path / "x"
    write_bytes(target, b"old")

    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(profiles.files.atomic.os, step, refuse)
        with pytest.raises(StorageError, match=reason) as caught:
            write_bytes(target, b"new")
    assert str(target) in caught.value.message and caught.value.next_step
    assert target.read_bytes() == b"old" and list(tmp_path.iterdir()) == [target]


def test_a_missing_folder_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="could not be written: No such file or directory"):
        write_bytes(tmp_path / "missing" / "x", b"")


def test_the_package_loads_neither_torch_nor_screens() -> None:
    code = (
        "import sys, pkgutil, importlib, profiles\n"
        "for module in pkgutil.walk_packages(profiles.__path__, 'profiles.'): importlib.import_module(module.name)\n"
        "heavy = {'torch', 'transformers', 'textual', 'numpy', 'trainer', 'tui'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_an_old_profile_folder_can_be_moved(registry: ProfileRegistry, tmp_path: Path, ledger: Procedure) -> None:
    with registry.open() as store:
        store.procedures.add(ledger)
    shutil.copytree(store.folder, tmp_path / "moved")
    with ProfileStore(tmp_path / "moved") as moved:
        assert moved.procedures.with_pairs("ledger") == ledger
    with closing(sqlite3.connect(store.database_file)) as raw:
        assert str(tmp_path) not in "\n".join(raw.iterdump())
