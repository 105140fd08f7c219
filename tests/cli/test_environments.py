"""Every entry of ``tests/chaos/environments.py``: its end is in the contract, and one sentence says why."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.chaos.environments import ENVIRONMENTS, ROOT, Environment, faults, missing_for, run
from tests.cli.conftest import scripted_at

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")

BANK = ROOT / "docs" / "examples" / "bank.tokmem"
KNOWN = "I need to call mum on Monday"


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("pairs") / "todo.csv"
    file.write_text(
        f"input,response\n{KNOWN},( ) call mum due:mon\nI need to buy milk on Friday,( ) buy milk due:fri\n"
    )
    return file


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, pairs: Path) -> Path:
    """A home with a trained procedure."""
    home = tmp_path_factory.mktemp("prepared") / "home"
    scripted = scripted_at(home)
    assert scripted("proc", "add", "todo", "--pairs", str(pairs)).code == 0
    assert scripted("train").code == 0
    return home


def test_there_are_sixty_and_no_two_have_one_name() -> None:
    assert len(ENVIRONMENTS) >= 60
    assert len({one.name for one in ENVIRONMENTS}) == len(ENVIRONMENTS)


@pytest.mark.parametrize("environment", [one for one in ENVIRONMENTS if not one.real], ids=lambda one: one.name)
def test_environment(environment: Environment, prepared: Path, pairs: Path, tmp_path: Path) -> None:
    check(environment, prepared, pairs, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("environment", [one for one in ENVIRONMENTS if one.real], ids=lambda one: one.name)
def test_environment_of_the_real_engine(
    environment: Environment, prepared: Path, pairs: Path, tmp_path: Path, tiny_model_folder: Path
) -> None:
    check(environment, prepared, pairs, tmp_path, tiny_model_folder)


def check(environment: Environment, prepared: Path, pairs: Path, folder: Path, model: Path | None = None) -> None:
    if reason := missing_for(environment):
        pytest.skip(reason)
    home, work = folder / "home", folder / "work"
    shutil.copytree(prepared, home)
    work.mkdir()
    outcome = run(environment, home, work, BANK, pairs, model)
    assert faults(environment, outcome) == [], outcome


def test_a_fault_is_found() -> None:
    from tests.chaos.environments import Outcome

    one = Environment("x", "", codes=(1,), says="full")
    assert faults(one, Outcome((1,), "", "The disk is full.\n")) == []
    for outcome in (
        Outcome((), "", ""),
        Outcome((0,), "", ""),
        Outcome((1,), "", ""),
        Outcome((1,), "", "It is full.\nAnd more.\n"),
        Outcome((1,), "", "OSError: it is full.\n"),
        Outcome((1,), "", "It is something else.\n"),
    ):
        assert faults(one, outcome), outcome
