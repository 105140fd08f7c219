"""What is installed: every sub-package with its files, found without a list."""

from __future__ import annotations

import tomllib
from fnmatch import fnmatch
from pathlib import Path

from setuptools import find_packages

ROOT = Path(__file__).parents[1]
PACKAGES = ("profiles", "tokmem_desk", "tokmem_vllm", "trainer", "tui")
TOOL = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]


def test_every_folder_with_modules_is_a_package() -> None:
    found = find_packages(str(ROOT), include=TOOL["packages"]["find"]["include"])
    folders = {path.parent for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    assert set(found) == {".".join(folder.relative_to(ROOT).parts) for folder in folders}


def test_every_file_beside_the_modules_is_installed() -> None:
    data = TOOL["package-data"]
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*"):
            if path.is_dir() or path.suffix in (".py", ".pyc"):
                continue
            own = path.relative_to(ROOT / package).as_posix()
            assert any(fnmatch(path.name, pattern) for pattern in data["*"]) or any(
                fnmatch(own, pattern) for pattern in data.get(package, ())
            ), path
