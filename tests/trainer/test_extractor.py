"""Readers: which pairs they fit, where values stand, what is read, and the file."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.tokmem_desk.generation.test_recall import memory
from tokmem_desk.backbone.chat_format import Turn
from tokmem_desk.backbone.token_space import TokenNetwork
from tokmem_desk.errors import BadInputError, IncompatibleError
from tokmem_desk.generation.recall import Answer, Bank, answer_batch, answer_messages, recall
from tokmem_desk.memory import extractor as extractors
from tokmem_desk.memory.extractor import Extractor
from tokmem_desk.memory.file import memory_from_bytes, memory_to_bytes
from tokmem_desk.memory.slot_values import Slot
from tokmem_desk.procedures import ExamplePair
from tokmem_desk.routing.routers import TokenRouter
from tokmem_desk.routing.segment_tagger import SegmentTagger, fit_segment_tagger
from tokmem_desk.templates.json_schema import read_schema
from trainer.extractor import extractable, locate, train_extractor, with_extractor

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone

NAMES = ("Ada", "Ben", "Carl", "Dora", "Eve", "Finn")
ITEMS = ("milk", "bread", "tea", "soap", "rice", "salt")


def pairs(count: int = 12) -> list[ExamplePair]:
    found = []
    for i in range(count):
        name, item = NAMES[i % 6], ITEMS[(i * 5 + i // 6) % 6]
        found.append(ExamplePair(f"buy {item} for {name}", json.dumps({"item": item, "who": name})))
    return found


def extractor_for(backbone: Backbone, examples: list[ExamplePair]) -> tuple[Extractor, SegmentTagger]:
    segment_tagger = next(done for done in fit_segment_tagger(backbone, count=40) if isinstance(done, SegmentTagger))
    steps = list(train_extractor(backbone, segment_tagger.space, examples))
    assert steps[:-1] == sorted(s for s in steps if isinstance(s, float))
    assert isinstance(steps[-1], Extractor)
    return steps[-1], segment_tagger


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_an_extractor_copies_what_it_learned(tiny_backbone: Callable[..., Backbone], family: str) -> None:
    backbone = tiny_backbone(family)
    examples = pairs()
    extractor, segment_tagger = extractor_for(backbone, examples)
    again = Extractor.rebuild(json.loads(json.dumps(extractor.describe())), extractor.weights())
    for pair in examples:
        done = backbone.prefill([backbone.format.query(pair.input)], token_space=segment_tagger.space)
        places = backbone.format.places(pair.input)
        for one in (extractor, again):
            assert one.response(one.extract(pair.input, places, done.tokens[0])) == pair.response


def test_a_memory_with_an_extractor_copies_its_answers(
    tiny_backbone: Callable[..., Backbone], monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = tiny_backbone("llama")
    examples = pairs()
    extractor, segment_tagger = extractor_for(backbone, examples)
    made = with_extractor(memory(backbone, "buy"), extractor)
    data = memory_to_bytes(made, backbone.fingerprint)
    loaded = memory_from_bytes(data, backbone, "a file")
    assert loaded.steering.extractor is not None and loaded.steering.extractor.describe() == extractor.describe()
    bank = Bank({"buy": loaded}, TokenRouter(backbone, [loaded]), segment_tagger=segment_tagger)
    message = examples[0].input
    with pytest.raises(IncompatibleError, match="'buy' reads messages in a space that was fitted elsewhere"):
        list(recall(backbone, bank, message, route="buy", max_tokens=4))
    other = replace(segment_tagger.space, projection=-segment_tagger.space.projection)
    monkeypatch.setattr(backbone, "token_space", other)
    with pytest.raises(IncompatibleError, match="Train it again: tokmem-desk train buy"):
        list(recall(backbone, bank, message, route="buy", max_tokens=4))
    monkeypatch.setattr(backbone, "token_space", segment_tagger.space)
    read = list(recall(backbone, bank, message, route="buy"))[-1]
    assert isinstance(read, Answer) and read.response == examples[0].response and read.stopped == "end"
    # With a conversation to read: an extractor that is alone goes on reading, else the trained steering answers.
    reads = replace(bank, conversation_aware=frozenset({"buy"}))
    said = [Turn("user", "we need things"), Turn("assistant", "what and for whom?")]
    alone = list(recall(backbone, reads, message, route="buy", conversation=said))[-1]
    assert isinstance(alone, Answer) and alone.response == read.response
    short = list(recall(backbone, bank, message, route="buy", max_tokens=4))[-1]
    assert isinstance(short, Answer) and short.stopped == "length" and short.timing.tokens == 4
    assert read.response.startswith(short.response)
    steered = replace(loaded, steering=loaded.steering.with_part(replace(extractor, alone=False)))
    again = memory_from_bytes(
        memory_to_bytes(with_extractor(steered, steered.steering.extractor), backbone.fingerprint), backbone, "a"
    )
    assert again.steering.extractor is not None and not again.steering.extractor.alone
    reads = replace(reads, memories={"buy": again})
    ids = backbone.format.conversation([*said, Turn("user", message)])
    told = list(recall(backbone, reads, message, route="buy", conversation=said, max_tokens=4))[-1]
    assert isinstance(told, Answer) and told.response == answer_batch(backbone, [ids], [again], max_tokens=4)[0]
    unsaid = list(recall(backbone, reads, message, route="buy"))[-1]
    assert isinstance(unsaid, Answer) and unsaid.response == read.response
    plain = memory(backbone, "other")
    together = answer_messages(
        backbone, [message, "hello", message], [loaded, plain, None], max_tokens=40, rows_at_once=2
    )
    assert together[0] == read.response and together[1] != read.response
    _check_with_schemas(backbone, bank, examples)
    broken = replace(made, settings={"reader": {**extractor.describe(), "slots": [["item", "text", False]]}})
    with pytest.raises(BadInputError, match="extractor in a file is damaged"):
        memory_from_bytes(memory_to_bytes(broken, backbone.fingerprint), backbone, "a file")


def _check_with_schemas(backbone: Backbone, bank: Bank, examples: list[ExamplePair]) -> None:
    """What is copied fits the declared schema; where no words of the message do, the model writes what does."""

    def answer(who: list[str], max_tokens: int | None = None) -> Answer:
        properties = {"item": {"type": "string", "maxLength": 9}, "who": {"enum": who}}
        schema = read_schema(json.dumps({"type": "object", "properties": properties, "required": ["item", "who"]}))
        held = replace(bank, schemas={"buy": schema})
        last = list(recall(backbone, held, examples[0].input, route="buy", max_tokens=max_tokens))[-1]
        assert isinstance(last, Answer)
        assert last.segments[0].arguments == json.loads(last.response) and schema.fault(last.response) is None
        measured = answer_messages(
            backbone, [examples[0].input], list(bank.memories.values()), max_tokens=60, rows_at_once=2, schemas=[schema]
        )
        if max_tokens is None:
            assert measured == [last.response], "measured as it is used"
        return last

    right = json.loads(examples[0].response)
    assert answer(list(NAMES)).segments[0].arguments == right
    assert answer([right["who"].upper()]).segments[0].arguments == {**right, "who": right["who"].upper()}
    assert answer(["Nobody", "No one"]).segments[0].arguments is not None
    cut = answer(list(NAMES), max_tokens=4)
    assert cut.stopped == "length"


def test_which_pairs_can_be_read() -> None:
    assert extractable(pairs()) is not None
    assert extractable(pairs(3)) is None, "too few"
    assert extractable([*pairs(), ExamplePair("buy tea", "tea for nobody")]) is None, "no JSON"
    assert extractable([ExamplePair(p.input, json.dumps({"item": "x-" + p.input})) for p in pairs()]) is None
    assert extractable([ExamplePair(p.input, json.dumps({"item": {"name": "milk"}})) for p in pairs()]) is None
    constant = extractable(
        [ExamplePair(p.input, json.dumps({"kind": "buy", **json.loads(p.response)})) for p in pairs()]
    )
    assert constant is not None and constant.constants == {"kind": "buy"} and len(constant.slots) == 2
    numbers = extractable([ExamplePair(f"paid {n}.5 for tea", json.dumps({"euro": n + 0.5})) for n in range(8)])
    assert numbers is not None and numbers.slots == (Slot("euro", "number", single=True, inner=False),)
    turned = extractable(
        [ExamplePair(p.input, json.dumps(dict(reversed(json.loads(p.response).items())))) for p in pairs()]
    )
    assert turned is not None and turned.order == ("who", "item")
    tight = extractable([ExamplePair(p.input, p.response.replace(", ", ",").replace(": ", ":")) for p in pairs()])
    assert tight is not None and tight.compact and tight.response({"a": "b"}) == '{"a":"b"}'


@pytest.mark.parametrize("style", [{"indent": 2}, {"ensure_ascii": True}, {"separators": (" , ", " : ")}])
def test_pairs_written_otherwise_are_not_rewritten(style: dict[str, Any]) -> None:
    objects = [{"who": f"{NAMES[i % 6]}é", "sum": 3 + i} for i in range(24)]
    said = [f"{one['who']} owes {one['sum']} euro" for one in objects]

    def written(**style: Any) -> list[ExamplePair]:
        texts = [json.dumps(one, **{"ensure_ascii": False, **style}) for one in objects]
        return [ExamplePair(message, text) for message, text in zip(said, texts, strict=True)]

    other = written(**style)
    assert extractable(written()) is not None and extractable(other) is None
    assert extractable([other[0], *written()[1:]]) is not None, "one is a slip"
    assert extractable([*other[:2], *written()[2:]]) is None
    commas = [ExamplePair(f"buy tea, {i}", f'{{"what":"tea, {i}"}}') for i in range(8)]
    compact = extractable(commas)
    assert compact is not None and compact.compact, "a comma in a value says nothing"
    assert extractable([ExamplePair(f"{i} and NaN", f'{{"a": {i}, "b": NaN}}') for i in range(8)]) is None


def test_a_network_of_another_size_is_refused_before_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    extractor = extractable(pairs())
    assert extractor is not None
    facts, weights = extractor.describe(), extractor.weights()
    devices = []
    plain = extractors.new_network

    def new_network(dimensions: int, slots: int) -> TokenNetwork:
        network = plain(dimensions, slots)
        devices.append(network.enter.weight.device.type)
        return network

    monkeypatch.setattr(extractors, "new_network", new_network)
    assert Extractor.rebuild(facts, weights).describe() == facts
    assert devices == ["meta", "cpu"]
    for dimensions in (2_000_000_000, 2, -1, 10**30, math.inf):
        with pytest.raises((ValueError, RuntimeError, OverflowError, TypeError)):
            Extractor.rebuild({**facts, "dimensions": dimensions}, weights)
    assert "cpu" not in devices[2:]


def test_values_are_found_at_word_borders_and_in_their_order() -> None:
    slots = [Slot("a"), Slot("b")]
    assert locate("an art, a car", {"a": "a", "b": "car"}, slots) == [(0, 8, 9), (1, 10, 13)]
    assert locate("two of two", {"a": ["two", "two"], "b": "of"}, slots) == [(0, 0, 3), (0, 7, 10), (1, 4, 6)]
    assert locate("nothing", {"a": "x"}, slots) == []


def test_what_the_pairs_say_about_lists_and_parts_of_words() -> None:
    def slots(values: list[Any], write: str = "take {} now") -> tuple[Slot, ...]:
        form = extractable([ExamplePair(write.format(v), json.dumps({"v": v})) for v in values])
        assert form is not None
        return form.slots

    assert slots(["tea", "milk", "soap", "rice", "salt", "flour"]) == (Slot("v", single=True, inner=False),)
    assert slots([f"w{n}" for n in range(12)], "take pre{}post now") == (Slot("v", single=True, inner=True),)
    assert slots(list(range(12)), "at {}pm") == (Slot("v", "number", single=True, inner=False),)
    several = [ExamplePair("tea and milk", json.dumps({"v": ["tea", "milk"]}))] * 2
    single = [ExamplePair(f"only {name}", json.dumps({"v": name})) for name in NAMES]
    form = extractable([*several, *single])
    assert form is not None and form.slots == (Slot("v", inner=False),)


def test_an_extractor_of_before_keeps_its_ways() -> None:
    form = extractable(pairs())
    assert form is not None
    facts = form.describe()
    assert facts["single"] == ["item", "who"] and facts["inner"] == []
    old = {name: value for name, value in facts.items() if name not in ("single", "inner")}
    assert Extractor.rebuild(old, form.weights()).slots == (Slot("item"), Slot("who"))
    assert Extractor.rebuild(facts, form.weights()).slots == form.slots
