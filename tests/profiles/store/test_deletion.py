"""What was deleted for good: no file of the home holds a word of it, open or closed, whoever else looks on."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from profiles.encryption.file_encryption import ProfileKey
from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from profiles.store.checkpoints import checkpoint_file, drop_lost_checkpoints
from profiles.store.store import DATABASE_NAME, ProfileStore
from tokmem_desk.procedures import ExamplePair, Procedure

BACKBONE = "f" * 64
RARE = "quetzalcoatlus"
"""One rare word of what goes; an index of words keeps it as it is."""
PRIVATE = [f"{RARE} number {n} flew to the {RARE}{n} lighthouse at dawn" for n in range(40)]


def readable(home: Path, *texts: str) -> list[str]:
    """Files below the home in which one of the texts stands, as bytes, in either case."""
    found = []
    for file in home.rglob("*"):
        if file.is_file():
            data = file.read_bytes().lower()
            found += [f"{file.relative_to(home)}: {text}" for text in texts if text.lower().encode() in data]
    return found


@pytest.fixture
def home(paths: AppPaths) -> Path:
    return paths.config_file.parent


@pytest.fixture
def open_store(registry: ProfileRegistry) -> Iterator[ProfileStore]:
    with registry.open() as store:
        yield store


def talk(store: ProfileStore, texts: list[str], title: str) -> int:
    """A conversation, each answer streamed in pieces as the app does, which splits pages."""
    conversation = store.chats.create(title)
    for text in texts:
        store.messages.add(conversation, "user", text)
        answer = store.messages.add(conversation, "assistant", text[:10])
        store.messages.update(answer, content=text * 3, details={"said": text})
    return conversation


@pytest.mark.parametrize("other_is_open", [True, False])
def test_a_deleted_chat_is_in_no_file(registry, home, open_store, other_is_open):
    kept = talk(open_store, ["the weather in Bergen"] * 30, "weather")
    gone = talk(open_store, PRIVATE, f"my {RARE}")
    assert readable(home, RARE), "the word is where this test looks"
    others = [registry.open()] if other_is_open else []
    assert open_store.chats.delete(gone) == ""
    assert readable(home, RARE, "lighthouse") == []
    for one in (*others, open_store):
        one.close()
        assert readable(home, RARE, "lighthouse") == []
    with registry.open() as again:
        assert again.damage() == []
        assert [one.id for one in again.chats.list(search="bergen")] == [kept]
        assert again.chats.list(search="lighthouse") == [] and len(again.messages.list(kept)) == 60


def test_deleting_one_chat_after_another_leaves_nothing(home, open_store):
    """Many parts of the index, merged in any order."""
    order = random.Random(5)
    chats = [talk(open_store, [f"{RARE}{n:03} and word{n:03}x" for _ in range(3)], "t") for n in range(30)]
    order.shuffle(chats)
    for chat in chats:
        open_store.chats.delete(chat)
    assert readable(home, RARE, "word0", "word02") == []


def test_a_reader_puts_it_off_and_that_is_said(registry, home, open_store, monkeypatch):
    monkeypatch.setattr("profiles.database.connection.SCRUB_SECONDS", 0.0)
    gone = talk(open_store, PRIVATE, "t")
    other = registry.open()
    with other._database.reading():
        assert other.chats.list()  # it sees this state for as long as it reads
        left = open_store.chats.delete(gone)
        assert "another tokmem-desk" in left and "removed when" in left
        assert "another tokmem-desk" in open_store.scrubber.run(), "still owed"
    open_store.close()  # tries again
    assert readable(home, RARE, "lighthouse") == []
    other.close()


def test_a_kill_after_the_deletion_is_made_up_for(registry, home, open_store, monkeypatch):
    gone = talk(open_store, PRIVATE, "t")
    with monkeypatch.context() as broken:
        broken.setattr("profiles.store.scrubbing.Scrubber.run", lambda self, **_: "")
        open_store.chats.delete(gone)
        assert readable(home, RARE)
        open_store.close()
    registry.open().close()
    assert readable(home, RARE, "lighthouse") == []


def test_a_disk_that_refuses_is_told(open_store, monkeypatch):
    gone = talk(open_store, PRIVATE[:2], "t")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr("profiles.database.connection.Database.scrub", full)
        assert "No space left" in open_store.chats.delete(gone)
    assert open_store.chats.list() == [] and open_store.scrubber.run() == ""


def test_messages_asked_again_go_with_their_chat_and_with_the_next_opening(registry, home, open_store):
    chat = talk(open_store, ["the weather"], "t")
    again = open_store.messages.add(chat, "user", PRIVATE[0])
    open_store.messages.delete_from(again)
    open_store.garbage.collect()  # as the app does when it opens the profile
    assert readable(home, RARE) == []
    assert open_store.chats.list(search="weather")


def fill(store: ProfileStore, paths: AppPaths) -> None:
    """A procedure with everything that hangs on one, removed; its pairs changed before."""
    pairs = tuple(ExamplePair(text, f"said {text}") for text in PRIVATE)
    added = store.procedures.add(Procedure("birds", pairs, description=f"about {RARE}"))
    for record in store.pairs.list("birds")[:10]:
        store.pairs.delete(record.id)
    file = store.memories.write(PRIVATE[0].encode() * 20)
    made = store.memories.add(added.id, BACKBONE, file, store.procedures.with_pairs("birds").pairs, {}, {"note": RARE})
    store.memories.activate(made.id)
    store.corrections.add(f"{RARE}!", "none", "birds")
    store.files.write(checkpoint_file(paths, store, "birds", BACKBONE), PRIVATE[1].encode())
    store.procedures.add(Procedure("stay", (ExamplePair("heron", "grey heron"),)))
    store.procedures.remove("birds")


@pytest.mark.parametrize("other_is_open", [True, False])
def test_what_undo_gives_up_is_in_no_file(registry, paths, home, open_store, other_is_open):
    fill(open_store, paths)
    open_store.garbage.collect(age_seconds=-1)
    drop_lost_checkpoints(paths, open_store)
    assert any("checkpoints" in place for place in readable(home, RARE)), "an undo could bring it back"
    others = [registry.open()] if other_is_open else []
    assert open_store.undo.forget() == ""
    drop_lost_checkpoints(paths, open_store)
    assert readable(home, RARE, "lighthouse") == []
    assert "heron" in str(readable(home, "heron"))
    for one in (*others, open_store):
        one.close()
    assert readable(home, RARE, "lighthouse") == []


@pytest.mark.parametrize("forget", ["forget_undo", "forget_versions"])
def test_what_quotes_a_removed_pair_forgets_it(home, open_store, forget):
    added = open_store.procedures.add(Procedure("birds", (ExamplePair("heron", "grey"), ExamplePair(PRIVATE[0], "x"))))
    file = open_store.memories.write(b"tensors")
    quotes = [{"input": one.input, "expected": one.response, "got": "?"} for one in added_pairs(open_store)]
    made = open_store.memories.add(
        added.id,
        BACKBONE,
        file,
        open_store.procedures.with_pairs("birds").pairs,
        {},
        {"samples": quotes, "rouge_l": 0.5},
    )
    open_store.memories.activate(made.id)
    [job] = open_store.jobs.queue(["birds"], {})
    open_store.jobs.update(job.id, progress={"samples": quotes, "step": 3})
    open_store.pairs.delete(open_store.pairs.list("birds")[-1].id)
    if forget == "forget_versions":  # which leaves the undo list alone
        with open_store._database.writing() as connection:
            connection.execute("DELETE FROM undo_log")
        open_store.versions.forget_past("birds")
    else:
        assert open_store.undo.forget() == ""
    assert readable(home, RARE, "lighthouse") == []
    assert [one.input for one in open_store.memories.pairs(made.id)] == ["heron"]
    [memory] = open_store.memories.list("birds")
    assert memory.scorecard == {"samples": quotes[:1], "rouge_l": 0.5}
    assert open_store.jobs.list()[0].progress == {"samples": quotes[:1], "step": 3}


def added_pairs(store: ProfileStore) -> list[ExamplePair]:
    return [record.pair for record in store.pairs.list("birds")]


def test_forgotten_versions_and_discarded_memories_are_in_no_file(home, open_store):
    added = open_store.procedures.add(Procedure("birds", (ExamplePair("heron", "grey"), ExamplePair(PRIVATE[0], "x"))))
    file = open_store.memories.write(PRIVATE[1].encode())
    memory = open_store.memories.add(added.id, BACKBONE, file, [ExamplePair(PRIVATE[2], "y")], {}, {})
    open_store.memories.discard(memory.id)
    assert readable(home, PRIVATE[1], PRIVATE[2]) == []
    open_store.pairs.delete(open_store.pairs.list("birds")[-1].id)
    with open_store._database.writing() as connection:
        connection.execute("DELETE FROM undo_log")
    assert open_store.versions.forget_past("birds") >= 0
    assert readable(home, RARE) == []


def test_what_falls_off_the_undo_list_goes_with_the_next_tidying(home, open_store, monkeypatch):
    monkeypatch.setattr("profiles.store.undo.KEPT_ENTRIES", 2)
    open_store.procedures.add(Procedure("birds", (ExamplePair(PRIVATE[0], "x"),)))
    open_store.procedures.remove("birds")
    for name in ("one", "two", "three"):
        open_store.procedures.add(Procedure(name, (ExamplePair(name, "y"),)))
    open_store.garbage.collect(age_seconds=-1)
    open_store.garbage.collect(age_seconds=-1)
    assert readable(home, RARE) == []


def test_a_copy_from_before_an_update_goes_with_what_was_deleted(home, open_store):
    gone = talk(open_store, PRIVATE, "t")
    copy = open_store.backup()
    open_store.chats.delete(gone)
    assert not copy.exists() and readable(home, RARE) == []


def test_an_erased_profile_leaves_not_even_its_name(registry, paths, home):
    registry.create(RARE)
    registry._database.backup("registry-before-v2-was-v1.sqlite")
    registry.delete(RARE)
    assert readable(home, RARE) == []


def test_a_locked_profile_keeps_no_word_in_its_index(tmp_path: Path) -> None:
    """Its files cannot be read without the key; who has the key reads no more than others do."""
    folder, key = tmp_path / "locked", ProfileKey.new()
    folder.mkdir()
    (folder / "lock.json").write_text("{}")  # what counts here is that it is there
    with ProfileStore(folder, key=key) as store:
        kept = talk(store, ["the weather in Bergen"], "weather")
        gone = talk(store, PRIVATE, "t")
        assert store.chats.delete(gone) == ""
        blocks = b"".join(bytes(row["block"]) for row in store.rows("SELECT block FROM messages_fts_data"))
        assert RARE.encode() not in blocks and b"bergen" in blocks
        assert [one.id for one in store.chats.list(search="bergen")] == [kept]
        assert not (folder / f"{DATABASE_NAME}-wal").stat().st_size or not readable(folder, RARE)


def test_deleting_works_where_the_folder_of_backups_is_gone(open_store, tmp_path):
    chat = talk(open_store, ["x"], "t")
    shutil.rmtree(open_store.folder / "backups", ignore_errors=True)
    assert open_store.chats.delete(chat) == ""
    assert os.listdir(open_store.folder)
