"""Reading the data formats, and what a run draws from them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.data import choose_procedures, draw, load_routing, load_tasks
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
