"""A folder of skills, patterns, templates and prompts: what can be used, and what cannot with the reason."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from profiles.files.atomic import storage_error
from profiles.skill_files.reading import MAX_CHARACTERS, read_skill
from profiles.skill_files.skill import Skill, as_name
from tokmem_desk.errors import BadInputError, NotFoundError, TokmemError

MOST_FILES = 2_000
_DEEPEST = 4
_SUFFIXES = (".md", ".txt", ".yaml", ".yml", ".modelfile", ".prompt")
_PASSED_OVER = ("readme.md", "license.md", "license.txt", "changelog.md", "contributing.md")


@dataclass(frozen=True, slots=True)
class FolderSkill:
    """One text of a folder and the name that its procedure can have."""

    path: Path
    name: str
    skill: Skill


def read_skill_file(path: Path) -> Skill:
    """Read one file.

    Raises:
        BadInputError: it cannot be used.
        NotFoundError: there is none.
        StorageError: it cannot be read.
    """
    try:
        if path.is_dir():
            raise BadInputError(f"{path} is a folder.", next_step="Take all that is in it: --from-folder")
        if path.stat().st_size > 4 * MAX_CHARACTERS:
            raise BadInputError(
                f"{path} is too large for instructions.", next_step="Take the part that says what to do."
            )
        text = path.read_text("utf-8-sig")
    except FileNotFoundError:
        raise NotFoundError(f"There is no file {path}.", next_step="Check the path.") from None
    except UnicodeDecodeError:
        raise BadInputError(f"{path} is not UTF-8 text.", next_step="Save it as UTF-8 and try again.") from None
    except OSError as error:
        raise storage_error(f"{path} could not be read", error) from error
    return read_skill(text, path.name)


def read_folder(folder: Path) -> tuple[list[FolderSkill], list[tuple[Path, str]]]:
    """What can be used, by path, and each other file with the reason.

    Raises:
        NotFoundError: there is no such folder, or nothing in it that could be meant.
    """
    if not folder.is_dir():
        raise NotFoundError(f"There is no folder {folder}.", next_step="Check the path.")
    used: list[FolderSkill] = []
    unused: list[tuple[Path, str]] = []
    taken: set[str] = set()
    for path in _files(folder):
        try:
            skill = read_skill_file(path)
        except TokmemError as error:
            unused.append((path, f"{error.message} {error.next_step or ''}".strip()))
            continue
        name = skill.name or _name_of(path, folder)
        if not name:
            unused.append((path, "Nothing in it can name a procedure; take it alone, with a name."))
        elif name in taken:
            unused.append((path, f"There is another one called {name}; take it alone, with another name."))
        else:
            taken.add(name)
            used.append(FolderSkill(path, name, skill))
    if not used and not unused:
        raise NotFoundError(
            f"{folder} holds no skill, pattern, template or prompt.",
            next_step=f"Files may be SKILL.md, system.md, Modelfile, or end in {', '.join(_SUFFIXES)}.",
        )
    return used, unused


def _name_of(path: Path, folder: Path) -> str:
    """A skill and a pattern are called as their folder, others as their file."""
    whole = path.name.lower() in ("skill.md", "system.md", "modelfile") and path.parent != folder
    return as_name(path.parent.name if whole else path.name.split(".")[0])


def _files(folder: Path) -> Iterator[Path]:
    """Files that may hold instructions; what lies beside a SKILL.md or a system.md belongs to that."""
    count = 0
    for at, folders, names in os.walk(folder):
        place = Path(at)
        folders[:] = sorted(one for one in folders if not one.startswith((".", "__MACOSX")))
        if len(place.relative_to(folder).parts) >= _DEEPEST:
            folders.clear()
        whole = next((name for name in names if name.lower() in ("skill.md", "system.md")), None)
        if whole is not None:
            folders[:] = [] if whole.lower() == "skill.md" else folders
            names = [whole]
        for name in sorted(names):
            small = name.lower()
            if name.startswith(".") or small in _PASSED_OVER:
                continue
            if small.startswith("modelfile") or small.endswith(_SUFFIXES):
                count += 1
                if count > MOST_FILES:
                    return
                yield place / name
