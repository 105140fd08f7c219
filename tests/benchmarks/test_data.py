"""Reading the data formats, and what a run draws from them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks.data import choose_procedures, draw, halves, load_languages, load_routing, load_tasks
from benchmarks.languages import TAUGHT, parted
from benchmarks.options import Options
from tests.benchmarks.conftest import procedure_document
from tokmem_desk.errors import BadInputError, NotFoundError


def test_chat_is_the_none_set_and_never_a_procedure(data_folder: Path) -> None:
    data = load_tasks(data_folder)
    assert [p.name for p in data.procedures] == ["apples", "pears", "plums"]
    assert data.none_messages == ["how are you?", "good night"]


def test_parts_may_be_absent_or_empty(tmp_path: Path) -> None:
    untested = procedure_document("untested", "fig", test=0)
    untrained = procedure_document("untrained", "date")
    del untrained["train"], untested["test"]
    for document in (untested, untrained):
        (tmp_path / f"{document['name']}.json").write_text(json.dumps(document))
    (tmp_path / "tools.json").write_text("[]")
    data = load_tasks(tmp_path)
    assert [(p.name, p.held_out) for p in data.procedures] == [("untested", ())]
    assert set(data.skipped) == {"untrained", "tools"}


def test_references_and_pattern_are_read(tmp_path: Path) -> None:
    document = procedure_document("apples", "apple")
    document["test"][0]["references"] = ["APPLE 4", "apple four"]
    (tmp_path / "apples.json").write_text(json.dumps(document))
    procedure = load_tasks(tmp_path).procedures[0]
    assert procedure.held_out[0].accepted == ("APPLE 4", "apple four")
    assert procedure.pattern == r"APPLE \d+"


def test_a_folder_without_procedures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="no procedure with example pairs"):
        load_tasks(tmp_path)


def test_fewer_procedures_are_the_first_of_more(data_folder: Path) -> None:
    procedures = load_tasks(data_folder).procedures
    options = Options(data_folder, Path("out.json"))
    one, two = (choose_procedures(procedures, options, count) for count in (1, 2))
    assert two[:1] == one


def test_an_unknown_name_is_refused(data_folder: Path) -> None:
    options = Options(data_folder, Path("out.json"), names=("aples",))
    with pytest.raises(NotFoundError, match="apples"):
        choose_procedures(load_tasks(data_folder).procedures, options, None)


def test_pairs_are_drawn_by_seed_and_described_in_both_parts(data_folder: Path) -> None:
    procedure = load_tasks(data_folder).procedures[0]
    drawn = draw(procedure, pairs=2, limit=1, seed=0, described=True)
    assert (len(drawn.pairs), len(drawn.held_out)) == (2, 1)
    assert all(p.input.startswith("Write apple in capitals.\n\n") for p in (*drawn.pairs, *drawn.held_out))
    assert drawn == draw(procedure, pairs=2, limit=1, seed=0, described=True)


def test_routing_reads_intents_and_procedures(data_folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "set.json"
    file.write_text(
        json.dumps(
            {
                "intents": {"alarm": {"train": ["wake me"], "test": ["wake me up"]}, "empty": {"test": ["x"]}},
                "out_of_scope": {"test": ["who won?"]},
            }
        )
    )
    data = load_routing(file)
    assert (data.train, data.test) == ({"alarm": ["wake me"]}, {"alarm": ["wake me up"]})
    assert data.none_messages == ["who won?"]
    assert set(load_routing(data_folder).train) == {"apples", "pears", "plums"}


OWN = Path(__file__).parents[2] / "benchmarks" / "procedures"


def test_every_answer_of_the_own_procedures_has_the_pattern_of_its_procedure() -> None:
    procedures = load_tasks(OWN).procedures
    assert len(procedures) == 20
    for procedure in procedures:
        assert (len(procedure.pairs), len(procedure.held_out)) == (24, 12) and procedure.pattern
        for pair in (*procedure.pairs, *procedure.held_out):
            assert re.fullmatch(procedure.pattern, pair.response), (procedure.name, pair.response)
        inputs = [pair.input for pair in (*procedure.pairs, *procedure.held_out)]
        assert len(set(inputs)) == len(inputs)


def test_halves_share_no_procedure_and_leave_none_out() -> None:
    procedures = load_tasks(OWN).procedures
    parts = halves(procedures)
    assert sorted(p.name for part in parts.values() for p in part) == sorted(p.name for p in procedures)
    assert {len(part) for part in parts.values()} == {10}
    assert halves(procedures[::-1]) == parts


OWN_DATA = Path(__file__).parents[2] / "benchmarks"


def test_near_neighbours_are_sixty_intents_of_twenty_messages_of_their_own() -> None:
    data = load_routing(OWN_DATA / "near_neighbours.json")
    assert len(data.train) == 60 and set(data.train) == set(data.test)
    assert {len(texts) for part in (data.train, data.test) for texts in part.values()} == {10}
    texts = [text for part in (data.train, data.test) for texts in part.values() for text in texts]
    texts += data.none_messages
    assert len(set(texts)) == len(texts) and len(data.none_messages) == 40


def test_five_languages_are_thirty_intents_translated() -> None:
    data = load_languages(OWN_DATA / "five_languages.json")
    assert len(data) == 30
    assert {tuple(of) for of in data.values()} == {("en", "de", "fr", "es", "it", "pl")}
    assert {len(texts) for of in data.values() for texts in of.values()} == {10}


def test_messages_without_a_translation_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "languages.json"
    for intents in ({"a": {"en": ["x"], "de": []}}, {"a": {"en": ["x"]}, "b": {"de": ["x"]}}, {}):
        file.write_text(json.dumps({"intents": intents}))
        with pytest.raises(BadInputError, match="as many in each language"):
            load_languages(file)


def test_what_is_asked_in_a_language_is_no_translation_of_what_taught_but_in_english() -> None:
    languages = ("en", "de", "fr", "es", "it", "pl")
    data = {"a": {language: [f"{language} {number}" for number in range(10)] for language in languages}}
    taught, asked = parted(data, "it", "own")
    assert taught["a"] == [f"it {number}" for number in range(TAUGHT)]
    assert asked["a"] == [f"it {number}" for number in range(TAUGHT, 10)]
    taught, asked = parted(data, "it", "mixed")
    assert taught["a"] == ["de 0", "fr 1", "es 2", "it 3", "pl 4"]
    assert asked["a"] == [f"it {number}" for number in range(TAUGHT, 10)]
    taught, asked = parted(data, "it", "english")
    assert (taught["a"], asked["a"]) == (data["a"]["en"], data["a"]["it"])
