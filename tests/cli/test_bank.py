"""``bank``: out, in, a look inside; conflicts, passphrases, other models; nothing changes when anything is wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from profiles.store.store import ProfileStore
from tests.banks import bank, files_of, unpacked, write
from tests.cli.conftest import CommandLine


def stored(command_line: CommandLine, profile: str | None = None) -> ProfileStore:
    with ProfileRegistry(AppPaths.resolve(command_line.home)) as registry:
        return registry.open(profile)


def names(command_line: CommandLine, profile: str | None = None) -> list[str]:
    with stored(command_line, profile) as store:
        return [record.name for record in store.procedures.list()]


@pytest.fixture
def trained(scripted: CommandLine, pairs_file: Path) -> CommandLine:
    """A home with two trained procedures and a second, empty profile."""
    for name in ("todo", "list"):
        scripted("proc", "add", name, "--pairs", str(pairs_file))
    assert scripted("train").code == 0
    assert scripted("profile", "create", "ann").code == 0
    return scripted


def test_out_of_one_profile_and_into_another(trained: CommandLine, tmp_path: Path) -> None:
    made = trained("bank", "export", str(tmp_path / "mine"), "--licence", "CC0-1.0", "--json").json("bank-export")
    file = tmp_path / "mine.tokmem"
    assert (made["file"], made["procedures"], made["pairs"]) == (str(file), ["list", "todo"], False)
    assert file.stat().st_mode & 0o777 == 0o600 and made["bytes"] == file.stat().st_size
    assert b"call mum" not in b"".join(files_of(file.read_bytes()).values())
    rehearsed = trained("--profile", "ann", "bank", "import", str(file), "--dry-run", "--json").json("bank-import")
    assert rehearsed["dry_run"] and rehearsed["probes"] == {"run": 2, "passed": 2} and names(trained, "ann") == []
    done = trained("--profile", "ann", "bank", "import", str(file), "--json")
    assert [one["action"] for one in done.json("bank-import")["procedures"]] == ["add", "add"]
    assert "All 2 probes passed" in done.err and "proc undo" in done.err
    assert names(trained, "ann") == ["list", "todo"]
    answer = trained("--profile", "ann", "proc", "show", "todo", "--json").json("proc-show")
    assert answer["trained"] and answer["pairs"] == 0 and answer["source"] == "mine.tokmem"
    trained("--profile", "ann", "proc", "undo")
    assert names(trained, "ann") == []


def test_one_procedure_and_its_pairs(trained: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "todo.tokmem"
    assert trained("bank", "export", str(file), "todo", "--with-pairs").code == 0
    shown = trained("bank", "inspect", str(file), "--json").json("bank-inspect")
    assert shown["pairs"] and shown["conflicts"] == ["todo"] and shown["fits_last_model"] is True
    assert shown["procedures"][0]["pairs_inside"] == 10
    assert trained("--profile", "ann", "bank", "import", str(file)).code == 0
    with stored(trained, "ann") as theirs, stored(trained) as mine:
        assert theirs.procedures.with_pairs("todo") == mine.procedures.with_pairs("todo")


def steps_of(command_line: CommandLine, tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / "steps").write_text(text)
    assert command_line("plan", "steps", name, str(tmp_path / "steps")).code == 0


@pytest.mark.parametrize("options", [(), ("--retrain",)])
def test_plans_and_chains_travel_and_wait_for_a_yes(
    trained: CommandLine, tmp_path: Path, options: tuple[str, ...]
) -> None:
    steps_of(trained, tmp_path, "todo", "list: call mum")
    assert trained("proc", "then", "list", "todo").code == 0
    file = tmp_path / "mine.tokmem"
    (tmp_path / "more").write_text("todo: call dad")
    assert trained("plan", "new", "untaught", "--steps", str(tmp_path / "more")).code == 0
    made = trained("bank", "export", str(file), "--with-pairs")
    assert "since they have no memory: untaught." in made.err
    assert made.code == 0 and "Steps are inside, word for word: todo." in made.err
    assert "todo goes on with answers of list." in made.err
    shown = trained("bank", "inspect", str(file), "--json").json("bank-inspect")
    assert shown["plans"] == [{"name": "todo", "steps": "list: call mum", "outside": []}]
    assert shown["chains"] == [{"name": "list", "then": "todo"}] and "Steps of plans" in shown["reveals"][-1]
    assert "  list: call mum" in trained("bank", "inspect", str(file)).out
    rehearsed = trained("--profile", "ann", "bank", "import", str(file), "--dry-run", "--json").json("bank-import")
    came = trained("--profile", "ann", "bank", "import", str(file), *options, "--json")
    assert came.json("bank-import")["plans"] == rehearsed["plans"] == [{"name": "todo", "taught": False, "missing": []}]
    assert "todo is a plan, and off until" in came.err and "proc enable NAME" in came.err
    with stored(trained, "ann") as theirs:
        assert theirs.plans.steps() == {"todo": "list: call mum"} and theirs.plans.missing("todo") == []
        assert theirs.procedures.following() == {"list": "todo"}
        assert [one.name for one in theirs.procedures.list() if one.enabled] == ["list"]
    asked = trained("--profile", "ann", "ask", "--route", "todo", "do it", "--json")
    assert asked.code != 0 or "call mum" not in asked.out + asked.err, "nothing of it is done"
    assert trained("--profile", "ann", "proc", "enable", "todo").code == 0
    # Once more: what is there keeps its names, and the steps name what came with them.
    again = trained("--profile", "ann", "bank", "import", str(file), "--on-conflict", "rename")
    assert again.code == 0, again.err
    with stored(trained, "ann") as theirs:
        assert theirs.plans.steps() == {"todo": "list: call mum", "todo-2": "list = list-2: call mum"}
        assert theirs.procedures.following() == {"list": "todo", "list-2": "todo-2"}


def test_a_plan_says_what_it_names_and_is_not_there(trained: CommandLine, pairs_file: Path, tmp_path: Path) -> None:
    steps_of(trained, tmp_path, "todo", "list: call mum")
    file = tmp_path / "mine.tokmem"
    made = trained("bank", "export", str(file), "todo")
    assert "todo names list, which is not in the file." in made.err
    assert trained("bank", "inspect", str(file), "--json").json("bank-inspect")["plans"][0]["outside"] == ["list"]
    # Somebody's own procedure of that name is another one, and is not called in its place.
    assert trained("--profile", "ann", "proc", "add", "list", "--pairs", str(pairs_file)).code == 0
    came = trained("--profile", "ann", "bank", "import", str(file), "--json")
    assert came.json("bank-import")["plans"] == [{"name": "todo", "taught": False, "missing": ["list"]}]
    assert "todo names list, which is not here" in came.err
    with stored(trained, "ann") as theirs:
        assert theirs.plans.missing("todo") == ["list"]


def test_a_taught_plan_says_what_is_called_otherwise(trained: CommandLine, pairs_file: Path, tmp_path: Path) -> None:
    with stored(trained) as mine:
        mine.plans.set_steps("todo", "")
    file = tmp_path / "mine.tokmem"
    assert trained("bank", "export", str(file)).code == 0
    assert trained("--profile", "ann", "proc", "add", "list", "--pairs", str(pairs_file)).code == 0
    came = trained("--profile", "ann", "bank", "import", str(file), "--on-conflict", "rename")
    assert "Answers of todo may name procedures as the file does: list is called list-2 here." in came.err
    with stored(trained, "ann") as theirs:
        assert theirs.procedures.get("todo").steps == "" and not theirs.procedures.get("todo").enabled


@pytest.mark.parametrize("options", [(), ("--retrain",)])
def test_an_import_deletes_what_a_killed_one_left(
    trained: CommandLine, tmp_path: Path, options: tuple[str, ...]
) -> None:
    file = tmp_path / "todo.tokmem"
    assert trained("bank", "export", str(file), "todo", "--with-pairs").code == 0
    with stored(trained, "ann") as theirs:
        left = theirs.memories.folder / theirs.memories.write(b"without a row")
        os.utime(left, (0, 0))
    assert trained("--profile", "ann", "bank", "import", str(file), "--dry-run").code == 0
    assert left.exists()
    assert trained("--profile", "ann", "bank", "import", str(file), *options).code == 0
    assert not left.exists()


def test_a_file_is_not_written_over(trained: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "a.tokmem"
    file.write_bytes(b"precious")
    ended = trained("bank", "export", str(file))
    assert ended.code == 1 and "is there already" in ended.err and file.read_bytes() == b"precious"
    assert trained("bank", "export", str(file), "--force").code == 0 and file.read_bytes() != b"precious"
    assert trained("bank", "export", str(tmp_path)).code == 2
    ended = trained("bank", "export", str(tmp_path / "b.tokmem"), "tood")
    assert ended.code == 1 and "Did you mean 'todo'" in ended.err
    ended = trained("--profile", "ann", "bank", "export", str(tmp_path / "b.tokmem"))
    assert ended.code == 1 and "Nothing is trained" in ended.err
    assert [path.name for path in tmp_path.glob("*.tokmem")] == ["a.tokmem"]


def test_names_that_meet(trained: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "a.tokmem"
    trained("bank", "export", str(file), "todo")
    ended = trained("bank", "import", str(file))
    assert ended.code == 1 and "--on-conflict" in ended.err and names(trained) == ["list", "todo"]
    ended = trained("bank", "import", str(file), "--on-conflict", "rename", "--json")
    assert ended.json("bank-import")["procedures"] == [{"name": "todo", "as": "todo-2", "action": "rename"}]
    assert "Imported 0 procedures" in trained("bank", "import", str(file), "--on-conflict", "skip").err
    assert names(trained) == ["list", "todo", "todo-2"]
    ended = trained("bank", "import", str(file), "--on-conflict", "replace")
    assert ended.code == 0 and "takes the place" in ended.err
    with stored(trained) as store:
        assert store.pairs.list("todo") == []
    trained("proc", "undo")
    with stored(trained) as store:
        assert len(store.pairs.list("todo")) == 8


def test_a_passphrase(trained: CommandLine, tmp_path: Path) -> None:
    file, secret = tmp_path / "a.tokmem", tmp_path / "secret"
    secret.write_text("Pferd\nmore", "utf-8")
    assert trained("bank", "export", str(file), "--bank-passphrase-file", str(secret)).code == 0
    assert file.read_bytes().startswith(b"TOKMEM-PROTECTED")
    ended = trained("bank", "inspect", str(file))
    assert ended.code == 1 and "--bank-passphrase-file" in ended.err
    ended = trained("bank", "inspect", str(file), "--bank-passphrase-file", str(secret))
    assert ended.code == 0 and "under a passphrase" in ended.out
    secret.write_text("Esel")
    ended = trained("bank", "import", str(file), "--bank-passphrase-file", str(secret))
    assert ended.code == 1 and "does not open a.tokmem" in ended.err
    secret.write_text("")
    assert trained("bank", "import", str(file), "--bank-passphrase-file", str(secret)).code == 1
    assert trained("bank", "export", str(tmp_path / "b.tokmem"), "--passphrase").code == 2


def test_inspect_says_what_can_be_read(scripted: CommandLine, tmp_path: Path) -> None:
    ended = scripted("bank", "inspect", str(write(tmp_path / "a.tokmem", bank(with_pairs=True))))
    assert ended.code == 0
    for words in ("CC0-1.0", "Apache-2.0", "made-up/Tiny-Instruct", "A memory can reveal", "word for word", "proc1"):
        assert words in ended.out
    bare = scripted("bank", "inspect", str(unpacked(tmp_path / "b", (tmp_path / "a.tokmem").read_bytes())), "--json")
    assert bare.json("bank-inspect")["corrections"] == 1
    unknown = scripted("bank", "inspect", str(write(tmp_path / "c.tokmem", bank(licence=""))))
    assert "unknown: ask its maker" in unknown.out


def test_a_bank_for_another_model(scripted: CommandLine, tmp_path: Path) -> None:
    bare, with_pairs = tmp_path / "bare.tokmem", tmp_path / "pairs.tokmem"
    for file, made in ((bare, bank()), (with_pairs, bank(with_pairs=True))):
        write(file, other_model(made))
    ended = scripted("bank", "import", str(bare))
    assert ended.code == 4 and "made for made-up/Other" in ended.err and "Its pairs are not inside" in ended.err
    assert scripted("bank", "import", str(bare), "--retrain").code == 1
    assert names(scripted) == []
    done = scripted("bank", "import", str(with_pairs), "--retrain", "--json")
    assert done.json("bank-import")["retrained"] is True and done.json("bank-import")["verdict"] == "retrain"
    with stored(scripted) as store:
        assert [one.procedure for one in store.memories.all_active(fingerprint())] == ["proc0", "proc1", "proc2"]


def fingerprint() -> str:
    from tests.banks import FINGERPRINT

    return FINGERPRINT.digest


def other_model(made):
    from dataclasses import replace

    from tests.banks import FINGERPRINT
    from tokmem_desk.memory.file_bytes import put_together, take_apart

    other = replace(FINGERPRINT, model_id="made-up/Other", weights_sha256="9" * 64).as_dict()

    def moved(one):
        data = put_together(replace(take_apart(one.load(), "x"), fingerprint=other))
        return replace(one, load=lambda: data)

    return replace(made, procedures=[moved(one) for one in made.procedures])


def test_probes_that_fail_keep_all_out(scripted: CommandLine, tmp_path: Path) -> None:
    from dataclasses import replace

    made = bank(3)
    made = replace(made, procedures=[replace(made.procedures[0], name="broken"), *made.procedures[1:]])
    made = replace(made, probes=[replace(probe, route="none") for probe in made.probes])
    ended = scripted("bank", "import", str(write(tmp_path / "a.tokmem", made)))
    assert ended.code == 4 and "1 of 3 test messages" in ended.err and "Nothing was imported" in ended.err
    assert names(scripted) == []
    with stored(scripted) as store:
        assert not store.banks.quarantine_folder.exists() and not store.memories.folder.exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04junk", b"TOKMEM-PROTECTED\n{}\n"])
def test_what_is_no_bank(scripted: CommandLine, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "bad.tokmem"
    file.write_bytes(content)
    for action in (("bank", "inspect"), ("bank", "import")):
        ended = scripted(*action, str(file))
        assert ended.code == 1 and ended.out == ""
    assert scripted("bank", "import", str(tmp_path / "gone.tokmem")).code == 1
    assert scripted("bank", "import", str(tmp_path)).code == 1
    assert scripted("bank", "import", str(file), "--on-conflict", "perhaps").code == 2
